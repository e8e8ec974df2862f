// The token, and HTTP requests that carry it. The token lives in the session storage of this tab:
// never in the address bar, the document, the log of frames or a cookie.

const STORED = "claude-relay.token";

let token = takeFragment() || readStored();

// `#token=…` of a link that the server printed. It leaves the address bar at once; a browser sends
// no fragment to a server.
function takeFragment() {
  const fragment = location.hash.slice(1).replaceAll("+", "%2B");
  const given = new URLSearchParams(fragment).get("token") ?? "";
  if (given === "") return "";
  history.replaceState(null, "", location.pathname + location.search);
  try {
    sessionStorage.setItem(STORED, given);
  } catch {
    // Blocked storage: see readStored.
  }
  return given;
}

function readStored() {
  try {
    return sessionStorage.getItem(STORED) ?? "";
  } catch {
    return ""; // Storage may be blocked; the token is then kept for the life of the page.
  }
}

/** Takes the token of a link that was opened in this tab. Returns false if it had none. */
export function takeLink() {
  const given = takeFragment();
  if (given !== "") token = given;
  return given !== "";
}

/** The token in use, or an empty string. */
export function currentToken() {
  return token;
}

/** Keeps a token for the session; an empty one forgets it. */
export function rememberToken(value) {
  token = value;
  try {
    if (value === "") sessionStorage.removeItem(STORED);
    else sessionStorage.setItem(STORED, value);
  } catch {
    // Blocked storage: see readStored.
  }
}

/** The address of `path` beside the page, whatever base path it is served under. */
export function address(path) {
  return new URL(path, document.baseURI);
}

/** The address of the WebSocket. A browser cannot set headers on it, so the token is a parameter. */
export function socketAddress(parameters) {
  const url = address("ws");
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, String(value));
  if (token !== "") url.searchParams.set("token", token);
  return url;
}

const REQUEST_TIMEOUT_MS = 10_000;

/**
 * A JSON request. Resolves to `{status, body, text}`; `body` is undefined when the answer is no
 * JSON. Status 0 stands for a server that could not be reached, and for an answer of more than
 * `limit` bytes.
 */
export async function request(path, { method = "GET", json, limit = Infinity, timeout = REQUEST_TIMEOUT_MS } = {}) {
  const headers = { Accept: "application/json" };
  if (token !== "") headers.Authorization = `Bearer ${token}`;
  if (json !== undefined) headers["Content-Type"] = "application/json";
  let response;
  let text;
  try {
    response = await fetch(address(path), {
      method,
      headers,
      body: json,
      cache: "no-store",
      credentials: "same-origin",
      signal: AbortSignal.timeout(timeout),
    });
    text = limit === Infinity ? await response.text() : await textWithin(response, limit);
    if (text === undefined) return { status: 0, text: "the answer is too large" };
  } catch (error) {
    const cause = error?.name === "TimeoutError" ? "the server did not answer in time" : "the server could not be reached";
    return { status: 0, text: cause };
  }
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    body = undefined;
  }
  return { status: response.status, body, text };
}

// Undefined for a body over the limit.
async function textWithin(response, limit) {
  const parts = [];
  let bytes = 0;
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    bytes += read.value.length;
    if (bytes > limit) {
      await reader.cancel();
      return undefined;
    }
    parts.push(decoder.decode(read.value, { stream: true }));
  }
  return parts.join("") + decoder.decode();
}

/** The error text of a failed request, as the server gave it. */
export function failure(answer) {
  if (typeof answer.body?.error === "string") return answer.body.error;
  return answer.text === "" ? `HTTP status ${answer.status}` : answer.text.slice(0, 500);
}

/**
 * Finds out why a WebSocket was refused: browsers hide the status of a failed upgrade. `/config`
 * has the same rules; `OPTIONS` of `/ws` carries the Origin, which a browser leaves out of a `GET`
 * to the page's own site. One of `ok`, `unauthorized`, `forbidden`, `proxy` (something in between
 * does not pass such requests on) and `unreachable`.
 */
export async function probeAccess() {
  const answer = await request("config");
  if (answer.status === 401) return { outcome: "unauthorized", words: failure(answer) };
  if (answer.status === 403) return { outcome: "forbidden", words: failure(answer) };
  if (answer.status === 0) return { outcome: "unreachable", words: answer.text };
  const upgrade = await request("ws", { method: "OPTIONS" });
  if (upgrade.status === 403) return { outcome: "forbidden", words: failure(upgrade) };
  if (upgrade.status !== 0 && upgrade.status !== 405 && upgrade.status !== 204) return { outcome: "proxy", words: "" };
  return { outcome: "ok", words: "" };
}
