// The server's time, and the ids of commands, which carry it (UUIDv7).
// Ids are stamped from server time, so that a wrong clock in this machine does no harm.

export class ServerClock {
  #offsetMs = 0;

  /** Learn from `server_time` of a welcome or ping. */
  learn(serverTime) {
    const server = Date.parse(serverTime);
    if (Number.isFinite(server)) this.#offsetMs = server - Date.now();
  }

  /** Milliseconds since 1970, as the server counts them. */
  nowMs() {
    return Date.now() + this.#offsetMs;
  }
}

/** A fresh UUIDv7 for a time in milliseconds. */
export function uuid7(nowMs) {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  let time = Math.max(0, Math.floor(nowMs));
  for (let index = 5; index >= 0; index -= 1) {
    bytes[index] = time % 256;
    time = Math.floor(time / 256);
  }
  bytes[6] = (bytes[6] & 0x0f) | 0x70;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
