// The list above the message box: the agent's slash commands at the start of a message, and files
// behind an @.

import { byId, el } from "./dom.js";
import { isObject, oneLine } from "./text.js";

const MAX_SHOWN = 12;
const MAX_COMMANDS = 500;
// Keys that come quicker than this are one question to the agent.
const ASK_AFTER_MS = 120;

export class Completion {
  #box = byId("message");
  #list = byId("completion");
  #commands = [];
  #items = [];
  #chosen = -1;
  #word = null;
  #timer = 0;
  #asked = 0;
  #files;

  /** `files(query)` asks the agent for paths; resolves to a list of texts. */
  constructor({ files }) {
    this.#files = files;
    this.#box.addEventListener("input", () => this.#changed());
    this.#box.addEventListener("blur", () => this.close());
    // Before the box loses the focus.
    this.#list.addEventListener("mousedown", (event) => event.preventDefault());
    this.#list.addEventListener("click", (event) => {
      const index = event.target instanceof Element ? event.target.closest("[data-index]")?.dataset.index : undefined;
      if (index !== undefined) this.#take(Number(index));
    });
  }

  /** The commands of the agent: their names, or objects with descriptions, which win. */
  commands(list) {
    if (!Array.isArray(list) || list.length === 0) return;
    const known = new Map(this.#commands.map((command) => [command.name, command]));
    const next = list.slice(0, MAX_COMMANDS).flatMap((each) => {
      if (typeof each === "string") return [known.get(each) ?? { name: each, description: "", hint: "" }];
      if (!isObject(each) || typeof each.name !== "string") return [];
      return [{ name: each.name, description: String(each.description ?? ""), hint: String(each.argumentHint ?? "") }];
    });
    this.#commands = next;
  }

  /** A key of the box. Returns true if it belonged to the list. */
  key(event) {
    if (this.#items.length === 0) return false;
    const last = this.#items.length - 1;
    switch (event.key) {
      case "ArrowDown": this.#choose(this.#chosen >= last ? 0 : this.#chosen + 1); break;
      case "ArrowUp": this.#choose(this.#chosen <= 0 ? last : this.#chosen - 1); break;
      case "Tab": this.#take(Math.max(this.#chosen, 0)); break;
      case "Enter":
        // A command that is written out goes to the agent.
        if (this.#chosen < 0 || event.shiftKey || this.#items[this.#chosen].text.trim() === this.#word.text) {
          this.close();
          return false;
        }
        this.#take(this.#chosen);
        break;
      case "Escape": this.close(); break;
      default: return false;
    }
    event.preventDefault();
    event.stopPropagation();
    return true;
  }

  close() {
    clearTimeout(this.#timer);
    this.#asked += 1;
    this.#show([]);
  }

  #changed() {
    clearTimeout(this.#timer);
    this.#asked += 1;
    this.#word = this.#wordAtCaret();
    if (this.#word === null) {
      this.#show([]);
      return;
    }
    const { kind, text } = this.#word;
    if (kind === "command") {
      const wanted = text.slice(1).toLowerCase();
      const rank = ({ name }) => (name.toLowerCase().startsWith(wanted) ? 0 : 1);
      const fitting = this.#commands.filter(({ name }) => name.toLowerCase().includes(wanted)).sort((a, b) => rank(a) - rank(b));
      this.#show(fitting.map(({ name, description, hint }) => ({ text: `/${name}`, note: oneLine(`${hint} ${description}`.trim(), 100) })));
      return;
    }
    const asked = this.#asked;
    this.#timer = setTimeout(async () => {
      const paths = await this.#files(text.slice(1));
      if (asked === this.#asked) this.#show(paths.map((path) => ({ text: `@${path}`, note: "" })));
    }, ASK_AFTER_MS);
  }

  // A slash command is the first word of the message; a file is any word that begins with an @.
  #wordAtCaret() {
    const caret = this.#box.selectionStart;
    if (caret !== this.#box.selectionEnd) return null;
    const before = this.#box.value.slice(0, caret);
    const command = /^\/[^\s/]*$/.exec(before);
    if (command !== null) return { kind: "command", text: command[0], start: 0 };
    const file = /(?:^|\s)(@[^\s@]{0,200})$/.exec(before);
    return file === null ? null : { kind: "file", text: file[1], start: caret - file[1].length };
  }

  #show(items) {
    this.#items = items.slice(0, MAX_SHOWN);
    this.#list.hidden = this.#items.length === 0;
    this.#list.replaceChildren(...this.#items.map(({ text, note }, index) => el("li", { role: "option", id: `completion-${index}`, data: { index: String(index) }, "aria-selected": "false" },
      el("b", { dir: "ltr", text: oneLine(text, 200) }), note !== "" && el("span", { class: "faint", text: note }))));
    this.#choose(this.#items.length === 0 ? -1 : 0);
  }

  #choose(index) {
    this.#chosen = index;
    for (const [at, node] of [...this.#list.children].entries()) {
      node.setAttribute("aria-selected", String(at === index));
      if (at === index) node.scrollIntoView({ block: "nearest" });
    }
    if (index < 0) this.#box.removeAttribute("aria-activedescendant");
    else this.#box.setAttribute("aria-activedescendant", `completion-${index}`);
  }

  #take(index) {
    const { start } = this.#word;
    const { text } = this.#items[index];
    // A folder goes on: its files are the next question.
    const end = text.endsWith("/") ? "" : " ";
    this.#box.setRangeText(`${text}${end}`, start, this.#box.selectionStart, "end");
    this.close();
    this.#box.dispatchEvent(new Event("input"));
  }
}
