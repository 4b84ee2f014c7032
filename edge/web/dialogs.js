// Questions in the page's one <dialog>: create a channel, add somebody, delete a message.

import { byId, h } from "./dom.js";

const NAME_CHARS_MAX = 128;

/** Ask with fields; gives their values when the user agrees, null when not. */
function ask(title, submit, ...content) {
  const dialog = byId("dialog");
  return new Promise((resolve) => {
    let answer = null;
    const form = h(
      "form",
      {
        onsubmit: (event) => {
          event.preventDefault();
          answer = Object.fromEntries(new FormData(form));
          dialog.close();
        },
      },
      h("h2", { id: "dialog-title" }, title),
      ...content,
      h(
        "p",
        { class: "choices" },
        h("button", { type: "submit", class: "primary" }, submit),
        h("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, "Cancel"),
      ),
    );
    dialog.replaceChildren(form);
    dialog.addEventListener("close", () => resolve(answer), { once: true });
    dialog.showModal();
  });
}

/** The fields of create_channel, or null; `user` is who asks. */
export async function askForChannel(user) {
  const kinds = h(
    "select",
    { id: "kind", name: "kind" },
    h("option", { value: "public" }, "Public: everybody in the workspace may join"),
    h("option", { value: "private" }, "Private: members are added"),
    h("option", { value: "direct" }, "Direct: between fixed people"),
  );
  const name = h("input", { id: "channel-name", name: "name", maxlength: 64, required: true, autocomplete: "off" });
  const people = h("input", { id: "members", name: "members", autocomplete: "off", "aria-describedby": "members-hint" });
  const nameField = field("Name", name);
  kinds.addEventListener("change", () => {
    const direct = kinds.value === "direct";
    nameField.hidden = direct;
    name.required = !direct;
    people.required = direct;
  });
  const hint = h("span", { id: "members-hint", class: "hint" }, "Optional unless direct: user ids, separated by commas.");
  const values = await ask("New channel", "Create", field("Kind", kinds), nameField, field("Members", people, hint));
  return values && creation(values, user);
}

/** The user to add, or null. */
export async function askForUser(channel) {
  const user = h("input", { id: "user", name: "user", required: true, maxlength: 255, autocomplete: "off" });
  return (await ask(`Add somebody to ${channel}`, "Add", field("User id", user)))?.user.trim() || null;
}

/** Whether to go on. */
export async function confirmed(title, submit, text) {
  return (await ask(title, submit, h("p", {}, text))) !== null;
}

function field(label, input, ...more) {
  return h("p", { class: "field" }, h("label", { for: input.id }, label), input, ...more);
}

function creation({ kind, name, members }, user) {
  const users = members.split(",").map((user) => user.trim()).filter(Boolean);
  const fields = { kind, ...(users.length ? { members: users } : {}) };
  if (kind === "direct") return { ...fields, name: [user, ...users].join(", ").slice(0, NAME_CHARS_MAX) };
  return { ...fields, name: name.trim(), ...(kind === "public" ? { channel: idOf(name) } : {}) };
}

/** A public channel's id, made from its name: letters, digits, - and _. */
function idOf(name) {
  const plain = name.normalize("NFKD").toLowerCase().replace(/[^a-z0-9_-]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 48);
  if (plain && !/^[pd]_/.test(plain)) return plain;
  return `c-${plain || crypto.randomUUID().slice(0, 8)}`.slice(0, 64);
}
