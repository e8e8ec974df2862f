// The parts of an answer: text, thinking, a tool call with its result. Each can grow while it
// streams and is then settled by the full message.

import { copyText, el } from "./dom.js";
import { MarkdownView } from "./markdown.js";
import { toolInput, toolResult, toolTitle } from "./tools.js";
import { count, isObject, oneLine, plural, pretty, visible } from "./text.js";

// A folded body is laid out when it is opened, and then at most this much of it.
const MAX_BODY_CHARS = 200_000;

/** A paragraph of the agent's text. */
export class TextBlock {
  type = "text";
  #text = "";
  #unseen = "";
  #body;
  #view;
  #copy = el("button", { type: "button", class: "quiet small copy-answer", text: "Copy", "aria-label": "Copy this answer", on: { click: () => copyText(this.text, this.#copy) } });

  constructor() {
    this.#body = el("div", { class: "prose", dir: "auto" });
    this.#view = new MarkdownView(this.#body);
    this.node = el("article", { class: "entry agent streaming", data: { role: "agent" } }, this.#body, this.#copy);
  }

  get text() {
    return this.#text + this.#unseen;
  }

  /** Takes more text; it is shown by `flush`, once for each drawn frame. */
  append(text) {
    this.#unseen += text;
  }

  flush() {
    if (this.#unseen === "") return;
    this.#text += this.#unseen;
    this.#view.append(this.#unseen);
    this.#unseen = "";
  }

  /** The full text is known: what streamed is kept when it is the same, else replaced. */
  settle(block) {
    this.flush();
    const text = String(block.text ?? "");
    if (text !== this.#text) {
      this.#body.replaceChildren();
      this.#view = new MarkdownView(this.#body);
      this.#view.append(text);
      this.#text = text;
    }
    this.end();
  }

  /** No more will come. */
  end() {
    this.flush();
    this.#view.finish();
    this.node.classList.remove("streaming");
  }
}

/** The model's thinking, folded. */
export class ThinkingBlock {
  type = "thinking";
  #text = "";
  #pre = el("pre", { class: "body", dir: "auto" });
  #label = el("span", { class: "fold-gist", text: "Thinking…" });

  constructor() {
    this.node = el("details", { class: "entry fold thinking streaming", data: { role: "thinking" } },
      el("summary", {}, el("span", { class: "fold-name", text: "Thinking" }), this.#label), this.#pre);
    this.node.addEventListener("toggle", () => this.flush());
  }

  append(text) {
    this.#text += text;
  }

  flush() {
    if (this.node.open) setLong(this.#pre, this.#text);
    else if (this.node.classList.contains("streaming")) this.#label.textContent = oneLine(this.#text.slice(-200), 90);
  }

  settle(block) {
    if (block.type === "redacted_thinking") this.#text = "This thinking is encrypted by the model's provider.";
    else this.#text = String(block.thinking ?? this.#text);
    this.end();
  }

  end() {
    this.node.classList.remove("streaming");
    const words = this.#text.split(/\s+/).length;
    this.#label.textContent = this.#text === "" ? "not shown by the model" : `${oneLine(this.#text, 90)} (${plural(words, "word")})`;
    this.flush();
  }
}

/** A tool call: folded input, and its result when it comes. */
export class ToolBlock {
  type = "tool_use";
  #input;
  #partial = "";
  #result;
  #details;
  #label = el("span", { class: "fold-name" });
  #gist = el("span", { class: "fold-gist" });
  #status = el("span", { class: "fold-status" });
  #body = el("div", { class: "body" });

  constructor(block) {
    this.node = el("details", { class: "entry fold tool streaming", data: { role: "tool" } },
      el("summary", {}, this.#label, this.#gist, this.#status), this.#body);
    this.node.addEventListener("toggle", () => this.flush());
    this.#identify(block);
    this.#setStatus("running", "running");
  }

  #identify(block) {
    this.id = String(block.id ?? "");
    this.name = String(block.name ?? "Tool");
    this.node.dataset.tool = this.name;
    this.node.dataset.toolUseId = this.id;
    this.#label.textContent = oneLine(this.name, 80);
  }

  /** More of the input's JSON. */
  append(text) {
    this.#partial += text;
  }

  flush() {
    if (!this.node.open) return;
    this.#body.replaceChildren();
    if (this.#input === undefined) this.#body.append(section("Input, arriving", this.#partial));
    else this.#showInput();
    if (this.#result !== undefined) this.#showResult();
    if (this.children !== undefined) this.#body.append(this.children);
  }

  settle(block) {
    if (this.id === "") this.#identify(block);
    this.#input = block.input ?? {};
    this.#partial = "";
    this.#label.textContent = toolTitle(this.name);
    this.#gist.textContent = gist(this.#input);
    this.node.classList.remove("streaming");
    this.flush();
  }

  end() {
    this.node.classList.remove("streaming");
    if (this.node.dataset.status === "running") this.#setStatus("ended", "no result");
    this.flush();
  }

  /** The result of the call, as a `tool_result` block, with what the CLI says of it beside that. */
  finish(result, details) {
    this.#result = result.content ?? "";
    this.#details = details;
    const failed = result.is_error === true;
    this.#setStatus(failed ? "error" : "done", failed ? "failed" : "done");
    this.flush();
  }

  /** Marks that it waits for the user's permission, or runs. */
  waits(waiting) {
    if (this.node.dataset.status === "running") this.#setStatus("running", waiting ? "waiting for you" : "running");
  }

  /** The place for messages of a sub-agent started by this call. */
  childList() {
    this.children ??= el("div", { class: "sub-agent" });
    if (this.node.open && !this.children.isConnected) this.#body.append(this.children);
    return this.children;
  }

  #setStatus(status, words) {
    this.node.dataset.status = status;
    this.#status.textContent = words;
  }

  #showInput() {
    const own = toolInput(this.name, this.#input, this.#details);
    if (own !== undefined) {
      this.#body.append(...own);
      return;
    }
    const parts = flatInput(this.#input) ?? [["Input", pretty(this.#input)]];
    this.#body.append(...parts.map(([name, text]) => section(name, text)));
  }

  #showResult() {
    const failed = this.node.dataset.status === "error";
    const own = failed ? undefined : toolResult(this.name, this.#details);
    if (own !== undefined) {
      this.#body.append(...own);
      return;
    }
    const title = failed ? "Error" : "Result";
    if (!Array.isArray(this.#result)) {
      this.#body.append(section(title, pretty(this.#result), failed));
      return;
    }
    for (const part of this.#result) {
      const picture = image(part);
      this.#body.append(picture ?? section(title, part?.type === "text" ? String(part.text ?? "") : pretty(part), failed));
    }
  }
}

/** The fields of an input with their texts, if each is no more than a text or a number; else undefined. */
export function flatInput(input) {
  const entries = isObject(input) ? Object.entries(input) : [];
  const flat = entries.length > 0 && entries.length <= 6 && entries.every(([, value]) => typeof value === "string" || typeof value === "number" || typeof value === "boolean");
  return flat ? entries.map(([name, value]) => [name, String(value)]) : undefined;
}

/** A text under its name. */
export function section(title, text, failed = false) {
  const pre = el("pre", { tabindex: "0", dir: "auto" });
  setLong(pre, text === "" ? "(empty)" : text);
  return el("div", { class: failed ? "part failed" : "part" }, el("div", { class: "part-title", text: oneLine(title, 80) }), pre);
}

/** Any block this page has no view for, folded, as JSON. */
export class OtherBlock {
  type = "other";

  constructor(block, name = String(block?.type ?? "unknown")) {
    this.node = folded(oneLine(name, 60), oneLine(JSON.stringify(block) ?? "", 100), () => pretty(block));
  }

  append() {}
  flush() {}
  settle() {}
  end() {}
}

/** The view for a content block, by its type. */
export function newBlock(block) {
  switch (block?.type) {
    case "text": return new TextBlock();
    case "thinking":
    case "redacted_thinking": return new ThinkingBlock();
    case "tool_use":
    case "server_tool_use":
    case "mcp_tool_use": return new ToolBlock(block);
    default: return new OtherBlock(block);
  }
}

/** A folded line whose body is asked for when it is first opened. */
export function folded(name, gistText, body) {
  const pre = el("pre", { class: "body", tabindex: "0", dir: "auto" });
  const node = el("details", { class: "entry fold other", data: { role: "other" } },
    el("summary", {}, el("span", { class: "fold-name", text: name }), el("span", { class: "fold-gist", text: gistText })), pre);
  node.addEventListener("toggle", () => { if (node.open && pre.firstChild === null) setLong(pre, body()); });
  return node;
}

/** Sets text, cut at a bound that a browser can lay out; says how much is missing. */
export function setLong(node, text) {
  const cut = text.length > MAX_BODY_CHARS;
  node.textContent = visible(cut ? text.slice(0, MAX_BODY_CHARS) : text);
  if (cut) node.append(el("span", { class: "cut-note", text: `\n${count(text.length - MAX_BODY_CHARS)} more characters are not shown here. The whole frame is under Frames.` }));
}

/** A summary of a tool call, in one line. */
export function gist(input) {
  if (!isObject(input)) return oneLine(String(input ?? ""));
  if (typeof input.questions?.[0]?.question === "string") return oneLine(input.questions[0].question);
  for (const name of ["command", "file_path", "notebook_path", "path", "pattern", "query", "url", "skill", "subject", "description", "prompt", "plan"]) {
    if (typeof input[name] === "string" && input[name] !== "") return oneLine(input[name]);
  }
  return Object.keys(input).length === 0 ? "" : oneLine(JSON.stringify(input));
}

// Only plain raster formats, and only as data: the address can carry no script and reach no host.
export function image(part, alt = "Image returned by the tool") {
  const source = part?.type === "image" ? part.source : undefined;
  if (source?.type !== "base64" || !/^image\/(png|jpeg|gif|webp)$/.test(source.media_type) || !/^[A-Za-z0-9+/=\s]+$/.test(source.data)) return null;
  return el("img", { class: "picture", alt, src: `data:${source.media_type};base64,${source.data}` });
}
