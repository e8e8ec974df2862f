// The raw log: every frame in both directions, exactly as it went over the wire. Only the rows in
// sight are elements, so its length costs memory and nothing else, and memory is bounded.

import { copyText, byId, el } from "./dom.js";
import { setLong } from "./blocks.js";
import { count, oneLine, plural, size } from "./text.js";

// Fingers need taller rows than a mouse.
const ROW_PX = Number.parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--row")) || 30;
const MAX_FRAMES = 20_000;
const MAX_CHARS = 64 * 1024 * 1024;
// Types offered in the list; those of a broken agent beyond this are found by the text filter.
const MAX_TYPES = 200;
const FILTER_DELAY_MS = 120;
// What the other columns of a row say already, and a frame that says no more than that.
const ENVELOPE = /^\{"type":"\w+"(?:\}$|,?(?:"seq":\d+,)?(?:"data":)?(?:\{"type":"\w+",(?:"subtype":"\w+",)?(?:"event":)?)?)/;

export class Frames {
  #all = [];
  #shown = [];
  #chars = 0;
  #total = 0;
  #forgotten = 0;
  #types = new Set();
  #selected = null;
  #drawn = new Map();
  #follow = true;
  #visible = false;
  #dirty = false;
  #text = byId("frames-filter");
  #direction = byId("frames-direction");
  #type = byId("frames-type");
  #viewport = byId("frames-list");
  #rows = byId("frames-rows");
  #summary = byId("frames-summary");
  #detail = byId("frame-detail");
  #detailText = byId("frame-json");
  #detailTitle = byId("frame-title");
  #pretty = byId("frame-pretty");
  #matches = () => true;

  constructor() {
    let timer = 0;
    this.#text.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => this.#filter(), FILTER_DELAY_MS);
    });
    this.#direction.addEventListener("change", () => this.#filter());
    this.#type.addEventListener("change", () => this.#filter());
    this.#pretty.addEventListener("change", () => this.#showDetail());
    this.#viewport.addEventListener("scroll", () => {
      const rest = this.#rows.offsetHeight - this.#viewport.scrollTop - this.#viewport.clientHeight;
      this.#follow = rest < ROW_PX;
      this.#draw();
    }, { passive: true });
    this.#viewport.addEventListener("keydown", (event) => this.#key(event));
    this.#rows.addEventListener("click", (event) => {
      const row = event.target.closest("[data-number]");
      if (row !== null) this.#select(this.#shown.find((frame) => frame.number === Number(row.dataset.number)));
    });
    byId("frames-copy").addEventListener("click", (event) => copyText(this.#shown.map((frame) => frame.text).join("\n"), event.currentTarget));
    byId("frame-copy").addEventListener("click", (event) => { if (this.#selected !== null) copyText(this.#selected.text, event.currentTarget); });
    byId("frame-close").addEventListener("click", () => {
      this.#select(undefined);
      this.#viewport.focus();
    });
    byId("frames-clear").addEventListener("click", () => this.#clear());
    new ResizeObserver(() => this.#draw()).observe(this.#viewport);
    this.#filter();
  }

  /** Adds a frame: `direction` is `in` or `out`, `text` what went over the wire. */
  add(direction, text, frame) {
    this.#total += 1;
    const entry = { number: this.#total, time: new Date(), direction, text, type: typeOf(frame), seq: frame?.seq };
    this.#all.push(entry);
    this.#chars += text.length;
    this.#count(entry.type);
    if (this.#matches(entry)) this.#shown.push(entry);
    if (this.#all.length > MAX_FRAMES || this.#chars > MAX_CHARS) this.#forget();
    this.#dirty = true;
  }

  /** Called once after each batch. */
  flush() {
    if (!this.#dirty || !this.#visible) return;
    this.#dirty = false;
    this.#layout();
  }

  /** The panel is opened or closed. */
  setVisible(visible) {
    this.#visible = visible;
    this.#dirty = true;
    this.flush();
  }

  // Some more than needed, so that it is not done again with the next frame.
  #forget() {
    let drop = 0;
    const keepFrames = MAX_FRAMES - MAX_FRAMES / 20;
    while (drop < this.#all.length - 1 && (this.#all.length - drop > keepFrames || this.#chars > MAX_CHARS)) {
      this.#chars -= this.#all[drop].text.length;
      drop += 1;
    }
    this.#all.splice(0, drop);
    this.#forgotten += drop;
    const first = this.#all[0].number;
    const stale = this.#shown.findIndex((frame) => frame.number >= first);
    this.#shown.splice(0, stale < 0 ? this.#shown.length : stale);
  }

  #clear() {
    this.#forgotten += this.#all.length;
    this.#all = [];
    this.#shown = [];
    this.#chars = 0;
    this.#select(undefined);
    this.#layout();
  }

  #count(type) {
    if (this.#types.has(type) || this.#types.size >= MAX_TYPES) return;
    this.#types.add(type);
    const option = el("option", { value: type, text: type });
    const after = [...this.#type.options].slice(1).find((other) => other.value > type);
    this.#type.insertBefore(option, after ?? null);
  }

  #filter() {
    const words = this.#text.value;
    const direction = this.#direction.value;
    const type = this.#type.value;
    const pattern = words === "" ? null : new RegExp(words.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "i");
    this.#matches = (frame) => (direction === "" || frame.direction === direction)
      && (type === "" || frame.type === type)
      && (pattern === null || pattern.test(frame.text));
    this.#shown = this.#all.filter(this.#matches);
    this.#layout();
  }

  #layout() {
    this.#rows.style.height = `${this.#shown.length * ROW_PX}px`;
    if (this.#follow) this.#viewport.scrollTop = this.#viewport.scrollHeight;
    const forgotten = this.#forgotten > 0 ? ` The oldest ${count(this.#forgotten)} are no longer kept.` : "";
    const text = this.#shown.length === this.#all.length ? `${plural(this.#all.length, "frame")}.` : `${count(this.#shown.length)} of ${plural(this.#all.length, "frame")}.`;
    this.#summary.textContent = text + forgotten;
    this.#draw();
  }

  #draw() {
    if (!this.#visible) return;
    const first = Math.max(0, Math.floor(this.#viewport.scrollTop / ROW_PX) - 4);
    const rows = Math.ceil(this.#viewport.clientHeight / ROW_PX) + 8;
    const wanted = this.#shown.slice(first, first + rows);
    // Rows that stay are kept as they are, or a click would be lost to a frame that comes meanwhile.
    const drawn = new Map();
    for (const frame of wanted) drawn.set(frame, this.#drawn.get(frame) ?? this.#row(frame));
    for (const [frame, row] of this.#drawn) if (!drawn.has(frame)) row.remove();
    this.#drawn = drawn;
    let place = this.#rows.firstChild;
    wanted.forEach((frame, index) => {
      const row = drawn.get(frame);
      row.style.transform = `translateY(${(first + index) * ROW_PX}px)`;
      row.setAttribute("aria-selected", String(frame === this.#selected));
      row.setAttribute("aria-setsize", String(this.#shown.length));
      row.setAttribute("aria-posinset", String(first + index + 1));
      if (row === place) place = place.nextSibling;
      else this.#rows.insertBefore(row, place);
    });
    const active = this.#selected === null ? undefined : drawn.get(this.#selected);
    if (active === undefined) this.#viewport.removeAttribute("aria-activedescendant");
    else this.#viewport.setAttribute("aria-activedescendant", active.id);
  }

  #row(frame) {
    return el("div", {
      class: "frame-row", role: "option", id: `frame-${frame.number}`,
      data: { number: String(frame.number), direction: frame.direction, type: frame.type },
    },
      el("span", { class: "frame-direction", text: frame.direction === "in" ? "↓" : "↑", "aria-label": frame.direction === "in" ? "received" : "sent" }),
      el("span", { class: "frame-time", text: clock(frame.time) }),
      frame.seq !== undefined && el("span", { class: "frame-seq", text: `#${frame.seq}`, title: "Sequence number" }),
      el("span", { class: "frame-type", text: frame.type }),
      el("span", { class: "frame-preview", dir: "ltr", text: oneLine(frame.text.slice(0, 400).replace(ENVELOPE, ""), 160) }),
      el("span", { class: "frame-size", text: size(frame.text.length) }));
  }

  #select(frame) {
    this.#selected = frame ?? null;
    this.#detail.hidden = this.#selected === null;
    this.#showDetail();
    this.#draw();
  }

  #showDetail() {
    const frame = this.#selected;
    if (frame === null) return;
    this.#detailTitle.textContent = `${frame.direction === "in" ? "Received" : "Sent"} ${clock(frame.time)} · ${frame.type}${frame.seq === undefined ? "" : ` · seq ${frame.seq}`} · ${size(frame.text.length)}`;
    let text = frame.text;
    if (this.#pretty.checked) {
      try {
        text = JSON.stringify(JSON.parse(frame.text), null, 2);
      } catch {
        // No JSON: shown as it came.
      }
    }
    setLong(this.#detailText, text);
  }

  #key(event) {
    const page = Math.max(1, Math.floor(this.#viewport.clientHeight / ROW_PX) - 1);
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity }[event.key];
    if (step === undefined || this.#shown.length === 0) return;
    event.preventDefault();
    const now = this.#shown.indexOf(this.#selected);
    const from = now < 0 ? (step < 0 ? this.#shown.length : -1) : now;
    const next = Math.max(0, Math.min(this.#shown.length - 1, from + step));
    const top = next * ROW_PX;
    if (top < this.#viewport.scrollTop) this.#viewport.scrollTop = top;
    else if (top + ROW_PX > this.#viewport.scrollTop + this.#viewport.clientHeight) this.#viewport.scrollTop = top + ROW_PX - this.#viewport.clientHeight;
    this.#select(this.#shown[next]);
  }
}

// The type a reader looks for: that of the agent's line, where a frame carries one.
function typeOf(frame) {
  if (typeof frame !== "object" || frame === null) return "not JSON";
  const outer = oneLine(String(frame.type ?? "?"), 40);
  const data = frame.data;
  if (frame.type === "control_request" && typeof frame.request?.subtype === "string") return `${outer} / ${oneLine(frame.request.subtype, 40)}`;
  if (frame.type !== "sdk_message" || typeof data !== "object" || data === null) return outer;
  const inner = data.type === "system" ? `system ${data.subtype ?? ""}` : data.type;
  return oneLine(String(inner ?? "?"), 60);
}

function clock(time) {
  return `${time.toTimeString().slice(0, 8)}.${String(time.getMilliseconds()).padStart(3, "0")}`;
}
