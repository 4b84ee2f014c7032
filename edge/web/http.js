// History and lists over HTTP. Errors are problem documents (RFC 9457) with the protocol's codes.

const PAGE = 50;
const DEADLINE_MS = 15_000;

export class Http {
  /** `base` is where the page came from; `token` goes into a header, never into an address. */
  constructor(base, token) {
    this.base = base;
    this.token = token;
  }

  /** One page of the channels that the user may see: {channels, more}. */
  channels(after) {
    return this.#get("v1/channels", { after, limit: 200 });
  }

  /** The newest events before a number, ascending: {events, more}. */
  before(channel, seq, limit = PAGE) {
    return this.#get(`v1/channels/${encodeURIComponent(channel)}/events`, { before: seq, limit });
  }

  /** The first events after a number, ascending: {events, more}. */
  after(channel, seq, limit = PAGE) {
    return this.#get(`v1/channels/${encodeURIComponent(channel)}/events`, { after: seq, limit });
  }

  /** One channel as the user may see it. */
  channel(channel) {
    return this.#get(`v1/channels/${encodeURIComponent(channel)}`, {});
  }

  async #get(path, query) {
    const url = new URL(path, this.base);
    for (const [name, value] of Object.entries(query)) if (value != null) url.searchParams.set(name, value);
    const response = await fetch(url, {
      headers: { Authorization: `Bearer ${this.token}` },
      signal: AbortSignal.timeout(DEADLINE_MS),
    });
    const body = await response.json().catch(() => ({}));
    if (!response.ok) throw new Error(body.detail ?? body.title ?? `HTTP ${response.status}`);
    return body;
  }
}
