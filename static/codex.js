// Codex says the same things as Claude Code in other words. Here its notifications become the
// messages that the conversation knows, so that there is one view of a turn and not two. What has
// no equivalent keeps its method as its name and is shown folded, like everything unknown.

import { isObject } from "./text.js";

// Bookkeeping of the app-server; every one is under Frames.
const QUIET = new Set([
  "account/rateLimits/updated",
  "item/commandExecution/outputDelta",
  "item/fileChange/outputDelta",
  "item/reasoning/summaryPartAdded",
  "remoteControl/status/changed",
  "thread/readState/changed",
  "thread/settings/updated",
  "thread/status/changed",
  "turn/diff/updated",
]);

/** True for a notification of Codex. */
export function isCodex(data) {
  return isObject(data) && typeof data.method === "string" && data.type === undefined;
}

/** Translates one conversation; it counts the tokens of the turn that runs. */
export class Codex {
  #usage = newUsage();

  /** The messages that say the same as one notification: none, one or several. */
  messages({ method, params: given }) {
    const params = isObject(given) ? given : {};
    if (QUIET.has(method)) return [];
    switch (method) {
      case "thread/started": return thread(params.thread);
      case "turn/started":
        this.#usage = newUsage();
        return [{ type: "system", subtype: "status", status: "requesting" }];
      case "item/agentMessage/delta": return delta(params, { type: "text_delta", text: params.delta });
      case "item/reasoning/summaryTextDelta":
      case "item/reasoning/textDelta": return delta(params, { type: "thinking_delta", thinking: params.delta });
      case "item/started": return isObject(params.item) ? started(params.item) : [];
      case "item/completed": return isObject(params.item) ? completed(params.item) : [];
      case "thread/tokenUsage/updated":
        this.#count(params.tokenUsage?.last);
        return [];
      case "mcpServer/startupStatus/updated":
        return params.status === "failed" ? [{ type: "system", subtype: "init", mcp_servers: [params] }] : [];
      case "error":
        // Without another try it comes again with the turn's end.
        return params.willRetry === true ? [{ type: "system", subtype: "status", status: String(params.error?.message ?? "Trying again") }] : [];
      case "turn/completed": return [this.#result(isObject(params.turn) ? params.turn : {})];
      default: return [{ type: method, params }];
    }
  }

  #count(last) {
    if (!isObject(last)) return;
    const number = (value) => (Number.isFinite(value) ? value : 0);
    const cached = number(last.cachedInputTokens);
    this.#usage.input_tokens += number(last.inputTokens) - cached;
    this.#usage.cache_read_input_tokens += cached;
    this.#usage.output_tokens += number(last.outputTokens);
  }

  #result(turn) {
    const failed = turn.status === "failed";
    return {
      type: "result",
      subtype: turn.status === "completed" ? "success" : String(turn.status),
      is_error: failed,
      terminal_reason: turn.status === "interrupted" ? "aborted" : undefined,
      errors: failed ? [turn.error?.message ?? "The turn failed."] : undefined,
      duration_ms: turn.durationMs,
      usage: this.#usage,
    };
  }
}

function newUsage() {
  return { input_tokens: 0, cache_read_input_tokens: 0, output_tokens: 0 };
}

function thread(thread) {
  if (!isObject(thread)) return [];
  return [{ type: "system", subtype: "init", session_id: thread.id, model: thread.model, cwd: thread.cwd }];
}

function delta({ itemId }, delta) {
  return [{ type: "stream_event", event: { type: "content_block_delta", index: itemId, delta } }];
}

function assistant(content) {
  return [{ type: "assistant", message: { content: [content] } }];
}

// A command, a change, a call: with an end of its own.
function started(item) {
  const call = toolCall(item);
  return call === undefined ? [] : assistant({ type: "tool_use", id: item.id, ...call });
}

function completed(item) {
  switch (item.type) {
    // The page has shown what its user wrote.
    case "userMessage": return [];
    case "agentMessage": return assistant({ type: "text", text: String(item.text ?? "") });
    case "reasoning": {
      const parts = [item.summary, item.content].flatMap((list) => (Array.isArray(list) ? list : []));
      const thinking = parts.map((part) => (typeof part === "string" ? part : String(part?.text ?? ""))).join("\n\n");
      return thinking === "" ? [] : assistant({ type: "thinking", thinking });
    }
    default: {
      if (toolCall(item) === undefined) return [{ type: `item: ${String(item.type)}`, item }];
      const result = { type: "tool_result", tool_use_id: item.id, content: outcome(item), is_error: item.status === "failed" || item.status === "declined" || (Number.isFinite(item.exitCode) && item.exitCode !== 0) };
      return [{ type: "user", message: { content: [result] } }];
    }
  }
}

function toolCall(item) {
  switch (item.type) {
    case "commandExecution": return { name: "Command", input: { command: item.command, cwd: item.cwd } };
    case "fileChange": return { name: "File change", input: { path: item.changes?.[0]?.path, changes: item.changes } };
    case "mcpToolCall": return { name: `${item.server}: ${item.tool}`, input: item.arguments };
    case "webSearch": return { name: "Web search", input: { query: item.query } };
    default: return undefined;
  }
}

function outcome(item) {
  if (item.status === "declined") return "Declined.";
  if (item.type === "commandExecution") return `${item.aggregatedOutput ?? ""}${Number.isFinite(item.exitCode) ? `\n(exit code ${item.exitCode})` : ""}`.trim();
  if (item.type === "fileChange") return (Array.isArray(item.changes) ? item.changes : []).map((change) => `${change.path}\n${change.diff ?? ""}`).join("\n");
  const said = item.error ?? item.result ?? item.action;
  return said === undefined || said === null ? String(item.status ?? "") : JSON.stringify(said, null, 2);
}
