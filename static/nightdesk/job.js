// One job: its progress follows each frame; when its story changes, the page asks for itself anew.
import { asker } from "./again.js";
import { bind } from "./bind.js";
import { offerCopies, shell } from "./shell.js";

const again = asker("job", { least: 500, after: offerCopies });

// The same facts as the filter `story` in dashboard/templatetags/jobs.py.
const story = (frame) => JSON.stringify([frame.state, frame.verdict, frame.retries, frame.adrift?.next ?? null,
  frame.attempts.length, frame.ended === null, frame.worker, frame.exception, frame.result === null,
  frame.revoking && frame.revoking.told !== null, frame.retried_as.length, frame.log ? frame.log.seq : 0]);

shell((frame) => {
  const page = document.getElementById("job");
  bind(page.querySelector("#progress"), frame);
  if (JSON.stringify(JSON.parse(page.dataset.story)) !== story(frame)) again();
});
