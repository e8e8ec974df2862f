// The conversations that the agent has kept of its directory, with the way back into each: shown where
// nothing was said yet, on the page or in a new conversation.

import { failure, request } from "./access.js";
import { byId, el } from "./dom.js";
import { oneLine } from "./text.js";

const SHOWN = 8;
// Conversations that each further request brings.
const OLDER = 50;
const WORDS = 120;

export class ConversationList {
  #section = byId("earlier");
  #list = byId("earlier-list");
  #more = byId("earlier-more");
  #handlers;
  #asked = 0;
  // The oldest one that is shown, as the server takes it.
  #oldest;

  /** `handlers`: `resume(id)` makes the agent go on with a conversation. */
  constructor(handlers) {
    this.#handlers = handlers;
    this.#more.addEventListener("click", () => this.#loadOlder());
  }

  setConnected(connected) {
    this.#asked += 1;
    if (connected) this.#load(this.#asked);
    else this.#section.hidden = true;
  }

  /** A new conversation has begun, below what is shown of the last one. */
  async offer() {
    this.#section.classList.add("offered");
    this.#asked += 1;
    await this.#load(this.#asked);
    this.#section.scrollIntoView({ block: "nearest" });
  }

  /** Something was said in it. */
  said() {
    this.#section.classList.remove("offered");
  }

  async #load(asked) {
    const answer = await request(`conversations?limit=${SHOWN}`);
    const known = conversations(answer);
    // A server of an earlier version has none.
    if (asked !== this.#asked || known === undefined) return;
    this.#list.replaceChildren(...known.map((one) => this.#entry(one)));
    this.#oldest = known.at(-1);
    this.#more.hidden = answer.body.more !== true || known.length === 0;
    this.#section.hidden = known.length === 0;
  }

  async #loadOlder() {
    const asked = this.#asked;
    const { id, modified } = this.#oldest;
    this.#more.disabled = true;
    const answer = await request(`conversations?limit=${OLDER}&before=${Number(modified)}.${encodeURIComponent(id)}`);
    this.#more.disabled = false;
    const known = conversations(answer);
    if (asked !== this.#asked) return;
    this.#more.textContent = known === undefined ? `Older ones, again: ${failure(answer)}` : "Older ones";
    if (known === undefined) return;
    // A server of an earlier version gives the newest again.
    const shown = new Set([...this.#list.querySelectorAll("[data-conversation]")].map((button) => button.dataset.conversation));
    const older = known.filter((one) => !shown.has(one.id));
    this.#list.append(...older.map((one) => this.#entry(one)));
    this.#oldest = older.at(-1);
    this.#more.hidden = answer.body.more !== true || older.length === 0;
    this.#list.children[shown.size]?.querySelector("button").focus();
  }

  #entry({ id, title, first_words: words, modified }) {
    const text = oneLine(typeof title === "string" ? title : String(words ?? ""), WORDS);
    const time = new Date(Number(modified));
    const shown = Number.isNaN(time.getTime()) ? [] : [el("time", { class: "faint", datetime: time.toISOString(), text: time.toLocaleString([], { dateStyle: "medium", timeStyle: "short" }) })];
    const button = el("button", { type: "button", class: "example", "data-conversation": id, title: "Go on with it", on: { click: () => this.#resume(id) } });
    button.append(el("span", { text: text === "" ? id : text }), ...shown);
    const item = el("li", {});
    item.append(button);
    return item;
  }

  async #resume(id) {
    this.#section.hidden = true;
    this.said();
    await this.#handlers.resume(id);
  }
}

// Those of an answer; undefined if it has none.
function conversations({ status, body }) {
  const found = body?.conversations;
  if (status !== 200 || !Array.isArray(found)) return undefined;
  return found.filter((one) => typeof one?.id === "string");
}
