// The channels that the page knows: their numbers, their loaded events, and what was said about them.
// Frames come in from the client; the view reads `all`, `listed`, `current` and `summary`.

import { ChannelLog } from "./log.js";
import { Session } from "./session.js";

const TYPING_MS = 6_000;
const OPEN_EVENTS_MAX = 1_000;
const SHUT_EVENTS_MAX = 200;
const LOADED_CHANNELS_MAX = 20;
const LISTED_MAX = 1_000;
const LISTED_MS = 60_000;
const LOOKED_AT_MS = 3_000;

export class Channels {
  all = new Map();
  listed = new Map();
  isListed = false;
  current = "";
  summary = "";
  #listedMs = 0;
  #listTimer = 0;

  /** `on.changed()` after a change that no frame caused, `on.trouble(text)`, `on.event(event)` for each event. */
  constructor(http, on) {
    this.http = http;
    this.on = on;
    this.session = new Session({
      event: (event) => this.#event(event),
      gap: (id, gap) => this.all.get(id)?.log.skip(gap),
      reset: (frame) => this.#reset(frame),
      ended: (id) => this.ended(id),
      resumed: (summary) => this.#resumed(summary),
    });
  }

  get open() {
    return this.all.get(this.current) ?? null;
  }

  /** Whether the event at this position has been shown, or never will be. */
  isHere(id, seq) {
    return !this.all.get(id)?.member || this.session.last(id) >= seq;
  }

  // ------------------------------------------------------------ what the user looks at

