// The keys, as the sheet lists them (dashboard/keys.py): read there, never named here. Single keys rest while somebody
// types, while a dialog is open, and where they are switched off. And the palette, one box that finds everything.
const PATIENCE = 1500, WAIT = 120;  // milliseconds: between the two keys of a pair, after the last letter in the box
const TYPING = "textarea, select, input:not([type=checkbox], [type=radio])";
const SEARCH = "main [role=search] :is(input[type=search], input[type=text], input:not([type]))";
const BUTTONS = "main :is(.head, .verdict) .does :is(a, button):not([aria-disabled=true])";
const sheet = document.getElementById("keys"), single = sheet.querySelector("[data-single]");
const palette = document.getElementById("palette"), box = palette.querySelector("input");
const list = palette.querySelector("[role=listbox]"), told = palette.querySelector("[role=status]");
const known = new Map([...sheet.querySelectorAll("[data-keys]")].map((row) => [row.dataset.keys, row.dataset]));
const deeds = {
  go: ({ address }) => location.assign(address), palette: openPalette, sheet: () => sheet.showModal(),
  find: () => (document.querySelector(SEARCH) ?? { focus: openPalette }).focus(),
  next: () => step(1), previous: () => step(-1),
  choose: () => document.activeElement.closest("tr")?.querySelector(".pick input")?.click(),
};
let begun = "", pressed = 0, wait = null, asked = 0, place = -1, here = [];

function press(event) {
  const held = event.ctrlKey || event.metaKey, rests = !single.checked || event.target.matches(TYPING);
  if (event.isComposing || event.altKey || (held ? event.shiftKey : rests) || document.querySelector("dialog[open]")) return;
  if (event.timeStamp - pressed > PATIENCE) begun = "";
  const keys = held ? `Mod+${event.key.toLowerCase()}` : begun + event.key, found = known.get(keys);
  pressed = event.timeStamp;
  begun = [...known.keys()].some((other) => other.startsWith(`${keys} `)) ? `${keys} ` : "";
  if (found) { event.preventDefault(); deeds[found.does](found); }
}

// Rows are gone through by their first link, so that Enter, focus and what is read aloud are the browser's own.
function step(by) {
  const rows = [...document.querySelectorAll("main :is(tbody tr, [data-item])")]
    .filter((row) => row.checkVisibility() && row.querySelector("a[href]"));
  const at = rows.indexOf(document.activeElement.closest("tr, [data-item]"));
  rows[Math.max(0, Math.min(rows.length - 1, at + by))]?.querySelector("a[href]").focus();
}

function openPalette() {
  here = [...document.querySelectorAll(BUTTONS)].filter((button) => button.checkVisibility())
    .map((button) => ({ name: button.textContent.trim(), kind: palette.dataset.here, button }));
  palette.showModal();
  place = -1;
  list.replaceChildren();
  box.select();
  look();
}

async function look() {
  const mine = ++asked, wanted = box.value.trim().toLowerCase();
  const address = `${box.form.action}?${new URLSearchParams({ q: box.value })}`;
  const answer = await fetch(address, { headers: { Accept: "application/json" } }).catch(() => null);
  if (answer?.redirected) return location.reload();
  const { found } = answer?.ok ? await answer.json() : { found: [] };
  if (mine !== asked) return;
  const shown = [...here.filter(({ name }) => name.toLowerCase().includes(wanted)), ...found];
  list.replaceChildren(...shown.map(option));
  told.textContent = told.dataset[answer?.ok ? (shown.length ? "some" : "none") : "silent"].replace("{n}", shown.length);
  if (wanted) choose(0);  // before anything is asked for Enter must do nothing of this page
}

function option({ name, kind, address, button }, at) {
  const item = palette.querySelector("template").content.firstElementChild.cloneNode(true);
  item.id = `found-${at}`;
  [name, kind].forEach((text, part) => { item.children[part].textContent = text; });
  item.addEventListener("click", () => { palette.close(); button ? button.click() : location.assign(address); });
  return item;
}

function choose(wanted) {
  place = Math.max(0, Math.min(list.children.length - 1, wanted));
  [...list.children].forEach((item, at) => { item.ariaSelected = String(at === place); });
  list.children[place]?.scrollIntoView({ block: "nearest" });
  box.setAttribute("aria-activedescendant", list.children[place]?.id ?? "");
}

try { single.checked = localStorage.getItem("nightdesk-keys") !== "off"; } catch { /* storage is blocked: on */ }
single.addEventListener("change", () => localStorage.setItem("nightdesk-keys", single.checked ? "" : "off"));
document.addEventListener("keydown", press);
document.addEventListener("click", (event) => {
  const { opens } = event.target.closest("[data-opens]")?.dataset ?? {};
  if (opens) { event.preventDefault(); deeds[opens](); }
});
// What was found is of earlier letters: until the answer is there, Enter asks for the page of the box instead.
box.addEventListener("input", () => { asked += 1; place = -1; clearTimeout(wait); wait = setTimeout(look, WAIT); });
box.addEventListener("keydown", (event) => {
  const by = { ArrowDown: 1, ArrowUp: -1 }[event.key], goes = event.key === "Enter" && list.children[place];
  if (by || goes) event.preventDefault();
  if (by) choose(place + by);
  if (goes) goes.click();
});
