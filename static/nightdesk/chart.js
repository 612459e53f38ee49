// "Finished a minute": finished as a stepped area, failures in a lane of their own, the oldest waiting dashed.
// One uPlot: each scale keeps the lowest fifth of the height free, and there the failures stand.
import { bind } from "./bind.js";
import { written, zone } from "./format.js";

const LANE = 0.2, GAP = 0.06;  // of the plot's height
const AXIS = 44, TIME = 24;
const MARKS = 12, TAG = 14;  // px above the plot, for letters, and the size of one
const MINUTE = 60, DAY = 86400, CALM = 10;  // seconds: waits far below this stay at the foot
const FONT_SIZE = 11, FONT = `${FONT_SIZE}px system-ui, sans-serif`;
const letters = () => `${FONT_SIZE * devicePixelRatio}px system-ui, sans-serif`;  // on the canvas

// The chart of the page, if it has one, with what the page brought; returns what draws another frame's.
export function drawChart() {
  const place = document.getElementById("chart");
  if (!place) return () => {};
  const first = JSON.parse(document.getElementById("chart-data").textContent);
  // Of a page about the past all minutes are over: the one that still runs, which a chart ends with, is empty.
  if ("over" in place.dataset) {
    place.dataset.over ||= first.start + first.finished.length * first.step;
    for (const values of [first.finished, first.failed, first.oldest]) values.push(null);
  }
  const plot = new uPlot(options(place, first.step), columns(first), place);
  layGround(plot, first);
  new ResizeObserver(() => plot.setSize(size(place))).observe(place);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plot.redraw());
  return (chart) => {
    if (!chart) return plot.redraw();
    plot.setData(columns(chart));
    layGround(plot, chart);
    fillTable(chart);
  };
}

// What drag.js asks for.
function layGround({ over, root }, { start, step, finished }) {
  Object.assign(over.dataset, { drag: location.pathname, start, step, steps: finished.length, over: root.parentElement.dataset.over ?? "" });
}

// uPlot wants one array of x and one for each series; the last minute still runs and is a series of its own.
function columns({ start, step, finished, failed, oldest }) {
  const times = finished.map((_, place) => start + place * step);
  const last = finished.length - 1;
  times.push(start + finished.length * step);  // steps need an end
  const whole = finished.map((value, place) => (place === last ? null : value));
  if (last > 0) whole[last] = finished[last - 1];
  const running = finished.map((value, place) => (place === last ? value : null));
  return [times, [...whole, null], [...running, finished[last] ?? null], [...oldest, null], [...failed, null]];
}

// Over more than a day, with its date.
const minute = ({ data: [times] }, at) => written(at, "moment").slice(times.at(-1) - times[0] > DAY ? 5 : 11, 16);

const size = (place) => ({ width: place.clientWidth, height: place.clientHeight });

const ink = (name) => () => getComputedStyle(document.querySelector(`[data-ink="${name}"]`)).color;

// A scale whose values begin above the lane.
const aboveLane = (least) => (_plot, _low, high) => {
  const top = nice(Math.max(high ?? 0, least));
  return [(-top * (LANE + GAP)) / (1 - LANE - GAP), top];
};

const inLane = (_plot, _low, high) => [0, nice(Math.max(high ?? 0, 5)) / LANE];

