// Alerts ask for themselves anew when one is in another state, or has been looked at again; not while somebody
// types a note.
import { asker } from "./again.js";
import { offerCopies, shell } from "./shell.js";

const typing = () => document.activeElement?.matches("#alerts :is(textarea, input):not([readonly])");

shell(asker("alerts", { mustWait: typing, after: offerCopies }));
