// Workers, and one of them, ask for themselves anew when the monitor has looked, or an order has got further.
import { asker } from "./again.js";
import { shell } from "./shell.js";

shell(asker("workers", { least: 1000 }));
