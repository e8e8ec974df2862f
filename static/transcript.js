// The scrolling column of the conversation: appends entries, keeps to the end while the reader is
// there, and stays quick when it is long.

import { byId, el } from "./dom.js";
import { plural } from "./text.js";

// Entries are kept in chunks; the browser skips the layout of a chunk that is out of sight.
const CHUNK_ENTRIES = 50;
// Beyond this the oldest chunks are taken away, and a line says so.
const MAX_ENTRIES = 12_000;
// The reader counts as being at the end within this many pixels of it.
const END_SLACK_PX = 48;

export class Transcript {
  #scroller = byId("transcript");
  #list = byId("entries");
  #jump = byId("jump-latest");
  #removedNote = byId("entries-removed");
  #chunk = null;
  #chunkEntries = 0;
  #entries = 0;
  #removed = 0;
  #atEnd = true;
  #top = 0;

  constructor() {
    this.#scroller.addEventListener("scroll", () => {
      const top = this.#scroller.scrollTop;
      const rest = this.#scroller.scrollHeight - top - this.#scroller.clientHeight;
      // Only moving up is leaving the end: what comes into sight may turn out taller than guessed.
      if (rest <= END_SLACK_PX) this.#setAtEnd(true);
      else if (top < this.#top) this.#setAtEnd(false);
      this.#top = top;
    }, { passive: true });
    this.#jump.addEventListener("click", () => {
      this.toEnd();
      this.#scroller.focus();
    });
    const sizes = new ResizeObserver(() => this.settle());
    sizes.observe(this.#scroller);
    sizes.observe(this.#list);
  }

  /** Adds an entry at the end. */
  append(node) {
    if (this.#chunk === null || this.#chunkEntries === CHUNK_ENTRIES) {
      this.#chunk = el("div", { class: "chunk" });
      this.#chunkEntries = 0;
      this.#list.append(this.#chunk);
      this.#trim();
    }
    this.#chunk.append(node);
    this.#chunkEntries += 1;
    this.#entries += 1;
  }

  /** Called once after each batch: follows the end if the reader is there. */
  settle() {
    if (this.#atEnd) this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  /** Goes to the end and follows it from now on. */
  toEnd() {
    this.#setAtEnd(true);
    this.settle();
  }

  #setAtEnd(atEnd) {
    this.#atEnd = atEnd;
    this.#jump.hidden = atEnd;
  }

  #trim() {
    if (this.#entries <= MAX_ENTRIES) return;
    const first = this.#list.firstElementChild;
    this.#removed += CHUNK_ENTRIES;
    this.#entries -= CHUNK_ENTRIES;
    first.remove();
    this.#removedNote.hidden = false;
    this.#removedNote.textContent = `${plural(this.#removed, "older entry").replace("entrys", "entries")} taken out of this view to keep it quick; it keeps the last ${MAX_ENTRIES.toLocaleString("en-US")}.`;
  }
}
