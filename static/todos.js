// The agent's list of things to do, put together from its calls of TaskCreate and TaskUpdate, and
// of TodoWrite in older CLIs. It stands above the message box while something is left to do.

import { byId } from "./dom.js";
import { isObject, oneLine } from "./text.js";
import { todoList } from "./tools.js";

const MAX_TODOS = 200;

export class Todos {
  #strip = byId("todos");
  #summary = byId("todos-summary");
  #body = byId("todos-list");
  #todos = new Map();
  // Calls without a result: a new to-do gets its id with it.
  #open = new Map();

  /** One message of the agent. */
  message(data) {
    if (!isObject(data) || !Array.isArray(data.message?.content) || (data.parent_tool_use_id ?? null) !== null) return;
    let changed = false;
    for (const block of data.message.content) {
      if (data.type === "assistant" && block?.type === "tool_use") changed = this.#call(block) || changed;
      if (data.type === "user" && block?.type === "tool_result") changed = this.#result(block, data.tool_use_result) || changed;
    }
    if (changed) this.#show();
  }

  /** Another conversation began. */
  clear() {
    this.#todos.clear();
    this.#open.clear();
    this.#show();
  }

  #call({ id, name, input }) {
    if (!isObject(input)) return false;
    if (name === "TodoWrite" && Array.isArray(input.todos)) {
      this.#todos = new Map(input.todos.slice(0, MAX_TODOS).map((todo, index) => [String(index), { subject: todo?.content, status: todo?.status, active: todo?.activeForm }]));
      return true;
    }
    if ((name === "TaskCreate" || name === "TaskUpdate") && this.#open.size < MAX_TODOS) this.#open.set(id, { name, input });
    return false;
  }

  #result(block, details) {
    const call = this.#open.get(block.tool_use_id);
    if (call === undefined) return false;
    this.#open.delete(block.tool_use_id);
    if (block.is_error === true) return false;
    const { name, input } = call;
    if (name === "TaskCreate") {
      const text = typeof block.content === "string" ? block.content : block.content?.[0]?.text;
      const id = details?.task?.id ?? /#(\w+)/.exec(String(text ?? ""))?.[1] ?? String(this.#todos.size + 1);
      if (this.#todos.size < MAX_TODOS) this.#todos.set(String(id), { subject: input.subject, status: "pending", active: input.activeForm });
      return true;
    }
    const id = String(input.taskId ?? "");
    const todo = this.#todos.get(id);
    if (todo === undefined) return false;
    if (input.status === "deleted") this.#todos.delete(id);
    else {
      if (typeof input.status === "string") todo.status = input.status;
      if (typeof input.subject === "string") todo.subject = input.subject;
      if (typeof input.activeForm === "string") todo.active = input.activeForm;
    }
    return true;
  }

  #show() {
    const todos = [...this.#todos.values()];
    const done = todos.filter(({ status }) => status === "completed").length;
    this.#strip.hidden = todos.length === 0 || done === todos.length;
    const now = todos.find(({ status }) => status === "in_progress");
    const doing = now === undefined ? "" : ` · ${oneLine(String(now.active ?? now.subject ?? ""), 80)}`;
    this.#summary.textContent = `To-dos: ${done} of ${todos.length} done${doing}`;
    this.#body.replaceChildren(todoList(todos));
  }
}
