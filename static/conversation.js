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
// Output of a slash command, which the CLI prints as a message of the user.
const COMMAND_OUTPUT = /^<local-command-(stdout|stderr)>([\s\S]*?)<\/local-command-\1>\s*$/;

const STUB = "npm was told not to run install scripts, or to leave out optional packages, so the program itself is missing. On the server, install it again without --ignore-scripts and --omit=optional, or run its install.cjs with node.";

export class Conversation {
  #transcript;
  #ledger;
  #changed;
  #streams = new Streams((block, parent) => this.#place(block, parent));
  #tools = new Map();
  #infoGroup = null;
  #error = null;
  #failure = null;
  #part = null;
  #retry = null;
  #lastEntry = null;
  #session = "";
  #lastText = "";
  #failedText = "";
  #turnHadText = false;
  #waiting = [];
  #empty = byId("empty");

  /** `changed(what, facts)` is told `session`, `hint`, `tool`, `unauthenticated` or `result`. */
  constructor({ transcript, ledger, changed }) {
    this.#transcript = transcript;
    this.#ledger = ledger;
    this.#changed = changed;
  }

  /** Shows what streamed since the last drawn frame, and follows the end. */
  flush() {
    this.#streams.flush();
    this.#transcript.settle();
  }

  /** An entry that another part of the page made. */
  append(node) {
    this.#append(node);
  }

