// A program with the build of the SDK for browsers, over `/agent` without numbers.
// The agent is that of the server's configuration.
//
//   node --experimental-websocket browser.mjs SDK URL     one line of JSON
import path from "node:path";
import { pathToFileURL } from "node:url";

const [sdkDirectory, url] = process.argv.slice(2);
const load = (file) => import(pathToFileURL(path.join(sdkDirectory, file)).href);
const { query, createSdkMcpServer, tool } = await load("browser-sdk.js");
const { z } = await load("../../zod/index.js");

const config = { permissionMode: "default", env: { ENABLE_TOOL_SEARCH: "false" } };
const answer = await fetch(`${url.replace("ws:", "http:")}/config`, {
  method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(config),
});
if (!answer.ok) throw new Error(await answer.text());

const log = [];
const turns = ["SAY one", 'USE Bash {"command":"rm -f x; echo first"}', 'USE mcp__host__echo {"text":"two"}'];
let next;
async function* prompt() {
  for (const content of turns) {
    yield { type: "user", session_id: "", parent_tool_use_id: null, message: { role: "user", content } };
    await new Promise((resolve) => (next = resolve));
  }
}
const echo = tool("echo", "Says it again", { text: z.string() }, async ({ text }) => ({
  content: [{ type: "text", text: `echo: ${text}` }],
}));
const running = query({
  prompt: prompt(),
  websocket: { url: `${url}/agent`, authMessage: { type: "auth", credential: { type: "oauth", token: "unused" } } },
  canUseTool: async (name, input) => {
    log.push(`asked ${name}`);
    return { behavior: "allow", updatedInput: name === "Bash" ? { command: "echo changed" } : input };
  },
  hooks: { PreToolUse: [{ hooks: [async ({ tool_name }) => (log.push(`hook ${tool_name}`), {})] }] },
  mcpServers: { host: createSdkMcpServer({ name: "host", tools: [echo] }) },
});
let results = 0;
for await (const message of running) {
  if (message.type !== "result") continue;
  log.push(message.result);
  results += 1;
  if (results === turns.length) break;
  next();
}
console.log(JSON.stringify({ name: "browser", log }));
process.exit(0);
