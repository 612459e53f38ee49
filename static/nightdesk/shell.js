// What every page has: freshness in the bar, counts beside the navigation, growing ages, copying. A page's own
// script imports this one and calls `shell` with what to do with a frame.
import { age, bind, now } from "./bind.js";
import "./drag.js";
import { written } from "./format.js";
import { watch } from "./live.js";

let asOf = null;  // our clock, when the page was last known to be right

export function shell(onFrame = () => {}) {
  const own = (document.body.dataset.watch ?? "").split(" ").filter(Boolean);
  const counts = [...document.querySelectorAll("[data-alerts]")];
  const topics = counts.length ? [...new Set([...own, "alerts"])] : own;
  const isOwn = (frame) => own.includes(frame.topic.split(".")[0]);
  const hear = (frame) => {
    if (frame.topic.startsWith("alerts.")) alarm(counts, frame);
    if (isOwn(frame)) { count(frame); onFrame(frame); }
  };
  // A page that follows nothing itself is as of when it was loaded, whatever its count of alerts says.
  if (topics.length) watch(topics, { onFrame: hear, onState: own.length ? show : () => {} });
  setInterval(tick, 1000);
}

// Frames of most topics tell what is counted beside the navigation.
function count(frame) {
  if (!("dead_letters" in frame)) return;
  for (const place of document.querySelectorAll(".side :is(.tally, .errors-count)")) bind(place, frame);
}

// How many alerts fire stands in the side, in the title and on the icon.
function alarm(counts, frame) {
  for (const count of counts) bind(count, frame);
  const title = document.title.replace(/^\(\d+\) /, "");
  document.title = frame.firing ? `(${frame.firing}) ${title}` : title;
  const icon = document.getElementById("icon");
  const { quiet, firing } = icon.dataset;
  if (icon.getAttribute("href") !== (frame.firing ? firing : quiet)) icon.href = frame.firing ? firing : quiet;
}

function show(state) {
  if (state === "live") { asOf = Date.now(); showAge(); }
  const fresh = document.getElementById("fresh");
  if (fresh.dataset.fresh === state) return;
  fresh.dataset.fresh = state;
  for (const words of fresh.querySelectorAll("[data-fresh-is]")) words.hidden = words.dataset.freshIs !== state;
  document.getElementById("main").classList.toggle("stale", state === "stale" || state === "out");
  if (state !== "live" && asOf) setText("as-of", written(now() - (Date.now() - asOf) / 1000, "clock"));
}

const showAge = () => asOf && setText("age", written(Math.round((Date.now() - asOf) / 1000), "ago", 0));

function tick() {
  if (document.hidden) return;
  setText("clock", written(now(), "time"));
  showAge();
  if (!document.querySelector(".stale")) age();
}

function setText(id, content) {
  const element = document.getElementById(id);
  if (element && element.textContent !== content) element.textContent = content;
}

export function offerCopies(scope = document) {
  if (!navigator.clipboard) return;
  for (const button of scope.querySelectorAll("[data-copy]")) button.hidden = false;
}

async function copy(button) {
  await navigator.clipboard.writeText(button.previousElementSibling.textContent.trim());
  button.classList.add("done");
  setTimeout(() => button.classList.remove("done"), 1500);
}

document.addEventListener("click", (event) => {
  event.target.closest("[data-dismiss]")?.parentElement.remove();
  const button = event.target.closest("[data-copy]");
  if (button) copy(button);
  const account = document.querySelector(".account[open]");
  if (account && !account.contains(event.target)) account.open = false;
});
offerCopies();
for (const button of document.querySelectorAll("[data-dismiss]")) button.hidden = false;
for (const button of document.querySelectorAll("[data-local]")) button.value = Intl.DateTimeFormat().resolvedOptions().timeZone;
