// Pictures and documents that go with a message: by paste, by drop or by the button. They are shown
// above the message box until it is sent.

import { byId, el } from "./dom.js";
import { oneLine, size } from "./text.js";

// The formats that the model's API reads, and its limits.
const PICTURES = ["image/png", "image/jpeg", "image/gif", "image/webp"];
const DOCUMENT = "application/pdf";
const MAX_PICTURE_BYTES = 5 * 1024 * 1024;
const MAX_DOCUMENT_BYTES = 32 * 1024 * 1024;
const MAX_ATTACHMENTS = 20;
// All together, below the 64 MiB of a message with the third that Base64 adds.
const MAX_TOTAL_BYTES = 40 * 1024 * 1024;

export class Attachments {
  #list = byId("attachments");
  #input = byId("attach-file");
  #attached = [];
  #tell;

  /** `tell(words)` says why a file was not taken; an empty string takes that back. */
  constructor({ tell }) {
    this.#tell = tell;
    byId("attach").addEventListener("click", () => this.#input.click());
    this.#input.addEventListener("change", () => {
      this.add(this.#input.files);
      this.#input.value = "";
    });
    byId("message").addEventListener("paste", (event) => {
      const { files, types } = event.clipboardData ?? { files: [], types: [] };
      // What is copied out of a document comes as text and as a picture of it.
      if (files.length === 0 || (types.includes("text/plain") && types.includes("text/html"))) return;
      event.preventDefault();
      this.add(files);
    });
    const area = document.querySelector(".chat");
    area.addEventListener("dragover", (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      area.dataset.drop = "true";
    });
    area.addEventListener("dragleave", (event) => { if (!area.contains(event.relatedTarget)) delete area.dataset.drop; });
    area.addEventListener("drop", (event) => {
      delete area.dataset.drop;
      if ((event.dataTransfer?.files.length ?? 0) === 0) return;
      event.preventDefault();
      this.add(event.dataTransfer.files);
    });
  }

  get empty() {
    return this.#attached.length === 0;
  }

  /** Takes files; those that cannot go are named with the reason. */
  async add(files) {
    const refused = [];
    for (const file of files) {
      const reason = this.#refusal(file);
      const data = reason === "" ? await base64(file).catch(() => null) : null;
      if (data !== null) this.#attached.push({ file, data });
      else refused.push(`${oneLine(file.name, 60)}: ${reason || "it cannot be read."}`);
    }
    this.#tell(refused.join(" "));
    this.#show();
  }

  /** The content blocks of what is attached. */
  blocks() {
    return this.#attached.map(({ file, data }) => (file.type === DOCUMENT
      ? { type: "document", title: file.name, source: { type: "base64", media_type: file.type, data } }
      : { type: "image", source: { type: "base64", media_type: file.type, data } }));
  }

  clear() {
    this.#attached = [];
    this.#show();
  }

  #refusal({ type, size: bytes }) {
    const picture = PICTURES.includes(type);
    if (!picture && type !== DOCUMENT) return "only PNG, JPEG, GIF, WebP and PDF can be sent.";
    const limit = picture ? MAX_PICTURE_BYTES : MAX_DOCUMENT_BYTES;
    if (bytes > limit) return `${size(bytes)} are more than the ${limit / 1024 / 1024} MiB that the model takes.`;
    if (this.#attached.length >= MAX_ATTACHMENTS) return `no more than ${MAX_ATTACHMENTS} at once.`;
    const total = this.#attached.reduce((sum, { file }) => sum + file.size, bytes);
    return total > MAX_TOTAL_BYTES ? "all together they are too large for one message." : "";
  }

  #show() {
    this.#list.hidden = this.#attached.length === 0;
    this.#list.replaceChildren(...this.#attached.map((each) => {
      const name = oneLine(each.file.name || "picture", 40);
      const remove = el("button", { type: "button", class: "quiet small", text: "Remove", "aria-label": `Remove ${name}`, on: { click: () => {
        this.#attached = this.#attached.filter((other) => other !== each);
        this.#show();
        byId("message").focus();
      } } });
      const look = PICTURES.includes(each.file.type) && el("img", { class: "thumb", alt: "", src: `data:${each.file.type};base64,${each.data}` });
      return el("li", { data: { testid: "attachment" } }, look, el("span", { text: `${name}, ${size(each.file.size)}` }), remove);
    }));
  }
}

function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(String(reader.result).split(",", 2)[1] ?? ""));
    reader.addEventListener("error", () => reject(reader.error));
    reader.readAsDataURL(file);
  });
}
