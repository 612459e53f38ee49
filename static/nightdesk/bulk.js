// A bulk, or the list of them, asks for itself anew while it may change, but not while something is open in it.
import { asker } from "./again.js";
import { shell } from "./shell.js";

const isStill = () => {
  const page = document.getElementById("bulk");
  return !("live" in page.dataset) || page.querySelector("details[open]") !== null;
};
const again = asker("bulk", { least: 1000, mustWait: isStill });

shell(again);
setInterval(again, 2000);
