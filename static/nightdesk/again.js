// Asks for a part of the page anew over htmx when a frame says that it changed: at most every two seconds with
// jitter, so that a thousand pages don't ask at once, and never while nobody sees it.
const LEAST = 2000, JITTER = 600;

// Who is signed out meanwhile is sent to the sign-in page, which must not land in the middle of this one.
document.addEventListener("htmx:before:response", (event) => {
  if (!event.detail.ctx.response.raw.redirected) return;
  event.preventDefault();
  location.reload();
});

export function asker(part, { least = LEAST, mustWait = () => false, after = () => {} } = {}) {
  let wanted = false, asked = -Infinity, timer = null;

  async function ask() {
    timer = null;
    if (document.hidden || !wanted || mustWait()) return;
    wanted = false;
    asked = performance.now();
    const place = document.getElementById(part);
    if (!place) return;
    await htmx.ajax("GET", place.dataset.address, { source: place, target: place, select: `#${part}`, swap: "outerMorph" });
    after();
  }

  function plan() {
    const wait = Math.max(0, asked + least - performance.now()) + Math.random() * JITTER;
    timer ??= setTimeout(ask, wait);
  }

  document.addEventListener("visibilitychange", () => wanted && plan());
  return () => { wanted = true; plan(); };
}
