// A block of code: its language, a button that copies it, and colours once the highlighter has come.

import { copyText, el } from "./dom.js";
import { oneLine, visible } from "./text.js";

// Longer code stays plain.
const MAX_HIGHLIGHTED = 30_000;

let highlighter;

/** The element for code in a language; an unknown or empty language leaves it plain. */
export function codeBlock(text, language) {
  const name = language.trim().split(/[\s,{]/, 1)[0];
  const code = el("code", { text: visible(text) });
  const copy = el("button", { type: "button", class: "quiet small", text: "Copy", "aria-label": "Copy the code" });
  copy.addEventListener("click", () => copyText(text, copy));
  highlight(code, name);
  return el("div", { class: "md-code" },
    el("div", { class: "md-code-head" }, el("span", { text: name === "" ? "code" : oneLine(name, 30) }), copy),
    el("pre", { tabindex: "0", dir: "ltr" }, code, "\n"));
}

/** Colours an element's text as a language; leaves it as it is where that is not known. */
export async function highlight(node, language) {
  const text = node.textContent;
  if (language === "" || text.length > MAX_HIGHLIGHTED) return;
  try {
    highlighter ??= import("./vendor/highlight.js").then((module) => module.default);
    const known = await highlighter;
    if (known.getLanguage(language) === undefined || node.textContent !== text) return;
    const { _emitter: tree } = known.highlight(text, { language, ignoreIllegals: true });
    node.replaceChildren(...tree.rootNode.children.map(colored));
  } catch (error) {
    // Colours are worth no more than a line in the console.
    console.warn("The code stays plain", error);
  }
}

// The highlighter's tree as elements. Its own way would be a string of HTML.
function colored(node) {
  if (typeof node === "string") return node;
  const children = node.children.map(colored);
  const scope = typeof node.scope === "string" ? node.scope.split(".", 1)[0] : "";
  return el("span", { class: /^[a-z_-]+$/.test(scope) ? `hl-${scope}` : undefined }, ...children);
}
