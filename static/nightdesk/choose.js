// Choosing rows of a list: with Shift all up to the last one, with the box in the header all on the page.
const ROWS = "tbody .pick input";
let last = null;

const rowsOf = (form) => [...form.querySelectorAll(ROWS)];
export const isChoosing = () => document.querySelector(`.choosing :is(${ROWS}, .bulk input):checked`) !== null;

function show(form) {
  const boxes = rowsOf(form), chosen = boxes.filter((box) => box.checked).length;
  const all = form.querySelector("[data-choose-all]"), words = form.querySelector("[data-chosen]");
  if (!all || !words) return;
  all.checked = chosen > 0 && chosen === boxes.length;
  all.indeterminate = chosen > 0 && !all.checked;
  words.textContent = words.dataset.chosen.replace("{n}", chosen);
  words.hidden = form.querySelector(".bulk input:checked") !== null;
}

// Also after the list has asked for itself anew: an answer may be under way while the first row is chosen.
function offer() {
  for (const all of document.querySelectorAll("[data-choose-all]")) all.parentElement.hidden = false;
  for (const form of document.querySelectorAll(".choosing")) if (isChoosing()) show(form);
}

document.addEventListener("click", (event) => {
  const box = event.target, form = box.closest?.(".choosing");
  if (!form || !box.matches(ROWS)) return;
  const boxes = rowsOf(form), from = boxes.indexOf(last), to = boxes.indexOf(box);
  if (event.shiftKey && from >= 0) {
    for (const between of boxes.slice(Math.min(from, to), Math.max(from, to) + 1)) between.checked = box.checked;
  }
  last = box;
});
document.addEventListener("change", (event) => {
  const form = event.target.closest(".choosing");
  if (!form) return;
  if (event.target.matches("[data-choose-all]")) for (const box of rowsOf(form)) box.checked = event.target.checked;
  show(form);
});
document.addEventListener("reset", (event) => setTimeout(() => show(event.target)));
document.addEventListener("htmx:after:swap", offer);
offer();
