// The open channel's events on the screen: kept at the end while the reader is there, kept still otherwise.

import { byId, reconcile, say } from "./dom.js";
import { dayOf, gapRow, messageRow, noteRow, pendingRow, ruleRow, toolbar } from "./message_row.js";

const NEAR_PX = 60;
const LOAD_PX = 200;
const TOGETHER_MS = 5 * 60_000;

export class MessageList {
  #known = new Map();
  #channel = "";
  #atEnd = true;
  #client = null;
  #toolbar = null;
  #toolbarSeq = 0;
  #drawing = false;

  /** `act(action, dataset, seq)` is called for the buttons of rows, `older()` and `seen()` by scrolling,
   * `again()` to load history that could not be loaded. */
  constructor({ act, older, again, seen }) {
    this.scroll = byId("scroll");
    this.list = byId("messages");
    this.older = older;
    this.seen = seen;
    this.list.addEventListener("click", (event) => {
      const button = event.target.closest("[data-action]");
      if (!button) return;
      event.preventDefault();
      act(button.dataset.action, button.dataset, Number(button.closest("[data-seq]")?.dataset.seq));
    });
    this.scroll.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.list.addEventListener("keydown", moveInToolbar);
    // Not pointerover: it also comes when rows move under a pointer that rests, and would take the focus away.
    this.list.addEventListener("pointermove", (event) => this.#offer(event.target), { passive: true });
    this.list.addEventListener("focusin", (event) => this.#offer(event.target));
    this.list.addEventListener("pointerleave", () => this.#withdraw(document.activeElement));
    this.list.addEventListener("focusout", (event) => this.#withdraw(event.relatedTarget));
    byId("newest").addEventListener("click", () => this.toEnd());
    byId("again").addEventListener("click", again);
  }

  /** Whether the newest message is in view. */
  get atEnd() {
    return this.#atEnd;
  }

  toEnd() {
    this.scroll.scrollTop = this.scroll.scrollHeight;
    this.#scrolled();
  }

  /** Bring a message into view; false if it is not loaded. */
  goTo(seq) {
    const row = byId(`m${seq}`);
    row?.scrollIntoView({ block: "center" });
    row?.classList.add("found");
    return Boolean(row);
  }

  show(client) {
    this.#client = client;
    const channel = client.channels.open;
    const id = channel?.info.id ?? "";
    if (id !== this.#channel) {
      this.#channel = id;
      this.#known.clear();
      this.list.replaceChildren();
      this.#atEnd = true;
    }
    const fromEnd = this.scroll.scrollHeight - this.scroll.scrollTop;
    this.scroll.setAttribute("aria-busy", String(Boolean(channel?.loading)));
    const focus = this.#toolbar?.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
    this.#drawing = true;
    reconcile(this.list, this.#known, channel ? rowsOf(channel, client) : []);
    this.#drawing = false;
    this.#offerAgain(focus);
    say(byId("top"), channel ? beginning(channel) : "");
    byId("again").hidden = !channel?.stuck || channel.loading;
    this.scroll.scrollTop = this.#atEnd ? this.scroll.scrollHeight : this.scroll.scrollHeight - fromEnd;
    this.#scrolled();
  }

  /** Put the toolbar into the row that the pointer or the keyboard is in. */
  #offer(target) {
    const row = target.closest?.(".row[id]");
    const seq = Number(row?.dataset.seq);
    if (!row?.querySelector(".more") || row.contains(this.#toolbar)) return;
    const { info, log } = this.#client.channels.open;
    const canModerate = info.role === "admin";
    this.#remove();
    this.#toolbar = toolbar(log.message(seq), { user: this.#client.user, canModerate });
    this.#toolbarSeq = seq;
    row.append(this.#toolbar);
  }

  /** Neither pointer nor keyboard is in the row any more. */
  #withdraw(focused) {
    const row = this.#toolbar?.parentElement;
    if (row && !this.#drawing && !row.contains(focused) && !row.matches(":hover")) this.#remove();
  }

  /** Removing what has the focus asks `#withdraw` again: there must be nothing left to withdraw. */
  #remove() {
    const old = this.#toolbar;
    this.#toolbar = null;
    old?.remove();
  }

  /** A row that was drawn anew lost its toolbar, and perhaps the focus in it. */
  #offerAgain(focus) {
    const row = this.#toolbar && !this.#toolbar.isConnected ? byId(`m${this.#toolbarSeq}`) : null;
    if (!row) return;
    this.#offer(row);
    if (focus) this.#toolbar.querySelector(`[data-focus="${CSS.escape(focus)}"]`)?.focus();
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroll;
    this.#atEnd = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    byId("newest").hidden = this.#atEnd;
    if (scrollTop < LOAD_PX) this.older();
    if (this.#atEnd) this.seen();
  }
}

/** One tab stop for the buttons of a message; the arrows move among them. */
function moveInToolbar(event) {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const toolbar = event.target.closest("[role=toolbar]");
  if (!step || !toolbar) return;
  event.preventDefault();
  const buttons = [...toolbar.children];
  buttons[(buttons.indexOf(event.target) + step + buttons.length) % buttons.length].focus();
}

function beginning({ log, loading, info }) {
  if (loading) return "Loading messages …";
  if (log.low <= 1) return info.head ? "This is the beginning of the channel." : "";
  return log.events.length ? `#${log.low} is the oldest that is loaded; scroll up for more.` : "";
}

function* rulesBefore(event, before, unread) {
  const day = dayOf(event);
  if (!before || dayOf(before) !== day) yield { key: `day ${event.seq}`, version: day, build: () => ruleRow("day", day) };
  if (unread) yield { key: "unread", version: event.seq, build: () => ruleRow("unread", "New") };
}

function rowsOf(channel, client) {
  const { info, log, member } = channel;
  const context = { user: client.user, member };
  const rows = [];
  let before = null;
  let unreadShown = channel.unreadAfter == null;
  for (const { message, note, gap } of log.rows()) {
    if (gap) {
      rows.push({ key: `gap ${gap.to}`, version: `${gap.from} ${channel.loading}`, build: () => gapRow(gap, channel.loading) });
      continue;
    }
    const event = note ?? message.posted;
    const unread = !unreadShown && event.seq > channel.unreadAfter && log.low <= channel.unreadAfter + 1;
    unreadShown ||= unread;
    rows.push(...rulesBefore(event, before, unread));
    if (note) rows.push({ key: note.seq, version: note.kind, build: () => noteRow(note) });
    else rows.push(messageRowOf(message, before, log, context));
    before = event;
  }
  for (const entry of client.outbox.messages(info.id, log.high)) {
    rows.push({ key: entry.frame.id, version: entry.state, build: () => pendingRow(entry, client.user) });
  }
  return rows;
}

function messageRowOf(message, before, log, context) {
  const { posted } = message;
  const follows =
    before?.kind === "message.posted" &&
    before.author === posted.author &&
    !posted.thread &&
    Date.parse(posted.ts) - Date.parse(before.ts) < TOGETHER_MS;
  const answered = posted.thread ? log.message(posted.thread) : null;
  return {
    key: message.seq,
    version: `${message.version} ${follows} ${context.member} ${answered?.version ?? ""}`,
    build: () => messageRow(message, { ...context, follows, answered }),
  };
}
