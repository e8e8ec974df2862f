// Calls of the tools that people know, as they would put them: a file's change as a diff, a plan as a
// text, a list of things to do as a list. Tools without a view here show their input as it is.

import { compare, diffView } from "./diff.js";
import { el } from "./dom.js";
import { MarkdownView } from "./markdown.js";
import { isObject, oneLine, visible } from "./text.js";

const TITLES = {
  AskUserQuestion: "Question",
  EnterPlanMode: "Plan mode",
  ExitPlanMode: "Plan",
  TaskCreate: "New to-do",
  TaskUpdate: "To-do changed",
  TaskList: "To-dos",
  TaskGet: "To-do",
  TodoWrite: "To-dos",
  Agent: "Sub-agent",
  Task: "Sub-agent",
  KillShell: "Stop a task",
  TaskStop: "Stop a task",
  TaskOutput: "Output of a task",
};

/** The name of a tool, for people. */
export function toolTitle(name) {
  const mcp = /^mcp__(.+?)__(.+)$/.exec(name);
  return oneLine(mcp === null ? TITLES[name] ?? name : `${mcp[1]}: ${mcp[2]}`, 80);
}

/** The elements for the input of a call, or undefined where it has no view. `details` is the CLI's own account of the result, if there is one. */
export function toolInput(name, input, details) {
  if (!isObject(input)) return undefined;
  switch (name) {
    case "Edit": return edit(input, details);
    case "MultiEdit": return multiEdit(input);
    case "Write": return write(input, details);
    case "ExitPlanMode": return typeof input.plan === "string" ? [markdown(input.plan)] : undefined;
    case "TodoWrite": return Array.isArray(input.todos) ? [todoList(input.todos.map((todo) => ({ subject: todo?.content, status: todo?.status })))] : undefined;
    case "Agent":
    case "Task": return typeof input.prompt === "string" ? [markdown(input.prompt)] : undefined;
    case "AskUserQuestion": return questions(input, details);
    default: return undefined;
  }
}

/** The elements for the result of a call, or undefined where its text is shown. */
export function toolResult(name, details) {
  if (!isObject(details)) return undefined;
  // The change above is the result.
  if ((name === "Edit" || name === "Write") && Array.isArray(details.structuredPatch)) return [];
  if (name === "ExitPlanMode" && typeof details.plan === "string") return [];
  if (name === "AskUserQuestion" && isObject(details.answers)) return [];
  return undefined;
}

/** A text of the agent, drawn as Markdown. */
export function markdown(text) {
  const node = el("div", { class: "prose", dir: "auto" });
  const view = new MarkdownView(node);
  view.append(text);
  view.finish();
  return node;
}

const STATUS = { completed: ["☑", "Done: "], in_progress: ["▸", "Now: "], pending: ["☐", "To do: "] };

/** A list of things to do: `{subject, status}`. */
export function todoList(todos) {
  return el("ul", { class: "todo-list" }, ...todos.map(({ subject, status }) => {
    const [mark, spoken] = STATUS[status] ?? STATUS.pending;
    return el("li", { data: { status: String(status ?? "pending") }, dir: "auto" },
      el("span", { class: "todo-mark", "aria-hidden": "true", text: mark }), el("span", { class: "offscreen", text: spoken }), el("span", { text: oneLine(String(subject ?? ""), 300) }));
  }));
}

function path(text) {
  return el("div", { class: "part-title", dir: "ltr", text: visible(String(text ?? "")) });
}

// The lines of a patch that the CLI has made, with their surroundings.
function patch(details) {
  if (!isObject(details) || !Array.isArray(details.structuredPatch) || details.structuredPatch.length === 0) return undefined;
  return details.structuredPatch.flatMap((hunk) => [["@", `lines ${hunk?.newStart} to ${hunk?.newStart + Math.max(hunk?.newLines - 1, 0)}`], ...(Array.isArray(hunk?.lines) ? hunk.lines : []).map((line) => [/^[-+]/.test(line) ? line[0] : " ", String(line).slice(1)])]);
}

function edit(input, details) {
  if (typeof input.old_string !== "string" || typeof input.new_string !== "string") return undefined;
  return [path(`${input.file_path}${input.replace_all === true ? " (every place)" : ""}`), diffView(patch(details) ?? compare(input.old_string, input.new_string))];
}

function multiEdit(input) {
  const edits = Array.isArray(input.edits) ? input.edits : [];
  const well = edits.length > 0 && edits.every((each) => typeof each?.old_string === "string" && typeof each?.new_string === "string");
  return well ? [path(input.file_path), ...edits.map((each) => diffView(compare(each.old_string, each.new_string)))] : undefined;
}

function write(input, details) {
  if (typeof input.content !== "string") return undefined;
  return [path(input.file_path), diffView(patch(details) ?? compare("", input.content), "Content")];
}

function questions(input, details) {
  const answers = isObject(details) && isObject(details.answers) ? details.answers : {};
  if (!Array.isArray(input.questions)) return undefined;
  return [el("dl", { class: "answers" }, ...input.questions.flatMap((each) => {
    const question = String(each?.question ?? "");
    return [el("dt", { dir: "auto", text: visible(question) }), el("dd", { dir: "auto", text: answers[question] === undefined ? "not answered yet" : visible(String(answers[question])) })];
  }))];
}
