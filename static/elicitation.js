// Questions of an MCP server and dialogs of the agent, which come as an `agent_request`: a form with a
// field for each thing asked for, an address to open, or a text that can only be dismissed.

import { el } from "./dom.js";
import { isObject, oneLine, pretty, visible } from "./text.js";

let forms = 0;

/**
 * Builds the prompt for an `agent_request`. `answer(frame, words)` sends the answer and returns why
 * it could not, or an empty string.
 */
export function newElicitation(frame, answer) {
  forms += 1;
  const name = `elicitation-${forms}`;
  const request = isObject(frame.request) ? frame.request : {};
  const id = String(frame.requestId);
  const problem = el("p", { class: "field-error", role: "alert", hidden: true });
  const finish = (response, words) => {
    const failed = answer({ type: "agent_response", requestId: id, response }, words);
    problem.textContent = visible(failed);
    problem.hidden = failed === "";
  };
  const { title, parts, read, give, refuse } = request.subtype === "elicitation" ? elicitation(request, name) : dialog(request);
  const button = (text, look, testid, act) => el("button", { type: "button", class: look, text, data: { testid }, on: { click: act } });
  const accept = give !== undefined && button(give, "primary", "elicitation-accept", () => {
    const { content, error } = read();
    if (error !== undefined) {
      problem.textContent = error;
      problem.hidden = false;
      return;
    }
    finish({ action: "accept", ...(content === undefined ? {} : { content }) }, "Answered:");
  });
  const decline = button(refuse, "danger", "elicitation-decline", () => finish(request.subtype === "elicitation" ? { action: "decline" } : { behavior: "cancelled" }, "Declined:"));
  const node = el("section", { class: "permission", role: "group", tabindex: "-1", "aria-labelledby": `${name}-title`, data: { testid: "elicitation", requestId: id } },
    el("h2", { id: `${name}-title`, dir: "auto", text: visible(title) }), ...parts, problem, el("div", { class: "row" }, accept, decline));
  const enable = (connected) => { for (const each of [accept, decline]) if (each !== false) each.disabled = !connected; };
  return { id, node, tool: title, gist: oneLine(String(request.message ?? request.dialog_kind ?? "")), toolUseId: request.tool_use_id, enable, allow: accept || undefined, deny: decline };
}

function elicitation(request, name) {
  const server = oneLine(String(request.display_name ?? request.mcp_server_name ?? "a server"), 80);
  const parts = [el("p", { class: "permission-why", dir: "auto", text: visible(String(request.message ?? "").slice(0, 10_000)) })];
  if (typeof request.description === "string") parts.push(el("p", { class: "permission-why", dir: "auto", text: visible(request.description.slice(0, 2000)) }));
  if (request.mode === "url") {
    const safe = /^https?:\/\//i.test(String(request.url)) && URL.canParse(request.url);
    parts.push(el("p", {}, safe ? el("a", { href: request.url, target: "_blank", rel: "noopener noreferrer nofollow", text: visible(request.url) }) : el("code", { text: visible(String(request.url ?? "")) })));
    return { title: `${server} asks you to open an address`, parts, read: () => ({}), give: "I have done that", refuse: "Decline" };
  }
  const schema = isObject(request.requested_schema) ? request.requested_schema : {};
  const properties = isObject(schema.properties) ? schema.properties : {};
  const order = Array.isArray(request.property_order) ? request.property_order.filter((key) => Object.hasOwn(properties, key)) : [];
  const keys = [...new Set([...order, ...Object.keys(properties)])];
  const required = new Set(Array.isArray(schema.required) ? schema.required : []);
  const fields = keys.map((key, index) => new Field(key, isObject(properties[key]) ? properties[key] : {}, required.has(key), `${name}-${index}`));
  const read = () => {
    const content = {};
    for (const field of fields) {
      const { value, error } = field.read();
      if (error !== undefined) {
        field.focus();
        return { error };
      }
      if (value !== undefined) content[field.key] = value;
    }
    return { content };
  };
  return { title: `${server} asks`, parts: [...parts, el("div", { class: "form-fields" }, ...fields.map(({ node }) => node))], read, give: "Send", refuse: "Decline" };
}

function dialog(request) {
  const parts = [el("pre", { tabindex: "0", dir: "auto", text: visible(pretty(request.payload ?? {}).slice(0, 20_000)) })];
  return { title: `The agent shows a dialog that this page cannot draw: ${oneLine(String(request.dialog_kind ?? "unknown"), 60)}`, parts, read: () => ({}), give: undefined, refuse: "Dismiss" };
}

