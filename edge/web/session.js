// The numbers of every channel: which events to pass on, hold back, drop or ask for.
//
// One rule (P19): seq == last + 1 is passed on; a lower one is a duplicate; a higher one is held, and the
// server is asked to resume after the last one. Heads in a ping reveal what was lost without a trace (P8).
// A gap or reset is passed on, never skipped over.

const HELD_MAX = 512;
const EARLY_MAX = 100;
const CURSORS_MAX = 500;

export class Session {
  #tracks = new Map();
  #early = new Map();
  #asking = new Set();
  #returning = new Set();
  #returned = { count: 0, channels: 0, holes: 0 };

  /** `on` has event(frame), gap(channel, gap), reset(frame), ended(channel), resumed(summary). */
  constructor(on) {
    this.on = on;
  }

  /** The last event of a channel that was passed on; 0 when it is not followed. */
  last(channel) {
    return this.#tracks.get(channel)?.seq ?? 0;
  }

  /** The cursors for hello: where every channel stands. Those beyond a frame's limit follow by `ask`. */
  cursors() {
    this.#early.clear();
    this.#asking.clear();
    this.#returned = { count: 0, channels: 0, holes: 0 };
    for (const [channel, track] of this.#tracks) {
      track.held.clear();
      track.asked = false;
      this.#ask(channel, track);
    }
    this.#returning = new Set(this.#asking);
    return this.#take();
  }

  /** A resume frame for the channels that have to be asked for, or null. */
  ask() {
    const cursors = this.#take();
    return Object.keys(cursors).length ? { type: "resume", cursors } : null;
  }

  /** The user is a member of this channel: follow it from its head, if it is not followed yet. */
  announce(info) {
    if (this.#tracks.has(info.id)) return;
    const track = { epoch: info.epoch, seq: info.head, seen: info.head, head: info.head, asked: false };
    track.held = this.#early.get(info.id) ?? new Map();
    this.#early.delete(info.id);
    this.#tracks.set(info.id, track);
    this.#drain(info.id, track);
  }

  /** The user is no member any more. */
  forget(channel) {
    this.#tracks.delete(channel);
    this.#early.delete(channel);
    this.#asking.delete(channel);
    this.#return(channel, 0, false);
  }

  event(frame) {
    const track = this.#tracks.get(frame.channel);
    if (!track) {
      this.#keepEarly(frame);
    } else if (frame.seq === track.seq + 1) {
      this.#pass(track, frame);
      if (track.held.size) this.#drain(frame.channel, track);
    } else if (frame.seq > track.seq) {
      if (track.held.size < HELD_MAX) track.held.set(frame.seq, frame);
      this.#ask(frame.channel, track);
    }
  }

  resumed(frame) {
    const track = this.#tracks.get(frame.channel);
    if (!track) return;
    track.asked = false;
    if (frame.gap) this.#skip(frame.channel, track, frame.gap);
    this.#return(frame.channel, frame.count, Boolean(frame.gap));
    this.#drain(frame.channel, track);
    if (track.seq < frame.to && track.seq > track.askedAfter) this.#ask(frame.channel, track);
  }

  reset(frame) {
    const track = this.#tracks.get(frame.channel);
    if (!track) return;
    Object.assign(track, { epoch: frame.epoch, seq: frame.head, seen: frame.head, head: frame.head, asked: false });
    track.held.clear();
    this.on.reset(frame);
    this.#return(frame.channel, 0, true);
  }

  /** Ask for what the heads say we lack, unless it is still arriving. */
  heads(heads) {
    for (const [channel, head] of Object.entries(heads)) {
      const track = this.#tracks.get(channel);
      if (!track || head <= track.seq) continue;
      if (track.seq === track.seen || track.seq < track.head) {
        track.asked = false;
        this.#ask(channel, track);
      }
      track.seen = track.seq;
      track.head = head;
    }
  }

  #pass(track, frame) {
    track.seq = frame.seq;
    this.on.event(frame);
  }

  #drain(channel, track) {
    for (let next; (next = track.held.get(track.seq + 1)); ) {
      track.held.delete(next.seq);
      this.#pass(track, next);
    }
    for (const seq of track.held.keys()) if (seq <= track.seq) track.held.delete(seq);
    if (track.held.size) this.#ask(channel, track);
  }

  #skip(channel, track, gap) {
    if (gap.to == null) {
      this.forget(channel);
      this.on.ended(channel);
      return;
    }
    track.seq = Math.max(track.seq, gap.to);
    this.on.gap(channel, gap);
  }

  #keepEarly(frame) {
    const held = this.#early.get(frame.channel) ?? new Map();
    if (held.size >= HELD_MAX || (!held.size && this.#early.size >= EARLY_MAX)) return;
    this.#early.set(frame.channel, held.set(frame.seq, frame));
  }

  #ask(channel, track) {
    if (track.asked) return;
    track.asked = true;
    track.askedAfter = track.seq;
    this.#asking.add(channel);
  }

  #take() {
    const cursors = {};
    for (const channel of [...this.#asking].slice(0, CURSORS_MAX)) {
      this.#asking.delete(channel);
      const track = this.#tracks.get(channel);
      if (track) cursors[channel] = { epoch: track.epoch, seq: track.seq };
    }
    return cursors;
  }

  /** One answer to a cursor of hello; the last one completes the summary. */
  #return(channel, count, hole) {
    if (!this.#returning.delete(channel)) return;
    this.#returned.count += count;
    this.#returned.channels += count ? 1 : 0;
    this.#returned.holes += hole ? 1 : 0;
    if (!this.#returning.size) this.on.resumed(this.#returned);
  }
}
