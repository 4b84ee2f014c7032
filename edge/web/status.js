// The state of the connection in words, and what went wrong.

import { byId, h, say } from "./dom.js";

const NOTICES_MAX = 4;

/** Show where the connection stands. Returns whether the words change by themselves with time. */
export function showStatus(state, summary) {
  const status = byId("status");
  status.dataset.state = state.name;
  say(byId("status-text"), words(state, summary));
  byId("hurry").hidden = state.name !== "waiting" && state.name !== "ended";
  return state.name === "waiting";
}

function words(state, summary) {
  switch (state.name) {
    case "connecting":
      return "Connecting …";
    case "live":
      return summary ? `Live; ${summary}` : "Live";
    case "waiting": {
      const waitS = Math.max(0, Math.ceil((state.untilMs - Date.now()) / 1000));
      const why = state.reason ? ` (${state.reason})` : "";
      return `Connection lost${why}; reconnecting in ${waitS} s`;
    }
    default:
      return `Disconnected: ${state.reason || "closed"} (${state.code})`;
  }
}

/** Tell the user something that needs attention; the oldest gives way. */
export function notice(text) {
  const notices = byId("notices");
  if ([...notices.children].some((other) => other.firstChild.textContent === text)) return;
  const box = h("p", { class: "notice" }, h("span", {}, text));
  box.append(h("button", { type: "button", class: "quiet", onclick: () => box.remove() }, "Dismiss"));
  notices.append(box);
  while (notices.childElementCount > NOTICES_MAX) notices.firstElementChild.remove();
}
