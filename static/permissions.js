// The agent asks before it uses a tool; the user decides. Several questions may be open at once.
// Nothing is approved by a key that was meant for something else: a prompt never takes the focus.

import { gist, setLong } from "./blocks.js";
import { announce, byId, el } from "./dom.js";
import { isObject, oneLine, pretty, visible } from "./text.js";

export class Permissions {
  #dock = byId("permissions");
  #open = new Map();
  // Ids already answered here: a replay repeats their requests.
  #settled = new Set();
  #send;
  #record;
  #numbers = 0;
  #connected = false;

  /** `send(frame)` returns why it could not, or an empty string; `record(title, text)` notes an outcome. */
  constructor({ send, record }) {
    this.#send = send;
    this.#record = record;
  }

  /** How many questions are open. */
  get waiting() {
    return this.#open.size;
  }

  /** A `permission_request` frame. */
  ask(frame) {
    const id = String(frame.requestId);
    if (this.#open.has(id) || this.#settled.has(id)) return;
    const prompt = this.#build(id, frame);
    this.#open.set(id, prompt);
    this.#dock.append(prompt.node);
    this.#update();
    announce(`The agent asks for permission to use ${prompt.tool}: ${gist(frame.input)}`, true);
  }

  /** A `permission_cancelled` frame: the agent withdrew the question. */
  cancelled(id) {
    const prompt = this.#open.get(String(id));
    if (prompt === undefined) return;
    this.#remove(prompt);
    this.#record("Permission no longer asked for:", `${prompt.tool} ${prompt.gist}`);
  }

  /** The tool has its result, so the question was settled, by a client before this one or by time. */
  toolDone(toolUseId) {
    for (const prompt of this.#open.values()) {
      if (prompt.toolUseId === undefined || prompt.toolUseId !== toolUseId) continue;
      this.#remove(prompt);
      this.#record("Permission was settled elsewhere:", `${prompt.tool} ${prompt.gist}`);
    }
  }

  /** The agent that asked is gone. */
  clear() {
    for (const prompt of [...this.#open.values()]) this.#remove(prompt);
  }

  /** Answers can be given only while connected. */
  setConnected(connected) {
    this.#connected = connected;
    for (const prompt of this.#open.values()) prompt.enable(connected);
  }

  #remove(prompt) {
    const hadFocus = prompt.node.contains(document.activeElement);
    prompt.node.remove();
    this.#open.delete(prompt.id);
    this.#update();
    // Not onto the next prompt: a key pressed twice must not answer it.
    if (hadFocus) byId("message").focus();
  }

  #update() {
    const waiting = this.#open.size;
    this.#dock.hidden = waiting === 0;
    byId("permission-line").hidden = waiting === 0;
    byId("permissions-count").textContent = waiting > 1 ? `${waiting} requests are waiting for an answer` : "";
    document.title = waiting === 0 ? "claude-relay" : `(${waiting}) Permission needed – claude-relay`;
  }

  #build(id, frame) {
    this.#numbers += 1;
    const name = `permission-${this.#numbers}`;
    const context = isObject(frame.context) ? frame.context : {};
    const tool = oneLine(String(frame.tool ?? "a tool"), 80);
    const prompt = { id, tool, gist: gist(frame.input), toolUseId: context.tool_use_id ?? context.toolUseID ?? context.toolUseId };

    const inputText = pretty(frame.input ?? {});
    const shown = el("pre", { class: "permission-input", tabindex: "0", dir: "ltr", data: { testid: "permission-input" } });
    setLong(shown, plainCommand(frame) ?? inputText);
    const editor = el("textarea", { class: "code", id: `${name}-editor`, rows: "6", spellcheck: "false", dir: "ltr", hidden: true, "aria-label": `Input of ${tool} as JSON`, data: { testid: "permission-editor" } });
    const problem = el("p", { class: "field-error", role: "alert", hidden: true });
    const edit = button("Edit input", "quiet", "permission-edit", () => {
      editor.hidden = !editor.hidden;
      shown.hidden = !editor.hidden;
      if (!editor.hidden) {
        editor.value = inputText;
        editor.focus();
      }
      edit.textContent = editor.hidden ? "Edit input" : "Undo the edit";
      problem.hidden = true;
    });

    const suggestions = choices(frame, context);
    const boxes = suggestions.map((suggestion, index) => {
      const box = el("input", { type: "checkbox", id: `${name}-choice-${index}`, data: { testid: "permission-suggestion" } });
      box.checked = index === 0;
      return { box, suggestion, node: el("label", { class: "check", for: box.id }, box, el("span", { text: describe(suggestion) })) };
    });
    const always = button("Allow always", "", "permission-always", () => approve(boxes.filter(({ box }) => box.checked).map(({ suggestion }) => suggestion)));
    for (const { box } of boxes) box.addEventListener("change", () => { always.disabled = !this.#connected || !boxes.some((each) => each.box.checked); });

    const reason = el("input", { type: "text", id: `${name}-reason`, placeholder: "Reason, told to the agent (optional)", autocomplete: "off", "aria-label": "Reason for a denial", data: { testid: "permission-reason" } });
    const stop = el("input", { type: "checkbox", id: `${name}-stop`, data: { testid: "permission-stop" } });
    const allow = button("Allow once", "primary", "permission-allow", () => approve(undefined));
    const deny = button("Deny", "danger", "permission-deny", () => {
      const answer = { type: "permission_response", requestId: id, approved: false };
      if (reason.value.trim() !== "") answer.message = reason.value.trim();
      if (stop.checked) answer.interrupt = true;
      finish(answer, stop.checked ? "Denied, and the turn stopped:" : "Denied:");
    });
    reason.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.isComposing) deny.click();
    });

    const approve = (updatedPermissions) => {
      const answer = { type: "permission_response", requestId: id, approved: true };
      if (!editor.hidden && editor.value !== inputText) {
        let input;
        try {
          input = JSON.parse(editor.value);
        } catch (error) {
          input = error;
        }
        if (!isObject(input) || input instanceof Error) {
          problem.textContent = input instanceof Error ? `The input is no valid JSON: ${input.message}` : "The input must be a JSON object.";
          problem.hidden = false;
          editor.focus();
          return;
        }
        // Left out when nothing was changed: the server then hands the original on, untouched.
        answer.updatedInput = input;
      }
      if (updatedPermissions !== undefined) answer.updatedPermissions = updatedPermissions;
      finish(answer, `${updatedPermissions === undefined ? "Allowed once" : "Allowed always"}${answer.updatedInput === undefined ? "" : ", with the input edited"}:`);
    };
    const finish = (answer, words) => {
      const failed = this.#send(answer);
      if (failed !== "") {
        problem.textContent = failed;
        problem.hidden = false;
        return;
      }
      this.#settled.add(id);
      this.#remove(prompt);
      this.#record(words, `${tool} ${prompt.gist}`);
    };

    const description = context.description ?? context.decision_reason;
    const blocked = context.blocked_path ?? context.blockedPath;
    prompt.node = el("section", { class: "permission", role: "group", "aria-labelledby": `${name}-title`, data: { testid: "permission", requestId: id, tool } },
      el("h3", { id: `${name}-title` }, "The agent asks to use ", el("b", { text: tool })),
      typeof description === "string" && el("p", { class: "permission-why", dir: "auto", text: visible(description.slice(0, 2000)) }),
      typeof blocked === "string" && el("p", { class: "permission-why" }, "Path: ", el("code", { text: visible(blocked.slice(0, 2000)) })),
      shown, editor, problem,
      boxes.length > 0 && el("fieldset", { class: "choices" }, el("legend", { text: "“Allow always” does this:" }), ...boxes.map(({ node }) => node)),
      el("div", { class: "row" }, allow, boxes.length > 0 && always, edit),
      el("div", { class: "row" }, deny, reason, el("label", { class: "check", for: stop.id }, stop, el("span", { text: "and stop the turn" }))));
    prompt.enable = (connected) => {
      for (const each of [allow, deny]) each.disabled = !connected;
      always.disabled = !connected || !boxes.some(({ box }) => box.checked);
    };
    prompt.enable(this.#connected);
    return prompt;
  }
}

function button(text, look, testid, onclick) {
  return el("button", { type: "button", class: look, text, data: { testid }, on: { click: onclick } });
}

// A shell command reads better as itself than inside JSON, but only if nothing else is left out.
function plainCommand(frame) {
  if (!isObject(frame.input) || typeof frame.input.command !== "string") return undefined;
  const rest = Object.keys(frame.input).filter((key) => key !== "command" && key !== "description");
  if (rest.length > 0 || (frame.input.description !== undefined && typeof frame.input.description !== "string")) return undefined;
  return frame.input.command;
}

function choices(frame, context) {
  const offered = context.permission_suggestions ?? context.suggestions;
  if (Array.isArray(offered) && offered.length > 0) return offered;
  return [{ type: "addRules", rules: [{ toolName: String(frame.tool) }], behavior: "allow", destination: "session" }];
}

const DESTINATIONS = {
  session: "for this session",
  localSettings: "in this workspace, for you",
  projectSettings: "in this workspace, for everyone",
  userSettings: "in all your workspaces",
};

/** What a suggestion of the agent would change, in words. */
export function describe(suggestion) {
  const where = DESTINATIONS[suggestion?.destination] ?? (suggestion?.destination === undefined ? "" : `in ${visible(String(suggestion.destination))}`);
  const words = (text) => visible(`${text}${where === "" ? "" : `, ${where}`}`);
  if ((suggestion?.type === "addRules" || suggestion?.type === "replaceRules") && Array.isArray(suggestion.rules)) {
    const rules = suggestion.rules.map((rule) => (rule?.ruleContent === undefined ? `every ${rule?.toolName}` : `${rule.toolName}(${rule.ruleContent})`)).join(", ");
    const verb = { allow: "Allow", deny: "Deny", ask: "Ask for" }[suggestion.behavior] ?? String(suggestion.behavior);
    return words(`${verb} ${rules}`);
  }
  if (suggestion?.type === "addDirectories" && Array.isArray(suggestion.directories)) return words(`Open ${suggestion.directories.join(", ")}`);
  if (suggestion?.type === "setMode") return words(`Switch to the mode ${suggestion.mode}`);
  return visible(JSON.stringify(suggestion) ?? "");
}
