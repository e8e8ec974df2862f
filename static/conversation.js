// The conversation as a person reads it: what was said, what the agent did, and what each turn
// cost. Messages without a view of their own are shown folded, so nothing the agent sent is left out.

import { folded, OtherBlock, setLong } from "./blocks.js";
import { announce, byId, el } from "./dom.js";
import { Streams } from "./stream.js";
import { count, dollars, duration, isObject, oneLine, plural, pretty, visible } from "./text.js";

// Lines of stderr that follow one another share an entry, up to this many.
const INFO_GROUP_LINES = 100;
// Calls whose result has not come. Far more than run at once; the bound is against a broken agent.
const MAX_OPEN_TOOLS = 2_000;

export class Conversation {
  #transcript;
  #ledger;
  #changed;
  #streams = new Streams((block, parent) => this.#place(block, parent));
  #tools = new Map();
  #unconfirmed = [];
  #infoGroup = null;
  #session = "";
  #lastText = "";
  #turnHadText = false;
  #waiting = [];
  #startedAt = 0;
  #heard = false;
  #activity = byId("activity");
  #activityWords = byId("activity-words");
  #empty = byId("empty");

  /** True while a turn runs, as far as is known. */
  running = false;

  /** `changed(what)` is told `turn`, `session` or `result`, with the facts. */
  constructor({ transcript, ledger, changed }) {
    this.#transcript = transcript;
    this.#ledger = ledger;
    this.#changed = changed;
    setInterval(() => this.#showElapsed(), 1000);
  }

  /** Shows what streamed since the last drawn frame, and follows the end. */
  flush() {
    this.#streams.flush();
    this.#transcript.settle();
  }

  /** A message of this page's user, on its way. */
  sent(text) {
    const note = el("p", { class: "entry-note", hidden: true, text: "The connection was lost right after this was sent. It may not have reached the agent." });
    const body = el("div", { class: "user-text", dir: "auto" });
    setLong(body, text);
    this.#append(el("article", { class: "entry user", data: { role: "user" } }, el("span", { class: "offscreen", text: "You: " }), body, note));
    this.#unconfirmed.push(note);
    if (!this.running) this.#start("Waiting for the agent");
    this.#transcript.toEnd();
  }

  /** The connection is gone; what was sent last may not have arrived. */
  connectionLost() {
    for (const note of this.#unconfirmed) note.hidden = false;
    this.#unconfirmed = [];
  }

  /** The agent's process is gone, or another server took the place of this one. */
  processEnded() {
    this.#ledger.processEnded();
    this.#endTurn();
  }

  /** An interrupt was sent. */
  interrupting() {
    if (this.running) this.#say("Interrupting");
  }

  /** The calls that wait for the user's answer, by their ids; undefined for one without. */
  waitingForAnswer(toolUseIds) {
    this.#waiting = toolUseIds;
    for (const [id, tool] of this.#tools) tool.waits(toolUseIds.includes(id));
    if (this.running) this.#say("Working");
  }

  /** A line for the reader: `kind` is `quiet`, `info`, `warning` or `error`. */
  notice(kind, title, text = "", more = undefined) {
    const node = el("div", { class: `entry notice ${kind}`, data: { role: "notice", kind } }, el("strong", { text: title }));
    if (text !== "") {
      const words = el("span", { class: "notice-text", dir: "auto" });
      setLong(words, text);
      node.append(" ", words);
    }
    if (more !== undefined) node.append(folded(more.title, "", () => more.text));
    this.#append(node);
    if (kind === "error" || kind === "warning") announce(`${title} ${text}`, kind === "error");
    return node;
  }

  /** An `error` frame of the server. It may mean that what was sent goes nowhere. */
  error(text) {
    if (this.running && !this.#heard) this.#endTurn();
    this.#unconfirmed = [];
    this.notice("error", "Error", text);
  }

  /** A line of the agent's stderr. */
  info(text) {
    let group = this.#infoGroup;
    if (group === null || group.lines >= INFO_GROUP_LINES) {
      const pre = el("pre", { tabindex: "0", dir: "auto" });
      this.#append(el("div", { class: "entry notice info", data: { role: "notice", kind: "info" } }, el("strong", { text: "Info" }), pre));
      group = this.#infoGroup = { pre, lines: 0 };
    }
    const line = text.length > 10_000 ? `${text.slice(0, 10_000)}… (${count(text.length)} characters)` : text;
    group.pre.append(`${group.lines === 0 ? "" : "\n"}${visible(line)}`);
    group.lines += 1;
  }

  /** One line of the agent. */
  message(data) {
    if (!isObject(data)) {
      this.#other(data, "line");
      return;
    }
    this.#unconfirmed = [];
    switch (data.type) {
      case "system": this.#system(data); break;
      case "stream_event": this.#active(); this.#streams.event(data); break;
      case "assistant": this.#assistant(data); break;
      case "user": this.#user(data); break;
      case "result": this.#result(data); break;
      case "conversation_reset": this.notice("quiet", "The conversation starts anew."); break;
      // Bookkeeping of the CLI for messages that have a uuid; each is under Frames.
      case "command_lifecycle": break;
      default: this.#other(data, String(data.type ?? "line without a type"));
    }
  }

  #append(node) {
    this.#empty.hidden = true;
    this.#infoGroup = null;
    this.#transcript.append(node);
  }

  #other(data, name) {
    this.#append(new OtherBlock(data, name).node);
  }

  // Messages of a sub-agent go into the call that started it, where that is known.
  #place(block, parent) {
    const tool = parent === null ? undefined : this.#tools.get(parent);
    if (tool === undefined) this.#append(block.node);
    else tool.childList().append(block.node);
  }

  #assistant(data) {
    this.#active();
    const message = isObject(data.message) ? data.message : {};
    const parent = data.parent_tool_use_id ?? null;
    const synthetic = message.model === "<synthetic>";
    const blocks = typeof message.content === "string" ? [{ type: "text", text: message.content }] : message.content;
    if (!Array.isArray(blocks)) {
      this.#other(data, "assistant");
      return;
    }
    for (const content of blocks) {
      if (!isObject(content)) {
        this.#other(content, "content block");
        continue;
      }
      const block = this.#streams.full(parent, content, synthetic);
      if (block.type === "tool_use") this.#rememberTool(block);
      if (block.type === "text" && parent === null) {
        this.#turnHadText = true;
        this.#lastText = block.text;
      }
      if (typeof data.error === "string") block.node.classList.add("failed");
      if (data.aborted === true) block.node.classList.add("aborted");
    }
  }

