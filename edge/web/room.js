// The head of the open channel: its name, topic, what is loaded of it, and what the user may do with it.

import { nameOf } from "./channel_list.js";
import { byId, h, say } from "./dom.js";

export class Room {
  #shown = "";

  /** `on`: join(id), leave(id), invite(info). */
  constructor(on) {
    this.on = on;
  }

  show(client) {
    const channel = client.channels.open;
    say(byId("name"), channel ? nameOf(channel.info) : "Parley");
    say(byId("topic"), channel ? channel.info.topic ?? "" : "Choose a channel, join a public one, or create one.");
    say(byId("range"), channel ? range(channel) : "");
    say(byId("typing"), channel ? typing(client.channels.typists(channel)) : "");
    document.title = title(client.channels);
    const key = channel ? `${channel.info.id} ${channel.member} ${channel.ended} ${channel.info.role}` : "";
    if (key === this.#shown) return;
    this.#shown = key;
    byId("room-actions").replaceChildren(...(channel ? this.#actions(channel) : []));
  }

  #actions({ info, member, ended }) {
    const button = (text, act, style) => h("button", { type: "button", class: style, onclick: act }, text);
    if (ended && info.kind !== "public") return [h("span", { class: "hint" }, "You are no longer a member.")];
    if (!member) return [button("Join", () => this.on.join(info.id), "primary")];
    if (info.kind === "direct") return [];
    const mayInvite = info.kind === "public" || info.role === "admin";
    return [
      mayInvite ? button("Add somebody", () => this.on.invite(info), "quiet") : "",
      button("Leave", () => this.on.leave(info), "quiet"),
    ];
  }
}

/** What is loaded, and whether it is all: the numbers prove it. */
function range({ info, log, member }) {
  if (!log.events.length) return "";
  const holes = log.gaps.reduce((sum, gap) => sum + gap.to - gap.from, 0);
  const behind = member && info.head > log.high ? `, ${info.head - log.high} still arriving` : "";
  const whole = holes ? `${holes} missing` : "no gaps";
  return `#${log.low}–#${log.high} of ${Math.max(info.head ?? 0, log.high)}, ${whole}${behind}`;
}

function typing(users) {
  if (!users.length) return "";
  if (users.length > 3) return "Several people are typing …";
  return `${users.join(", ")} ${users.length === 1 ? "is" : "are"} typing …`;
}

function title(channels) {
  const unread = [...channels.all.values()].reduce((sum, { info, member }) => sum + (member ? info.unread : 0), 0);
  const name = channels.open ? `${nameOf(channels.open.info)} – Parley` : "Parley";
  return unread ? `(${unread}) ${name}` : name;
}
