// Keeps a rendered page true to the latest frame. The marks are those of dashboard/templatetags/nightdesk.py:
// data-key (what), data-as (how), data-of (made of), data-when (shown while), data-badge, data-href, data-spark,
// data-share, and data-rows: a table body whose rows are found by id. Everything goes through textContent.
import { NOT_APPLICABLE, address, written } from "./format.js";

const MARKS = "[data-key],[data-when],[data-badge],[data-href],[data-spark],[data-share],[data-tone-of]";
const MARKED_FOR = 2000;
const marked = new WeakMap();  // scope -> its own elements, without those of rows inside it
let offset = 0;  // the server's clock less ours, in seconds

export const found = (data, path) => path.split(".").reduce((value, name) => value?.[name], data) ?? null;
export const now = () => Date.now() / 1000 + offset;

export function bind(scope, data, at = data.at) {
  if (at) offset = at - Date.now() / 1000;
  for (const element of marksOf(scope)) follow(element, data);
  for (const body of scope.querySelectorAll("[data-rows]")) patchRows(body, found(data, body.dataset.rows) ?? []);
}

function marksOf(scope) {
  const known = marked.get(scope);
  if (!known?.every((element) => element.isConnected)) {
    const own = [scope, ...scope.querySelectorAll(MARKS)].filter(
      (element) => element.matches(MARKS) && (element.closest("[data-row]") ?? scope) === scope);
    marked.set(scope, own);
  }
  return marked.get(scope);
}

function follow(element, data) {
  const marks = element.dataset;
  if (marks.when) element.hidden = !isOne(marks.when, data);
  if (marks.toneOf) element.dataset.state = found(data, marks.toneOf);
  if (marks.badge) setBadge(element, found(data, marks.badge));
  if (marks.href) element.setAttribute("href", address(marks.href, data));
  if (marks.spark) setSpark(element, found(data, marks.spark) ?? []);
  if (marks.share) setShare(element, marks.share.split(" ").map((path) => found(data, path)));
  if (marks.key) setValue(element, found(data, marks.key), data);
}

function isOne(mark, data) {
  const [path, ...values] = mark.split(" ");
  const value = found(data, path);
  const known = value !== null;
  const filled = known && value !== 0 && value !== false && (value.length ?? Object.keys(value).length ?? 1) !== 0
    || typeof value === "number" && value !== 0;
  const words = { known, unknown: !known, some: filled, zero: known && !filled, one: value === 1,
    many: typeof value === "number" && value > 1 };
  return values.some((word) => words[word] ?? value === word);
}

function setValue(element, value, data) {
  const { as: form, of: parts } = element.dataset;
  if (element.tagName === "TIME") {
    element.dataset.epoch = value ?? "";
    element.title = value === null ? "" : written(value, "moment", now());
  }
  const none = parts && parts.split(" ").every((path) => found(data, path) === 0);
  const content = none ? NOT_APPLICABLE : form === "json" ? JSON.stringify(value) : written(value, form, now());
  if (["count", "rate", "name"].includes(form)) setExact(element, value, form);
  setText(element, content);
}

function setExact(element, value, form) {
  if (value === null) element.removeAttribute("title");
  else element.title = form === "count" ? written(value, "exact", now()) : value;
}

// Characters that turn round or hide what stands beside them are written out, as by dashboard/inert.py.
const TURNS = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;
const inert = (text) => text.replace(TURNS, (turn) => `\\u${turn.charCodeAt(0).toString(16).padStart(4, "0")}`);

function setText(element, raw) {
  const content = inert(raw);
  if ((element.dataset.rich ? [...element.children].map((part) => part.textContent).join(" ") : element.textContent)
    === content) return;
  if (element.dataset.rich) element.replaceChildren(...content.split(" ").map(token));
  else element.textContent = content;
  if (element.dataset.mark) mark(element.closest("td"));
}

function token(content, place) {
  const part = document.createElement("span");
  if (place % 2) part.className = "unit";
  part.textContent = content;
  return part;
}

function setBadge(element, state) {
  if (element.firstElementChild?.dataset.state === state) return;
  const badges = document.getElementById("badges").content;
  const known = [...badges.children].find((badge) => badge.dataset.state === state);
  const badge = (known ?? badges.querySelector('[data-state="unknown"]')).cloneNode(true);
  element.replaceChildren(badge);
  mark(element.closest("td"));
}

function setSpark(path, values) {
  const height = Number(path.dataset.height);
  path.setAttribute("d", spark(values, height, Number(path.dataset.full) || null));
  path.ownerSVGElement.setAttribute("viewBox", `0 0 ${Math.max(1, values.length * 4 - 1)} ${height}`);
}

// Bars 3 wide and 4 apart, the same as `spark` in dashboard/charts.py: zero is a line, not known is nothing.
export function spark(values, height, full = null) {
  const known = values.filter((value) => value !== null);
  const top = full || Math.max(0, ...known) || 1;
  return values.map((value, place) => (value === null ? "" : bar(place * 4, tall(value, top, height), height))).join("");
}

const tall = (value, top, height) =>
  Math.max(1, Math.floor(Math.min(1, Math.max(0, value / top)) * (height - 1) * 10 + 0.5) / 10);
const bar = (left, size, height) => `M${left} ${height}h3v-${size}h-3z`;

function setShare(rect, [part, whole = 1]) {
  rect.setAttribute("width", part && whole ? Math.min(100, (100 * part) / whole).toFixed(1) : 0);
}

function mark(cell) {
  if (!cell) return;
  cell.classList.add("changed");
  setTimeout(() => cell.classList.remove("changed"), MARKED_FOR);
}

// Rows under the pointer, or holding the focus, stay where they are: their cells change, their order waits.
function patchRows(body, rows) {
  const present = new Map([...body.children].map((row) => [row.dataset.row, row]));
  const held = body.matches(":hover, :focus-within");
  const wanted = rows.map((data) => rowFor(body, present, data, held)).filter(Boolean);
  if (held) return;
  for (const row of present.values()) if (!wanted.includes(row)) row.remove();
  wanted.forEach((row, place) => {
    if (body.children[place] !== row) body.insertBefore(row, body.children[place] ?? null);
  });
}

function rowFor(body, present, data, held) {
  const id = String(data[body.dataset.id]);
  const row = present.get(id) ?? (held ? null : freshRow(body, id, data));
  if (row) bind(row, data, null);
  return row;
}

// Rows of several kinds have a template for each: data-kind says which value tells them apart.
function freshRow(body, id, data) {
  const templates = [...body.closest(".roll").querySelectorAll("template")];
  const { kind } = body.dataset;
  const template = kind ? templates.find((each) => each.dataset.kind === data[kind]) : templates[0];
  if (!template) return null;
  const row = template.content.firstElementChild.cloneNode(true);
  row.dataset.row = id;
  return row;
}

// Ages grow between frames.
export function age() {
  for (const element of document.querySelectorAll('time[data-as="ago"]')) {
    const { epoch } = element.dataset;
    setText(element, written(epoch === "" ? null : Number(epoch), "ago", now()));
  }
  for (const element of document.querySelectorAll("[data-until]")) {
    if (now() >= Number(element.dataset.until)) setText(element, element.dataset.due);
  }
}