  #rememberTool(tool) {
    if (this.#tools.size >= MAX_OPEN_TOOLS) this.#tools.delete(this.#tools.keys().next().value);
    this.#tools.set(tool.id, tool);
    tool.waits(this.#waiting.includes(tool.id));
  }

  #user(data) {
    this.#active();
    const content = isObject(data.message) ? data.message.content : undefined;
    const blocks = typeof content === "string" ? [{ type: "text", text: content }] : content;
    if (!Array.isArray(blocks)) {
      this.#other(data, "user");
      return;
    }
    for (const block of blocks) {
      const tool = block?.type === "tool_result" ? this.#tools.get(block.tool_use_id) : undefined;
      if (tool !== undefined) {
        tool.finish(block);
        this.#tools.delete(tool.id);
        this.#changed("tool", tool.id);
      } else if (block?.type === "text" && /^\[Request interrupted by user/.test(block.text)) {
        this.notice("quiet", "Interrupted.");
      } else if (block?.type === "text") {
        this.#append(folded("Message to the agent", oneLine(String(block.text)), () => String(block.text)));
      } else {
        if (block?.type === "tool_result") this.#changed("tool", block.tool_use_id);
        this.#other(block, String(block?.type ?? "user"));
      }
    }
  }

  #system(data) {
    switch (data.subtype) {
      case "init": this.#init(data); break;
      case "status":
        this.#active();
        if (data.status === "requesting") this.#say("Waiting for the model");
        else if (typeof data.status === "string") this.#say(oneLine(data.status, 60));
        break;
      case "thinking_tokens":
        this.#active();
        this.#say(`Thinking, about ${plural(data.estimated_tokens, "token")}`);
        break;
      case "api_retry":
        this.notice("warning", "The model's API did not answer.",
          `${data.error_status ? `Status ${data.error_status}. ` : ""}Attempt ${count(data.attempt)} of ${count(data.max_retries)} in ${duration(data.retry_delay_ms)}.`);
        break;
      case "task_started":
        this.notice("quiet", "Task started.", String(data.description ?? ""));
        break;
      case "task_notification":
        this.notice("quiet", `Task ${oneLine(String(data.status ?? "changed"), 40)}.`, String(data.summary ?? ""));
        break;
      case "compact_boundary":
        this.notice("quiet", "The conversation was summarised to make room.");
        break;
      // Bookkeeping of the CLI; every one is under Frames.
      case "session_state_changed":
      case "commands_changed":
      case "background_tasks_changed":
        break;
      default:
        this.#other(data, `system/${String(data.subtype ?? "?")}`);
    }
  }

