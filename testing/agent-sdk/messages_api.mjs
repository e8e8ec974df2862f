// A Messages API on loopback for programs with the Agent SDKs. Its answers
// follow from the last message alone, so that runs can go on at once:
//
//   USE Tool {"input":…}   a call of that tool; several lines are several calls
//   SLOW                   an answer that takes three seconds to begin
//   COUNT                  the number of messages so far, without what the CLI adds
//                          of its own (role `system`), which may come a turn later
//   HALF                   the beginning of an answer that never ends
//   LONG n                 a text of n bytes
//   FAIL n                 an error with this status
//   anything else          a short text
//
// After a tool's result it says what the tool has said. It prints its address.
import http from "node:http";

const text = (content) =>
  typeof content === "string"
    ? content
    : content.filter((block) => block.type === "text").map((block) => block.text).join("\n");

let calls = 0;

function answer(body) {
  const last = body.messages.findLast((message) => message.role === "user");
  const blocks = typeof last.content === "string" ? [] : last.content;
  const results = blocks.filter((block) => block.type === "tool_result");
  if (results.length > 0) {
    const said = results.map((result) => text(result.content ?? "")).join(" | ");
    return [{ type: "text", text: `the tool said: ${said.slice(0, 200)}` }];
  }
  // The CLI puts reminders around what the user has said.
  const asked = text(last.content);
  const uses = [...asked.matchAll(/USE (\S+) (\{.*\})/g)];
  const offered = (body.tools ?? []).map((tool) => tool.name);
  const missing = uses.find(([, name]) => !offered.includes(name));
  if (missing) return [{ type: "text", text: `there is no tool ${missing[1]}` }];
  if (uses.length > 0) {
    return uses.map(([, name, input]) => {
      calls += 1;
      return { type: "tool_use", id: `toolu_${calls}`, name, input: JSON.parse(input) };
    });
  }
  const long = asked.match(/LONG (\d+)/);
  if (long) return [{ type: "text", text: "x".repeat(Number(long[1])) }];
  if (asked.includes("COUNT")) {
    const said = body.messages.filter(({ role }) => role !== "system");
    return [{ type: "text", text: `${said.length} messages` }];
  }
  const word = asked.match(/SAY (\w+)/);
  const system = text(body.system ?? "");
  const told = system.includes("PIRATE") ? " as a pirate" : "";
  return [{ type: "text", text: `${word ? word[1] : "hello"}${told} from ${body.model}` }];
}

function send(response, body, half) {
  const content = answer(body);
  const stop_reason = content[0].type === "tool_use" ? "tool_use" : "end_turn";
  const usage = { input_tokens: 5, output_tokens: 7 };
  const message = {
    id: `msg_${Math.random().toString(36).slice(2)}`, type: "message", role: "assistant",
    model: body.model, content, stop_reason, stop_sequence: null, usage,
  };
  if (!body.stream) {
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify(message));
    return;
  }
  response.writeHead(200, { "content-type": "text/event-stream" });
  const event = (type, data) =>
    response.write(`event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`);
  event("message_start", { message: { ...message, content: [], stop_reason: null } });
  for (const [index, block] of content.entries()) {
    if (block.type === "text") {
      event("content_block_start", { index, content_block: { type: "text", text: "" } });
      const size = Math.max(8, Math.ceil(block.text.length / 500));
      for (let at = 0; at < block.text.length; at += size) {
        const part = block.text.slice(at, at + size);
        event("content_block_delta", { index, delta: { type: "text_delta", text: part } });
        if (half) return;
      }
    } else {
      event("content_block_start", { index, content_block: { ...block, input: {} } });
      const partial_json = JSON.stringify(block.input);
      event("content_block_delta", { index, delta: { type: "input_json_delta", partial_json } });
    }
    event("content_block_stop", { index });
  }
  event("message_delta", { delta: { stop_reason, stop_sequence: null }, usage });
  event("message_stop", {});
  response.end();
}

const server = http.createServer((request, response) => {
  let body = "";
  request.on("data", (part) => (body += part));
  request.on("end", () => {
    const isMessage = request.method === "POST" && /^\/v1\/messages(\?|$)/.test(request.url);
    if (!isMessage) {
      response.writeHead(200, { "content-type": "application/json" });
      response.end('{"input_tokens":10}');
      return;
    }
    const asked = JSON.parse(body);
    const last = asked.messages.findLast((message) => message.role === "user");
    const said = text(last.content);
    const failure = said.match(/FAIL (\d+)/);
    if (failure) {
      response.writeHead(Number(failure[1]), { "content-type": "application/json" });
      response.end('{"type":"error","error":{"type":"invalid_request_error","message":"it fails"}}');
      return;
    }
    const delay = said.includes("SLOW") ? 3000 : 0;
    setTimeout(() => send(response, asked, said.includes("HALF")), delay);
  });
});
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`));
// It ends with whoever has started it.
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
