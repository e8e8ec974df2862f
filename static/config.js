// The configuration: a few common fields and the whole as JSON, which is what is posted. The JSON
// is the truth; the fields only write into it.

import { failure, rememberToken, request } from "./access.js";
import { offerModes } from "./controls.js";
import { byId, el } from "./dom.js";
import { isObject, oneLine, visible } from "./text.js";

export class ConfigPanel {
  #json = byId("config-json");
  #outcome = byId("config-outcome");
  #key = byId("config-api-key");
  #save = byId("config-save");
  #fields;
  #saved = "";
  #loaded = false;
  #reconnect;

  /** `reconnect()` leaves and comes back, so that the next agent process starts. */
  constructor({ reconnect }) {
    this.#reconnect = reconnect;
    this.#fields = [
      // Claude is the default, so a configuration that names it says nothing more.
      new Field("config-provider", "provider", (input) => input.value || undefined, (input, value) => setSelect(input, value === "claude" ? undefined : value)),
      new Field("config-model", "model", (input) => input.value.trim() || undefined, (input, value) => { input.value = typeof value === "string" ? value : ""; }),
      new Field("config-permission-mode", "permissionMode", (input) => input.value || undefined, setSelect),
      new Field("config-max-turns", "maxTurns", (input) => (input.value === "" ? undefined : Number(input.value)), (input, value) => { input.value = Number.isFinite(value) ? String(value) : ""; }),
      new Field("config-system-prompt", "systemPrompt", (input) => input.value || undefined, setSystemPrompt),
      new Field("config-partial", "includePartialMessages", (input) => input.checked || undefined, (input, value) => { input.checked = value === true; }),
    ];
    for (const field of this.#fields) field.input.addEventListener("input", () => this.#fieldChanged(field));
    this.#json.addEventListener("input", () => this.#jsonChanged());
    byId("config-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#post();
    });
    byId("config-reload").addEventListener("click", () => this.load());
  }

  /** The server's capabilities: which agents are there, and which modes it allows. */
  know({ providers, permission_modes: modes }) {
    const codex = byId("config-provider").querySelector("[value=codex]");
    const there = providers?.codex?.installed !== false || providers?.codex?.remote === true;
    codex.textContent = there ? "Codex" : "Codex (not installed on the server)";
    offerModes(byId("config-permission-mode"), modes);
  }

  /** The panel is opened: what is being edited stays, else the server is asked. */
  opened() {
    if (!this.#loaded || this.#json.value === this.#saved) this.load();
  }

  /** Asks the server for its configuration; unsaved edits are dropped. */
  async load() {
    const answer = await request("config");
    if (answer.status !== 200 || !isObject(answer.body?.config)) {
      this.#tell("error", "The configuration could not be read:", failure(answer));
      return;
    }
    this.#loaded = true;
    this.#show(answer.body.config);
    this.#tell("", "");
  }

  #show(config) {
    this.#saved = JSON.stringify(config, null, 2);
    this.#json.value = this.#saved;
    this.#jsonChanged();
  }

  #parse() {
    const config = JSON.parse(this.#json.value.trim() === "" ? "{}" : this.#json.value);
    if (!isObject(config)) throw new Error("it must be a JSON object");
    return config;
  }

  #jsonChanged() {
    let config;
    try {
      config = this.#parse();
    } catch {
      config = undefined;
    }
    this.#json.setAttribute("aria-invalid", String(config === undefined));
    for (const field of this.#fields) {
      field.input.disabled = config === undefined;
      if (config !== undefined) field.write(field.input, config[field.name]);
    }
  }

  #fieldChanged(field) {
    const config = this.#parse();
    const value = field.read(field.input);
    if (value === undefined) delete config[field.name];
    else config[field.name] = value;
    this.#json.value = JSON.stringify(config, null, 2);
  }

  async #post() {
    let config;
    try {
      config = this.#parse();
    } catch (error) {
      this.#tell("error", "This is no valid configuration:", error.message);
      this.#json.focus();
      return;
    }
    if (this.#key.value !== "") config.anthropicApiKey = this.#key.value;
    this.#save.disabled = true;
    const answer = await request("config", { method: "POST", json: JSON.stringify(config) });
    this.#save.disabled = false;
    if (answer.status !== 200 || answer.body?.success !== true) {
      this.#tell("error", answer.status === 0 ? "Not saved:" : `Not saved (status ${answer.status}):`, failure(answer));
      return;
    }
    // A server without a token takes this one as its own, and asks for it from now on.
    if (typeof config.authToken === "string" && config.authToken !== "") rememberToken(config.authToken);
    this.#key.value = "";
    if (isObject(answer.body.config)) this.#show(answer.body.config);
    this.#tellSaved(answer.body);
  }

  #tellSaved({ applies, ignored }) {
    const later = applies === "next_start";
    this.#tell(later ? "later" : "saved", "Saved.", later
      ? "The agent that is running keeps its old configuration. The next client to connect gets one started with this, in the same conversation."
      : "It applies now: the next message meets an agent started with it.");
    this.#outcome.dataset.applies = String(applies ?? "");
    if (Array.isArray(ignored) && ignored.length > 0) {
      this.#outcome.append(el("p", { id: "config-ignored", text: `Without effect: ${ignored.map((name) => oneLine(String(name), 160)).join("; ")}.` }));
    }
    if (later) this.#outcome.append(el("button", { type: "button", id: "config-reconnect", class: "primary", text: "Reconnect now", on: { click: this.#reconnect } }));
  }

  #tell(kind, title, text = "") {
    this.#outcome.dataset.kind = kind;
    delete this.#outcome.dataset.applies;
    this.#outcome.hidden = title === "";
    this.#outcome.replaceChildren(el("p", {}, el("strong", { text: title }), ` ${visible(text)}`));
  }
}

class Field {
  constructor(id, name, read, write) {
    this.input = byId(id);
    this.name = name;
    this.read = read;
    this.write = write;
  }
}

function setSelect(input, value) {
  const known = value === undefined || [...input.options].some((option) => option.value === value);
  if (!known) input.append(el("option", { value: String(value), text: oneLine(String(value), 40) }));
  input.value = value === undefined ? "" : String(value);
}

// A preset has parts of its own; here it is named, and edited in the JSON.
function setSystemPrompt(input, value) {
  input.value = typeof value === "string" ? value : "";
  input.disabled = isObject(value);
  input.placeholder = isObject(value) ? "A preset; edit it in the JSON below" : "None";
}