  // Comes with every turn; shown when something in it is new.
  #init(data) {
    this.#active();
    const session = JSON.stringify([data.session_id, data.model, data.permissionMode, data.cwd]);
    if (session !== this.#session) {
      this.#session = session;
      this.notice("quiet", "Session", [data.model, data.permissionMode && `mode ${data.permissionMode}`, data.cwd, typeof data.session_id === "string" && data.session_id.slice(0, 8)].filter((part) => typeof part === "string").join(" · "));
      this.#changed("session", data);
    }
    for (const server of Array.isArray(data.mcp_servers) ? data.mcp_servers : []) {
      if (server?.status === "failed") this.notice("warning", "An MCP server did not start:", String(server.name));
    }
  }

  #result(data) {
    const turn = this.#ledger.add(data);
    const { kind, words } = outcome(data);
    if (!this.#turnHadText && typeof data.result === "string" && data.result !== "") this.#streams.full(null, { type: "text", text: data.result }, true);
    const errors = Array.isArray(data.errors) && kind === "error" ? data.errors.map(pretty).join("\n") : "";
    const figures = [
      turn.durationMs !== undefined && fact("duration", duration(turn.durationMs)),
      turn.cost !== undefined && fact("cost", dollars(turn.cost), turn.cost === turn.total ? "" : `of ${dollars(turn.total)} in all`),
      turn.cost === undefined && turn.total !== undefined && fact("cost", dollars(turn.total), "in all"),
      turn.inputTokens !== undefined && fact("input-tokens", count(turn.inputTokens), turn.cachedTokens > 0 ? `tokens in, ${count(turn.cachedTokens)} cached` : "tokens in"),
      turn.outputTokens !== undefined && fact("output-tokens", count(turn.outputTokens), "out"),
      turn.steps > 1 && fact("steps", count(turn.steps), "steps"),
    ];
    const denied = Array.isArray(data.permission_denials) ? data.permission_denials.length : 0;
    if (denied > 0) figures.push(fact("denied", count(denied), denied === 1 ? "tool use denied" : "tool uses denied"));
    this.#append(el("div", { class: `entry turn-end ${kind}`, data: { role: "turn-end", result: String(data.subtype ?? ""), outcome: kind } },
      el("strong", { text: words }), ...figures));
    if (errors !== "") this.notice("error", "The agent reported:", errors);
    announce(this.#lastText === "" ? words : `${words} ${this.#lastText}`);
    this.#endTurn();
    this.#changed("result", turn);
  }

  #active() {
    if (!this.running) this.#start("Working");
    else this.#say("Working");
    this.#heard = true;
  }

  #start(words) {
    this.running = true;
    this.#heard = false;
    this.#startedAt = Date.now();
    this.#turnHadText = false;
    this.#lastText = "";
    this.#activity.hidden = false;
    this.#say(words);
    this.#showElapsed();
    this.#changed("turn", true);
  }

  #endTurn() {
    this.#streams.endAll();
    for (const tool of this.#tools.values()) tool.end();
    this.#tools.clear();
    this.#turnHadText = false;
    this.#lastText = "";
    if (!this.running) return;
    this.running = false;
    this.#activity.hidden = true;
    this.#changed("turn", false);
  }

  #say(does) {
    const words = this.#waiting.length > 0 ? "Waiting for your answer" : does;
    if (this.#activityWords.textContent !== words) this.#activityWords.textContent = words;
  }

  #showElapsed() {
    if (!this.running) return;
    const seconds = Math.floor((Date.now() - this.#startedAt) / 1000);
    byId("activity-time").textContent = seconds === 0 ? "" : duration(seconds * 1000).replace(".0", "");
  }
}

function fact(name, value, words = "") {
  return el("span", { class: "fact", data: { fact: name } }, el("b", { text: value }), words === "" ? "" : ` ${words}`);
}

// An interrupt is what the user wanted, so it is no error; an API error comes as a "success".
function outcome(data) {
  if (String(data.terminal_reason ?? "").startsWith("aborted")) return { kind: "stopped", words: "Stopped" };
  if (data.subtype === "success" && data.is_error !== true) return { kind: "success", words: "Done" };
  if (data.subtype === "error_max_turns") return { kind: "error", words: "Stopped at the limit of steps" };
  if (data.subtype === "error_max_budget_usd") return { kind: "error", words: "Stopped at the limit of cost" };
  if (Number.isFinite(data.api_error_status)) return { kind: "error", words: `Failed: the model's API answered ${data.api_error_status}` };
  return { kind: "error", words: "Failed" };
}
