// One WebSocket after another: opens, says hello, watches the heartbeat, and comes back after a loss.
//
//   connecting ──welcome──▶ live ──lost──▶ waiting ──time──▶ connecting
//                                    └──final code──▶ ended
//
// Waits grow with full jitter, so that clients which were cut off together do not return together. They
// shrink only after a session that held for a while, and do not grow when an edge that drains sends us
// elsewhere. The server's retry_after is the least wait (P10).

const FIRST_WAIT_MS = 500;
const WAIT_MAX_MS = 30_000;
const STABLE_MS = 10_000;
const GOING_AWAY = 4000;
const OPEN_DEADLINE_MS = 10_000;
const PROBE_DEADLINE_MS = 4_000;
const SILENCE_INTERVALS = 1.5;
const WATCH_MS = 500;

/** Whether coming back without a change would only fail again (P10). */
const isFinal = (code) => code === 1007 || code === 1009 || (code >= 4500 && code < 5000);

export class Connection {
  #socket = null;
  #timer = 0;
  #watch = 0;
  #ceilingMs = FIRST_WAIT_MS;
  #bye = null;
  #liveSinceMs = 0;
  #deadlineMs = Infinity;
  #silenceMs = OPEN_DEADLINE_MS;

  /** `on.hello()` gives the first frame, `on.frame(frame)` takes each, `on.state(state)` each change. */
  constructor(url, on) {
    this.url = url;
    this.on = on;
    this.state = { name: "ended", code: 0, reason: "not started" };
  }

  start() {
    this.#watch = setInterval(() => this.#watchOver(), WATCH_MS);
    this.#open();
  }

  /** Close for good; nothing is called any more. */
  stop() {
    clearInterval(this.#watch);
    clearTimeout(this.#timer);
    this.#drop();
  }

  /** Hand a frame to the socket. False: there is no session now. */
  send(frame) {
    if (this.state.name !== "live" || this.#socket.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }

  /** The machine woke up or the network is back: come back now, or make sure that the socket still lives. */
  hurry() {
    if (this.state.name === "waiting" || this.state.name === "ended") {
      clearTimeout(this.#timer);
      this.#open();
    } else if (this.send({ type: "ping" })) {
      this.#deadlineMs = Math.min(this.#deadlineMs, Date.now() + PROBE_DEADLINE_MS);
    }
  }

  #open() {
    this.#drop();
    this.#bye = null;
    this.#silenceMs = OPEN_DEADLINE_MS;
    this.#heard();
    this.#become({ name: "connecting" });
    const socket = new WebSocket(this.url);
    this.#socket = socket;
    socket.onopen = () => socket.send(JSON.stringify(this.on.hello()));
    socket.onmessage = (message) => this.#received(message.data);
    socket.onclose = (close) => this.#lost(close.code, close.reason);
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #received(text) {
    this.#heard();
    const parsed = JSON.parse(text);
    for (const frame of Array.isArray(parsed) ? parsed : [parsed]) this.#take(frame);
  }

  #take(frame) {
    if (frame.type === "welcome") {
      this.#silenceMs = frame.heartbeat_s * 1000 * SILENCE_INTERVALS;
      this.#liveSinceMs = Date.now();
      this.#heard();
      this.#become({ name: "live" });
    } else if (frame.type === "ping") {
      this.send({ type: "pong" });
    } else if (frame.type === "bye") {
      this.#bye = frame;
    }
    this.on.frame(frame);
  }

  #heard() {
    this.#deadlineMs = Date.now() + this.#silenceMs;
  }

  /** Wall time, not a timer: it goes on while the machine sleeps. */
  #watchOver() {
    const alive = this.state.name === "connecting" || this.state.name === "live";
    if (alive && Date.now() >= this.#deadlineMs) this.#lost(4001, "heartbeat_timeout");
  }

  #lost(code, reason) {
    const wasLive = this.state.name === "live";
    this.#drop();
    if (wasLive && Date.now() - this.#liveSinceMs >= STABLE_MS) this.#ceilingMs = FIRST_WAIT_MS;
    const final = this.#bye ? !this.#bye.resumable : isFinal(code);
    if (final) {
      this.#become({ name: "ended", code: this.#bye?.code ?? code, reason: this.#bye?.reason ?? reason });
      return;
    }
    const waitMs = (this.#bye?.retry_after_ms ?? 0) + Math.random() * this.#ceilingMs;
    const sentElsewhere = wasLive && this.#bye?.code === GOING_AWAY;
    if (!sentElsewhere) this.#ceilingMs = Math.min(WAIT_MAX_MS, this.#ceilingMs * 2);
    this.#timer = setTimeout(() => this.#open(), waitMs);
    this.#become({ name: "waiting", untilMs: Date.now() + waitMs, reason: this.#bye?.reason ?? reason });
  }

  #become(state) {
    this.state = state;
    this.on.state(state);
  }
}
