// One question of the agent: what it wants to do, and the ways to answer.

import { flatInput, gist, section, setLong } from "./blocks.js";
import { el } from "./dom.js";
import { Questions } from "./questions.js";
import { markdown, toolInput, toolTitle } from "./tools.js";
import { isObject, oneLine, pretty, visible } from "./text.js";

let prompts = 0;

/**
 * Builds the prompt for a `permission_request`. `answer(frame, words)` sends the decision and
 * returns why it could not, or an empty string; `writtenPlan()` asks the agent for the plan that it has
 * written down. The result has `node`, `tool`, `gist`, `toolUseId`
 * and `enable(connected)`.
 */
export function newPrompt(frame, answer, writtenPlan) {
  prompts += 1;
  const name = `permission-${prompts}`;
  const id = String(frame.requestId);
  const context = isObject(frame.context) ? frame.context : {};
  const tool = oneLine(String(frame.tool ?? "a tool"), 80);
  const questions = Questions.of(frame, name);

  const problem = el("p", { class: "field-error", role: "alert", hidden: true });
  const complain = (words) => {
    problem.textContent = visible(words);
    problem.hidden = words === "";
  };
  const finish = (decision, words) => complain(answer({ type: "permission_response", requestId: id, ...decision }, words));

  const plan = frame.tool === "ExitPlanMode";
  const words = WORDS[questions !== undefined ? "question" : plan ? "plan" : "tool"];
  const input = questions ?? (plan ? new Plan(frame, writtenPlan) : new Input(frame, name, tool));
  const choices = questions === undefined ? suggestions(frame, context).map((each, index) => new Choice(each, `${name}-choice-${index}`)) : [];
  const approve = (updatedPermissions) => {
    const { changed, error } = input.read();
    if (error !== undefined) {
      complain(error);
      return;
    }
    const decision = { approved: true };
    // Left out when nothing was changed: the server then hands the original on, untouched.
    if (changed !== undefined) decision.updatedInput = changed;
    if (updatedPermissions !== undefined) decision.updatedPermissions = updatedPermissions;
    const done = updatedPermissions === undefined ? words.allowed : words.always;
    finish(decision, `${done}${changed === undefined || questions !== undefined ? "" : ", with the input edited"}:`);
  };

  const allow = button(words.allow, "primary", "permission-allow", () => approve(undefined));
  const always = button(words.allowAlways, "", "permission-always", () => approve(choices.filter((choice) => choice.chosen).flatMap((choice) => choice.rules)));
  const reason = el("input", { type: "text", placeholder: words.reason, autocomplete: "off", "aria-label": "Reason for a denial, told to the agent", data: { testid: "permission-reason" } });
  const stop = el("input", { type: "checkbox", id: `${name}-stop`, data: { testid: "permission-stop" } });
  const deny = button(words.deny, "danger", "permission-deny", () => {
    const decision = { approved: false };
    if (reason.value.trim() !== "") decision.message = reason.value.trim();
    if (stop.checked) decision.interrupt = true;
    finish(decision, stop.checked ? `${words.denied}, and the turn stopped:` : `${words.denied}:`);
  });
  reason.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.isComposing) deny.click();
  });

  let connected = false;
  const enable = (now) => {
    connected = now;
    for (const each of [allow, deny]) each.disabled = !connected;
    always.disabled = !connected || !choices.some((choice) => choice.chosen);
  };
  for (const choice of choices) choice.node.addEventListener("change", () => enable(connected));

  // The CLI describes some calls by the input itself.
  const description = [context.description, context.decision_reason, context.reason].find((text) => typeof text === "string" && oneLine(text) !== gist(frame.input));
  const blocked = context.blocked_path ?? context.blockedPath;
  const node = el("section", { class: "permission", role: "group", tabindex: "-1", "aria-labelledby": `${name}-title`, data: { testid: "permission", requestId: id, tool } },
    el("h2", { id: `${name}-title` }, ...(words.title ?? ["The agent asks to use ", el("b", { text: toolTitle(tool) })])),
    typeof description === "string" && questions === undefined && el("p", { class: "permission-why", dir: "auto", text: visible(description.slice(0, 2000)) }),
    typeof blocked === "string" && el("p", { class: "permission-why" }, "Path: ", el("code", { text: visible(blocked.slice(0, 2000)) })),
    input.node,
    problem,
    choices.length > 0 && el("fieldset", { class: "choices" }, el("legend", { text: `“${words.allowAlways}” does this:` }), ...choices.map((choice) => choice.node)),
    el("div", { class: "row" }, allow, choices.length > 0 && always, input.edit),
    el("div", { class: "row" }, deny, reason, el("label", { class: "check", for: stop.id }, stop, el("span", { text: "and stop the turn" }))));
  return { id, node, tool, allow, deny, gist: plan ? "" : gist(frame.input), toolUseId: context.tool_use_id ?? context.toolUseID ?? context.toolUseId ?? context.itemId, enable };
}