// One property of the schema: its input, and its value in JSON.
class Field {
  #inputs;
  #schema;
  #required;
  #label;

  constructor(key, schema, required, id) {
    this.key = key;
    this.#schema = schema;
    this.#required = required;
    this.#label = oneLine(String(schema.title ?? key), 120);
    const note = typeof schema.description === "string" ? el("span", { class: "faint", id: `${id}-note`, dir: "auto", text: visible(schema.description.slice(0, 1000)) }) : undefined;
    const common = { id, data: { testid: "elicitation-field", key }, "aria-describedby": note && `${id}-note`, "aria-required": required && "true" };
    const title = `${this.#label}${required ? "" : " (optional)"}`;
    const options = choices(schema);
    const many = schema.type === "array" ? choices(isObject(schema.items) ? schema.items : {}) : undefined;
    if (many !== undefined) {
      const chosen = Array.isArray(schema.default) ? schema.default : [];
      this.#inputs = many.map(({ value }, index) => el("input", { type: "checkbox", id: `${id}-${index}`, value, checked: chosen.includes(value) }));
      this.node = el("fieldset", { class: "choices" }, el("legend", { dir: "auto", text: title }), note,
        ...many.map(({ words }, index) => el("label", { class: "check", for: `${id}-${index}` }, this.#inputs[index], el("span", { text: words }))));
      return;
    }
    if (schema.type === "boolean") {
      this.#inputs = [el("input", { ...common, type: "checkbox", checked: schema.default === true })];
      this.node = el("div", { class: "field" }, el("label", { class: "check", for: id }, this.#inputs[0], el("span", { dir: "auto", text: this.#label })), note);
      return;
    }
    this.#inputs = [options === undefined ? this.#line(common) : el("select", common, el("option", { value: "", text: "Choose" }), ...options.map(({ value, words }) => el("option", { value, text: words, selected: value === schema.default })))];
    this.node = el("div", { class: "field" }, el("label", { for: id, dir: "auto", text: title }), this.#inputs[0], note);
  }

  #line(common) {
    const { type, format, default: given, minLength, maxLength, minimum, maximum } = this.#schema;
    const value = given === undefined ? undefined : typeof given === "string" ? given : JSON.stringify(given);
    if (type === "number" || type === "integer") return el("input", { ...common, type: "number", step: type === "integer" ? "1" : "any", min: minimum?.toString(), max: maximum?.toString(), value, autocomplete: "off" });
    const kind = { email: "email", uri: "url", date: "date" }[format] ?? "text";
    return el("input", { ...common, type: kind, minlength: minLength?.toString(), maxlength: maxLength?.toString(), value, autocomplete: "off" });
  }

  /** `{value}`, undefined for what was left out, or `{error}`. */
  read() {
    const [input] = this.#inputs;
    const { type } = this.#schema;
    if (this.node.tagName === "FIELDSET") {
      const value = this.#inputs.filter(({ checked }) => checked).map((box) => box.value);
      return value.length === 0 && this.#required ? { error: `${this.#label} is missing.` } : { value };
    }
    if (type === "boolean") return { value: input.checked };
    if (!input.checkValidity()) return { error: `${this.#label}: ${input.validationMessage}` };
    if (input.value === "") return this.#required ? { error: `${this.#label} is missing.` } : {};
    if (type === "number" || type === "integer") return { value: Number(input.value) };
    if (type === "string" || type === undefined || choices(this.#schema) !== undefined) return { value: input.value };
    try {
      return { value: JSON.parse(input.value) };
    } catch {
      return { error: `${this.#label}: write it as JSON.` };
    }
  }

  focus() {
    this.#inputs[0]?.focus();
  }
}

// The values to choose from, with the words for each; undefined where there is no such list.
function choices(schema) {
  const titled = Array.isArray(schema.oneOf) ? schema.oneOf : Array.isArray(schema.anyOf) ? schema.anyOf : undefined;
  if (titled !== undefined && titled.every((each) => typeof each?.const === "string")) return titled.map((each) => ({ value: each.const, words: visible(String(each.title ?? each.const)) }));
  if (!Array.isArray(schema.enum) || !schema.enum.every((each) => typeof each === "string")) return undefined;
  return schema.enum.map((value, index) => ({ value, words: visible(String(schema.enumNames?.[index] ?? value)) }));
}
