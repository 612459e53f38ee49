// Tasks, and one of them, ask for themselves anew while the record moves: their figures are of hours.
import { asker } from "./again.js";
import { shell } from "./shell.js";

shell(asker("tasks", { least: 10000 }));
