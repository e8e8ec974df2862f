// The agent asks before it uses a tool; the user decides. Several questions may be open at once.
// Nothing is approved by a key that was meant for something else: a prompt never takes the focus.

import { announce, byId } from "./dom.js";
import { newElicitation } from "./elicitation.js";
import { newPrompt } from "./prompt.js";
import { toolTitle } from "./tools.js";

export class Permissions {
  #dock = byId("permissions");
  #open = new Map();
  // Questions of the replay. Most were answered long ago, and the frames behind them say so.
  #held = new Map();
  #send;
  #record;
  #connected = false;
  #writtenPlan;

  /** `writtenPlan()` asks the agent for its plan; `send(frame)` returns why it could not, or an empty string; `record(title, text)` notes an outcome. */
  constructor({ send, record, writtenPlan }) {
    this.#writtenPlan = writtenPlan;
    this.#send = send;
    this.#record = record;
  }

  /** The calls that wait for an answer, by their ids; undefined for one without. */
  get waiting() {
    return [...this.#open.values()].map((prompt) => prompt.toolUseId);
  }

  /** Puts the keys on the first question; returns false if there is none. */
  focus() {
    const [first] = this.#open.values();
    if (first === undefined) return false;
    first.node.focus();
    first.node.scrollIntoView({ block: "nearest" });
    return true;
  }

  /** A `permission_request` or an `agent_request`; one that is `replayed` is shown when the replay leaves it open. */
  ask(frame, { replayed }) {
    const id = String(frame.requestId);
    // One that was answered comes again only when the answer was lost on its way, so it is asked anew.
    if (this.#open.has(id) || this.#held.has(id)) return;
    const build = frame.type === "agent_request" ? newElicitation : newPrompt;
    const prompt = build(frame, (answer, words) => this.#answer(id, answer, words), this.#writtenPlan);
    prompt.node.addEventListener("keydown", (event) => keys(event, prompt));
    if (replayed) this.#held.set(id, prompt);
    else this.#show(prompt);
  }

  /** The replay is through: what is open now waits for an answer. */
  caughtUp() {
    for (const prompt of this.#held.values()) this.#show(prompt);
    this.#held.clear();
  }

  /** A `permission_cancelled` frame: the agent withdrew the question, or somebody else answered it. */
  cancelled(requestId) {
    const id = String(requestId);
    if (this.#open.has(id)) this.#settled(id, "Permission no longer asked for:");
    else if (this.#held.has(id)) this.#settled(id, "A permission was asked for and settled:");
  }

  /** In a recording: the client of then has answered. */
  answered(requestId, approved) {
    if (this.#open.has(String(requestId))) this.#settled(String(requestId), approved ? "It was allowed:" : "It was denied:");
  }

  /** The tool has its result, so the question was settled, by a client before this one or by time. */
  toolDone(toolUseId) {
    for (const prompt of [...this.#open.values(), ...this.#held.values()]) {
      if (prompt.toolUseId === undefined || prompt.toolUseId !== toolUseId) continue;
      this.#settled(prompt.id, "A permission was asked for and settled:");
    }
  }

  /** The connection is gone: what the replay had left open comes again. */
  lost() {
    this.#held.clear();
  }

  /** The agent that asked is gone. */
  clear() {
    this.#held.clear();
    for (const prompt of [...this.#open.values()]) this.#remove(prompt);
  }

  /** Answers can be given only while connected. */
  setConnected(connected) {
    this.#connected = connected;
    for (const prompt of this.#open.values()) prompt.enable(connected);
  }

  #show(prompt) {
    prompt.enable(this.#connected);
    this.#open.set(prompt.id, prompt);
    this.#dock.append(prompt.node);
    this.#update();
    announce(`The agent asks: ${toolTitle(prompt.tool)}. ${prompt.gist} Press F2 to go there.`, true);
  }

  #settled(id, words) {
    const prompt = this.#open.get(id) ?? this.#held.get(id);
    this.#held.delete(id);
    if (this.#open.has(id)) this.#remove(prompt);
    this.#note(words, prompt);
  }

  #answer(id, answer, words) {
    const failed = this.#send(answer);
    if (failed !== "") return failed;
    const prompt = this.#open.get(id);
    this.#remove(prompt);
    this.#note(words, prompt);
    return "";
  }

  // What has come of it, in words that may name the plan already.
  #note(words, { tool, gist }) {
    if (tool === "ExitPlanMode" && words.startsWith("Plan ")) this.#record(words.replace(/:$/, "."), "");
    else this.#record(words, `${toolTitle(tool)} ${gist}`);
  }

  #remove(prompt) {
    const hadFocus = prompt.node.contains(document.activeElement);
    prompt.node.remove();
    this.#open.delete(prompt.id);
    this.#update();
    // Not onto the next prompt: a key pressed twice must not answer it.
    if (hadFocus) byId("message").focus();
  }

  #update() {
    const waiting = this.#open.size;
    this.#dock.hidden = waiting === 0;
    byId("permission-line").hidden = waiting === 0;
    byId("permissions-count").textContent = waiting > 1 ? `${waiting} requests are waiting for an answer` : "";
    document.title = waiting === 0 ? "claude-relay" : `(${waiting}) Permission needed – claude-relay`;
  }
}

// Keys of a prompt that has the focus, outside of its text fields.
function keys(event, prompt) {
  if (event.key === "Escape") {
    // It goes back to the message box and stops nothing.
    event.preventDefault();
    event.stopPropagation();
    byId("message").focus();
    return;
  }
  const writing = event.target instanceof Element && event.target.matches("textarea, select, input:not([type=checkbox], [type=radio])");
  if (writing || event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  const button = { a: prompt.allow, d: prompt.deny }[event.key.toLowerCase()];
  if (button === undefined || button.disabled) return;
  event.preventDefault();
  button.click();
}