// The words of a prompt, by its kind.
const WORDS = {
  tool: { allow: "Allow once", allowAlways: "Allow always", deny: "Deny", allowed: "Allowed once", always: "Allowed always", denied: "Denied", reason: "Reason (optional)" },
  question: { title: ["The agent has a question"], allow: "Answer", allowAlways: "Answer always", deny: "Decline", allowed: "Answered", always: "Answered", denied: "Declined", reason: "Reason (optional)" },
  plan: { title: ["The agent has a plan"], allow: "Carry it out", allowAlways: "Carry it out with this", deny: "Go on planning", allowed: "Plan approved", always: "Plan approved", denied: "Plan sent back", reason: "What is to be changed (optional)" },
};

// A plan to be approved, as the text that it is.
class Plan {
  constructor({ input }, writtenPlan) {
    const given = typeof input?.plan === "string" && input.plan.trim() !== "" ? input.plan : undefined;
    this.node = el("div", { class: "permission-input plan", tabindex: "0", role: "group", "aria-label": "The plan", data: { testid: "permission-input" } },
      given === undefined ? el("p", { text: "It is in the agent's last messages." }) : markdown(given));
    if (given === undefined) this.#ask(writtenPlan);
  }

  async #ask(writtenPlan) {
    const plan = await writtenPlan();
    if (plan !== undefined) this.node.replaceChildren(markdown(plan));
  }

  read() {
    return {};
  }
}

// The input of the call, which can be edited as JSON.
class Input {
  #original;
  #editor;

