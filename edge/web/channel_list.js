// The lists of channels: those of the user with unread counts, and public ones to join.

import { byId, h, reconcile } from "./dom.js";

export class ChannelList {
  #mine = new Map();
  #public = new Map();

  /** `join(id)` is called for a public channel. */
  constructor({ join }) {
    this.join = join;
  }

  show(channels) {
    const mine = [...channels.all.values()].filter((channel) => channel.member).sort(byName);
    const others = [...channels.listed.values()].filter((info) => isToJoin(info, channels));
    reconcile(byId("mine"), this.#mine, mine.map(({ info }) => this.#mineRow(info, info.id === channels.current)));
    reconcile(byId("public"), this.#public, others.map((info) => this.#publicRow(info, info.id === channels.current)));
    byId("public-none").hidden = others.length > 0 || !channels.isListed;
  }

  #mineRow(info, current) {
    const unread = current ? 0 : info.unread;
    return {
      key: info.id,
      version: `${nameOf(info)} ${unread} ${current} ${info.archived}`,
      build: () =>
        h(
          "li",
          {},
          h(
            "a",
            { href: `#channel=${info.id}`, "aria-current": current ? "page" : null, class: unread ? "unread" : null, "data-focus": info.id },
            h("span", { class: "mark", "aria-hidden": "true" }, MARKS[info.kind] ?? "#"),
            h("span", { class: "label" }, nameOf(info), info.archived ? " (archived)" : ""),
            unread ? h("span", { class: "count", "aria-label": `${unread} unread` }, unread > 999 ? "999+" : String(unread)) : null,
          ),
        ),
    };
  }

  #publicRow(info, current) {
    return {
      key: info.id,
      version: `${nameOf(info)} ${current}`,
      build: () =>
        h(
          "li",
          {},
          h("a", { href: `#channel=${info.id}`, "aria-current": current ? "page" : null, "data-focus": info.id },
            h("span", { class: "mark", "aria-hidden": "true" }, "#"), h("span", { class: "label" }, nameOf(info))),
          h("button", { type: "button", class: "quiet", "aria-label": `Join ${nameOf(info)}`, onclick: () => this.join(info.id) }, "Join"),
        ),
    };
  }
}

const MARKS = { public: "#", private: "◆", direct: "@" };

/** How a channel is called. */
export function nameOf(info) {
  return info.name || (info.kind === "direct" ? "Direct conversation" : info.id);
}

function isToJoin(info, channels) {
  return info.kind === "public" && !info.archived && !channels.all.get(info.id)?.member;
}

function byName(a, b) {
  return nameOf(a.info).localeCompare(nameOf(b.info)) || (a.info.id < b.info.id ? -1 : 1);
}
