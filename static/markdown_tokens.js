// Markdown text as tokens of `marked`, within bounds: text that was made to keep a parser busy, or to
// nest without end, becomes plain text. Pure.

import { Lexer } from "./vendor/marked.js";

// Marks inside a block longer than this are not looked for.
const MAX_INLINE_CHARS = 10_000;
// More quotes or lists inside one another than anybody writes.
const TOO_DEEP = /^(?:[ \t]*(?:>|[-*+]|\d{1,9}[.)])){12}/m;

/** The blocks of a text. Their `raw` parts, one after another, are the text. */
export function blockTokens(text) {
  if (text === "") return [];
  if (TOO_DEEP.test(text)) return [plain(text)];
  try {
    const lexer = new Lexer({ gfm: true });
    const tokens = lexer.blockTokens(text, []);
    for (const { src, tokens: place } of lexer.inlineQueue) {
      if (src.length > MAX_INLINE_CHARS) place.push({ type: "text", raw: src, text: src });
      else lexer.inlineTokens(src, place);
    }
    // What is not accounted for would be lost.
    return tokens.reduce((length, { raw }) => length + raw.length, 0) === text.length ? tokens : [plain(text)];
  } catch {
    return [plain(text)];
  }
}

function plain(text) {
  return { type: "plain", raw: text, text };
}