function nice(value) {
  const unit = 10 ** Math.floor(Math.log10(value));
  return unit * [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((step) => step * unit >= value);
}

function options(place, step) {
  const stepped = uPlot.paths.stepped({ align: 1 });
  return {
    ...size(place), tzDate: (at) => uPlot.tzDate(new Date(at * 1000), zone),
    legend: { show: false }, padding: [MARKS, 0, 0, 0],
    cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
    scales: { x: { time: true }, jobs: { range: aboveLane(10) }, age: { range: aboveLane(CALM) }, failed: { range: inLane } },
    series: [
      {},
      { scale: "jobs", paths: stepped, stroke: ink("finished"), fill: ink("area"), width: 1.25, fillTo: 0, points: { show: false } },
      { scale: "jobs", paths: stepped, fill: ink("running"), width: 0, fillTo: 0, points: { show: false } },
      { scale: "age", stroke: ink("oldest"), width: 1.75, dash: [4, 3], points: { show: false } },
      { scale: "failed", paths: uPlot.paths.bars({ size: [0.75, 20], align: 1 }), fill: ink("failed"), stroke: ink("failed"), width: 0, points: { show: false } },
    ],
    axes: [
      axis({ stroke: ink("label"), size: TIME, space: 90, values: (plot, times) => times.map((at) => minute(plot, at)) }),
      axis({ stroke: ink("label"), size: AXIS, scale: "jobs", grid: { stroke: ink("grid"), width: 1 }, splits: halves,
        values: (_plot, marks) => marks.map((mark) => written(mark, "count")) }),
      axis({ stroke: ink("oldest"), size: AXIS + 32, scale: "age", show: step === MINUTE, side: 1, splits: halves,
        values: (_plot, marks) => marks.map((mark) => (mark ? written(mark, "seconds") : "")) }),
    ],
    hooks: { setCursor: [readOut], drawClear: [ruleLane], draw: [markChanges] },
  };
}

const axis = (its) => ({ font: FONT, ticks: { show: false }, grid: { show: false }, ...its });
const halves = (_plot, _axis, _low, high) => [0, high / 2, high];

function drawLine(ctx, colour, ...[[left, top], [right, foot]]) {
  ctx.strokeStyle = colour;
  ctx.lineWidth = devicePixelRatio;
  ctx.beginPath();
  ctx.moveTo(left, top);
  ctx.lineTo(right, foot);
  ctx.stroke();
}

// The floor of the lane, and its scale beside it.
function ruleLane(plot) {
  const { ctx, bbox } = plot, floor = Math.round(bbox.top + bbox.height) - 0.5;
  ctx.save();
  drawLine(ctx, ink("axis")(), [bbox.left, floor], [bbox.left + bbox.width, floor]);
  Object.assign(ctx, { fillStyle: ink("label")(), font: letters(), textAlign: "right", textBaseline: "top" });
  ctx.fillText(written(plot.scales.failed.max * LANE, "count"), bbox.left - 8 * devicePixelRatio, bbox.top + bbox.height * (1 - LANE));
  ctx.restore();
}

// What changed, with the letters that stand beside it in the list; the list is the same in words.
function markChanges(plot) {
  const { ctx, bbox } = plot, size = TAG * devicePixelRatio;
  ctx.save();
  Object.assign(ctx, { font: `600 ${letters()}`, textAlign: "center", textBaseline: "middle" });
  ctx.setLineDash([2 * devicePixelRatio, 2 * devicePixelRatio]);
  for (const line of document.querySelectorAll("#story [data-mark]")) {
    const at = Number(line.querySelector("time").dataset.epoch);
    const left = Math.round(plot.valToPos(at, "x", true));
    if (left < bbox.left || left > bbox.left + bbox.width) continue;
    drawLine(ctx, ink("mark")(), [left + 0.5, bbox.top], [left + 0.5, bbox.top + bbox.height]);
    ctx.fillStyle = ink("mark")();
    ctx.fillRect(left - size / 2, bbox.top - size / 2, size, size);
    ctx.fillStyle = ink("paper")();
    ctx.fillText(line.dataset.mark, left, bbox.top + devicePixelRatio / 2);
  }
  ctx.restore();
}

// The minute under the pointer, beside the key.
function readOut(plot) {
  const place = plot.cursor.idx ?? Infinity;
  const [times, whole, running, oldest, failed] = plot.data;
  const last = times.length - 2;
  const said = place > last ? {} : {
    minute: minute(plot, times[place]), finished: written((place === last ? running : whole)[place], "exact"),
    failed: written(failed[place], "exact"), oldest: written(oldest[place], "seconds"),
  };
  for (const out of document.querySelectorAll("[data-read]")) out.textContent = said[out.dataset.read] ?? "";
}

// The table under the chart is filled only while somebody reads it.
function fillTable({ start, step, finished, failed, oldest }) {
  const body = document.getElementById("chart-rows");
  if (!body.closest("details").open) return;
  [...body.rows].forEach((row, age) => {
    const place = finished.length - 1 - age;
    bind(row, { minute: start + place * step, finished: finished[place], failed: failed[place], oldest: oldest[place] }, null);
  });
}
