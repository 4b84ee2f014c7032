// The message box: Enter sends, Shift+Enter breaks the line, Up edits the last own message, Esc gives up.

import { byId, h } from "./dom.js";
import { textOf } from "./log.js";

export class Composer {
  #drafts = new Map();
  #channel = "";
  #target = null;

  /** `on`: post(text, thread), edit(seq, text), typing(), lastOwn() → message or null. */
  constructor(on) {
    this.on = on;
    this.form = byId("composer");
    this.text = byId("text");
    this.mode = byId("mode");
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.text.addEventListener("keydown", (event) => this.#key(event));
    this.text.addEventListener("input", () => {
      this.text.setCustomValidity("");
      if (this.text.value.trim()) this.on.typing();
    });
  }

  focus() {
    this.text.focus();
  }

  /** Write for this channel from here on; what was begun in another waits there. */
  show(channel, limits) {
    const id = channel?.info.id ?? "";
    const writable = Boolean(channel?.member && !channel.info.archived);
    this.form.hidden = !writable;
    this.bytesMax = limits?.text_bytes ?? Infinity;
    if (this.#target?.edit && channel?.log.message(this.#target.seq)?.erased) this.#aim(null);
    if (id === this.#channel) return;
    this.#drafts.set(this.#channel, this.#target?.edit ? "" : this.text.value);
    this.#channel = id;
    this.#aim(null);
    this.text.value = this.#drafts.get(id) ?? "";
    this.#drafts.delete(id);
  }

  edit(message) {
    this.#aim({ edit: true, seq: message.seq });
    this.text.value = textOf(message);
    this.focus();
  }

  answer(message) {
    this.#aim({ edit: false, seq: message.seq });
    this.focus();
  }

  #aim(target) {
    if (this.#target?.edit) this.text.value = "";
    this.#target = target;
    this.mode.hidden = !target;
    if (!target) return;
    const cancel = h("button", { type: "button", class: "quiet", onclick: () => this.#cancel() }, "Cancel (Esc)");
    this.mode.replaceChildren(target.edit ? `Editing #${target.seq} ` : `Answering #${target.seq} `, cancel);
  }

  #cancel() {
    this.#aim(null);
    this.focus();
  }

  #key(event) {
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.#submit();
    } else if (event.key === "Escape" && this.#target) {
      this.#cancel();
    } else if (event.key === "ArrowUp" && !this.text.value && !this.#target) {
      const last = this.on.lastOwn();
      if (last) {
        event.preventDefault();
        this.edit(last);
      }
    }
  }

  #submit() {
    const text = this.text.value.trimEnd();
    if (!text.trim()) return;
    const bytes = new TextEncoder().encode(text).length;
    if (bytes > this.bytesMax) {
      this.text.setCustomValidity(`The message has ${bytes} bytes; ${this.bytesMax} are allowed.`);
      this.text.reportValidity();
      return;
    }
    const target = this.#target;
    this.#aim(null);
    this.text.value = "";
    if (target?.edit) this.on.edit(target.seq, text);
    else this.on.post(text, target?.seq);
  }
}
