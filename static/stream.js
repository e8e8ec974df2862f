// Puts partial messages together. The CLI streams events and then prints the full message, before
// the event that ends its block: the full message settles the block that streamed, so nothing is
// shown twice, and whatever the stream got wrong is put right.

import { newBlock } from "./blocks.js";
import { isObject } from "./text.js";

const DELTA_BLOCKS = { text_delta: "text", thinking_delta: "thinking", input_json_delta: "tool_use" };

// One for each sub-agent and one for the agent itself: they stream at the same time.
function newStream() {
  return { blocks: new Map(), settled: new Set() };
}

export class Streams {
  #streams = new Map();
  #dirty = new Set();
  #place;

  /** `place(block, parent)` puts a new block on the page; `parent` is a tool's id or null. */
  constructor(place) {
    this.#place = place;
  }

  /** One `stream_event`. */
  event(data) {
    const parent = data.parent_tool_use_id ?? null;
    const event = data.event;
    if (!isObject(event)) return;
    switch (event.type) {
      case "message_start":
        // Blocks still open belong to an attempt that the CLI has given up and repeats.
        this.#discard(parent);
        this.#streams.set(parent, newStream());
        break;
      case "content_block_start":
        this.#start(parent, event.index, event.content_block);
        break;
      case "content_block_delta":
        this.#delta(parent, event.index, event.delta);
        break;
    }
  }

  /**
   * One content block of a full message: settles the first open block of its kind, or makes a new
   * one. Returns the block.
   */
  full(parent, content, synthetic) {
    const open = synthetic ? undefined : this.#match(parent, content);
    const block = open ?? this.#make(parent, content);
    block.settle(content);
    this.#dirty.delete(block);
    return block;
  }

  /** The turn is over: what is still open will not be completed. */
  endAll() {
    for (const stream of this.#streams.values()) {
      for (const block of stream.blocks.values()) block.end();
    }
    this.#streams.clear();
    this.#dirty.clear();
  }

  /** Shows what has arrived since the last drawn frame. */
  flush() {
    for (const block of this.#dirty) block.flush();
    this.#dirty.clear();
  }

  #stream(parent) {
    let stream = this.#streams.get(parent);
    if (stream === undefined) {
      stream = newStream();
      this.#streams.set(parent, stream);
    }
    return stream;
  }

  #start(parent, index, content) {
    if (!isObject(content)) return;
    const block = this.#make(parent, content);
    this.#stream(parent).blocks.set(index, block);
    if (typeof content.text === "string" && content.text !== "") block.append(content.text);
  }

  #delta(parent, index, delta) {
    if (!isObject(delta)) return;
    const stream = this.#stream(parent);
    let block = stream.blocks.get(index);
    if (block === undefined) {
      // Either the full message has come already and the rest repeats it, or the start was missed.
      const type = DELTA_BLOCKS[delta.type];
      if (type === undefined || stream.settled.has(index)) return;
      block = this.#make(parent, { type });
      stream.blocks.set(index, block);
    }
    const text = delta.text ?? delta.thinking ?? delta.partial_json;
    if (typeof text !== "string") return;
    block.append(text);
    this.#dirty.add(block);
  }

  #match(parent, content) {
    const stream = this.#streams.get(parent);
    if (stream === undefined) return undefined;
    for (const [index, block] of stream.blocks) {
      const same = block.type === "tool_use" ? content.type === "tool_use" && (block.id === "" || block.id === content.id) : block.type === content.type || (block.type === "thinking" && content.type === "redacted_thinking");
      if (!same) continue;
      stream.blocks.delete(index);
      stream.settled.add(index);
      return block;
    }
    return undefined;
  }

  #make(parent, content) {
    const block = newBlock(content);
    this.#place(block, parent);
    return block;
  }

  #discard(parent) {
    const stream = this.#streams.get(parent);
    if (stream === undefined) return;
    for (const block of stream.blocks.values()) {
      this.#dirty.delete(block);
      block.node.remove();
    }
    this.#streams.delete(parent);
  }
}
