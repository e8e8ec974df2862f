// The messages of a conversation from before this page came to it, read from what the agent has kept.
// Each is shown once: what came over the WebSocket is not shown again.

import { failure, request } from "./access.js";
import { Conversation } from "./conversation.js";
import { byId, el } from "./dom.js";
import { Ledger } from "./ledger.js";
import { Outbox } from "./outbox.js";
import { isObject, plural } from "./text.js";

// Messages that are shown of one conversation, and the bytes that are read for them.
const MAX_MESSAGES = 500;
const MAX_BYTES = 32 * 1024 * 1024;
const TIMEOUT_MS = 60_000;
// Conversations in which one is looked for before its messages are asked for.
const LISTED = 50;
// Ids of messages that are remembered.
const MAX_SEEN = 50_000;

export class History {
  #asked = new Set();
  #seen = new Set();
  #inputs = new Set();
  #shown = new Set();
  #places = new Map();
  #handlers;

  /** `handlers`: `settle()` is told when something was shown, `restore(text)` and `notice(…)` as elsewhere. */
  constructor(handlers) {
    this.#handlers = handlers;
  }

  /** A message that came over the WebSocket, or goes over it. */
  saw(data) {
    if (!isObject(data) || (data.type !== "user" && data.type !== "assistant")) return;
    if (typeof data.uuid === "string") this.#remember(this.#seen, data.uuid);
    else this.#remember(this.#inputs, JSON.stringify(data.message?.content));
  }

  /** Whether a message is shown as an earlier one. */
  has(data) {
    return isObject(data) && typeof data.uuid === "string" && this.#shown.has(data.uuid);
  }

  /** A place for what a conversation had before, which is above everything else without one. */
  place(id) {
    const place = el("section", { class: "earlier-messages", "aria-label": "Earlier messages", hidden: true });
    if (!this.#asked.has(id)) this.#places.set(id, place);
    return place;
  }

  /**
   * Shows what a conversation had before, once everything is here that the server has kept of it.
   * `known` is a conversation that is kept for sure.
   */
  async show(id, { known = false } = {}) {
    if (this.#asked.has(id)) return;
    this.#asked.add(id);
    if (known || (await isListed(id))) this.#fill(await ask(id), this.#places.get(id) ?? byId("earlier-messages"));
  }

  #fill(answer, place) {
    if (answer.status !== 200 || !Array.isArray(answer.body?.messages)) {
      if (answer.status !== 404) this.#handlers.notice("warning", "The earlier messages cannot be shown:", failure(answer));
      return;
    }
    const messages = this.#older(answer.body.messages.filter(isObject));
    if (messages.length === 0) return;
    const left = Number(answer.body.left_out ?? 0);
    const nodes = [];
    const append = (node) => {
      node.dataset.earlier = "true";
      nodes.push(node);
    };
    const outbox = new Outbox({ append, restore: this.#handlers.restore });
    const conversation = new Conversation({ transcript: { append, settle() {} }, ledger: new Ledger(), changed() {} });
    for (const message of messages) {
      if (typeof message.uuid === "string") this.#shown.add(message.uuid);
      if (isTyped(message)) outbox.input(message);
      else conversation.message({ ...message, parent_tool_use_id: null });
    }
    conversation.processEnded();
    conversation.flush();
    const words = `Earlier in this conversation${left > 0 ? `: the last ${plural(messages.length, "message")}, ${plural(left, "older one")} left out` : ""}`;
    place.replaceChildren(
      el("div", { class: "entry divider", data: { role: "divider", earlier: "begin" }, role: "separator", "aria-label": words }, el("span", { text: words })),
      ...nodes,
      el("div", { class: "entry divider", data: { role: "divider", earlier: "end" }, role: "separator", "aria-label": "From here on as it came" }, el("span", { text: "From here on as it came" })),
    );
    place.hidden = false;
    byId("empty").hidden = true;
    this.#handlers.settle();
  }

  // What stands before the first message that the page has.
  #older(messages) {
    const first = messages.findIndex((message) => this.#seen.has(message.uuid));
    const older = first === -1 ? messages : messages.slice(0, first);
    // A message that its sender gave no id has got one since.
    while (older.length > 0 && this.#inputs.has(JSON.stringify(older.at(-1).message?.content))) older.pop();
    return older;
  }

  #remember(set, value) {
    if (set.size >= MAX_SEEN) set.delete(set.values().next().value);
    set.add(value);
  }
}

async function isListed(id) {
  const answer = await request(`conversations?limit=${LISTED}`);
  const found = answer.body?.conversations;
  return answer.status === 200 && Array.isArray(found) && found.some((one) => one?.id === id);
}

function ask(id) {
  return request(`conversations/${encodeURIComponent(id)}?last=${MAX_MESSAGES}`, { limit: MAX_BYTES, timeout: TIMEOUT_MS });
}

// What a person wrote, and not the result of a tool or the output of a command.
function isTyped({ type, message }) {
  if (type !== "user" || !isObject(message)) return false;
  const blocks = typeof message.content === "string" ? [{ type: "text", text: message.content }] : message.content;
  return Array.isArray(blocks) && blocks.every((block) => block?.type !== "tool_result" && !(block?.type === "text" && /^(\[Request interrupted by user|<[a-z-]+>)/.test(block.text)));
}
