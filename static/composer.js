// The message box: what is written, its draft over a reload, and what was written before.

import { byId } from "./dom.js";

// Messages that ArrowUp in an empty box brings back.
const MAX_HISTORY = 100;
const DRAFT = "claude-relay.draft";
const MAX_DRAFT_CHARS = 100_000;

export class Composer {
  #box = byId("message");
  #send = byId("send");
  #interrupt = byId("interrupt");
  #hint = byId("composer-hint");
  #connectedHint = "";
  #history = [];
  #recalled = 0;
  #attachments;
  #completion;
  #submit;

  /**
   * `submit(content)` returns why the message could not be sent, or an empty string; `attachments`
   * and `completion` are the parts around the box.
   */
  constructor({ submit, interrupt, attachments, completion }) {
    this.#submit = submit;
    this.#attachments = attachments;
    this.#completion = completion;
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submitText();
    });
    this.#box.addEventListener("keydown", (event) => this.#key(event));
    this.#box.addEventListener("input", () => {
      this.#grow();
      this.#keepDraft();
    });
    this.#interrupt.addEventListener("click", interrupt);
    const draft = stored();
    if (draft !== "") this.#show(draft);
  }

  focus() {
    this.#box.focus();
  }

  /** Names the agent, in the empty box. */
  address(name) {
    this.#box.placeholder = `Message ${name === "" ? "the agent" : name === "demo agent" ? "the demo agent" : name}`;
  }

  /** Writes a text into the box in place of what is there. */
  write(text) {
    this.#show(text);
    this.#box.focus();
  }

  /** Puts a text back into the box, in front of what is there. */
  restore(text) {
    this.write(this.#box.value === "" ? text : `${text}\n${this.#box.value}`);
  }

  /** A message that was sent, by this page or before it was loaded. */
  remember(text) {
    if (text === "" || this.#history.at(-1) === text) return;
    this.#history.push(text);
    if (this.#history.length > MAX_HISTORY) this.#history.shift();
  }

  /** Says what is wrong with what was to be sent; an empty string takes it back. */
  complain(words) {
    this.#hint.textContent = words === "" ? this.#connectedHint : words;
    this.#hint.dataset.problem = String(words !== "");
  }

  setConnected(connected, hint) {
    this.#send.disabled = !connected;
    this.#interrupt.disabled = !connected;
    this.#connectedHint = hint;
    this.complain("");
  }

  setRunning(running) {
    // The focus must not fall into nothing when the button it is on goes away.
    if (!running && document.activeElement === this.#interrupt) this.#box.focus();
    this.#interrupt.hidden = !running;
    this.#interrupt.disabled = false;
  }

  /** An interrupt was sent and has not had its effect. */
  setInterrupting() {
    this.#interrupt.disabled = true;
  }

  #key(event) {
    if (!event.isComposing && this.#completion.key(event)) return;
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing && !event.ctrlKey && !event.altKey && !event.metaKey) {
      event.preventDefault();
      this.#submitText();
    } else if (event.key === "ArrowUp" && (this.#box.value === "" || this.#recalled > 0) && this.#history.length > this.#recalled) {
      event.preventDefault();
      this.#recalled += 1;
      this.#show(this.#history[this.#history.length - this.#recalled]);
    } else if (event.key === "ArrowDown" && this.#recalled > 0) {
      event.preventDefault();
      this.#recalled -= 1;
      this.#show(this.#recalled === 0 ? "" : this.#history[this.#history.length - this.#recalled]);
    } else if (!["Shift", "Control", "Alt", "Meta"].includes(event.key)) {
      this.#recalled = 0;
    }
  }

  #submitText() {
    const text = this.#box.value;
    if (text.trim() === "" && this.#attachments.empty) return;
    const blocks = this.#attachments.blocks();
    const content = blocks.length === 0 ? text : [...blocks, ...(text.trim() === "" ? [] : [{ type: "text", text }])];
    const failed = this.#submit(content);
    this.complain(failed);
    if (failed !== "") return;
    this.remember(text);
    this.#recalled = 0;
    this.#completion.close();
    this.#attachments.clear();
    this.#show("");
  }

  #show(text) {
    this.#box.value = text;
    this.#grow();
    this.#keepDraft();
  }

  #keepDraft() {
    try {
      if (this.#box.value === "") sessionStorage.removeItem(DRAFT);
      else sessionStorage.setItem(DRAFT, this.#box.value.slice(0, MAX_DRAFT_CHARS));
    } catch {
      // Storage may be blocked or full; the draft then lives as long as the page.
    }
  }

  #grow() {
    this.#box.style.height = "auto";
    this.#box.style.height = `${this.#box.scrollHeight + 2}px`;
  }
}

function stored() {
  try {
    return sessionStorage.getItem(DRAFT) ?? "";
  } catch {
    return "";
  }
}
