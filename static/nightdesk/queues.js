// Queues, and one of them, ask for themselves anew when the monitor has looked, or a pause has got further.
import { asker } from "./again.js";
import { shell } from "./shell.js";

shell(asker("queues", { least: 1000 }));