  /** Show a channel: its newest page is loaded if it was not. */
  async select(id) {
    this.open?.log.trim(SHUT_EVENTS_MAX);
    this.current = id;
    this.on.changed();
    const channel = this.all.get(id) ?? (await this.#preview(id));
    if (!channel || this.current !== id) return;
    channel.openedMs = Date.now();
    channel.unreadAfter = channel.info.unread ? channel.info.read : null;
    this.#forgetLongUnopened();
    this.on.changed();
    if (!channel.log.events.length) await this.older();
  }

  /** Load the page before the oldest loaded event; after a failure only when the user asks `again`. */
  async older(again = false) {
    const channel = this.open;
    if (!channel || channel.loading || channel.log.low <= 1 || (channel.stuck && !again)) return;
    await this.#load(channel, async (log) => {
      const { low } = log;
      const { events } = await this.http.before(channel.info.id, low);
      return log.low !== low || log.prepend(events);
    });
  }

  /** Load what a named gap left out. */
  async fill(gap) {
    const channel = this.open;
    if (!channel || channel.loading) return;
    await this.#load(channel, async (log) => {
      const { events } = await this.http.after(channel.info.id, gap.from);
      return !log.gaps.includes(gap) || log.fill(gap, events);
    });
  }

  /** After a reconnect, and now and then: spread, because when all ask at once lists are half of the work. */
  listIfOld() {
    if (Date.now() - this.#listedMs > LISTED_MS * (0.75 + Math.random() / 2)) this.list();
  }

  /** The user looks at the list: what others have created shows now, or in a moment if it was just asked for. */
  listSoon() {
    const waitMs = Math.max(0, this.#listedMs + LOOKED_AT_MS - Date.now());
    this.#listTimer ||= setTimeout(() => this.list(), waitMs);
  }

  stop() {
    clearTimeout(this.#listTimer);
  }

  /** Ask which channels there are, also public ones that the user has not joined. */
  async list() {
    const listed = new Map();
    clearTimeout(this.#listTimer);
    this.#listTimer = 0;
    this.#listedMs = Date.now();
    try {
      for (let after, more = true; more && listed.size < LISTED_MAX; ) {
        const page = await this.http.channels(after);
        for (const info of page.channels) listed.set(info.id, info);
        after = page.channels.at(-1)?.id;
        more = Boolean(page.more && after);
      }
      this.listed = listed;
      this.isListed = true;
      this.on.changed();
    } catch (error) {
      this.on.trouble(`The list of channels could not be loaded: ${error.message}`);
    }
  }

  // ------------------------------------------------------------ what the server says

  /** The user is a member. */
  member(info) {
    const channel = this.all.get(info.id) ?? blank(info);
    if (!channel.member) channel.log.restart(info.head);
    Object.assign(channel, { info: { ...info }, member: true, ended: false, stuck: false });
    this.all.set(info.id, channel);
    this.session.announce(info);
    if (info.id === this.current && !channel.openedMs) this.select(info.id);
    else if (info.id === this.current && !channel.log.events.length) this.older();
  }

  /** The user is no member any more. */
  ended(id) {
    this.session.forget(id);
    const channel = this.all.get(id);
    if (!channel?.member) return;
    Object.assign(channel, { member: false, ended: true });
    channel.info.unread = 0;
    if (id !== this.current) this.all.delete(id);
    this.list();
  }

  typing({ channel: id, user }) {
    this.all.get(id)?.typing.set(user, Date.now() + TYPING_MS);
    setTimeout(() => this.on.changed(), TYPING_MS + 50);
  }

  /** Who types in a channel now. */
  typists(channel) {
    const nowMs = Date.now();
    return [...channel.typing].filter(([, untilMs]) => untilMs > nowMs).map(([user]) => user);
  }

  read({ channel: id, seq, unread }) {
    const info = this.all.get(id)?.info;
    if (info && seq >= info.read) Object.assign(info, { read: seq, unread });
  }

  #event(event) {
    const channel = this.all.get(event.channel);
    if (!channel) return;
    const { info, log } = channel;
    if (event.seq > info.head) {
      info.head = event.seq;
      if (event.kind === "message.posted") info.unread += 1;
      describe(info, event);
    }
    channel.typing.delete(event.author);
    if (channel.openedMs) log.append(event);
    else log.restart(event.seq);
    if (log.events.length > OPEN_EVENTS_MAX) log.trim(OPEN_EVENTS_MAX / 2);
    this.on.event(event);
  }

  #reset(frame) {
    const channel = this.all.get(frame.channel);
    if (!channel) return;
    channel.log.restart(frame.head);
    Object.assign(channel.info, { epoch: frame.epoch, head: frame.head, read: 0 });
    this.on.trouble(`The server restarted the log of ${channel.info.name || frame.channel} (${frame.reason}). Its messages are loaded anew.`);
    if (frame.channel === this.current) this.older();
  }

  #resumed({ count, channels, holes }) {
    const events = count === 1 ? "1 missed event" : `${count} missed events`;
    const where = channels > 1 ? ` in ${channels} channels` : "";
    this.summary = count ? `resumed, ${events} received${where}` : "resumed, nothing was missed";
    if (holes) this.summary += holes === 1 ? "; 1 channel has a hole" : `; ${holes} channels have a hole`;
  }

  // ------------------------------------------------------------ inside

  async #load(channel, page) {
    channel.loading = true;
    channel.stuck = true;
    this.on.changed();
    try {
      if (await page(channel.log)) channel.stuck = false;
      else this.on.trouble("The server did not have these messages.");
    } catch (error) {
      this.on.trouble(`Messages could not be loaded: ${error.message}`);
    } finally {
      channel.loading = false;
      this.on.changed();
    }
  }

  /** A public channel of which the user is no member: its past can be read, nothing is live. */
  async #preview(id) {
    try {
      const info = await this.http.channel(id);
      if (!this.all.has(id)) this.all.set(id, blank({ read: 0, unread: 0, ...info }));
    } catch (error) {
      this.on.trouble(`This channel cannot be shown: ${error.message}`);
    }
    return this.all.get(id);
  }

  /** Bound what is kept: the channels that were not opened for longest keep only their numbers. */
  #forgetLongUnopened() {
    const opened = [...this.all.values()].filter((channel) => channel.openedMs);
    opened.sort((a, b) => b.openedMs - a.openedMs);
    for (const channel of opened.slice(LOADED_CHANNELS_MAX)) {
      channel.log.restart(channel.log.high);
      channel.openedMs = 0;
    }
  }
}

function blank(info) {
  return {
    info: { ...info },
    log: new ChannelLog(info.head),
    typing: new Map(),
    member: false,
    ended: false,
    loading: false,
    stuck: false,
    unreadAfter: null,
    openedMs: 0,
  };
}

function describe(info, event) {
  if (event.kind === "channel.renamed") info.name = event.name;
  else if (event.kind === "channel.topic_set") info.topic = event.topic;
  else if (event.kind === "channel.archived") info.archived = true;
  else if (event.kind === "channel.unarchived") info.archived = false;
  else if (event.kind === "member.joined" || event.kind === "member.invited") info.members += 1;
  else if (event.kind === "member.left" || event.kind === "member.removed") info.members -= 1;
}
