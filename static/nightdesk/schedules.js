// The list of schedules asks for itself anew when Beat or a schedule changed.
import { asker } from "./again.js";
import { shell } from "./shell.js";

shell(asker("schedules"));
