// One line of a channel: a message, a message on its way, a note about the channel, or a gap.

import { h } from "./dom.js";
import { isPinned, reactionsOf, textOf } from "./log.js";

export const QUICK = ["👍", "❤️", "😂", "🎉", "👀"];
const LINK = /(https?:\/\/[^\s<>"]+[^\s<>"'.,;:!?)\]])/;
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });
const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "full" });

const days = new WeakMap();

/** The day of an event in words; formatting is slow, so each is done once. */
export function dayOf(event) {
  if (!days.has(event)) days.set(event, DAY.format(new Date(event.ts)));
  return days.get(event);
}

/** A message with its number. `context`: {user, member, follows, answered}. */
export function messageRow(message, context) {
  const { posted, seq } = message;
  const body = message.erased || message.deleted
    ? h("p", { class: "text tombstone" }, tombstone(message))
    : h("p", { class: "text" }, ...linked(textOf(message)), message.edited ? h("span", { class: "edited" }, ` (edited, #${message.edited})`) : null);
  return h(
    "li",
    { class: context.follows ? "row follows" : "row", id: `m${seq}`, "data-seq": seq },
    h("span", { class: "seq" }, `#${seq}`),
    h(
      "div",
      { class: "body" },
      heading(posted, context.follows),
      posted.thread ? answered(posted.thread, context.answered) : null,
      body,
      message.deleted ? null : reactions(message, context),
    ),
    context.member && !message.deleted && !message.erased
      ? h("button", { type: "button", class: "more", "data-focus": "more", "aria-label": `Actions for #${seq}` }, "⋯")
      : null,
  );
}

function tombstone({ erased, erasedBy, deleted }) {
  if (erased) return erasedBy ? `erased, #${erasedBy}` : "erased";
  return `deleted by ${deleted.author}, #${deleted.seq}`;
}

/** A message that is on its way, or was refused. */
export function pendingRow(entry, user) {
  const failed = entry.state === "failed";
  const known = { waiting: "waiting to be sent", flying: "sending", acked: "recorded", failed: "not sent" }[entry.state];
  return h(
    "li",
    { class: failed ? "row failed" : `row pending ${entry.state}`, "data-state": entry.state, "data-id": entry.frame.id },
    h("span", { class: "seq", title: known }, entry.state === "acked" ? `#${entry.seq}` : failed ? "!" : "…"),
    h(
      "div",
      { class: "body" },
      h("p", { class: "head" }, h("b", {}, user), h("span", { class: "state" }, failed ? `not sent: ${entry.error.message}` : known)),
      h("p", { class: "text" }, entry.frame.text),
      failed &&
        h(
          "p",
          { class: "choices" },
          h("button", { type: "button", "data-action": "retry", "data-id": entry.frame.id }, "Try again"),
          h("button", { type: "button", class: "quiet", "data-action": "discard", "data-id": entry.frame.id }, "Discard"),
        ),
    ),
  );
}

/** An event about the channel itself. */
export function noteRow(event) {
  return h(
    "li",
    { class: "row note", "data-seq": event.seq },
    h("span", { class: "seq" }, `#${event.seq}`),
    h("p", { class: "body" }, told(event), " ", time(event)),
  );
}

/** A hole that the server named. */
export function gapRow(gap, loading) {
  const reason = { too_far: "too many to send at once", retention: "no longer kept", unavailable: "not reachable then" };
  const size = gap.to - gap.from;
  return h(
    "li",
    { class: "row gap", "data-gap": `${gap.from}-${gap.to}` },
    h("span", { class: "seq", "aria-hidden": "true" }, "⋯"),
    h(
      "p",
      { class: "body" },
      `#${gap.from + 1} to #${gap.to} are missing here (${reason[gap.reason] ?? gap.reason}). `,
      h("button", { type: "button", "data-action": "fill", "data-from": gap.from, disabled: loading }, `Load ${size} missing events`),
    ),
  );
}

/** A line that is no event: a new day, or where the unread messages begin. */
export function ruleRow(kind, text) {
  return h("li", { class: `rule ${kind}` }, h("span", {}, text));
}

