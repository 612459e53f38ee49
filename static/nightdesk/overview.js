// The overview: numbers, rows and the chart follow the frames; what changed is asked for again when a frame says so.
import { asker } from "./again.js";
import { bind } from "./bind.js";
import { drawChart } from "./chart.js";
import { offerCopies, shell } from "./shell.js";

const page = document.getElementById("live");
const record = document.querySelector(".side-foot");
const draw = drawChart();

const reading = () => document.activeElement?.matches("#story textarea");
const askForStory = asker("story", { least: 10_000, mustWait: reading, after: () => { offerCopies(); draw(); } });

function show(frame) {
  // The first job turns the first steps into the live overview, which has other parts.
  if ((frame.began === null) !== ("firstSteps" in page.dataset)) return location.reload();
  bind(page, frame);
  bind(record, frame.record, frame.at);
  draw(frame.chart);
  const story = document.getElementById("story");
  if (story && story.dataset.told !== frame.told) askForStory();
  document.title = document.title.replace(/^(\(\d+\) )?.* · /, `$1${document.querySelector(".verdict h1 > :not([hidden])").textContent.trim()} · `);
}

let latest = null;

// Frames come up to four times a second; what is painted is the latest one.
shell((frame) => {
  if (!latest) requestAnimationFrame(() => { show(latest); latest = null; });
  latest = frame;
});