  constructor(frame, name, tool) {
    this.#original = pretty(frame.input ?? {});
    const shown = el("div", { class: "permission-input", data: { testid: "permission-input" } }, ...(toolInput(String(frame.tool), frame.input) ?? readable(frame.input, this.#original)));
    const editor = el("textarea", { class: "code", id: `${name}-editor`, rows: "6", spellcheck: "false", dir: "ltr", hidden: true, "aria-label": `Input of ${tool} as JSON`, data: { testid: "permission-editor" } });
    this.#editor = editor;
    this.edit = button("Edit", "quiet", "permission-edit", () => {
      editor.hidden = !editor.hidden;
      shown.hidden = !editor.hidden;
      this.edit.textContent = editor.hidden ? "Edit" : "Undo";
      this.edit.title = editor.hidden ? "Change the input before it is allowed" : "Back to the input as it was asked for";
      if (editor.hidden) return;
      editor.value = this.#original;
      editor.focus();
    });
    this.edit.title = "Change the input before it is allowed";
    this.node = el("div", {}, shown, editor);
  }

  /** `{changed}` with the edited input, `{}` when it is as it came, or `{error}`. */
  read() {
    if (this.#editor.hidden || this.#editor.value === this.#original) return {};
    try {
      const changed = JSON.parse(this.#editor.value);
      return isObject(changed) ? { changed } : { error: "The input must be a JSON object." };
    } catch (error) {
      return { error: `The input is no valid JSON: ${error.message}` };
    }
  }
}

// A rule or mode to keep: what the agent suggests, or else one of ours.
class Choice {
  #box;

  constructor({ suggestion, words, chosen }, id) {
    // The agent writes a rule into the settings it names, which count from the next start, and only
    // where they are read at all. The one who allows "always" means now as well.
    this.rules = suggestion?.destination === "session" ? [suggestion] : [suggestion, { ...suggestion, destination: "session" }];
    this.#box = el("input", { type: "checkbox", id, data: { testid: "permission-suggestion" } });
    this.#box.checked = chosen;
    this.node = el("label", { class: "check", for: id }, this.#box, el("span", { text: words }));
  }

  get chosen() {
    return this.#box.checked;
  }
}

function button(text, look, testid, onclick) {
  return el("button", { type: "button", class: look, text, data: { testid }, on: { click: onclick } });
}

// A command, a path or a file's text reads better as itself than inside JSON, if nothing is left out.
function readable(input, json) {
  const parts = flatInput(input);
  if (parts === undefined) return [body(json)];
  const told = parts.filter(([name]) => name !== "description" || parts.length === 1);
  if (told.length === 1 && told[0][0] === "command") return [body(told[0][1])];
  return parts.map(([name, text]) => section(name, text));
}

function body(text) {
  const pre = el("pre", { tabindex: "0", dir: "ltr" });
  setLong(pre, text);
  return pre;
}

function suggestions(frame, context) {
  const offered = context.permission_suggestions ?? context.suggestions;
  if (Array.isArray(offered) && offered.length > 0) return offered.map((suggestion, index) => ({ suggestion, words: describe(suggestion), chosen: index === 0 }));
  if (frame.tool === "ExitPlanMode") {
    const suggestion = { type: "setMode", mode: "acceptEdits", destination: "session" };
    return [{ suggestion, words: describe(suggestion), chosen: true }];
  }
  const suggestion = { type: "addRules", rules: [{ toolName: String(frame.tool) }], behavior: "allow", destination: "session" };
  // Codex knows one way to go on without asking, and it is about the same call.
  if (typeof context.itemId === "string") return [{ suggestion, words: "Do not ask about the same again, for this session", chosen: true }];
  // It was not suggested, and it is a lot to allow.
  return [{ suggestion, words: describe(suggestion), chosen: false }];
}

const DESTINATIONS = {
  session: "for this session",
  localSettings: "in this workspace, for you",
  projectSettings: "in this workspace, for everyone",
  userSettings: "in all your workspaces",
};

// The effect of a suggestion of the agent, in words.
function describe(suggestion) {
  const where = DESTINATIONS[suggestion?.destination] ?? (suggestion?.destination === undefined ? "" : `in ${visible(String(suggestion.destination))}`);
  const words = (text) => visible(`${text}${where === "" ? "" : `, ${where}`}`);
  if ((suggestion?.type === "addRules" || suggestion?.type === "replaceRules") && Array.isArray(suggestion.rules)) {
    const rules = suggestion.rules.map((rule) => (rule?.ruleContent === undefined ? `every use of ${rule?.toolName}` : `${rule.toolName}(${rule.ruleContent})`)).join(", ");
    const verb = { allow: "Allow", deny: "Deny", ask: "Ask for" }[suggestion.behavior] ?? String(suggestion.behavior);
    return words(`${verb} ${rules}`);
  }
  if (suggestion?.type === "addDirectories" && Array.isArray(suggestion.directories)) return words(`Open ${suggestion.directories.join(", ")}`);
  if (suggestion?.type === "setMode") return words(`Switch to the mode ${suggestion.mode}`);
  return visible(JSON.stringify(suggestion) ?? "");
}
