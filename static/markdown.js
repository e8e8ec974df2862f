// The little of Markdown that makes an answer readable: code, bold, headings, lists and quotes, made of
// elements and text nodes. Links stay text: the agent's words must not become something to click.
// Works line by line as the text arrives, so that a long answer costs no more than its length.

import { copyText, el } from "./dom.js";
import { count, visible } from "./text.js";

// Text beyond this is counted instead of laid out. The whole frame is in the raw log.
const MAX_CHARS = 200_000;
// A line longer than this is written out as it comes, without a second look at its marks.
const MAX_LINE = 4_000;

const INLINE = /(`[^`\n]+`|\*\*[^*\n]+\*\*)/;
const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]*)\s*$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*)$/;
const ITEM = /^( *)(?:[-*+]|\d{1,9}[.)])\s+\S/;
const QUOTE = /^ {0,3}> ?(.*)$/;

export class MarkdownView {
  #root;
  #paragraph = null;
  #code = null;
  #fence = "";
  #line = "";
  #tail = null;
  #spilling = false;
  #shown = 0;
  #hidden = 0;
  #hiddenNote = null;

  constructor(root) {
    this.#root = root;
  }

  /** Shows more text. */
  append(text) {
    let start = 0;
    const room = MAX_CHARS - this.#shown;
    if (text.length > room) {
      this.#hidden += text.length - Math.max(room, 0);
      text = text.slice(0, Math.max(room, 0));
    }
    this.#shown += text.length;
    for (;;) {
      const end = text.indexOf("\n", start);
      if (end < 0) break;
      this.#endLine(text.slice(start, end));
      start = end + 1;
    }
    this.#line += text.slice(start);
    if (this.#line.length > MAX_LINE) this.#spill();
    this.#showTail();
    if (this.#hidden > 0) this.#showHidden();
  }

  /** Ends the text: what is open is closed. */
  finish() {
    if (this.#line !== "") this.#endLine("");
    this.#clearTail();
  }

  #endLine(rest) {
    const line = this.#line + rest;
    this.#line = "";
    this.#clearTail();
    if (this.#spilling) {
      this.#spilling = false;
      this.#write(line);
      return;
    }
    if (this.#code !== null) {
      const fence = FENCE.exec(line);
      if (fence !== null && fence[2] === "" && fence[1].startsWith(this.#fence)) {
        this.#code = null;
        this.#root.append("\n");
      } else {
        this.#code.append(`${visible(line)}\n`);
      }
      return;
    }
    const fence = FENCE.exec(line);
    if (fence !== null) {
      this.#openFence(fence[1], fence[2]);
      return;
    }
    if (line.trim() === "") {
      this.#paragraph = null;
      return;
    }
    const heading = HEADING.exec(line);
    if (heading !== null) {
      this.#paragraph = null;
      const node = el("p", { class: "md-heading" });
      inline(node, heading[2]);
      this.#root.append(node, "\n");
      return;
    }
    const item = ITEM.exec(line);
    if (item !== null) {
      this.#paragraph = null;
      const node = el("p", { class: "md-item", data: { depth: String(Math.min(3, Math.floor(item[1].length / 2))) } });
      inline(node, line.trim());
      this.#root.append(node, "\n");
      return;
    }
    const quote = QUOTE.exec(line);
    if (quote !== null && quote[1].trim() === "") {
      this.#paragraph = null;
      return;
    }
    this.#openParagraph(quote !== null);
    if (this.#paragraph.firstChild !== null) this.#paragraph.append("\n");
    inline(this.#paragraph, quote === null ? line : quote[1]);
  }

  #openFence(fence, language) {
    this.#paragraph = null;
    this.#fence = fence;
    const code = el("code");
    const copy = el("button", { type: "button", class: "quiet small", text: "Copy" });
    copy.addEventListener("click", () => copyText(code.textContent, copy));
    this.#root.append(el("div", { class: "md-code" },
      el("div", { class: "md-code-head" }, el("span", { text: language === "" ? "code" : language }), copy),
      el("pre", { tabindex: "0" }, code)));
    this.#code = code;
  }

  // A quote goes on in a line without its mark, and ends what is none.
  #openParagraph(quoted = false) {
    if (this.#paragraph !== null && (!quoted || this.#paragraph.classList.contains("md-quote"))) return;
    this.#paragraph = el("p", { class: quoted ? "md-quote" : undefined });
    this.#root.append(this.#paragraph, "\n");
  }

  // Text that is not looked at again, into whatever is open.
  #write(text) {
    if (this.#code !== null) {
      this.#code.append(visible(text));
      return;
    }
    this.#openParagraph();
    this.#paragraph.append(visible(text));
  }

  #spill() {
    this.#clearTail();
    if (!this.#spilling && this.#paragraph?.firstChild) this.#paragraph.append("\n");
    this.#spilling = true;
    this.#write(this.#line);
    this.#line = "";
  }

  #showTail() {
    this.#clearTail();
    if (this.#line === "") return;
    this.#tail = el("span");
    if (this.#code !== null) {
      this.#tail.append(visible(this.#line));
      this.#code.append(this.#tail);
      return;
    }
    const quote = this.#spilling ? null : QUOTE.exec(this.#line);
    this.#openParagraph(quote !== null);
    if (!this.#spilling && this.#paragraph.firstChild !== null) this.#tail.append("\n");
    inline(this.#tail, quote === null ? this.#line : quote[1]);
    this.#paragraph.append(this.#tail);
  }

  #clearTail() {
    const tail = this.#tail;
    if (tail === null) return;
    this.#tail = null;
    tail.remove();
    // A paragraph opened for the tail alone goes with it: the whole line may turn out a heading.
    if (this.#paragraph !== null && this.#paragraph.firstChild === null) {
      this.#paragraph.nextSibling?.remove();
      this.#paragraph.remove();
      this.#paragraph = null;
    }
  }

  #showHidden() {
    this.#hiddenNote ??= this.#root.appendChild(el("p", { class: "cut-note" }));
    this.#hiddenNote.textContent = `${count(this.#hidden)} more characters are not shown here. The whole frame is under Frames.`;
  }
}

function inline(node, line) {
  for (const part of line.split(INLINE)) {
    if (part.length > 2 && part.startsWith("`") && part.endsWith("`")) node.append(el("code", { text: visible(part.slice(1, -1)) }));
    else if (part.length > 4 && part.startsWith("**") && part.endsWith("**")) node.append(el("strong", { text: visible(part.slice(2, -2)) }));
    else if (part !== "") node.append(visible(part));
  }
}
