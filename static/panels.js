// The side panels: frames, configuration, status. One at a time; on a narrow screen it covers the
// conversation.

import { byId } from "./dom.js";

const NAMES = ["frames", "config", "status"];
// The panel that is open, over a reload of this tab.
const OPEN = "claude-relay.panel";

export class Panels {
  #open = "";
  #changed;

  /** `changed(name)` is told the panel that is open now, or an empty string. */
  constructor({ changed }) {
    this.#changed = changed;
    for (const name of NAMES) {
      byId(`open-${name}`).addEventListener("click", () => this.show(this.#open === name ? "" : name));
      byId(`close-${name}`).addEventListener("click", () => this.show(""));
      byId(`panel-${name}`).addEventListener("keydown", (event) => {
        if (event.key !== "Escape") return;
        event.stopPropagation();
        this.show("");
      });
    }
  }

  /** Opens a panel, or with an empty name closes what is open. */
  show(name) {
    const before = this.#open;
    this.#open = name;
    document.body.dataset.panel = name;
    for (const each of NAMES) {
      byId(`panel-${each}`).hidden = each !== name;
      byId(`open-${each}`).setAttribute("aria-expanded", String(each === name));
    }
    this.#keep(name);
    if (name !== "") byId(`panel-${name}`).focus();
    else if (before !== "") byId(`open-${before}`).focus();
    this.#changed(name);
  }

  /** Opens the panel that was open before a reload. */
  restore() {
    let name = null;
    try {
      name = sessionStorage.getItem(OPEN);
    } catch {
      // Blocked storage: see #keep.
    }
    if (NAMES.includes(name)) this.show(name);
  }

  #keep(name) {
    try {
      if (name === "") sessionStorage.removeItem(OPEN);
      else sessionStorage.setItem(OPEN, name);
    } catch {
      // Storage may be blocked; the panel is then closed after a reload.
    }
  }
}
