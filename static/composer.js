// The message box.

import { byId } from "./dom.js";

// Messages that ArrowUp in an empty box brings back.
const MAX_HISTORY = 50;

export class Composer {
  #box = byId("message");
  #send = byId("send");
  #interrupt = byId("interrupt");
  #hint = byId("composer-hint");
  #history = [];
  #recalled = 0;
  #submit;

  /** `submit(text)` returns why the message could not be sent, or an empty string. */
  constructor({ submit, interrupt }) {
    this.#submit = submit;
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submitText();
    });
    this.#box.addEventListener("keydown", (event) => this.#key(event));
    this.#box.addEventListener("input", () => this.#grow());
    this.#interrupt.addEventListener("click", interrupt);
  }

  focus() {
    this.#box.focus();
  }

  /** Names the agent, in the empty box. */
  address(name) {
    this.#box.placeholder = `Message ${name === "" ? "the agent" : name === "demo agent" ? "the demo agent" : name}`;
  }

  setConnected(connected, hint) {
    this.#send.disabled = !connected;
    this.#interrupt.disabled = !connected;
    this.#hint.textContent = hint;
    this.#hint.dataset.problem = "false";
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
    if (text.trim() === "") return;
    const failed = this.#submit(text);
    if (failed !== "") {
      this.#hint.textContent = failed;
      this.#hint.dataset.problem = "true";
      return;
    }
    this.#history.push(text);
    if (this.#history.length > MAX_HISTORY) this.#history.shift();
    this.#recalled = 0;
    this.#show("");
  }

  #show(text) {
    this.#box.value = text;
    this.#grow();
  }

  #grow() {
    this.#box.style.height = "auto";
    this.#box.style.height = `${this.#box.scrollHeight + 2}px`;
  }
}
