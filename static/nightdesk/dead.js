// Dead letters, and the page of one, ask for themselves anew when the record has moved, but not while some are chosen.
import { asker } from "./again.js";
import { isChoosing } from "./choose.js";
import { shell } from "./shell.js";

const isHeld = () => isChoosing() || !getSelection().isCollapsed || document.querySelector("#dead :focus") !== null;

shell(asker("dead", { mustWait: isHeld }));
