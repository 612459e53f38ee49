// Coverage, gaps and quarantine ask for themselves anew when the monitor has looked again.
import { asker } from "./again.js";
import { offerCopies, shell } from "./shell.js";

shell(asker("coverage", { after: offerCopies }));
