// The conversations that the agent has kept of its directory, with the way back into each: shown where
// nothing was said yet, on the page or in a new conversation.

import { request } from "./access.js";
import { byId, el } from "./dom.js";
import { oneLine } from "./text.js";

const SHOWN = 8;
const WORDS = 120;

export class ConversationList {
  #section = byId("earlier");
  #list = byId("earlier-list");
  #handlers;
  #asked = 0;

  /** `handlers`: `resume(id)` makes the agent go on with a conversation. */
  constructor(handlers) {
    this.#handlers = handlers;
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
    const found = answer.body?.conversations;
    // A server of an earlier version has none.
    if (asked !== this.#asked || answer.status !== 200 || !Array.isArray(found)) return;
    const known = found.filter((one) => typeof one?.id === "string");
    this.#list.replaceChildren(...known.map((one) => this.#entry(one)));
    this.#section.hidden = known.length === 0;
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
