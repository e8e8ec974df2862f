// The state of the connection as the user sees it: the pill in the header, the line below it with
// what can be done, and the dialog that asks for the token.

import { rememberToken, takeLink } from "./access.js";
import { announce, byId, el } from "./dom.js";
import { visible } from "./text.js";

const PILL = {
  offline: "Not connected",
  connecting: "Connecting",
  connected: "Connected",
  waiting: "Reconnecting",
  busy: "Refused: busy",
  replaced: "Replaced",
  unauthorized: "Token needed",
  forbidden: "Refused",
  proxy: "Not passed on",
};

const WATCHING = "This page reads along. Another client talks to the agent and answers its questions.";

export class ConnectionView {
  #connection;
  #pill = byId("connection");
  #pillText = byId("connection-text");
  #button = byId("connect");
  #line = byId("connection-line");
  #words = byId("connection-words");
  #actions = byId("connection-actions");
  #dialog = byId("token-dialog");
  #state = { name: "offline", words: "" };
  #ticker = 0;

  /** `connection` is what the buttons act on. */
  constructor(connection) {
    this.#connection = connection;
    this.#button.addEventListener("click", () => {
      if (["connected", "connecting", "waiting"].includes(this.#state.name)) connection.disconnect();
      else this.#connect();
    });
    byId("token-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const input = byId("token");
      const value = input.value.trim();
      if (value === "") return;
      input.value = "";
      rememberToken(value);
      this.#dialog.close();
      connection.connect();
    });
    // A link that is opened in this tab does not load the page anew.
    addEventListener("hashchange", () => {
      if (!takeLink()) return;
      this.#dialog.close();
      connection.reconnect();
    });
    byId("token-cancel").addEventListener("click", () => this.#dialog.close());
  }

  /** Shows a state of the connection. */
  show(state) {
    this.#state = state;
    clearInterval(this.#ticker);
    this.#pill.dataset.state = state.name;
    document.body.dataset.connection = state.name;
    this.#pillText.textContent = this.#connection.watching ? "Watching" : PILL[state.name];
    this.#button.textContent = ["connected", "connecting", "waiting"].includes(state.name) ? "Disconnect" : "Connect";
    this.#actions.replaceChildren(...this.#buttons(state.name));
    this.#say();
    if (state.name === "waiting") this.#ticker = setInterval(() => this.#say(), 1000);
    if (state.name !== "connecting") announce(`${PILL[state.name]}. ${this.#words.textContent}`, !["connected", "offline", "waiting"].includes(state.name));
    if (state.name === "unauthorized") this.#askToken();
  }

  #say() {
    const words = this.#connection.watching ? WATCHING : explain(this.#state);
    this.#line.hidden = words === "";
    if (this.#words.textContent !== words) this.#words.textContent = words;
  }

  #buttons(name) {
    const button = (text, id, act, look = "quiet") => el("button", { type: "button", id, class: `${look} small`, text, on: { click: act } });
    const takeOver = (text) => button(text, "take-over", () => this.#connection.connect({ takeover: true }));
    switch (name) {
      case "waiting": return [button("Try now", "try-now", () => this.#connection.connect())];
      case "connected": return this.#connection.watching ? [takeOver("Take over")] : [];
      case "busy": return [button("Watch", "watch", () => this.#connection.connect({ watch: true }), "primary"), button("Try again", "try-now", () => this.#connection.connect()), takeOver("Take over")];
      case "replaced": return [takeOver("Take it back")];
      case "unauthorized": return [button("Enter the token", "enter-token", () => this.#askToken(), "primary")];
      case "proxy":
      case "forbidden": return [button("Try again", "try-now", () => this.#connection.connect())];
      default: return [];
    }
  }

  #connect() {
    if (this.#state.name === "unauthorized") this.#askToken();
    else this.#connection.connect();
  }

  #askToken() {
    const problem = byId("token-problem");
    problem.hidden = this.#state.words === "";
    problem.textContent = this.#state.words === "" ? "" : "The server did not accept the last token.";
    if (!this.#dialog.open) this.#dialog.showModal();
    byId("token").focus();
  }
}

function explain({ name, words, retryAt }) {
  const said = visible(words ?? "").slice(0, 500);
  switch (name) {
    case "waiting": {
      const seconds = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
      return `${said} Trying again ${seconds === 0 ? "now" : `in ${seconds} s`}. Nothing that is kept by the server is missed.`;
    }
    case "busy": return "Another client is connected. The server serves one at a time, so this page does not try again by itself. It can read along, though.";
    case "replaced": return "Another client took over the conversation. This page does not come back by itself.";
    case "unauthorized": return words ? "The server did not accept the token." : "This server asks for a token.";
    case "forbidden": return `The server refuses this page${said === "" ? "" : ` (“${said}”)`}. Open it at the address that the server printed at its start, or allow this one: --allow-host ${location.hostname} --allow-origin ${location.origin}`;
    case "proxy": return `The page arrived, and its WebSocket did not pass. A proxy in between has to forward the upgrade (Connection, Upgrade) and the Host header; or start the server with --allow-host ${location.hostname} --allow-origin ${location.origin}`;
    default: return "";
  }
}
