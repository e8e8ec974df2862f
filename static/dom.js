// The only way this page makes elements. Text is always set as text: there is no HTML parser
// in the path of anything the agent, the server or the user wrote.

import { oneLine } from "./text.js";

/**
 * Makes an element. `props` holds attributes; `class`, `data` (a map of data attributes), `text`
 * and `on` (a map of listeners) have a meaning of their own. Falsy children are left out.
 */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") node.className = value;
    else if (name === "text") node.textContent = value;
    else if (name === "data") Object.assign(node.dataset, value);
    else if (name === "on") for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== undefined && child !== null && child !== false));
  return node;
}

/** The element of index.html with this id. */
export function byId(id) {
  const node = document.getElementById(id);
  if (node === null) throw new Error(`index.html has no element with the id ${id}`);
  return node;
}

/**
 * Copies text, also where the clipboard API is missing because the page came over plain HTTP from
 * another machine. The button tells the outcome for a moment.
 */
export async function copyText(text, button) {
  const label = button.dataset.label ?? button.textContent;
  button.dataset.label = label;
  let copied = false;
  try {
    await navigator.clipboard.writeText(text);
    copied = true;
  } catch {
    const area = el("textarea", { class: "offscreen", "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    area.select();
    copied = document.execCommand("copy");
    area.remove();
    button.focus();
  }
  button.textContent = copied ? "Copied" : "Copy failed";
  clearTimeout(Number(button.dataset.timer));
  button.dataset.timer = String(setTimeout(() => { button.textContent = label; }, 1500));
}

let announcer;

/** Says something to a screen reader, without moving the focus. */
export function announce(text, urgent = false) {
  announcer ??= { polite: byId("announce-polite"), urgent: byId("announce-urgent") };
  const region = urgent ? announcer.urgent : announcer.polite;
  region.textContent = oneLine(text, 300);
}
