// One channel's events as far as they are loaded, and the messages that they make.
//
// Loaded is everything from `low` to `high`, except for named gaps. Live events come at the end, history
// at the beginning, so an edit may be known before its message. The fold does not depend on the order of
// arrival: per message the edit with the highest seq wins, per reaction and pin the last word, and a
// deletion is for ever (P22). What was erased is forgotten here, too: no text of it stays in memory.

/** Events whose own line is worth reading; edits, reactions and pins show on their message. */
const NOTED = /^(channel|member)\.|^void$|^user\.erased$|^messages\.expired$/;

/** Counts every change of any message, so that no two states of a row have one version. */
let changes = 0;

export class ChannelLog {
  #messages = new Map();
  /** User → below which number all that they said is erased. */
  #forgotten = new Map();
  /** Below this number all that was said has expired. */
  #expiredBelow = 0;

  constructor(head) {
    this.restart(head);
  }

  /** Forget everything: nothing is loaded, the next event is `head + 1`. */
  restart(head) {
    this.low = head + 1;
    this.high = head;
    this.events = [];
    this.gaps = [];
    this.#messages.clear();
    this.#forgotten.clear();
    this.#expiredBelow = 0;
  }

  /** The message at `seq` if it is loaded. */
  message(seq) {
    const message = this.#messages.get(seq);
    return message?.posted ? message : null;
  }

  append(event) {
    this.high = event.seq;
    this.events.push(event);
    this.#fold(event);
  }

  /** A page of history, ascending. False, and nothing changes, if it does not end right before `low`. */
  prepend(page) {
    if (!page.length || page.at(-1).seq !== this.low - 1 || !isContiguous(page)) return false;
    this.events.unshift(...page);
    this.low = page[0].seq;
    page.forEach((event) => this.#fold(event));
    return true;
  }

  /** The server named a hole at the end: from exclusive, to inclusive. */
  skip(gap) {
    if (gap.to <= this.high) return;
    if (!this.events.length && !this.gaps.length) {
      this.restart(gap.to);
      return;
    }
    this.gaps.push({ from: this.high, to: gap.to, reason: gap.reason });
    this.high = gap.to;
  }

  /** A page of history that follows the beginning of a gap. False if it does not. */
  fill(gap, page) {
    const fitting = page.filter((event) => event.seq <= gap.to);
    if (!fitting.length || fitting[0].seq !== gap.from + 1 || !isContiguous(fitting)) return false;
    const at = this.events.findIndex((event) => event.seq > gap.from);
    this.events.splice(at < 0 ? this.events.length : at, 0, ...fitting);
    gap.from = fitting.at(-1).seq;
    if (gap.from >= gap.to) this.gaps = this.gaps.filter((other) => other !== gap);
    fitting.forEach((event) => this.#fold(event));
    return true;
  }

  /** Keep the newest `count` events; older ones can be loaded again. */
  trim(count) {
    if (this.events.length <= count) return;
    this.events = count ? this.events.slice(-count) : [];
    this.low = this.events[0]?.seq ?? this.high + 1;
    this.gaps = this.gaps.filter((gap) => gap.from >= this.low);
    this.#messages.clear();
    this.events.forEach((event) => this.#fold(event));
  }

  /** What to show, ascending: {message}, {note} or {gap}. */
  rows() {
    const rows = [];
    let gap = 0;
    for (const event of this.events) {
      while (this.gaps[gap]?.to < event.seq) rows.push({ gap: this.gaps[gap++] });
      if (event.kind === "message.posted") rows.push({ message: this.#messages.get(event.seq) });
      else if (NOTED.test(event.kind)) rows.push({ note: event });
    }
    for (const rest of this.gaps.slice(gap)) rows.push({ gap: rest });
    return rows;
  }

  #fold(event) {
    const { kind, seq } = event;
    if (kind === "message.posted") {
      const message = this.#touch(seq);
      message.posted = event;
      const gone = Math.max(this.#forgotten.get(event.author) ?? 0, this.#expiredBelow);
      if (event.erased || message.erased || seq < gone) this.#empty(message);
    } else if (kind === "message.edited") {
      const message = this.#touch(event.ref);
      if (event.erased || message.erased || event.ref < this.#expiredBelow) this.#empty(message);
      else if (seq > message.edited) Object.assign(message, { edited: seq, text: event.text });
    } else if (kind === "message.erased") {
      this.#empty(this.#touch(event.ref), seq);
    } else if (kind === "user.erased") {
      this.#forgotten.set(event.user, seq);
      for (const message of this.#messages.values()) {
        if (message.posted?.author === event.user && message.seq < seq) this.#empty(this.#touch(message.seq), seq);
      }
    } else if (kind === "messages.expired") {
      this.#expiredBelow = Math.max(this.#expiredBelow, Math.min(event.before, seq));
      for (const message of this.#messages.values()) {
        if (message.seq < this.#expiredBelow) this.#empty(this.#touch(message.seq), message.erased ? 0 : seq);
      }
    } else if (kind === "message.deleted") {
      this.#touch(event.ref).deleted = event;
    } else if (kind === "reaction.added" || kind === "reaction.removed") {
      const word = `${event.emoji}\n${event.author}`;
      lastWord(this.#touch(event.ref).reactions, word, seq, kind === "reaction.added");
    } else if (kind === "pin.added" || kind === "pin.removed") {
      lastWord(this.#touch(event.ref).pin, "", seq, kind === "pin.added");
    }
  }

  /** Leave the number, the author and the time. `by`: the event that says so, if it is known. */
  #empty(message, by = 0) {
    Object.assign(message, { erased: true, erasedBy: message.erasedBy || by, edited: 0, text: "" });
    for (const event of this.events) {
      if (event === message.posted || (event.kind === "message.edited" && event.ref === message.seq)) Object.assign(event, { text: "", erased: true });
    }
  }

  #touch(seq) {
    let message = this.#messages.get(seq);
    if (!message) {
      message = { seq, posted: null, edited: 0, text: "", deleted: null, erased: false, erasedBy: 0, reactions: new Map(), pin: new Map(), version: 0 };
      this.#messages.set(seq, message);
    }
    message.version = changes += 1;
    return message;
  }
}

/** The text that a message has now. */
export const textOf = (message) => (message.edited ? message.text : message.posted.text);

/** Whether a message is pinned now. */
export const isPinned = (message) => Boolean(message.pin.get("")?.on);

/** Who reacted how: emoji → users, in the order of their reaction. */
export function reactionsOf(message) {
  const byEmoji = new Map();
  const words = [...message.reactions].filter(([, word]) => word.on).sort(([, a], [, b]) => a.seq - b.seq);
  for (const [key] of words) {
    const cut = key.lastIndexOf("\n"); // a user id holds no control character
    const emoji = key.slice(0, cut);
    const user = key.slice(cut + 1);
    byEmoji.set(emoji, [...(byEmoji.get(emoji) ?? []), user]);
  }
  return byEmoji;
}

function lastWord(words, key, seq, on) {
  if (seq > (words.get(key)?.seq ?? 0)) words.set(key, { seq, on });
}

function isContiguous(page) {
  return page.every((event, index) => index === 0 || event.seq === page[index - 1].seq + 1);
}