function heading(posted, follows) {
  const author = h("b", { class: "author" }, posted.author);
  author.style.setProperty("--hue", hueOf(posted.author));
  const via = posted.imported ? h("span", { class: "state" }, `imported, written ${FULL.format(new Date(posted.imported.at))}`) : null;
  return h("p", { class: follows ? "head hidden" : "head" }, author, time(posted), via);
}

function time(event) {
  const at = new Date(event.ts);
  return h("time", { datetime: event.ts, title: FULL.format(at) }, CLOCK.format(at));
}

function answered(thread, message) {
  const text = message && !message.deleted && !message.erased ? `${message.posted.author}: ${textOf(message)}` : "an earlier message";
  return h("p", { class: "answers" }, "answers ", h("a", { href: `#m${thread}`, "data-action": "goto", "data-seq": thread }, `#${thread} ${text}`));
}

function reactions(message, { user, member }) {
  const all = [...reactionsOf(message)];
  if (!all.length && !isPinned(message)) return null;
  const buttons = all.map(([emoji, users]) =>
    h(
      "button",
      {
        type: "button",
        class: "reaction",
        "data-action": users.includes(user) ? "unreact" : "react",
        "data-emoji": emoji,
        "data-focus": `reaction ${emoji}`,
        "aria-pressed": String(users.includes(user)),
        "aria-label": `${emoji} ${users.length}, from ${users.join(", ")}`,
        title: users.join(", "),
        disabled: !member,
      },
      `${emoji} ${users.length}`,
    ),
  );
  return h("p", { class: "reactions" }, isPinned(message) ? h("span", { class: "pinned" }, "pinned") : null, ...buttons);
}

/** What can be done with a message. Only one is in the page at a time: thousands would make it slow. */
export function toolbar(message, { user, canModerate }) {
  const own = message.posted.author === user;
  const button = (action, label, text, more = {}) =>
    h("button", { type: "button", "data-action": action, "data-focus": label, "aria-label": `${label} #${message.seq}`, title: label, tabindex: -1, ...more }, text);
  return h(
    "div",
    { class: "actions", role: "toolbar", "aria-label": `Message #${message.seq}` },
    ...QUICK.map((emoji, index) => button("react", `React ${emoji} to`, emoji, { "data-emoji": emoji, tabindex: index ? -1 : 0 })),
    button("answer", "Answer", "Answer"),
    own ? button("edit", "Edit", "Edit") : null,
    own || canModerate ? button("delete", "Delete", "Delete") : null,
  );
}

function told(event) {
  const { author, user } = event;
  const telling = {
    "channel.created": () => `${author} created the channel`,
    "channel.renamed": () => `${author} named the channel ${event.name}`,
    "channel.topic_set": () => (event.topic ? `${author} set the topic: ${event.topic}` : `${author} removed the topic`),
    "channel.archived": () => `${author} archived the channel`,
    "channel.unarchived": () => `${author} opened the channel again`,
    "member.joined": () => `${author} joined`,
    "member.left": () => `${author} left`,
    "member.invited": () => `${author} added ${user}`,
    "member.removed": () => `${author} removed ${user}`,
    "member.role_changed": () => `${author} made ${user} ${event.role === "admin" ? "an admin" : "a member"}`,
    "channel.retention_set": () => `${author} lets messages be kept ${event.days ? `for ${event.days} days` : "for ever"}`,
    "messages.expired": () => `what was said before ${event.older_than.slice(0, 10)} has expired`,
    "user.erased": () => `what ${user} had said here was erased`,
    void: () => `an event${author ? ` of ${author}` : ""} had no effect: it was not allowed here`,
  };
  return telling[event.kind]?.() ?? event.kind;
}

/** The text with its addresses as links; everything stays a text node. */
function linked(text) {
  return text.split(LINK).map((part, index) =>
    index % 2 ? h("a", { href: part, target: "_blank", rel: "noopener noreferrer" }, part) : part,
  );
}

function hueOf(name) {
  let hash = 0;
  for (const character of name) hash = (hash * 31 + character.codePointAt(0)) % 360;
  return hash;
}
