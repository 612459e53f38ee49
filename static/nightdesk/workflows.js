// Workflows, and one of them, ask for themselves anew while the record moves.
import { asker } from "./again.js";
import { shell } from "./shell.js";

shell(asker("workflows", { least: 10000, mustWait: () => !getSelection().isCollapsed }));
