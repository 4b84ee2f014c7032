// Commands on their way: first in, first out per channel, at least once until answered.
//
//   waiting ──sent──▶ flying ──ack──▶ acked ──its event is here──▶ gone
//      ▲                │ └──refused──▶ failed ──retry (new id)──▶ waiting
//      └──lost / later──┘
//
// A command keeps its id through every retry, so a repetition can never record twice (P12). Only after a
// refusal, which is final for an id, does a retry get another. One command per channel is unanswered at a
// time: with more, one that is sent later could overtake one that the server postponed.
// Messages survive a reload of the page: they are kept in the tab's storage.

const ENTRIES_MAX = 500;
const LATER = new Set(["rate_limited", "unavailable", "unknown"]);
const LATER_MS = 1000;

export class Outbox {
  #entries = new Map();
  #storage;
  #key;

  constructor(storage, key) {
    this.#storage = storage;
    this.#key = key;
    for (const frame of this.#stored()) this.#entries.set(frame.id, entryOf(frame));
  }

  get size() {
    return this.#entries.size;
  }

  /** Take a command. `settled(ack, error)` is called with the one that comes. */
  add(frame, settled = () => {}) {
    if (this.#entries.size >= ENTRIES_MAX) throw new Error(`${ENTRIES_MAX} commands wait already`);
    this.#entries.set(frame.id, { ...entryOf(frame), settled });
    this.#store();
  }

  /** Messages of a channel that are not among its events up to `high` yet. */
  messages(channel, high) {
    return [...this.#entries.values()].filter(
      ({ frame, state, seq }) =>
        frame.type === "send" && frame.channel === channel && (state !== "acked" || seq > high),
    );
  }

  /** The frames that may be sent now; they count as flying. */
  take(nowMs) {
    const busy = new Set();
    const frames = [];
    for (const entry of this.#entries.values()) {
      const lane = entry.frame.channel ?? "";
      if (entry.state !== "waiting" && entry.state !== "flying") continue;
      if (!busy.has(lane) && entry.state === "waiting" && entry.notBeforeMs <= nowMs) {
        entry.state = "flying";
        frames.push(entry.frame);
      }
      busy.add(lane);
    }
    return frames;
  }

  /** Milliseconds until a postponed command may go on; Infinity if none waits. */
  nextMs(nowMs) {
    const later = [...this.#entries.values()].filter((e) => e.state === "waiting" && e.notBeforeMs > nowMs);
    return Math.min(Infinity, ...later.map((entry) => entry.notBeforeMs - nowMs));
  }

  /** The connection is lost: what flew is sent again, in the old order. */
  lost() {
    for (const entry of this.#entries.values()) if (entry.state === "flying") entry.state = "waiting";
  }

  /** An ack came. `here`: its event has been shown already, or never will be. */
  acked(ack, here) {
    const entry = this.#entries.get(ack.id);
    if (!entry) return;
    Object.assign(entry, { state: "acked", seq: ack.seq });
    if (here || entry.frame.type !== "send") this.#entries.delete(ack.id);
    this.#store();
    entry.settled(ack, null);
  }

  /** The command's own event is here: as good as an ack. */
  arrived(id, seq, channel) {
    const entry = this.#entries.get(id);
    if (!entry) return;
    this.#entries.delete(id);
    this.#store();
    if (entry.state !== "acked") entry.settled({ id, seq, channel }, null);
  }

  /** An error came: later means the same id again, anything else is final. */
  refused(error, nowMs) {
    const entry = this.#entries.get(error.id);
    if (!entry || entry.state === "acked") return;
    if (LATER.has(error.code)) {
      entry.state = "waiting";
      // Up to twice the time, by chance: those who were refused together must not come back together.
      entry.notBeforeMs = nowMs + (error.retry_after_ms ?? LATER_MS) * (1 + Math.random());
      return;
    }
    if (entry.frame.type === "send") Object.assign(entry, { state: "failed", error });
    else this.#entries.delete(error.id);
    this.#store();
    entry.settled(null, error);
  }

  /** Take a failed command back: gives its frame, to be added again under a new id. */
  takeBack(id) {
    const entry = this.#entries.get(id);
    if (entry?.state !== "failed") return null;
    this.#entries.delete(id);
    this.#store();
    return entry.frame;
  }

  #stored() {
    try {
      return JSON.parse(this.#storage.getItem(this.#key) ?? "[]");
    } catch {
      return [];
    }
  }

  #store() {
    const open = [...this.#entries.values()].filter((e) => e.state === "waiting" || e.state === "flying");
    const frames = open.map((entry) => entry.frame).filter((frame) => frame.type === "send");
    try {
      if (frames.length) this.#storage.setItem(this.#key, JSON.stringify(frames));
      else this.#storage.removeItem(this.#key);
    } catch {
      // A full or forbidden storage costs only the survival of a reload.
    }
  }
}

function entryOf(frame) {
  return { frame, state: "waiting", seq: 0, error: null, notBeforeMs: 0, settled: () => {} };
}
