// Building elements. Every text becomes a text node; nothing is ever parsed as HTML.

/** The element with an id. */
export const byId = (id) => document.getElementById(id);

/** A new element. `on…` properties are listeners, `class` and the others attributes; true means empty. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value == null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child != null && child !== false));
  return element;
}

/** Set a text only if it changed, so that screen readers are not told again. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Make `parent` hold the elements of `rows` ({key, version, build}), reusing those whose version is the same. */
export function reconcile(parent, known, rows) {
  const gone = new Map(known);
  let at = parent.firstElementChild;
  for (const row of rows) {
    const old = gone.get(row.key);
    gone.delete(row.key);
    let element = old?.element;
    if (old?.version !== row.version) {
      element = row.build();
      known.set(row.key, { version: row.version, element });
      if (old) {
        if (at === old.element) at = element;
        replaceKeepingFocus(old.element, element);
      }
    }
    if (element === at) at = at.nextElementSibling;
    else parent.insertBefore(element, at);
  }
  for (const [key, { element }] of gone) {
    known.delete(key);
    element.remove();
  }
}

/** A rebuilt row keeps the keyboard where it was: on the element with the same `data-focus`. */
function replaceKeepingFocus(old, element) {
  const focus = old.contains(document.activeElement) && document.activeElement.dataset.focus;
  old.replaceWith(element);
  if (focus) element.querySelector(`[data-focus="${CSS.escape(focus)}"]`)?.focus();
}
