// The configuration: a form, and the whole as JSON. The form writes into the JSON; what is saved is the
// difference to what the server had, as a merge patch, so that nothing else changes.

import { failure, rememberToken, request } from "./access.js";
import { offerModes } from "./controls.js";
import { byId, el } from "./dom.js";
import { mergePatch } from "./merge_patch.js";
import { isObject, oneLine, visible } from "./text.js";

export class ConfigPanel {
  #json = byId("config-json");
  #outcome = byId("config-outcome");
  #key = byId("config-api-key");
  #secrets = byId("config-secrets");
  #save = byId("config-save");
  #fields;
  #saved = "";
  #loaded = false;
  #streamingDecided = false;
  #awaitsReconnect = false;
  #reconnect;

  /** `reconnect()` leaves and comes back, so that the next agent process starts. */
  constructor({ reconnect }) {
    this.#reconnect = reconnect;
    const text = (input) => input.value.trim() || undefined;
    const number = (input) => (input.value === "" ? undefined : Number(input.value));
    const setText = (input, value) => { input.value = typeof value === "string" ? value : ""; };
    const setNumber = (input, value) => { input.value = Number.isFinite(value) ? String(value) : ""; };
    this.#fields = [
      // Claude is the default, so a configuration that names it says nothing more.
      new Field("config-provider", "provider", (input) => input.value || undefined, (input, value) => setSelect(input, value === "claude" ? undefined : value)),
      new Field("config-model", "model", text, setText),
      new Field("config-fallback-model", "fallbackModel", text, setText),
      new Field("config-effort", "effort", (input) => input.value || undefined, setSelect),
      new Field("config-permission-mode", "permissionMode", (input) => input.value || undefined, setSelect),
      new Field("config-max-turns", "maxTurns", number, setNumber),
      new Field("config-max-budget", "maxBudgetUsd", number, setNumber),
      new Field("config-cwd", "cwd", text, setText),
      new Field("config-system-prompt", "systemPrompt", (input) => input.value || undefined, setSystemPrompt),
      // Switched off is said, so that it is not switched on again as for a server that says nothing.
      new Field("config-partial", "includePartialMessages", (input) => input.checked, (input, value) => { input.checked = value === true; }),
    ];
    for (const field of this.#fields) field.input.addEventListener("input", () => this.#fieldChanged(field));
    this.#json.addEventListener("input", () => this.#jsonChanged());
    byId("config-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    byId("config-reload").addEventListener("click", () => this.load());
  }

  /**
   * Switches streaming on where the configuration does not say, before this page starts the agent.
   * A running agent and another client are left alone.
   */
  async streamByDefault() {
    if (this.#streamingDecided) return;
    const { status, body: health } = await request("health");
    if (status !== 200 || !isObject(health?.agent)) return;
    if (health.client !== "none" || health.agent.state !== "stopped" || health.agent.provider !== "claude") {
      this.#streamingDecided = true;
      return;
    }
    const answer = await request("config");
    if (!isObject(answer.body?.config)) return;
    if (answer.body.config.includePartialMessages === undefined) await this.#patch({ includePartialMessages: true });
    this.#streamingDecided = true;
  }

  /** Saves one thing. Resolves to why it could not, or an empty string. */
  async change(patch) {
    const answer = await this.#patch(patch);
    if (answer.status !== 200) return failure(answer);
    if (isObject(answer.body.config) && this.#loaded && this.#json.value === this.#saved) this.#show(answer.body);
    return "";
  }

  /** The state of the connection, which tells what became of "Reconnect now". */
  connection({ name }) {
    if (!this.#awaitsReconnect || name === "offline" || name === "connecting") return;
    this.#awaitsReconnect = false;
    if (name === "connected") this.#tell("saved", "Reconnected.", "The agent starts with this configuration.");
    else this.#tell("error", "Saved, but not reconnected.", "The line at the top of the page says why.");
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
    this.#show(answer.body);
    this.#tell("", "");
  }

  #show({ config, secrets }) {
    this.#showSecrets(Array.isArray(secrets) ? secrets.map(String) : []);
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

  async #submit() {
    let patch;
    try {
      patch = mergePatch(JSON.parse(this.#saved === "" ? "{}" : this.#saved), this.#parse());
    } catch (error) {
      this.#tell("error", "This is no valid configuration:", error.message);
      this.#json.focus();
      return;
    }
    if (this.#key.value !== "") patch.anthropicApiKey = this.#key.value;
    this.#save.disabled = true;
    const answer = await this.#patch(patch);
    this.#save.disabled = false;
    if (answer.status !== 200 || answer.body?.success !== true) {
      this.#tell("error", answer.status === 0 ? "Not saved:" : `Not saved (status ${answer.status}):`, failure(answer));
      return;
    }
    // A server without a token takes this one as its own, and asks for it from now on.
    if (typeof patch.authToken === "string" && patch.authToken !== "") rememberToken(patch.authToken);
    this.#key.value = "";
    if (isObject(answer.body.config)) this.#show(answer.body);
    this.#tellSaved(answer.body);
  }

  #patch(patch) {
    return request("config", { method: "PATCH", json: JSON.stringify(patch) });
  }

  // Which secrets are set, each with a way to remove it; never what they are.
  #showSecrets(names) {
    this.#secrets.hidden = names.length === 0;
    this.#secrets.replaceChildren(...names.map((name) => {
      const remove = el("button", { type: "button", class: "quiet small", text: "Remove", "aria-label": `Remove ${oneLine(name, 80)}` });
      remove.addEventListener("click", async () => {
        const answer = await this.#patch(nested(name));
        if (answer.status !== 200) {
          this.#tell("error", "Not removed:", failure(answer));
          return;
        }
        this.#show(answer.body);
        this.#tellSaved(answer.body);
      });
      return el("li", {}, el("span", {}, el("code", { text: oneLine(name, 120) }), " is set"), remove);
    }));
    this.#key.placeholder = names.includes("anthropicApiKey") ? "A key is set; write another to replace it" : "None set here";
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
    if (later) this.#outcome.append(el("button", { type: "button", id: "config-reconnect", class: "primary", text: "Reconnect now", on: { click: () => {
      this.#awaitsReconnect = true;
      this.#tell("later", "Saved.", "Reconnecting…");
      this.#reconnect();
    } } }));
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

// The patch that removes what is named by a path; names may hold dots, but the first two parts do not.
function nested(name) {
  const [first, ...rest] = name.split(".");
  if (rest.length === 0) return { [first]: null };
  if (first !== "mcpServers" || rest.length < 3) return { [first]: { [rest.join(".")]: null } };
  const at = rest.findIndex((part, index) => index > 0 && (part === "headers" || part === "env"));
  if (at < 0) return { [first]: { [rest.join(".")]: null } };
  return { [first]: { [rest.slice(0, at).join(".")]: { [rest[at]]: { [rest.slice(at + 1).join(".")]: null } } } };
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
