// Dragging over a chart leads to the span of time under it. `data-drag` on the ground of a chart is the address of the
// past; `data-start`, `data-step` (seconds) and `data-steps` are what is drawn on its width.
import { now } from "./bind.js";

const SLIP = 10, MINUTE = 60;  // px: a click that slips by less is no drag; seconds
const picked = Object.assign(document.createElement("div"), { className: "picked" });
let ground = null, from = 0, ends = null;  // as shares of the width

addEventListener("pointerdown", ({ button, isPrimary, target, clientX }) => {
  [ground, from] = [button || !isPrimary ? null : target.closest?.("[data-drag]"), clientX];
});
addEventListener("pointermove", ({ clientX }) => {
  if (!ground || Math.abs(clientX - from) < SLIP) return drop();
  const { left, top, width, height } = ground.getBoundingClientRect();
  ends = [from, clientX].map((x) => Math.min(1, Math.max(0, (x - left) / width))).sort((a, b) => a - b);
  const place = { left: left + ends[0] * width, top, width: (ends[1] - ends[0]) * width, height };
  for (const [side, pixels] of Object.entries(place)) picked.style[side] = `${pixels}px`;
  document.body.append(picked);
});
addEventListener("pointerup", () => { if (ground && ends) goBack(ground.dataset, ends); ground = null; drop(); });
addEventListener("pointercancel", () => { ground = null; drop(); });

function drop() { ends = null; picked.remove(); }

// In whole steps, and not beyond the last whole minute, or the end (`data-over`) of what is shown.
function goBack({ drag, start, step, steps, over }, [begin, end]) {
  const since = Number(start) + Math.floor(begin * steps) * step;
  const until = Math.min(Number(start) + Math.ceil(end * steps) * step, over || Math.floor(now() / MINUTE) * MINUTE);
  const question = new URLSearchParams(location.search);
  for (const name of [...question.keys()]) if (name !== "cluster") question.delete(name);
  for (const [name, at] of Object.entries({ since, until })) question.set(name, new Date(at * 1000).toISOString().slice(0, 16));
  if (until > since) location.assign(`${drag}?${question}`);
}
