// Text and numbers for people. Pure.

// C0 but tab and line feed, DEL, C1, and the marks that reorder what a reader sees. A tool's
// command must look like what will run, so none of these may act on the page. The marks that
// plain Arabic, Hebrew and emoji need (LRM, RLM, ZWJ) are left alone.
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]/g;

/** The text with every control character replaced by its number. */
export function visible(text) {
  return text.replace(/\r\n/g, "\n").replace(CONTROL, (char) => `<U+${char.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}>`);
}

/** One line of at most `limit` characters. */
export function oneLine(text, limit = 140) {
  const line = visible(text.slice(0, limit * 2)).replace(/\s+/g, " ").trim();
  return line.length > limit ? `${line.slice(0, limit)}…` : line;
}

/** A number with separators; a dash for what is no number. */
export function count(value) {
  return Number.isFinite(value) ? value.toLocaleString("en-US") : "–";
}

/** `1 frame`, `2 frames`. */
export function plural(number, word) {
  return `${count(number)} ${word}${number === 1 ? "" : "s"}`;
}

/** Milliseconds as `240 ms`, `3.2 s` or `2 min 5 s`. */
export function duration(ms) {
  if (!Number.isFinite(ms)) return "–";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/** US dollars, with as many places as a cheap turn needs to be seen. */
export function dollars(usd) {
  if (!Number.isFinite(usd)) return "–";
  if (usd !== 0 && Math.abs(usd) < 0.01) return `$${usd.toFixed(5)}`;
  return `$${usd.toFixed(usd < 1 ? 4 : 2)}`;
}

/** A size in bytes or characters as `312 B`, `4.1 kB` or `2.0 MB`. */
export function size(bytes) {
  if (!Number.isFinite(bytes)) return "–";
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 1_000_000) return `${(bytes / 1000).toFixed(1)} kB`;
  return `${(bytes / 1_000_000).toFixed(1)} MB`;
}

/** A JSON value spelled over several lines; strings stay as they are. */
export function pretty(value) {
  if (typeof value === "string") return value;
  return JSON.stringify(value, null, 2) ?? "";
}

/** Whether the value is a JSON object. */
export function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
