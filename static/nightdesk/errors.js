// Errors, and one of them, ask for themselves anew when the monitor has looked, but not while somebody writes there.
import { asker } from "./again.js";
import { shell } from "./shell.js";

const isHeld = () => !getSelection().isCollapsed || document.querySelector("#errors :is(input, textarea):focus") !== null;

shell(asker("errors", { mustWait: isHeld }));
