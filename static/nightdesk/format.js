// How numbers and times are written: the same rules as dashboard/formats.py, held together by
// tests/format_cases.json. Each gives text in which numbers and units alternate: "3 min 12 s".

const UNKNOWN = "?";
export const NOT_APPLICABLE = "–";
const MINUTE = 60, HOUR = 3600, DAY = 86400;

const rounded = (value, digits = 0) => Math.floor(value * 10 ** digits + 0.5) / 10 ** digits;
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const grouped = (whole) => String(whole).replace(/\B(?=(\d{3})+$)/g, ",");

// What is no number is not known.
const ofNumber = (write) => (value, now) => (isNumber(value) ? write(value, now) : UNKNOWN);

const exact = ofNumber((value) => grouped(rounded(value)));

const count = ofNumber((value) => {
  if (rounded(value) < 10000) return exact(value);
  for (const [size, letter] of [[1e3, "K"], [1e6, "M"], [1e9, "G"]]) {
    for (const [digits, limit] of [[2, 10], [1, 100], [0, 1000]]) {
      const short = rounded(value / size, digits);
      if (short < limit) return short.toFixed(digits) + letter;
    }
  }
  return grouped(rounded(value / 1e9)) + "G";
});

const rate = ofNumber((value) => {
  if (value === 0) return "0";
  if (value < 0.005) return "<0.01";
  if (rounded(value, 2) < 0.1) return rounded(value, 2).toFixed(2);
  return rounded(value, 1) < 10 ? rounded(value, 1).toFixed(1) : count(value);
});

const percent = ofNumber((value) => {
  const tenths = rounded(value * 100, 1);
  if (value === 0 || value === 1) return `${value * 100} %`;
  if (tenths >= 100 && value < 1) return ">99.9 %";
  return tenths <= 0 ? "<0.1 %" : `${tenths.toFixed(1)} %`;
});

const seconds = ofNumber((value) => {
  if (value <= 0) return "0 s";
  if (value < 0.0005) return "<1 ms";
  if (rounded(value, 3) < 0.1) return `${rounded(value * 1000)} ms`;
  return rounded(value, 1) < 10 ? `${rounded(value, 1).toFixed(1)} s` : long(rounded(value));
});

function long(whole) {
  if (whole < MINUTE) return `${whole} s`;
  if (whole < HOUR) return two(whole, MINUTE, "min", 1, "s", 10);
  return whole < 2 * DAY ? two(whole, HOUR, "h", MINUTE, "min", 10) : `${Math.floor(whole / DAY)} d`;
}

function two(whole, large, largeUnit, small, smallUnit, enough) {
  const first = Math.floor(whole / large), second = Math.floor((whole % large) / small);
  return first >= enough || !second ? `${first} ${largeUnit}` : `${first} ${largeUnit} ${second} ${smallUnit}`;
}

const ago = ofNumber((value, now) => {
  const whole = rounded(Math.abs(now - value));
  const [size, unit] = [[DAY, "d"], [HOUR, "h"], [MINUTE, "min"]].find(([size]) => whole >= size) ?? [1, "s"];
  return `${Math.floor(whole / size)} ${unit}`;
});

// Times are in the zone of the page. Swedes write them as we do, but for the minus: "2026-11-22 20:03:05 GMT−3".
export const zone = document.documentElement.dataset.zone || "UTC";
const clocks = new Intl.DateTimeFormat("sv-SE", { timeZone: zone, timeZoneName: "shortOffset", year: "numeric",
  month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit" });
const local = (value) => clocks.format(Math.floor(value) * 1000).replace(/GMT(\+0$)?/, "UTC").replace("\u2212", "-");
const moment = ofNumber(local);
const clock = ofNumber((value) => local(value).slice(11, 19));
const minute = ofNumber((value) => local(value).slice(11, 16));
const time = ofNumber((value) => `${minute(value)} ${local(value).slice(20)}`);
const stamp = ofNumber((value, now) => local(value).slice(local(value).slice(0, 10) === local(now).slice(0, 10) ? 11 : 0, 19));

const isNothing = (value) => value === null || value === undefined || value === "";
const maybe = (value) => (isNothing(value) ? NOT_APPLICABLE : String(value));
const text = (value) => (isNothing(value) ? UNKNOWN : Array.isArray(value) ? value.join(", ") || NOT_APPLICABLE : String(value));
const name = (value) => text(isNothing(value) ? value : String(value).split(".").pop() || value);
const phase = (value) => (value === "PROGRESS" ? "" : text(value));

const FORMATS = { text, phase, name, maybe, exact, count, rate, percent, seconds, ago, clock, minute, moment, stamp, time };

export const written = (value, form, now) => FORMATS[form](value, now);

// `pattern` with each {name} replaced by the row's value; {job}, {queue}, {worker} by their page's place.
export const address = (pattern, row) =>
  pattern.replace(/\{(\w+)\}/g, (_, name) => name in PLACES ? PLACES[name](row) : quoted(row[name] ?? ""));

const PLACES = {
  job: (row) => jobPlace(row.task_id ?? "", row.id ?? 0),
  queue: (row) => queuePlace(row.name ?? ""),
  worker: (row) => jobPlace(row.name ?? "", row.id ?? 0),
};

function queuePlace(name) {
  if (/^[A-Za-z0-9_.:@-]{1,255}$/.test(name) && ![".", ".."].includes(name)) return name;
  const bytes = String.fromCharCode(...new TextEncoder().encode(name));
  return "~" + btoa(bytes).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

const quoted = (value) =>
  encodeURIComponent(value).replace(/[!'()*]/g, (c) => "%" + c.charCodeAt(0).toString(16).toUpperCase());
const jobPlace = (taskId, id) =>
  /^[A-Za-z0-9_.:@-]+$/.test(taskId) && ![".", ".."].includes(taskId) ? taskId : `~${id}`;
