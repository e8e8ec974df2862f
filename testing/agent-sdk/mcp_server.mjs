// An MCP server on stdio with one tool, `ask`, which asks the person for a colour,
// and one resource, `ui://one`.
import readline from "node:readline";

const send = (message) => process.stdout.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
let call;

const answers = {
  initialize: ({ protocolVersion }) => ({
    protocolVersion, capabilities: { tools: {}, resources: {} },
    serverInfo: { name: "asks", version: "1.0.0" },
  }),
  "tools/list": () => ({
    tools: [{ name: "ask", description: "Asks", inputSchema: { type: "object", properties: {} } }],
  }),
  "resources/list": () => ({ resources: [{ uri: "ui://one", name: "one" }] }),
  "resources/read": ({ uri }) => ({ contents: [{ uri, text: "a note" }] }),
};

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const message = JSON.parse(line);
  if (message.method === "tools/call") {
    call = message.id;
    const requestedSchema = { type: "object", properties: { colour: { type: "string" } } };
    send({ id: "e1", method: "elicitation/create", params: { message: "Which?", requestedSchema } });
  } else if (message.id === "e1") {
    const text = JSON.stringify(message.result ?? message.error);
    send({ id: call, result: { content: [{ type: "text", text }] } });
  } else if (message.method in answers) {
    send({ id: message.id, result: answers[message.method](message.params ?? {}) });
  } else if (message.id !== undefined) {
    send({ id: message.id, error: { code: -32601, message: "not known" } });
  }
});
