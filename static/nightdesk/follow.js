// A page whose part `data-follows` asks for itself anew when a frame says that it may have changed; without such a part, a
// page that follows nothing. It waits while somebody writes there, has chosen rows, or has marked text.
import { asker } from "./again.js";
import { isChoosing } from "./choose.js";
import { offerCopies, shell } from "./shell.js";

const partOf = () => document.querySelector("[data-follows]");
const isHeld = () => partOf().dataset.follows === "still" || isChoosing() || !getSelection().isCollapsed
  || partOf().querySelector(":is(input, select, textarea):not([readonly]):focus") !== null;

const { id, dataset: { least, follows } = {} } = partOf() ?? {};
const again = id && asker(id, { least: Number(least) || undefined, mustWait: isHeld, after: offerCopies });
// What no frame tells of is asked for again and again, while it moves.
if (follows === "moving") setInterval(again, 2000);
shell(again);
