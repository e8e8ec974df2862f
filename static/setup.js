// The first run: an agent that has nothing to log in with gets a key here.

import { byId } from "./dom.js";
import { oneLine, visible } from "./text.js";

export class Setup {
  #form = byId("setup");
  #key = byId("setup-key");
  #problem = byId("setup-problem");
  #dismissed = false;
  #refused = false;

  /** `save(patch)` changes the configuration and resolves to why it could not, or an empty string; `saved()` is told when it did. */
  constructor({ save, saved }) {
    this.#form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const value = this.#key.value.trim();
      if (value === "") return;
      const failed = await save({ [byId("setup-kind").value]: value });
      this.#problem.textContent = visible(failed);
      this.#problem.hidden = failed === "";
      if (failed !== "") return;
      this.#key.value = "";
      this.#form.hidden = true;
      saved();
    });
    byId("setup-later").addEventListener("click", () => {
      this.#dismissed = true;
      this.#form.hidden = true;
      byId("message").focus();
    });
  }

  /** The server's health: it looks for credentials. */
  health({ agent }) {
    if (agent?.credential === false) this.#show("It needs one to reach its model.");
    else if (agent?.credential === undefined && !this.#refused) this.#form.hidden = true;
  }

  /** The agent said that it is not logged in, or that its key is refused. */
  refused(words) {
    this.#refused = true;
    this.#dismissed = false;
    byId("setup-title").textContent = /log ?in/i.test(words) ? "The agent has no key yet." : "The agent's key was refused.";
    this.#show(words === "" ? "" : `It says: “${oneLine(words, 200)}”`);
  }

  /** A turn succeeded. */
  works() {
    this.#refused = false;
    this.#form.hidden = true;
  }

  #show(words) {
    if (this.#dismissed) return;
    byId("setup-words").textContent = words;
    this.#form.hidden = false;
  }
}
