// The theme somebody chose, set before the first paint; without a choice the system decides.
(() => {
  let chosen = null;
  try { chosen = localStorage.getItem("nightdesk-theme"); } catch { /* storage is blocked: the system decides */ }
  if (chosen) document.documentElement.dataset.theme = chosen;
})();
