// A change of a text as lines that went and lines that came.

import { el } from "./dom.js";
import { count, visible } from "./text.js";

// A longer change is shown as what went and what came, without a comparison.
const MAX_COMPARED = 400;
const MAX_SHOWN = 2_000;

/** The lines of a change: `[mark, text]` with the mark "-", "+" or " ". */
export function compare(before, after) {
  const [old, now] = [split(before), split(after)];
  let start = 0;
  while (start < old.length && start < now.length && old[start] === now[start]) start += 1;
  let end = 0;
  while (end < old.length - start && end < now.length - start && old[old.length - 1 - end] === now[now.length - 1 - end]) end += 1;
  const changed = middle(old.slice(start, old.length - end), now.slice(start, now.length - end));
  const same = (lines) => lines.map((line) => [" ", line]);
  return [...same(old.slice(0, start)), ...changed, ...same(old.slice(old.length - end))];
}

function split(text) {
  return text === "" ? [] : text.replace(/\n$/, "").split("\n");
}

// The longest common subsequence, by the usual table.
function middle(old, now) {
  if (old.length > MAX_COMPARED || now.length > MAX_COMPARED) return [...old.map((line) => ["-", line]), ...now.map((line) => ["+", line])];
  const table = Array.from({ length: old.length + 1 }, () => new Uint16Array(now.length + 1));
  for (let i = old.length - 1; i >= 0; i -= 1) {
    for (let j = now.length - 1; j >= 0; j -= 1) {
      table[i][j] = old[i] === now[j] ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1]);
    }
  }
  const lines = [];
  let [i, j] = [0, 0];
  while (i < old.length || j < now.length) {
    if (i < old.length && j < now.length && old[i] === now[j]) {
      lines.push([" ", old[i]]);
      i += 1;
      j += 1;
    } else if (j === now.length || (i < old.length && table[i + 1][j] >= table[i][j + 1])) {
      lines.push(["-", old[i]]);
      i += 1;
    } else {
      lines.push(["+", now[j]]);
      j += 1;
    }
  }
  return lines;
}

const LOOK = { "-": "removed", "+": "added", " ": "same", "@": "place" };
const SPOKEN = { "-": "removed: ", "+": "added: " };

/** The element that shows such lines. */
export function diffView(lines, title = "Change") {
  const shown = lines.slice(0, MAX_SHOWN);
  const view = el("div", { class: "diff", tabindex: "0", role: "group", "aria-label": title, dir: "ltr" }, ...shown.map(([mark, text]) =>
    el("div", { class: `diff-line diff-${LOOK[mark]}` }, el("span", { class: "diff-mark", "aria-hidden": "true", text: mark === "@" ? "" : mark }),
      SPOKEN[mark] !== undefined && el("span", { class: "offscreen", text: SPOKEN[mark] }), el("code", { text: visible(text) }))));
  if (lines.length > shown.length) view.append(el("p", { class: "cut-note", text: `${count(lines.length - shown.length)} more lines are not shown here.` }));
  return view;
}
