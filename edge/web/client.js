// The page's model: one connection, the outbox, the channels. The view reads it and is told of changes.

import { Channels } from "./channels.js";
import { uuid7, ServerClock } from "./clock.js";
import { Connection } from "./connection.js";

const TYPING_SENT_MS = 3_000;
const READ_MS = 300;

export class Client {
  user = "";
  workspace = "";
  limits = null;
  #typingSentMs = 0;
  #readTimer = 0;
  #laterTimer = 0;

  /** `on.changed()` after any change, `on.trouble(text)` for what the user must hear. */
  constructor({ url, token, http, outbox, on }) {
    this.token = token;
    this.on = on;
    this.clock = new ServerClock();
    this.outbox = outbox;
    this.channels = new Channels(http, { ...on, event: (event) => this.#arrived(event) });
    this.connection = new Connection(url, {
      hello: () => this.#hello(),
      frame: (frame) => this.#frame(frame),
      state: (state) => this.#state(state),
    });
  }

  get state() {
    return this.connection.state;
  }

  start() {
    this.connection.start();
  }

  stop() {
    clearTimeout(this.#readTimer);
    clearTimeout(this.#laterTimer);
    this.channels.stop();
    this.connection.stop();
  }

  /** Record something; gives the ack, or throws an Error with the refusal. */
  command(type, fields) {
    return new Promise((resolve, reject) => {
      const settled = (ack, refusal) =>
        refusal ? reject(Object.assign(new Error(refusal.message), { code: refusal.code })) : resolve(ack);
      this.outbox.add({ type, ...fields, id: uuid7(this.clock.nowMs()) }, settled);
      this.#flush();
      this.on.changed();
    });
  }

  /** Post a message. A refusal shows on the message itself; throws if the outbox is full. */
  post(channel, text, thread) {
    const fields = thread ? { channel, text, thread } : { channel, text };
    return this.command("send", fields).catch((error) => {
      if (!error.code) throw error;
    });
  }

  /** Send a refused message again, as a new command. */
  retry(id) {
    const frame = this.outbox.takeBack(id);
    if (frame) this.post(frame.channel, frame.text, frame.thread);
  }

  discard(id) {
    this.outbox.takeBack(id);
    this.on.changed();
  }

  /** Tell the others that the user types, now and then. */
  typing(channel) {
    const nowMs = Date.now();
    if (nowMs - this.#typingSentMs < TYPING_SENT_MS) return;
    if (this.connection.send({ type: "typing", channel })) this.#typingSentMs = nowMs;
  }

  /** The user has seen everything in the open channel. */
  seen() {
    this.#readTimer ||= setTimeout(() => {
      this.#readTimer = 0;
      const channel = this.channels.open;
      if (!channel?.member || channel.log.high <= channel.info.read) return;
      this.connection.send({ type: "read", channel: channel.info.id, seq: channel.log.high });
    }, READ_MS);
  }

  #hello() {
    const cursors = this.channels.session.cursors();
    return { type: "hello", version: 1, token: this.token, client: "parley-web/1", batch: true, cursors };
  }

  #state(state) {
    if (state.name === "live") this.channels.summary = "";
    else this.outbox.lost();
    this.on.changed();
  }

  #frame(frame) {
    this.#takers[frame.type]?.(frame); // a type that is not in this version is ignored
    const question = this.channels.session.ask();
    if (question) this.connection.send(question);
    this.on.changed();
  }

  #takers = {
    event: (frame) => this.channels.session.event(frame),
    welcome: (frame) => {
      this.clock.learn(frame.server_time);
      Object.assign(this, { user: frame.user, workspace: frame.workspace, limits: frame.limits });
      frame.channels.forEach((info) => this.channels.member(info));
      this.#flush();
      this.channels.listIfOld();
    },
    channels: (frame) => frame.channels.forEach((info) => this.channels.member(info)),
    channel: ({ member, channel }) => (member ? this.channels.member(channel) : this.channels.ended(channel.id)),
    ack: (frame) => {
      this.outbox.acked(frame, this.channels.isHere(frame.channel, frame.seq));
      this.#flush();
    },
    error: (frame) => {
      if (frame.id) this.outbox.refused(frame, Date.now());
      else this.on.trouble(frame.message);
      this.#flush();
    },
    resumed: (frame) => this.channels.session.resumed(frame),
    reset: (frame) => this.channels.session.reset(frame),
    ping: (frame) => {
      this.clock.learn(frame.server_time);
      this.channels.session.heads(frame.heads);
    },
    typing: (frame) => frame.user !== this.user && this.channels.typing(frame),
    read: (frame) => this.channels.read(frame),
  };

  /** A void event is no answer: the refusal comes as an error. */
  #arrived(event) {
    if (event.author === this.user && event.kind !== "void") this.outbox.arrived(event.id, event.seq, event.channel);
  }

  #flush() {
    clearTimeout(this.#laterTimer);
    if (this.state.name !== "live") return;
    for (const frame of this.outbox.take(Date.now())) this.connection.send(frame);
    const waitMs = this.outbox.nextMs(Date.now());
    if (waitMs < Infinity) this.#laterTimer = setTimeout(() => this.#flush(), waitMs + 10);
  }
}
