// Tokens of Markdown as elements. Nothing passes through an HTML parser: HTML that somebody wrote is
// shown as the text it is, pictures are named and not loaded, and a link opens elsewhere and says where.

import { codeBlock } from "./code.js";
import { el } from "./dom.js";
import { visible } from "./text.js";

/** The elements of block tokens. */
export function blocks(tokens) {
  return tokens.flatMap((token) => block(token) ?? []);
}

// A list or a table with more parts than this is shown as text: it would keep the browser busy.
const MAX_PARTS = 2_000;

function block(token) {
  if (parts(token) > MAX_PARTS) return plain(token);
  switch (token.type) {
    case "space":
    case "def": return undefined;
    case "code": return codeBlock(token.text, token.lang ?? "");
    case "heading": return el("p", { class: "md-heading", role: "heading", "aria-level": "2", data: { depth: String(token.depth) }, dir: "auto" }, ...inline(token.tokens));
    case "hr": return el("hr");
    case "blockquote": return el("blockquote", { dir: "auto" }, ...blocks(token.tokens));
    case "list": return list(token);
    case "table": return table(token);
    case "paragraph": return el("p", { dir: "auto" }, ...inline(token.tokens));
    case "text": return el("p", { dir: "auto" }, ...inline(token.tokens ?? [token]));
    default: return plain(token);
  }
}

function parts({ type, items, header, rows }) {
  if (type === "list") return items.length;
  return type === "table" ? header.length * (rows.length + 1) : 0;
}

function plain(token) {
  return el("p", { class: "md-plain", dir: "auto", text: visible(token.raw.replace(/\n+$/, "")) });
}

function list(token) {
  const start = token.ordered && Number.isFinite(token.start) && token.start !== 1 ? String(token.start) : undefined;
  return el(token.ordered ? "ol" : "ul", { start, dir: "auto" }, ...token.items.map((item) => {
    const loose = item.loose === true;
    const parts = item.tokens.flatMap((part) => {
      if (part.type === "checkbox") return [];
      // The text of a tight list stands without a paragraph of its own.
      if (part.type === "text" && !loose) return [...inline(part.tokens ?? [part]), "\n"];
      return block(part) ?? [];
    });
    return el("li", { class: item.task ? "md-task" : undefined },
      item.task && el("span", { class: "md-box", role: "img", "aria-label": item.checked ? "Done" : "To do", text: item.checked ? "☑" : "☐" }), ...parts);
  }));
}

function table({ header, rows, align }) {
  const cell = (tag) => (content, index) => el(tag, { class: align[index] === null || align[index] === undefined ? undefined : `md-${align[index]}`, dir: "auto" }, ...inline(content.tokens));
  return el("div", { class: "md-table", tabindex: "0", role: "group", "aria-label": "Table" }, el("table", {},
    el("thead", {}, el("tr", {}, ...header.map(cell("th")))),
    el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map(cell("td")))))));
}

function inline(tokens) {
  return tokens.map((token) => {
    switch (token.type) {
      case "strong": return el("strong", {}, ...inline(token.tokens));
      case "em": return el("em", {}, ...inline(token.tokens));
      case "del": return el("del", {}, ...inline(token.tokens));
      case "codespan": return el("code", { text: visible(token.text) });
      case "br": return el("br");
      case "link": return link(token);
      case "image": return link({ ...token, tokens: [{ type: "text", text: `Image: ${token.text || token.href}` }] });
      // The item of the list shows it.
      case "checkbox": return "";
      case "escape": return visible(token.text);
      case "text": return token.tokens === undefined ? visible(decoded(token.text)) : el("span", {}, ...inline(token.tokens));
      default: return visible(token.raw);
    }
  });
}

const SAFE = /^(?:https?:\/\/|mailto:)/i;

function link(token) {
  const href = destination(token.href);
  if (href === undefined) return visible(token.raw);
  const node = el("a", { href: href.href, target: "_blank", rel: "noopener noreferrer nofollow", title: visible(href.href) }, ...inline(token.tokens));
  // Words that name another place than the one they lead to.
  const named = /(?:https?:\/\/)?((?:[\w-]+\.)+[a-z]{2,})/i.exec(node.textContent);
  const misleading = named !== null && href.host !== "" && named[1].toLowerCase() !== href.hostname && !`.${href.hostname}`.endsWith(`.${named[1].toLowerCase()}`) && SAFE.test(node.textContent.trim());
  return misleading ? el("span", {}, node, ` (${visible(href.host)})`) : node;
}

function destination(href) {
  if (typeof href !== "string" || !SAFE.test(href)) return undefined;
  try {
    return new URL(href);
  } catch {
    return undefined;
  }
}

const ENTITIES = { amp: "&", lt: "<", gt: ">", quot: "\"", apos: "'", nbsp: "\u00a0", hellip: "…", mdash: "—", ndash: "–", rarr: "→", larr: "←", copy: "©", times: "×" };

// Markdown takes over HTML's spelling of characters.
function decoded(text) {
  return text.replace(/&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|([a-z]{2,8}));/gi, (whole, decimal, hex, name) => {
    if (name !== undefined) return ENTITIES[name] ?? whole;
    const code = decimal === undefined ? Number.parseInt(hex, 16) : Number(decimal);
    return code > 0 && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff) ? String.fromCodePoint(code) : whole;
  });
}
