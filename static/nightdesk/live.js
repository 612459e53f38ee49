// One socket a page. A silent socket is dead, whatever it says: close() waits for an answer that a closed
// lid or a frozen server never gives, so the watchdog leaves it behind and opens a new one.
const SILENT_AFTER = 12_000;  // the server sends a pulse every 5 s
const FIRST_WAIT = 500, LONGEST_WAIT = 5_000;
const SIGNED_OUT = 4401, OTHER_RIGHTS = 4405;

export function watch(topics, { onFrame, onState }) {
  let socket = null, heard = 0, failures = 0, timer = null, over = false;

  function open() {
    clearTimeout(timer);
    if (over) return;
    leave();
    const mine = (socket = new WebSocket(address()));
    heard = Date.now();
    mine.onopen = () => mine === socket && mine.send(JSON.stringify({ watch: topics }));
    mine.onmessage = (event) => mine === socket && hear(JSON.parse(event.data));
    mine.onclose = (event) => mine === socket && lost(event.code);
  }

  function hear(frame) {
    heard = Date.now();
    failures = 0;
    onState("live");
    if (frame.topic !== "pulse") onFrame(frame);
  }

  function lost(code) {
    leave();
    if (code === OTHER_RIGHTS) return location.reload();
    over = code === SIGNED_OUT;
    onState(over ? "out" : "stale");
    if (!over) again();
  }

  function again() {
    const wait = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** failures++);
    clearTimeout(timer);
    timer = setTimeout(open, wait * (0.75 + Math.random() / 2));
  }

  function leave() {
    const left = socket;
    socket = null;
    left?.close();
  }

  function check() {
    if (socket && Date.now() - heard > SILENT_AFTER) lost(null);
  }

  function wake() {
    if (document.hidden || over) return;
    if (!socket || Date.now() - heard > SILENT_AFTER / 2) open();
  }

  setInterval(check, 1000);
  document.addEventListener("visibilitychange", wake);
  addEventListener("online", wake);
  addEventListener("pagehide", leave);
  addEventListener("pageshow", (event) => event.persisted && open());
  open();
}

function address() {
  const url = new URL(document.body.dataset.socket, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  return url;
}
