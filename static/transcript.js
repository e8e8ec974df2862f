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
// The place of the reader, over a reload of this tab.
const PLACE = "claude-relay.place";

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
  #keptPlace = keptPlace();

  constructor() {
    this.#scroller.addEventListener("scroll", () => {
      const top = this.#scroller.scrollTop;
      const rest = this.#scroller.scrollHeight - top - this.#scroller.clientHeight;
      // Only moving up is leaving the end: what comes into sight may turn out taller than guessed.
      if (rest <= END_SLACK_PX) this.#setAtEnd(true);
      else if (top < this.#top) this.#setAtEnd(false);
      this.#top = top;
    }, { passive: true });
    addEventListener("pagehide", () => this.#keepPlace());
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

  /** Goes back to where the reader was before a reload, once the entries are there again. */
  restorePlace() {
    const entry = this.#list.querySelectorAll(".entry")[this.#keptPlace];
    this.#keptPlace = -1;
    if (entry === undefined) return;
    this.#setAtEnd(false);
    entry.scrollIntoView({ block: "start" });
    this.#top = this.#scroller.scrollTop;
  }

  // The number of the first entry in sight, for a reader who is not at the end.
  #keepPlace() {
    try {
      if (this.#atEnd) {
        sessionStorage.removeItem(PLACE);
        return;
      }
      const top = this.#scroller.getBoundingClientRect().top;
      const entries = [...this.#list.querySelectorAll(".entry")];
      sessionStorage.setItem(PLACE, String(entries.findIndex((entry) => entry.getBoundingClientRect().bottom > top)));
    } catch {
      // Storage may be blocked; the page then begins at the end.
    }
  }

  #setAtEnd(atEnd) {
    this.#atEnd = atEnd;
    this.#jump.hidden = atEnd || this.#entries === 0;
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

function keptPlace() {
  try {
    return Number(sessionStorage.getItem(PLACE) ?? -1);
  } catch {
    return -1;
  }
}
