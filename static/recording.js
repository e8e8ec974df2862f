// A recording of a conversation (docs/recordings.md), played from a file of the reader. Nothing of it
// goes to the server.

import { byId } from "./dom.js";
import { isObject, oneLine, plural } from "./text.js";

// A part of a recording is 128 MiB at most.
const MAX_BYTES = 160 * 1024 * 1024;
// Longest pause between two frames.
const MAX_PAUSE_MS = 2_000;

export class Recording {
  #input = byId("recording-file");
  #line = byId("recording-line");
  #words = byId("recording-words");
  #handlers;
  #frames = [];
  #at = 0;
  #timer = 0;

  /**
   * `handlers`: `begin(name)` is told before the first frame, `raw(direction, text, frame)` each frame of
   * the recording, `frame(frame)` each that is to be shown, and `notice(kind, title, text)`.
   */
  constructor(handlers) {
    this.#handlers = handlers;
    byId("open-recording").addEventListener("click", () => this.#input.click());
    this.#input.addEventListener("change", async () => {
      const file = this.#input.files[0];
      this.#input.value = "";
      if (file !== undefined) await this.#open(file);
    });
    byId("recording-skip").addEventListener("click", () => this.#play(true));
    byId("recording-close").addEventListener("click", () => location.reload());
  }

  async #open(file) {
    let frames;
    try {
      frames = await read(file);
    } catch (error) {
      this.#handlers.notice("error", `${oneLine(file.name, 80)} is not played:`, error.message);
      return;
    }
    clearTimeout(this.#timer);
    this.#frames = frames;
    this.#at = 0;
    byId("recording-skip").hidden = false;
    this.#handlers.begin(oneLine(file.name, 80));
    this.#line.hidden = false;
    document.body.dataset.recording = "playing";
    this.#play(false);
  }

  // Shows what is due; the rest after the next pause, or at once.
  #play(whole) {
    clearTimeout(this.#timer);
    while (this.#at < this.#frames.length) {
      const { t, direction, frame, shown } = this.#frames[this.#at];
      this.#at += 1;
      if (frame !== undefined) this.#handlers.raw(direction, JSON.stringify(frame), frame);
      for (const each of shown) this.#handlers.frame(each);
      const pause = Math.min((this.#frames[this.#at]?.t ?? t) - t, MAX_PAUSE_MS);
      if (!whole && pause > 0) {
        this.#tell();
        this.#timer = setTimeout(() => this.#play(false), pause);
        return;
      }
    }
    this.#tell();
    byId("recording-skip").hidden = true;
    document.body.dataset.recording = "ended";
  }

  #tell() {
    const left = this.#frames.length - this.#at;
    this.#words.textContent = left === 0 ? "The recording has ended. Nothing of it went to the server." : `A recording is played: ${plural(left, "entry").replace("entrys", "entries")} left.`;
  }
}

/** Reads a recording: its entries in order, each with the frames that the page shows for it. */
async function read(file) {
  if (file.size > MAX_BYTES) throw new Error("It is larger than a part of a recording.");
  const lines = (await file.text()).split("\n");
  const first = parse(lines[0]);
  if (!Number.isSafeInteger(first?.recording)) throw new Error("It is no recording of claude-relay.");
  if (first.recording !== 1) throw new Error("It was made by a later version.");
  const entries = lines.slice(1).map(parse).filter(isObject);
  const hasInputs = entries.some(({ frame }) => frame?.type === "input");
  return entries.map((entry) => played(entry, hasInputs)).filter(({ frame, shown }) => frame !== undefined || shown.length > 0);
}

function parse(line) {
  try {
    return JSON.parse(line);
  } catch {
    // A server that was killed may have left half a line.
    return undefined;
  }
}

function played({ t, dir, line, seq, frame, lost }, hasInputs) {
  const entry = { t: Number.isFinite(t) ? t : 0, direction: "in", frame: undefined, shown: [] };
  if (dir === "agent" && line !== undefined && Number.isSafeInteger(seq)) {
    entry.frame = { type: "sdk_message", seq, data: line };
    entry.shown = [entry.frame];
  } else if (dir === "to_client" && isObject(frame)) {
    entry.frame = frame;
    // State and abilities are those of the server that is gone.
    if (!["connected", "agent_state", "capabilities", "control_response", "configured"].includes(frame.type)) entry.shown = [frame];
  } else if (dir === "client" && isObject(frame)) {
    entry.direction = "out";
    entry.frame = frame;
    if (frame.type === "user_message" && !hasInputs) entry.shown = [{ type: "input", data: frame.data }];
    if (frame.type === "permission_response") entry.shown = [{ type: "page_answered", requestId: frame.requestId, approved: frame.approved === true }];
    if (frame.type === "agent_response") entry.shown = [{ type: "agent_request_cancelled", requestId: frame.requestId }];
  } else if (dir === "relay" && Number.isFinite(lost)) {
    entry.shown = [{ type: "error", error: `${plural(lost, "entry").replace("entrys", "entries")} are missing here: the disk of the server was too slow.` }];
  }
  return entry;
}
