// Assembles the page: signs in, starts the client, and shows it again after every change.

import { ChannelList } from "./channel_list.js";
import { Client } from "./client.js";
import { Composer } from "./composer.js";
import { askForChannel, askForUser, confirmed } from "./dialogs.js";
import { byId, say } from "./dom.js";
import { Http } from "./http.js";
import { MessageList } from "./message_list.js";
import { Outbox } from "./outbox.js";
import { Room } from "./room.js";
import { notice, showStatus } from "./status.js";

const TOKEN = "parley.token";
const SOON_MS = 8;
const PACE_MS = 50;
const LIST_CHECK_MS = 15_000;
let client = null;
let scheduled = false;
let shownMs = 0;
let countdown = 0;

const act = (promise) => promise.catch((error) => notice(error.message));
const openId = () => client.channels.current;

const list = new ChannelList({ join });
const room = new Room({ join, leave, invite });
const composer = new Composer({
  post: (text, thread) => act(client.post(openId(), text, thread).finally(() => messages.toEnd())),
  edit: (ref, text) => act(client.command("edit", { channel: openId(), ref, text })),
  typing: () => client.typing(openId()),
  lastOwn: () => lastOwn(client.channels.open),
});
const messages = new MessageList({
  act: (action, data, seq) => actions[action](data, seq),
  older: () => client.channels.older(),
  again: () => client.channels.older(true),
  seen: () => document.visibilityState === "visible" && client.seen(),
});

const actions = {
  react: ({ emoji }, ref) => act(client.command("react", { channel: openId(), ref, emoji })),
  unreact: ({ emoji }, ref) => act(client.command("unreact", { channel: openId(), ref, emoji })),
  answer: (_, seq) => composer.answer(client.channels.open.log.message(seq)),
  edit: (_, seq) => composer.edit(client.channels.open.log.message(seq)),
  delete: async (_, ref) => {
    const channel = openId();
    const sure = await confirmed(`Delete #${ref}?`, "Delete", "Its number stays; its text is gone for everybody.");
    if (sure) act(client.command("delete", { channel, ref }));
  },
  retry: ({ id }) => client.retry(id),
  discard: ({ id }) => client.discard(id),
  fill: ({ from }) => client.channels.fill(client.channels.open.log.gaps.find((gap) => gap.from === Number(from))),
  goto: ({ seq }) => messages.goTo(Number(seq)) || notice(`#${seq} is not loaded; scroll up to it.`),
};

function join(channel) {
  act(client.command("join", { channel }).then(() => go(channel)));
}

async function leave(info) {
  const sure = await confirmed(`Leave ${info.name || info.id}?`, "Leave", "You receive nothing more from it.");
  if (sure) act(client.command("leave", { channel: info.id }));
}

async function invite(info) {
  const user = await askForUser(info.name || info.id);
  if (user) act(client.command("invite", { channel: info.id, user }));
}

async function create() {
  const fields = await askForChannel(client.user);
  if (fields) act(client.command("create_channel", fields).then((ack) => go(ack.channel)));
}

function lastOwn(channel) {
  const rows = channel?.log.rows() ?? [];
  return rows.findLast(({ message }) => message && !message.deleted && !message.erased && message.posted.author === client.user)?.message ?? null;
}

// ---------------------------------------------------------------- showing

/** Show soon, but under load at most twenty times a second. Not by animation frame: a hidden tab has a title. */
function changed() {
  if (scheduled) return;
  scheduled = true;
  setTimeout(show, Math.max(SOON_MS, shownMs + PACE_MS - performance.now()));
}

function show() {
  scheduled = false;
  shownMs = performance.now();
  if (!client) return;
  const { state, channels } = client;
  if (state.name === "ended" && state.code >= 4500) {
    signOut(`The session has ended: ${state.reason} (${state.code}). A new token opens another.`);
    return;
  }
  clearTimeout(countdown);
  if (showStatus(state, channels.summary)) countdown = setTimeout(changed, 500);
  say(byId("who"), client.user ? `${client.user} in ${client.workspace}` : "");
  list.show(channels);
  room.show(client);
  composer.show(channels.open, client.limits);
  messages.show(client);
  if (!channels.current && channels.all.size) go(channels.all.keys().next().value);
}

function go(channel) {
  const fragment = `#channel=${channel}`;
  if (location.hash === fragment) route();
  else location.hash = fragment;
}

/** The address says what is shown; a token in it is taken out at once. */
function route() {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const token = fragment.get("token");
  if (token) {
    history.replaceState(null, "", location.pathname);
    signIn(token);
  }
  const channel = fragment.get("channel");
  if (!channel || !client || channel === client.channels.current) return;
  menu(false);
  act(client.channels.select(channel).then(() => composer.focus()));
}

/** The user turns to the channels: others may have created some. */
function look() {
  if (client?.state.name === "live" && document.visibilityState === "visible") client.channels.listSoon();
}

function menu(open) {
  if (open) look();
  byId("app").classList.toggle("menu-open", open);
  byId("menu").setAttribute("aria-expanded", String(open));
}

// ---------------------------------------------------------------- signing in

function signIn(token) {
  client?.stop();
  sessionStorage.setItem(TOKEN, token);
  const base = new URL(".", location.href);
  const url = new URL("v1/ws", base);
  url.protocol = base.protocol.replace("http", "ws");
  const outbox = new Outbox(sessionStorage, `parley.outbox ${ownerOf(token)}`);
  client = new Client({ url, token, http: new Http(base, token), outbox, on: { changed, trouble: notice } });
  byId("signin").hidden = true;
  byId("app").hidden = false;
  client.start();
  route();
}

/** Whose messages wait in the outbox: the token's user, unread and unproven, only to keep users apart. */
function ownerOf(token) {
  try {
    const claims = JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));
    return `${claims.ws}/${claims.sub}`;
  } catch {
    return token;
  }
}

function signOut(reason) {
  client?.stop();
  client = null;
  sessionStorage.removeItem(TOKEN);
  byId("app").hidden = true;
  byId("signin").hidden = false;
  say(byId("signin-reason"), reason);
  byId("token").focus();
}

byId("signin-form").addEventListener("submit", (event) => {
  event.preventDefault();
  signIn(byId("token").value.trim());
  event.target.reset();
});
byId("signout").addEventListener("click", () => {
  sessionStorage.clear();
  signOut("");
});
byId("create").addEventListener("click", create);
byId("refresh").addEventListener("click", () => client.channels.list());
byId("side").addEventListener("pointerenter", look);
byId("side").addEventListener("focusin", look);
setInterval(() => {
  if (client?.state.name === "live" && document.visibilityState === "visible") client.channels.listIfOld();
}, LIST_CHECK_MS);
byId("hurry").addEventListener("click", () => client.connection.hurry());
byId("menu").addEventListener("click", () => menu(!byId("app").classList.contains("menu-open")));
addEventListener("hashchange", route);
addEventListener("online", () => client?.connection.hurry());
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState !== "visible" || !client) return;
  if (client.state.name !== "ended") client.connection.hurry();
  look();
  if (messages.atEnd) client.seen();
});

const kept = sessionStorage.getItem(TOKEN);
route();
if (!client && kept) signIn(kept);
else if (!client) signOut("");
