// How numbers and times are written: the same rules as dashboard/formats.py, held together by
// tests/format_cases.json. Each gives text in which numbers and units alternate: "3 min 12 s".

const UNKNOWN = "?";
export const NOT_APPLICABLE = "–";
const MINUTE = 60, HOUR = 3600, DAY = 86400;

const rounded = (value, digits = 0) => Math.floor(value * 10 ** digits + 0.5) / 10 ** digits;
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const grouped = (whole) => String(whole).replace(/\B(?=(\d{3})+$)/g, ",");
const pad = (whole) => String(whole).padStart(2, "0");
const utc = (value) => new Date(Math.floor(value) * 1000);

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
  for (const [size, unit] of [[DAY, "d"], [HOUR, "h"], [MINUTE, "min"]]) {
    if (whole >= size) return `${Math.floor(whole / size)} ${unit}`;
  }
  return `${whole} s`;
});

const day = (date) => `${date.getUTCFullYear()}-${pad(date.getUTCMonth() + 1)}-${pad(date.getUTCDate())}`;

const minute = ofNumber((value) => `${pad(utc(value).getUTCHours())}:${pad(utc(value).getUTCMinutes())}`);
const clock = ofNumber((value) => `${minute(value)}:${pad(utc(value).getUTCSeconds())}`);
const moment = ofNumber((value) => `${day(utc(value))} ${clock(value)} UTC`);
const stamp = ofNumber((value, now) => (day(utc(value)) === day(utc(now)) ? "" : `${day(utc(value))} `) + clock(value));

const isNothing = (value) => value === null || value === undefined || value === "";
const maybe = (value) => (isNothing(value) ? NOT_APPLICABLE : String(value));
const text = (value) => (isNothing(value) ? UNKNOWN : Array.isArray(value) ? value.join(", ") || NOT_APPLICABLE : String(value));
const name = (value) => text(isNothing(value) ? value : String(value).split(".").pop() || value);
const phase = (value) => (value === "PROGRESS" ? "" : text(value));

const FORMATS = { text, phase, name, maybe, exact, count, rate, percent, seconds, ago, clock, minute, moment, stamp };

export function written(value, form, now) {
  return FORMATS[form](value, now);
}

// `pattern` with each {name} replaced by the row's value; {job}, {queue}, {worker} by their page's place.
export function address(pattern, row) {
  return pattern.replace(/\{(\w+)\}/g, (_, name) => name in PLACES ? PLACES[name](row) : quoted(row[name] ?? ""));
}

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

function quoted(value) {
  return encodeURIComponent(value).replace(/[!'()*]/g, (c) => "%" + c.charCodeAt(0).toString(16).toUpperCase());
}

function jobPlace(taskId, id) {
  return /^[A-Za-z0-9_.:@-]+$/.test(taskId) && ![".", ".."].includes(taskId) ? taskId : `~${id}`;
}
