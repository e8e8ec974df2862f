// Frames wait here until the browser is about to draw. A burst of thousands is worked off in
// slices, so the page answers to keys and clicks in between.

const SLICE_MS = 10;
// Animation frames stop in a hidden tab, and the backlog must not grow meanwhile.
const HIDDEN_DELAY_MS = 50;

export class Inbox {
  #queue = [];
  #head = 0;
  #scheduled = false;
  #handle;
  #failed;
  #afterSlice;

  /**
   * `handle(item)` is called in order for each item, `failed(item, error)` when it threw, and
   * `afterSlice()` once after each slice.
   */
  constructor({ handle, failed, afterSlice }) {
    this.#handle = handle;
    this.#failed = failed;
    this.#afterSlice = afterSlice;
  }

  push(item) {
    this.#queue.push(item);
    this.#schedule();
  }

  #schedule() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    if (document.hidden) setTimeout(() => this.#run(), HIDDEN_DELAY_MS);
    else {
      // Whichever comes first: an animation frame may never come if the tab is hidden meanwhile.
      const timer = setTimeout(() => { cancelAnimationFrame(request); this.#run(); }, 250);
      const request = requestAnimationFrame(() => { clearTimeout(timer); this.#run(); });
    }
  }

  #run() {
    this.#scheduled = false;
    const end = performance.now() + SLICE_MS;
    while (this.#head < this.#queue.length && performance.now() < end) {
      const item = this.#queue[this.#head];
      this.#queue[this.#head] = undefined;
      this.#head += 1;
      try {
        this.#handle(item);
      } catch (error) {
        // One frame of an unforeseen shape must not stop those behind it.
        this.#failed(item, error);
      }
    }
    if (this.#head === this.#queue.length) {
      this.#queue = [];
      this.#head = 0;
    } else {
      this.#schedule();
    }
    this.#afterSlice();
  }
}
