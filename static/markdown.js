// Markdown as it streams in. The text is cut into blocks by `marked`; blocks that are complete are
// drawn once, and only the last one is drawn again when more text comes.

import { el } from "./dom.js";
import { blocks } from "./markdown_nodes.js";
import { blockTokens } from "./markdown_tokens.js";
import { count, visible } from "./text.js";

// Text beyond this is counted instead of laid out. The whole frame is in the raw log.
const MAX_CHARS = 200_000;
// A last block longer than this is not read again for each piece, but whenever it has grown by an eighth.
const EAGER_CHARS = 4_000;

export class MarkdownView {
  #root;
  #text = "";
  #hidden = 0;
  /** The last block: its text, its nodes, and the length up to which it has been read. */
  #tail = "";
  #tailNodes = [];
  #read = 0;
  #hiddenNote = null;

  constructor(root) {
    this.#root = root;
  }

  /** Shows more text. */
  append(text) {
    text = text.replaceAll("\r", "");
    const room = Math.max(MAX_CHARS - this.#text.length, 0);
    if (text.length > room) this.#hidden += text.length - room;
    const shown = text.slice(0, room);
    this.#text += shown;
    this.#tail += shown;
    if (shown !== "") {
      if (this.#tail.length > EAGER_CHARS && this.#tail.length < this.#read * 1.125) this.#showRaw(shown);
      else this.#draw();
    }
    if (this.#hidden > 0) this.#showHidden();
  }

  /** Ends the text. */
  finish() {
    // A link may be defined behind its use, in a block that was drawn already.
    if (/^ {0,3}\[[^\]\n]+\]:/m.test(this.#text)) {
      this.#root.replaceChildren();
      this.#tailNodes = [];
      this.#tail = this.#text;
    } else if (this.#read === this.#tail.length) {
      return;
    }
    this.#draw();
    if (this.#hidden > 0) this.#root.append(this.#hiddenNote);
  }

  #draw() {
    for (const node of this.#tailNodes) node.remove();
    this.#tailNodes = [];
    const tokens = blockTokens(this.#tail);
    // A list goes on behind an empty line.
    const last = tokens.splice(tokens.findLastIndex(({ type }) => type !== "space"));
    const length = last.reduce((sum, { raw }) => sum + raw.length, 0);
    this.#insert(blocks(tokens));
    this.#tail = this.#tail.slice(this.#tail.length - length);
    this.#read = length;
    this.#tailNodes = this.#insert(blocks(last));
  }

  #insert(nodes) {
    const all = nodes.flatMap((node) => [node, document.createTextNode("\n")]);
    if (this.#hiddenNote === null) this.#root.append(...all);
    else this.#hiddenNote.before(...all);
    return all;
  }

  #showRaw(text) {
    const place = this.#tailNodes.find((node) => node instanceof Element);
    (place?.querySelector("pre code") ?? place ?? this.#root).append(visible(text));
  }

  #showHidden() {
    this.#hiddenNote ??= this.#root.appendChild(el("p", { class: "cut-note" }));
    this.#hiddenNote.textContent = `${count(this.#hidden)} more characters are not shown here. The whole frame is under Frames.`;
  }
}
