// One WebSocket at a time, its state, and the way back after a loss. Delivery is sequenced: the
// page tells the last number it has seen, so a reconnect leaves no gap and shows nothing twice.

import { currentToken, probeAccess, socketAddress } from "./access.js";
import { isObject } from "./text.js";

const RETRY_FIRST_MS = 500;
const RETRY_MAX_MS = 30_000;
// A connection that lived this long counts as good, and the next loss starts from a short wait.
const STABLE_AFTER_MS = 5_000;
// The server need not answer the closing of a connection.
const LEAVE_TIMEOUT_MS = 2_000;
// The server takes no larger message; it would close the connection with 1009.
const MAX_MESSAGE_BYTES = 64 * 1024 * 1024;

// Messages beyond the first version of the protocol that this page understands.
const SUPPORTS = "agent_state,input,questions";

const CLOSE_TOO_BIG = 1009;
const CLOSE_BUSY = 1013;
const CLOSE_REPLACED = 4001;
const CLOSE_GOING_AWAY = 1001;

/**
 * States: `offline` (by wish), `connecting`, `connected`, `waiting` (lost, tries again by itself),
 * `busy` (another client is connected), `replaced` (another client took over), `unauthorized`,
 * `forbidden`, `proxy` (something in between does not pass the connection on).
 */
export class Connection {
  #socket = null;
  #timer = 0;
  #attempts = 0;
  #openedAt = 0;
  #greeted = false;
  #lastError = "";
  #lastSeq = 0;
  #stream = null;
  #behind = false;
  #suspended = false;
  #watches = false;
  #opening = 0;
  #handlers;

