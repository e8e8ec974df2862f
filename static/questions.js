// The agent's own questions to the user: the tool AskUserQuestion, which comes as a permission
// request and takes its answers as part of the input.

import { el } from "./dom.js";
import { isObject, visible } from "./text.js";

export class Questions {
  #input;
  #questions;

  /** The form for a request that asks questions; undefined for any other. */
  static of(frame, name) {
    const input = frame.input;
    if (frame.tool !== "AskUserQuestion" || !isObject(input) || !Array.isArray(input.questions)) return undefined;
    const well = input.questions.length > 0 && input.questions.every((each) => typeof each?.question === "string" && Array.isArray(each.options));
    return well ? new Questions(input, name) : undefined;
  }

  constructor(input, name) {
    this.#input = input;
    this.#questions = input.questions.map((question, index) => new Question(question, `${name}-question-${index}`));
    this.node = el("div", { class: "questions" }, ...this.#questions.map((question) => question.node));
  }

  /** `{changed}` with the input and its answers, or `{error}` when one is missing. */
  read() {
    const answers = {};
    for (const question of this.#questions) {
      const answer = question.answer();
      if (answer === "") {
        question.focus();
        return { error: "Every question needs an answer." };
      }
      answers[question.text] = answer;
    }
    return { changed: { ...this.#input, answers } };
  }
}

class Question {
  #boxes;
  #other;
  #many;

  constructor({ question, header, options, multiSelect }, name) {
    this.text = question;
    this.#many = multiSelect === true;
    this.#boxes = options.map((option, index) => {
      const label = String(option?.label ?? option);
      const box = el("input", { type: this.#many ? "checkbox" : "radio", name, id: `${name}-${index}`, data: { testid: "question-option" } });
      const words = el("span", {}, el("b", { text: visible(label) }), typeof option?.description === "string" && ` ${visible(option.description)}`);
      return { box, label, node: el("label", { class: "check", for: box.id }, box, words) };
    });
    this.#other = el("input", { type: "text", placeholder: "Or in your own words", autocomplete: "off", "aria-label": `Own answer to: ${question}`, data: { testid: "question-other" } });
    this.node = el("fieldset", { class: "choices" },
      el("legend", { dir: "auto" }, typeof header === "string" && header !== "" && el("b", { text: `${visible(header)}: ` }), visible(question)),
      ...this.#boxes.map(({ node }) => node), this.#other);
  }

  /** The labels chosen, or the user's own text, which counts first where there can be one answer. */
  answer() {
    const own = this.#other.value.trim();
    const chosen = this.#boxes.filter(({ box }) => box.checked).map(({ label }) => label);
    if (own !== "") return this.#many ? [...chosen, own].join(", ") : own;
    return chosen.join(", ");
  }

  focus() {
    (this.#boxes[0]?.box ?? this.#other).focus();
  }
}
