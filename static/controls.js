// Control requests: the running agent's model and permission mode, and what the server can do.

import { byId, el } from "./dom.js";
import { isObject, oneLine } from "./text.js";

// A request unanswered for this long is given up here; the answer, if it comes, is under Frames.
const ANSWER_TIMEOUT_MS = 60_000;
const MAX_MODELS = 100;

export class Controls {
  #send;
  #notice;
  #pending = new Map();
  #numbers = 0;
  #model = byId("model");
  #mode = byId("permission-mode");
  #known = { model: "", mode: "" };

  /** `send(frame)` returns why it could not, or an empty string; `notice(kind, title, text)`; `ask()` for capabilities. */
  constructor({ send, notice, ask }) {
    this.#send = send;
    this.#notice = notice;
    // The agent tells its models once it runs, so they are requested when the list is opened.
    this.#model.addEventListener("focus", ask);
    byId("model-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#setModel();
    });
    this.#model.addEventListener("change", () => this.#setModel());
    this.#mode.addEventListener("change", () => this.#setMode());
  }

  /** An `agent_state` message: the model and the mode that hold now. */
  state({ model, permission_mode: mode }) {
    if (typeof model === "string") this.#known.model = model;
    if (typeof mode === "string") this.#known.mode = mode;
    this.#show();
  }

  /** A `capabilities` frame: which models there are. */
  capabilities({ agent }) {
    const models = isObject(agent) && Array.isArray(agent.models) ? agent.models.filter((model) => typeof model?.value === "string").slice(0, MAX_MODELS) : [];
    if (models.length > 0) byId("models").replaceChildren(...models.map((model) => el("option", { value: model.value, text: oneLine(String(model.displayName ?? model.value), 60) })));
  }

  /** The server's capabilities: which modes it allows. */
  know({ permission_modes: modes }) {
    offerModes(this.#mode, modes);
  }

  setConnected(connected) {
    this.#model.disabled = !connected;
    this.#mode.disabled = !connected;
    if (!connected) for (const { settle } of [...this.#pending.values()]) settle({ error: "The connection was lost before the answer came." });
  }

  /** Sends a control request. Resolves to `{response}` or `{error}`. */
  request(request) {
    this.#numbers += 1;
    const id = `page-${Date.now().toString(36)}-${this.#numbers}`;
    return new Promise((resolve) => {
      const settle = (answer) => {
        clearTimeout(timer);
        this.#pending.delete(id);
        resolve(answer);
      };
      const timer = setTimeout(() => settle({ error: "The agent did not answer in time." }), ANSWER_TIMEOUT_MS);
      this.#pending.set(id, { settle });
      const failed = this.#send({ type: "control_request", requestId: id, request });
      if (failed !== "") settle({ error: failed });
    });
  }

  /** A `control_response` frame. */
  answered(frame) {
    const pending = this.#pending.get(frame.requestId);
    if (pending === undefined) return;
    const response = isObject(frame.response) ? frame.response : {};
    if (response.subtype === "error" || typeof response.error === "string") pending.settle({ error: String(response.error ?? "The agent refused.") });
    else pending.settle({ response });
  }

  async #setModel() {
    const model = this.#model.value.trim();
    if (model === this.#known.model || (model === "" && this.#known.model === "")) return;
    const previous = this.#known.model;
    this.#known.model = model;
    const { error } = await this.request(model === "" || model === "default" ? { subtype: "set_model" } : { subtype: "set_model", model });
    if (error !== undefined) {
      this.#known.model = previous;
      this.#show();
      this.#notice("error", "The model was not changed:", error);
    } else {
      this.#notice("quiet", "Model set to", oneLine(model === "" ? "default" : model));
    }
  }

  async #setMode() {
    const mode = this.#mode.value;
    if (mode === "" || mode === this.#known.mode) return;
    const { error } = await this.request({ subtype: "set_permission_mode", mode });
    if (error !== undefined) {
      this.#show();
      this.#notice("error", "The permission mode was not changed:", error);
    } else {
      this.#known.mode = mode;
      this.#notice("quiet", "Permission mode set to", mode);
    }
  }

  #show() {
    if (document.activeElement !== this.#model) this.#model.value = this.#known.model;
    const { mode } = this.#known;
    if (mode !== "" && ![...this.#mode.options].some((option) => option.value === mode)) this.#mode.append(el("option", { value: mode, text: oneLine(mode, 40) }));
    this.#mode.value = mode;
  }
}

/** Offers the modes that the server allows, and no others; but what is chosen stays. */
export function offerModes(select, modes) {
  if (!Array.isArray(modes)) return;
  for (const mode of modes) {
    if (![...select.options].some((option) => option.value === mode)) select.append(el("option", { value: mode, text: oneLine(String(mode), 40) }));
  }
  for (const option of select.options) option.hidden = option.disabled = option.value !== "" && option.value !== select.value && !modes.includes(option.value);
}
