// The line below the conversation that says what the agent does. It shows the server's `agent_state`
// and nothing that was inferred from messages.

import { byId } from "./dom.js";
import { duration, isObject, oneLine, plural } from "./text.js";

// States in which a turn runs, or is about to.
const BUSY = new Set(["running", "waiting", "starting"]);

export class Activity {
  #line = byId("activity");
  #words = byId("activity-words");
  #time = byId("activity-time");
  #state = { state: "stopped", turn: null, background_tasks: 0, queued: [], unnamed: 0 };
  #hint = "";
  #since = 0;
  #interrupting = false;
  #changed;

  /** True while a turn runs. */
  get running() {
    return this.#state.state === "running" || this.#state.state === "waiting";
  }

  /** The last `agent_state`. */
  get state() {
    return this.#state;
  }

  /** `changed(running)` is told when a turn begins or ends. */
  constructor({ changed }) {
    this.#changed = changed;
    setInterval(() => this.#showElapsed(), 1000);
  }

  /** An `agent_state` message. */
  update(state) {
    const before = { running: this.running, turn: turnName(this.#state) };
    this.#state = { ...state, queued: Array.isArray(state.queued) ? state.queued : [], unnamed: Number.isSafeInteger(state.unnamed) ? state.unnamed : 0 };
    if (!BUSY.has(this.#state.state)) {
      this.#hint = "";
      this.#since = 0;
    } else if (this.#since === 0 || turnName(this.#state) !== before.turn) {
      this.#since = Date.now();
      this.#hint = "";
    }
    if (!this.running) this.#interrupting = false;
    if (before.running !== this.running) this.#changed(this.running);
    this.#show();
  }

  /** The connection is gone, and with it the knowledge of the agent. */
  lost() {
    this.update({ state: "stopped", turn: null, background_tasks: 0, queued: [] });
  }

  /** A detail of the running turn, as the agent said it. */
  hint(words) {
    this.#hint = oneLine(words, 60);
    this.#show();
  }

  /** An interrupt was sent. */
  interrupting() {
    this.#interrupting = this.running;
    this.#show();
  }

  #show() {
    const words = this.#say();
    this.#line.hidden = words === "";
    this.#line.dataset.state = String(this.#state.state);
    if (this.#words.textContent !== words) this.#words.textContent = words;
    this.#showElapsed();
  }

  #say() {
    const { state, turn, background_tasks: tasks, queued, unnamed } = this.#state;
    const messages = queued.length + unnamed;
    const waiting = messages > 0 && this.running ? ` · ${plural(messages, "message")} waiting` : "";
    switch (state) {
      case "waiting": return `Waiting for your answer${waiting}`;
      case "starting": return "Starting the agent";
      case "stopping": return "Stopping the agent";
      case "running": {
        if (this.#interrupting) return "Interrupting";
        const own = isObject(turn) && turn.origin === "agent" ? "Working on its own" : "Working";
        return `${this.#hint === "" ? own : this.#hint}${waiting}`;
      }
      default: return Number.isFinite(tasks) && tasks > 0 ? `${plural(tasks, "background task")} running` : "";
    }
  }

  #showElapsed() {
    const seconds = this.#since === 0 ? 0 : Math.floor((Date.now() - this.#since) / 1000);
    this.#time.textContent = seconds === 0 ? "" : duration(seconds * 1000).replace(".0", "");
  }
}

function turnName({ turn }) {
  return isObject(turn) ? `${turn.origin} ${turn.uuid ?? ""}` : "";
}
