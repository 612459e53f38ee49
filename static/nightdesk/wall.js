// The wall: its figures follow the frames of the overview, and it asks for itself anew when alerts change.
import { asker } from "./again.js";
import { bind } from "./bind.js";
import { shell } from "./shell.js";

const again = asker("wall-alerts");

shell((frame) => {
  if (frame.topic.startsWith("alerts.")) return again();
  bind(document.getElementById("wall-figures"), frame);
});
