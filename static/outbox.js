// What people wrote to the agent. The page's own messages are shown at once and followed by their
// ids: `agent_state` says which wait, `input` which were handed to the agent and in which place,
// `undelivered` which were not. Messages of other clients come as `input` alone.

import { image, setLong } from "./blocks.js";
import { el } from "./dom.js";
import { isObject, pretty } from "./text.js";

// Messages that are followed. Far more than wait at once.
const MAX_FOLLOWED = 1_000;

/** A new id for a message. */
export function newUuid() {
  if (typeof crypto.randomUUID === "function") return crypto.randomUUID();
  // A page that came over plain HTTP from another machine has no randomUUID.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

export class Outbox {
  #followed = new Map();
  #append;
  #restore;

  /** `append(node)` puts an entry at the end; `restore(text)` puts a text back into the message box. */
  constructor({ append, restore }) {
    this.#append = append;
    this.#restore = restore;
  }

  /** A message of this page's user, on its way. */
  sent(data) {
    const entry = new Entry(data, this.#restore);
    entry.show("sending");
    this.#follow(data.uuid, entry);
    this.#append(entry.node);
  }

  /** A message that was handed to the agent, whoever wrote it. */
  input(data) {
    if (!isObject(data)) return;
    const known = this.#followed.get(data.uuid);
    if (known === undefined) {
      const entry = new Entry(data, this.#restore);
      entry.show("delivered");
      // A message that is both followed and replayed is one.
      if (typeof data.uuid === "string") this.#follow(data.uuid, entry);
      this.#append(entry.node);
      return;
    }
    if (known.delivery === "delivered") return;
    known.show("delivered");
    // Its place is where the agent took it, behind what came while it waited.
    this.#append(known.node);
  }

  /** The agent's state tells which messages wait and which are being answered. */
  state({ turn, queued }) {
    const waiting = new Set(Array.isArray(queued) ? queued : []);
    for (const [uuid, entry] of this.#followed) {
      if (entry.delivery === "queued" && !waiting.has(uuid)) entry.show("taken");
    }
    for (const uuid of waiting) this.#set(uuid, "queued");
    if (!isObject(turn)) return;
    for (const uuid of [turn.uuid, ...(Array.isArray(turn.uuids) ? turn.uuids : [])]) this.#set(uuid, "taken");
  }

  /** An `undelivered` message. */
  undelivered({ uuids, reason }) {
    let known = 0;
    for (const uuid of Array.isArray(uuids) ? uuids : []) {
      const entry = this.#followed.get(uuid);
      if (entry === undefined) continue;
      entry.show("undelivered", String(reason ?? ""));
      known += 1;
    }
    return known;
  }

  /** The connection is gone; what was sent last may not have arrived. */
  lost() {
    for (const entry of this.#followed.values()) if (entry.delivery === "sending") entry.show("unknown");
  }

  #set(uuid, delivery) {
    const entry = this.#followed.get(uuid);
    if (entry !== undefined && !["delivered", "undelivered"].includes(entry.delivery)) entry.show(delivery);
  }

  #follow(uuid, entry) {
    if (this.#followed.size >= MAX_FOLLOWED) this.#followed.delete(this.#followed.keys().next().value);
    this.#followed.set(uuid, entry);
  }
}

const NOTES = {
  queued: "Waiting until the agent takes it.",
  unknown: "The connection was lost right after this was sent. It may not have reached the agent.",
};

class Entry {
  #note = el("p", { class: "entry-note", hidden: true });
  #again;
  delivery = "";

  constructor(data, restore) {
    const body = el("div", { class: "user-text", dir: "auto" });
    const pictures = [];
    const texts = [];
    const content = isObject(data.message) ? data.message.content : undefined;
    for (const block of Array.isArray(content) ? content : [{ type: "text", text: content }]) {
      const picture = image(block, "Image that was sent");
      if (picture !== null) pictures.push(picture);
      else if (block?.type === "text") texts.push(String(block.text ?? ""));
      else if (block?.type === "document") texts.push(`[Document${typeof block.title === "string" ? `: ${block.title}` : ""}]`);
      else texts.push(pretty(block));
    }
    const text = texts.join("\n\n");
    setLong(body, text);
    this.#again = el("button", { type: "button", class: "quiet small", text: "Back into the message box", hidden: true, on: { click: () => restore(text) } });
    this.node = el("article", { class: "entry user", data: { role: "user" } }, el("span", { class: "offscreen", text: "You: " }), body, ...pictures, this.#note, this.#again);
  }

  show(delivery, reason = "") {
    this.delivery = delivery;
    this.node.dataset.delivery = delivery;
    const note = delivery === "undelivered" ? `Not delivered: ${reason}` : NOTES[delivery] ?? "";
    this.#note.hidden = note === "";
    this.#note.textContent = note;
    this.#again.hidden = delivery !== "undelivered";
  }
}
