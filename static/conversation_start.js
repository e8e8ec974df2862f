// Beginning a new conversation, and going on with the last one after the server was started anew. The
// id of the last one is kept by the browser, for this address.

import { byId } from "./dom.js";
import { oneLine } from "./text.js";

const LAST = "claude-relay.conversation";

export class ConversationStart {
  #button = byId("new-conversation");
  #line = byId("continue-line");
  #last = read();
  #current = null;
  #known = false;
  #handlers;

  /**
   * `handlers`: `request(request)` sends a control request; `resume(id)` makes the agent go on with a
   * conversation and resolves to why it could not; `notice(kind, title, text)`; `begun()` is told when a
   * new one begins.
   */
  constructor(handlers) {
    this.#handlers = handlers;
    this.#button.addEventListener("click", () => this.#begin());
    byId("continue-last").addEventListener("click", () => this.goOn(this.#last));
    byId("continue-not").addEventListener("click", () => {
      this.#keep(null);
      this.#line.hidden = true;
      byId("message").focus();
    });
  }

  setConnected(connected) {
    this.#button.disabled = !connected;
  }

  /** An `agent_state` message: which conversation the agent is in. */
  state({ conversation, turn }) {
    this.#current = typeof conversation === "string" ? conversation : null;
    // Decided once for each start of a server, when nothing was said yet.
    const other = this.#last !== null && this.#current !== this.#last;
    if (!this.#known) this.#line.hidden = !(other && turn === null && !this.#hasWorked);
    this.#known = true;
    if (this.#current === this.#last || turn !== null) this.#line.hidden = true;
  }

  #hasWorked = false;

  /** The agent named the conversation of a turn. */
  turn(id) {
    this.#hasWorked = true;
    this.#line.hidden = true;
    this.#keep(id);
  }

  /** Another server took the place of the one before. */
  restarted() {
    this.#known = false;
    this.#hasWorked = false;
  }

  /** The agent keeps no conversations. */
  forget() {
    this.#keep(null);
    this.#line.hidden = true;
  }

  async #begin() {
    const { error } = await this.#handlers.request({ subtype: "new_conversation" });
    if (error !== undefined) {
      this.#handlers.notice("error", "No new conversation:", error);
      return;
    }
    this.#keep(null);
    this.#line.hidden = true;
    this.#handlers.begun();
    byId("message").focus();
  }

  /** Goes on with a conversation that was kept. */
  async goOn(id) {
    const failed = await this.#handlers.resume(id);
    if (failed !== "") this.#handlers.notice("error", "The conversation does not go on:", failed);
    else this.#handlers.notice("quiet", "Going on with the conversation", oneLine(id, 8));
    this.#line.hidden = true;
    byId("message").focus();
  }

  #keep(id) {
    this.#last = id;
    try {
      if (id === null) localStorage.removeItem(key());
      else localStorage.setItem(key(), id);
    } catch {
      // Storage may be blocked; the last conversation is then known for the life of the page.
    }
  }
}

// Pages of several servers may share an origin, behind paths of a proxy.
function key() {
  return `${LAST} ${new URL(".", document.baseURI).pathname}`;
}

function read() {
  try {
    return localStorage.getItem(key());
  } catch {
    return null;
  }
}