  /**
   * `handlers`: `prepare()`, whose promise is waited for before a connection is opened,
   * `state({name, words, retryAt})`, `raw(direction, text, frame)` for every frame,
   * `frame(frame, {replayed})` for every frame to be shown, `caughtUp()` behind the last of those
   * that a new connection begins with, and `restarted()`.
   */
  constructor(handlers) {
    this.#handlers = handlers;
    this.state = { name: "offline", words: "" };
    this.replayUntil = 0;
    addEventListener("online", () => this.#retryNow());
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.#retryNow(); });
    // A page in the back/forward cache answers the server's pings and would hold the slot.
    addEventListener("pagehide", () => this.#suspend());
    addEventListener("pageshow", (event) => { if (event.persisted) this.#resume(); });
    // A tab in the background that the browser stops cannot answer the agent's questions.
    document.addEventListener("freeze", () => this.#suspend());
    document.addEventListener("resume", () => this.#resume());
  }

  /** Whether messages can be sent now. */
  get open() {
    return this.state.name === "connected";
  }

  /** Whether the connection only reads along. */
  get watching() {
    return this.open && this.#watches;
  }

  /**
   * Connects; with `takeover` in place of the client that holds the slot, with `watch` beside it: the page
   * then reads along until it connects in another way.
   */
  connect({ takeover = false, watch = false } = {}) {
    this.#watches = watch;
    clearTimeout(this.#timer);
    this.#drop();
    this.#greeted = false;
    this.#lastError = "";
    this.#set("connecting");
    this.#opening += 1;
    const opening = this.#opening;
    this.#handlers.prepare().finally(() => {
      if (opening === this.#opening && this.state.name === "connecting") this.#open(takeover);
    });
  }

  #open(takeover) {
    const parameters = { after: this.#lastSeq, supports: SUPPORTS };
    if (this.#stream !== null) parameters.stream = this.#stream;
    if (takeover) parameters.takeover = "true";
    if (this.#watches) parameters.watch = "true";
    const socket = new WebSocket(socketAddress(parameters));
    this.#socket = socket;
    socket.addEventListener("message", (event) => { if (socket === this.#socket) this.#receive(event.data); });
    socket.addEventListener("close", (event) => { if (socket === this.#socket) this.#closed(event); });
  }

  /** Leaves, and stays away until `connect`. */
  disconnect() {
    clearTimeout(this.#timer);
    this.#drop();
    this.#attempts = 0;
    this.#set("offline");
  }

  /** Leaves and comes back, once the server has seen the leaving: it takes one client at a time. */
  reconnect() {
    const left = this.#socket;
    this.disconnect();
    if (left === null || left.readyState === WebSocket.CLOSED) {
      this.connect();
      return;
    }
    const back = () => {
      clearTimeout(this.#timer);
      if (this.state.name === "offline" && this.#socket === null) this.connect();
    };
    left.addEventListener("close", back, { once: true });
    this.#timer = setTimeout(back, LEAVE_TIMEOUT_MS);
  }

  /** Sends a frame. Returns why it could not, or an empty string. */
  send(frame) {
    if (!this.open) return "Not connected.";
    if (this.#watches && frame.type !== "capabilities") return "This page only watches. Take over to answer.";
    const text = JSON.stringify(frame);
    // UTF-8 has at most three bytes for each UTF-16 unit, so only a large text has to be measured.
    if (text.length * 3 > MAX_MESSAGE_BYTES && new Blob([text]).size > MAX_MESSAGE_BYTES) {
      return "The message is larger than 64 MiB, which the server does not take.";
    }
    this.#socket.send(text);
    this.#handlers.raw("out", text, frame);
    return "";
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(1000);
  }

  #set(name, words = "", retryAt = 0) {
    this.state = { name, words, retryAt };
    this.#handlers.state(this.state);
  }

  #receive(text) {
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      frame = undefined;
    }
    this.#handlers.raw("in", text, frame);
    if (!isObject(frame)) {
      this.#handlers.frame({ type: "error", error: "The server sent a frame that is no JSON object. See the frames." }, { replayed: false });
      return;
    }
    if (frame.type === "connected") {
      this.#welcomed(frame);
      return;
    }
    if (!this.#greeted) {
      // What comes before `connected` is the reason for the close that follows.
      if (frame.type === "error") this.#lastError = String(frame.error ?? "");
      return;
    }
    if (frame.type === "gap") {
      if (Number.isSafeInteger(frame.to)) this.#lastSeq = Math.max(this.#lastSeq, frame.to);
      this.#handlers.frame(frame, { replayed: true });
      this.#tellCaughtUp();
      return;
    }
    if (frame.type === "error") this.#lastError = String(frame.error ?? "");
    if (Number.isSafeInteger(frame.seq)) {
      if (frame.seq <= this.#lastSeq) return;
      this.#lastSeq = frame.seq;
    }
    this.#handlers.frame(frame, { replayed: frame.seq < this.replayUntil });
    this.#tellCaughtUp();
  }

  #tellCaughtUp() {
    if (!this.#behind || this.#lastSeq + 1 < this.replayUntil) return;
    this.#behind = false;
    this.#handlers.caughtUp();
  }

  #welcomed(frame) {
    this.#greeted = true;
    this.#openedAt = Date.now();
    const sequenced = typeof frame.stream === "string";
    if (sequenced && this.#stream !== null && frame.stream !== this.#stream) {
      this.#lastSeq = 0;
      this.#handlers.restarted();
    }
    if (sequenced) this.#stream = frame.stream;
    this.replayUntil = Number.isSafeInteger(frame.next) ? frame.next : 0;
    this.#behind = true;
    this.#handlers.frame(frame, { replayed: false, from: this.#lastSeq });
    this.#set("connected");
    this.#tellCaughtUp();
  }

  async #closed(event) {
    this.#socket = null;
    const greeted = this.#greeted;
    if (greeted && Date.now() - this.#openedAt > STABLE_AFTER_MS) this.#attempts = 0;
    const reason = event.reason || this.#lastError;
    if (event.code === CLOSE_BUSY) {
      this.#set("busy", reason);
    } else if (event.code === CLOSE_REPLACED) {
      this.#set("replaced", reason);
    } else if (greeted) {
      this.#retryLater(closeWords(event.code, reason));
    } else {
      await this.#explainRefusal();
    }
  }

  // The connection was never opened. 401 and 403 will not change by trying again.
  async #explainRefusal() {
    const { outcome, words } = await probeAccess();
    if (this.#socket !== null || this.state.name !== "connecting") return; // The user was faster.
    if (outcome === "unauthorized") this.#set("unauthorized", currentToken() === "" ? "" : words);
    else if (outcome === "forbidden") this.#set("forbidden", words);
    else if (outcome === "proxy") this.#set("proxy");
    else this.#retryLater(outcome === "unreachable" ? "The server cannot be reached." : "The server did not open the connection.");
  }

  #retryLater(words) {
    const ceiling = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** this.#attempts);
    this.#attempts += 1;
    // Half of the wait is random, so that clients of a restarted server do not come all at once.
    const wait = ceiling / 2 + Math.random() * (ceiling / 2);
    this.#timer = setTimeout(() => this.connect({ watch: this.#watches }), wait);
    this.#set("waiting", words, Date.now() + wait);
  }

  // Leaves the slot to others while the page is not shown by a tab.
  #suspend() {
    if (!["connected", "connecting", "waiting"].includes(this.state.name)) return;
    this.disconnect();
    this.#suspended = true;
  }

  #resume() {
    if (!this.#suspended) return;
    this.#suspended = false;
    this.connect({ watch: this.#watches });
  }

  #retryNow() {
    if (this.state.name === "waiting") this.connect({ watch: this.#watches });
  }
}

function closeWords(code, reason) {
  if (code === CLOSE_GOING_AWAY) return "The server is shutting down.";
  if (code === CLOSE_TOO_BIG) return "A message was too big for the server.";
  if (code === 1005 || code === 1006 || code === 1000) return "The connection was lost.";
  return `The connection was closed with code ${code}${reason === "" ? "" : `: ${reason}`}.`;
}