  /** A line between two conversations. It stands once, however many messages tell of it. */
  divide(words) {
    // The next session is the one that the line announces.
    this.#session = "";
    if (this.#lastEntry?.dataset.role === "divider") return;
    this.#append(el("div", { class: "entry divider", data: { role: "divider" }, role: "separator", "aria-label": words }, el("span", { text: words })));
  }

  /** The agent's process is gone, or another server took the place of this one. */
  processEnded() {
    this.#ledger.processEnded();
    this.#endTurn();
  }

  /** The calls that wait for the user's answer, by their ids; undefined for one without. */
  waitingForAnswer(toolUseIds) {
    this.#waiting = toolUseIds;
    for (const [id, tool] of this.#tools) tool.waits(toolUseIds.includes(id));
  }

  /** A line for the reader: `kind` is `quiet`, `info`, `warning` or `error`. */
  notice(kind, title, text = "", more = undefined) {
    const node = el("div", { class: `entry notice ${kind}`, data: { role: "notice", kind } }, title !== "" && el("strong", { text: title }));
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

  /** An `error` frame of the server. */
  error(text, seq) {
    const failure = this.#failure;
    this.#error = { node: this.notice("error", "Error", text), text, seq };
    // An `exit` may follow, and tell once more what the failure before told.
    this.#failure = failure;
  }

  /** Messages were not delivered for this reason, and they say so: the `error` that says the same goes. */
  toldByMessages(reason) {
    if (this.#error === null || this.#error.node !== this.#lastEntry || reason === "" || !this.#error.text.startsWith(reason)) return;
    this.#error.node.remove();
    this.#error = null;
  }

  /** An `exit` frame. The `error` before it and the last lines of stderr tell the same, so they become one block. */
  exited(frame) {
    const how = typeof frame.signal === "string" || Number.isFinite(frame.signal) ? `was ended by signal ${frame.signal}` : `exited with code ${frame.code ?? "unknown"}`;
    const stderr = typeof frame.stderr === "string" ? frame.stderr.trim() : "";
    const error = this.#error !== null && frame.seq === this.#error.seq + 1 ? this.#error : null;
    const said = error === null ? "" : error.node.querySelector(".notice-text")?.textContent ?? "";
    const next = said.split(" The end of its stderr: ", 1)[0].replace(/^The agent [^.]*\.\s*/, "");
    const info = this.#infoBefore(error?.node, stderr);
    error?.node.remove();
    info?.remove();
    this.processEnded();
    const same = this.#failure !== null && this.#failure.how === how && this.#failure.stderr === stderr ? this.#failure : null;
    same?.node.remove();
    const times = (same?.times ?? 0) + 1;
    const stub = /native binary not installed/i.test(stderr);
    const title = stub ? "Claude Code is installed only in part." : `The agent process ${how}${times === 1 ? "." : `, ${times} times.`}`;
    const node = this.notice("error", title, stub ? STUB : next, stderr === "" ? undefined : { title: "Last lines of its stderr", text: stderr });
    this.#failure = { node, how, stderr, times };
    if (stub) {
      // It stays so until somebody installs it: once is enough, whatever was said in between.
      this.#part?.remove();
      this.#part = node;
    }
  }

  // The entry of stderr in front of a failure, when the failure tells the same lines.
  #infoBefore(node, stderr) {
    const before = node?.previousElementSibling;
    if (!before?.matches(".notice.info")) return undefined;
    const lines = before.querySelector("pre").textContent.split("\n");
    return lines.every((line) => stderr.includes(line.trim())) ? before : undefined;
  }

  /** A line of the agent's stderr. */
  info(text) {
    let group = this.#infoGroup;
    if (group === null || group.lines >= INFO_GROUP_LINES) {
      const pre = el("pre", { tabindex: "0", dir: "auto" });
      const failure = this.#failure;
      this.#append(el("div", { class: "entry notice info", data: { role: "notice", kind: "info" } }, el("strong", { text: "Info" }), pre));
      // The lines of the next failure of its kind do not part it from this one.
      this.#failure = failure;
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
    switch (data.type) {
      case "system": this.#system(data); break;
      case "stream_event": this.#streams.event(data); break;
      case "assistant": this.#assistant(data); break;
      case "user": this.#user(data); break;
      case "result": this.#result(data); break;
      case "conversation_reset": this.divide("A new conversation"); break;
      // Heartbeats of a long call, and what the account may still spend.
      case "tool_progress":
      case "rate_limit_event": break;
      case "tool_use_summary": this.notice("quiet", String(data.summary ?? "")); break;
      // Bookkeeping of the CLI for messages that have a uuid; each is under Frames.
      case "command_lifecycle": break;
      default: this.#other(data, String(data.type ?? "line without a type"));
    }
  }

  #append(node) {
    this.#empty.hidden = true;
    this.#infoGroup = null;
    this.#failure = null;
    this.#retry = null;
    this.#lastEntry = node;
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
    const message = isObject(data.message) ? data.message : {};
    const parent = data.parent_tool_use_id ?? null;
    const synthetic = message.model === "<synthetic>";
    const blocks = typeof message.content === "string" ? [{ type: "text", text: message.content }] : message.content;
    if (!Array.isArray(blocks)) {
      this.#other(data, "assistant");
      return;
    }
    if (typeof data.error === "string" && parent === null) {
      // The turn's end tells it.
      this.#failedText = blocks.map((block) => (typeof block?.text === "string" ? block.text : "")).join("\n").trim();
      if (data.error === "authentication_failed") this.#changed("unauthenticated", this.#failedText);
      if (this.#failedText !== "") return;
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
      if (data.aborted === true) block.node.classList.add("aborted");
    }
  }

  #rememberTool(tool) {
    if (this.#tools.size >= MAX_OPEN_TOOLS) this.#tools.delete(this.#tools.keys().next().value);
    this.#tools.set(tool.id, tool);
    tool.waits(this.#waiting.includes(tool.id));
  }

  #user(data) {
    const content = isObject(data.message) ? data.message.content : undefined;
    const blocks = typeof content === "string" ? [{ type: "text", text: content }] : content;
    if (!Array.isArray(blocks)) {
      this.#other(data, "user");
      return;
    }
    for (const block of blocks) {
      const tool = block?.type === "tool_result" ? this.#tools.get(block.tool_use_id) : undefined;
      if (tool !== undefined) {
        tool.finish(block, data.tool_use_result);
        this.#tools.delete(tool.id);
        this.#changed("tool", tool.id);
      } else if (block?.type === "text" && /^\[Request interrupted by user/.test(block.text)) {
        this.notice("quiet", "Interrupted.");
      } else if (block?.type === "text" && COMMAND_OUTPUT.test(block.text)) {
        const [, stream, said] = COMMAND_OUTPUT.exec(block.text);
        if (said.trim() !== "") this.notice(stream === "stderr" ? "warning" : "info", "", said.trim());
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
        if (data.status === "requesting") this.#changed("hint", "Waiting for the model");
        else if (data.status === "compacting") this.#changed("hint", "Summarising the conversation");
        else if (typeof data.status === "string") this.#changed("hint", data.status);
        if (data.compact_result === "failed") this.notice("warning", "The conversation could not be summarised.", String(data.compact_error ?? ""));
        break;
      case "thinking_tokens":
        this.#changed("hint", `Thinking, about ${plural(data.estimated_tokens, "token")}`);
        break;
      case "api_retry": this.#apiRetry(data); break;
      case "informational":
        this.notice({ warning: "warning", suggestion: "info", notice: "quiet" }[data.level] ?? "quiet", "", String(data.content ?? ""));
        break;
      case "local_command_output":
        this.#streams.full(null, { type: "text", text: String(data.content ?? "") }, true);
        this.#turnHadText = true;
        break;
      case "notification": this.notice("quiet", "", String(data.text ?? "")); break;
      case "permission_denied":
        this.notice("warning", `${oneLine(String(data.tool_name ?? "A tool"), 80)} was denied.`, String(data.message ?? data.decision_reason ?? ""));
        break;
      case "model_refusal_fallback":
      case "model_refusal_no_fallback": this.notice("warning", "The model refused.", String(data.content ?? "")); break;
      case "task_notification":
        // The list of tasks shows those that run; how one ended belongs to the conversation.
        if (data.skip_transcript !== true) this.notice(data.status === "failed" ? "warning" : "quiet", `Task ${oneLine(String(data.status ?? "changed"), 40)}.`, String(data.summary ?? ""));
        break;
      case "compact_boundary":
        this.notice("quiet", "The conversation was summarised to make room.");
        break;
      // Bookkeeping of the CLI, and what the lists of tasks and commands show; every one is under Frames.
      case "commands_changed": this.#changed("commands", data.commands); break;
      case "session_state_changed":
      case "background_tasks_changed":
      case "task_started":
      case "task_progress":
      case "task_updated":
      case "hook_started":
      case "hook_progress":
      case "control_request_progress":
      case "elicitation_complete":
      case "files_persisted":
        break;
      default:
        this.#other(data, `system/${String(data.subtype ?? "?")}`);
    }
  }

  // Attempts that follow one another are one block.
  #apiRetry(data) {
    const words = `Attempt ${count(data.attempt)} of ${count(data.max_retries)} in ${duration(data.retry_delay_ms)}.`;
    const retry = this.#retry;
    retry?.remove();
    this.#retry = this.notice("warning", data.error_status ? `The model's API answered ${data.error_status}.` : "The model's API did not answer.", words);
  }

  // Comes with every turn; shown when something in it is new.
  #init(data) {
    const session = JSON.stringify([data.session_id, data.model, data.permissionMode, data.cwd]);
    if (session !== this.#session) {
      const other = this.#session !== "" && JSON.parse(this.#session)[0] !== data.session_id;
      this.#session = session;
      if (other) this.divide("A new conversation");
      this.notice("quiet", "Session", [data.model, data.permissionMode && `mode ${data.permissionMode}`, data.cwd, typeof data.session_id === "string" && data.session_id.slice(0, 8)].filter((part) => typeof part === "string").join(" · "));
    }
    this.#changed("session", data);
    for (const server of Array.isArray(data.mcp_servers) ? data.mcp_servers : []) {
      if (server?.status === "failed") this.notice("warning", "An MCP server did not start:", String(server.name));
    }
  }

  #result(data) {
    const turn = this.#ledger.add(data);
    const { kind, words } = outcome(data);
    if (kind !== "error" && !this.#turnHadText && typeof data.result === "string" && data.result !== "") this.#streams.full(null, { type: "text", text: data.result }, true);
    const failure = kind === "error" ? this.#failureOf(data) : "";
    const figures = [
      turn.durationMs !== undefined && fact("duration", duration(turn.durationMs)),
      turn.cost !== undefined && fact("cost", dollars(turn.cost), turn.cost === turn.total ? "" : `of ${dollars(turn.total)} in all`),
      turn.cost === undefined && turn.total !== undefined && fact("cost", dollars(turn.total), "in all"),
      turn.inputTokens !== undefined && fact("input-tokens", count(turn.inputTokens), `${turn.inputTokens === 1 ? "token" : "tokens"} in${turn.cachedTokens > 0 ? `, ${count(turn.cachedTokens)} cached` : ""}`),
      turn.outputTokens !== undefined && fact("output-tokens", count(turn.outputTokens), "out"),
      turn.steps > 1 && fact("steps", count(turn.steps), "steps"),
    ];
    const denied = Array.isArray(data.permission_denials) ? data.permission_denials.length : 0;
    if (denied > 0) figures.push(fact("denied", count(denied), denied === 1 ? "tool use denied" : "tool uses denied"));
    this.#append(el("div", { class: `entry turn-end ${kind}`, data: { role: "turn-end", result: String(data.subtype ?? ""), outcome: kind } },
      el("strong", { text: words }), ...figures,
      failure !== "" && el("p", { class: "turn-error", dir: "auto", text: visible(failure.slice(0, 10_000)) })));
    announce(this.#lastText === "" ? words : `${words} ${this.#lastText}`);
    this.#endTurn();
    this.#changed("result", { ...turn, succeeded: kind === "success" });
  }

  // Why a turn failed: each reason once.
  #failureOf(data) {
    const reasons = [this.#failedText, ...(Array.isArray(data.errors) ? data.errors.map(pretty) : [])];
    if (typeof data.result === "string") reasons.push(data.result);
    return [...new Set(reasons.map((reason) => reason.trim()))].filter((reason) => reason !== "").join("\n");
  }

  #endTurn() {
    this.#streams.endAll();
    for (const tool of this.#tools.values()) tool.end();
    this.#tools.clear();
    this.#turnHadText = false;
    this.#lastText = "";
    this.#failedText = "";
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
