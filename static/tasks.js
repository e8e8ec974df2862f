// What the agent lets run beside the conversation: commands in the background and sub-agents, as a
// tree with the state of each and a button that stops it.

import { byId, el } from "./dom.js";
import { duration, isObject, oneLine, plural } from "./text.js";

const MAX_TASKS = 500;
const OVER = new Set(["completed", "failed", "stopped", "killed"]);

export class Tasks {
  #strip = byId("tasks");
  #summary = byId("tasks-summary");
  #body = byId("tasks-list");
  #tasks = new Map();
  #stop;
  #connected = false;

  /** `stop(id)` asks the agent to stop a task; resolves to why it could not, or an empty string. */
  constructor({ stop }) {
    this.#stop = stop;
  }

  /** One message of the agent. */
  message(data) {
    if (!isObject(data) || data.type !== "system") return;
    switch (data.subtype) {
      case "task_started": this.#started(data); break;
      case "task_progress": this.#change(data.task_id, { description: data.description, last: data.summary ?? data.last_tool_name, usage: data.usage }); break;
      case "task_updated": if (isObject(data.patch)) this.#change(data.task_id, { status: data.patch.status, description: data.patch.description }); break;
      case "task_notification": this.#change(data.task_id, { status: data.status }); break;
      case "background_tasks_changed": this.#level(data.tasks); break;
      default: return;
    }
    this.#show();
  }

  /** The agent's process is gone, and its tasks with it. */
  clear() {
    this.#tasks.clear();
    this.#show();
  }

  /** A task can be stopped only while connected. */
  setConnected(connected) {
    this.#connected = connected;
    this.#show();
  }

  #started(data) {
    if (data.skip_transcript === true || data.ambient === true) return;
    if (this.#tasks.size >= MAX_TASKS) this.#tasks.delete(this.#tasks.keys().next().value);
    this.#tasks.set(data.task_id, { status: "running", description: data.description, kind: data.subagent_type ?? data.task_type, parent: data.parent_task_id, since: Date.now() });
  }

  #change(id, { status, ...facts }) {
    const task = this.#tasks.get(id);
    if (task === undefined) return;
    for (const [name, value] of Object.entries(facts)) if (value !== undefined) task[name] = value;
    if (typeof status === "string") task.status = status;
    if (OVER.has(task.status)) this.#tasks.delete(id);
  }

  // The whole set of those in the background: one that is missing has ended, one that is new began unseen.
  #level(tasks) {
    const live = new Map((Array.isArray(tasks) ? tasks : []).filter((task) => isObject(task) && task.ambient !== true).map((task) => [task.task_id, task]));
    for (const [id, task] of this.#tasks) if (task.background && !live.has(id)) this.#tasks.delete(id);
    for (const [id, task] of live) {
      const known = this.#tasks.get(id) ?? { status: "running", since: Date.now() };
      this.#tasks.set(id, { ...known, background: true, description: task.description ?? known.description, kind: task.subagent_type ?? task.task_type ?? known.kind, parent: task.parent_task_id ?? known.parent });
    }
  }

  #show() {
    const open = this.#strip.contains(document.activeElement) ? document.activeElement.dataset.task : undefined;
    this.#strip.hidden = this.#tasks.size === 0;
    this.#summary.textContent = `${plural(this.#tasks.size, "task")} running`;
    this.#body.replaceChildren(this.#branch(undefined, new Set()));
    if (open !== undefined) this.#body.querySelector(`[data-task="${CSS.escape(open)}"]`)?.focus();
  }

  #branch(parent, seen) {
    const here = [...this.#tasks].filter(([id, task]) => !seen.has(id) && (parent === undefined ? !this.#tasks.has(task.parent) : task.parent === parent));
    for (const [id] of here) seen.add(id);
    return el("ul", { class: "task-list" }, ...here.map(([id, task]) => {
      const below = this.#branch(id, seen);
      return el("li", { data: { taskId: String(id), status: String(task.status) } }, el("div", { class: "row task" }, ...this.#row(id, task)), below.firstChild !== null && below);
    }));
  }

  #row(id, task) {
    const stop = el("button", { type: "button", class: "danger small", text: "Stop", data: { task: String(id), testid: "task-stop" }, "aria-label": `Stop ${oneLine(String(task.description ?? "the task"), 60)}` });
    stop.disabled = !this.#connected || task.stopping === true;
    stop.addEventListener("click", async () => {
      task.stopping = true;
      stop.disabled = true;
      if (await this.#stop(id) !== "") task.stopping = false;
      this.#show();
    });
    const usage = isObject(task.usage) ? `${plural(task.usage.total_tokens, "token")}, ${duration(task.usage.duration_ms)}` : "";
    const facts = [task.kind && oneLine(String(task.kind), 30).replace("local_bash", "command").replace("local_agent", "sub-agent"), task.last && oneLine(String(task.last), 60), usage];
    return [el("span", { class: "task-name", dir: "auto", text: oneLine(String(task.description ?? id), 120) }), el("span", { class: "faint", text: [task.status, ...facts].filter(Boolean).join(" · ") }), stop];
  }
}
