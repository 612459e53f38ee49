// The list of jobs follows the record. Rows never move under the pointer, the focus, a choice or a scrolled page:
// then a pill says that newer ones wait.
import { asker } from "./again.js";
import { isChoosing } from "./choose.js";
import { shell } from "./shell.js";

const TABLE = "jobs-table";
let asked = false;  // by a press on the pill, which stands within the table's section

function isHeld() {
  const section = document.getElementById(TABLE);
  return scrollY > 0 || isChoosing() || section.matches(":hover, :focus-within") || !getSelection().isCollapsed;
}

function mustWait() {
  const held = !asked && isHeld();
  asked = false;
  document.getElementById("arrivals").hidden = !held;
  return held;
}

const again = asker(TABLE, { mustWait });

shell(again);
document.addEventListener("click", (event) => {
  if (!event.target.closest("#arrivals")) return;
  scrollTo(0, 0);
  asked = true;
  again();
});
