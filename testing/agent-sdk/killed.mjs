// A program with the official Agent SDK that stays in one stage of its life, so
// that something can be killed there. It prints what it comes to, and its end.
//
//   node killed.mjs SDK EXECUTABLE STAGE
//
// STAGE: `start`, `hook`, `tool`, `stream`, `result`, `end_of_input`.
import path from "node:path";
import { pathToFileURL } from "node:url";

const [sdkDirectory, executable, stage] = process.argv.slice(2);
const { query } = await import(pathToFileURL(path.join(sdkDirectory, "sdk.mjs")).href);

const tell = (what) => console.log(JSON.stringify(what));
const forever = () => new Promise(() => setInterval(() => {}, 1 << 30));
const waits = 'USE Bash {"command":"tail -f /dev/null"}';
const content = { hook: waits, tool: waits, end_of_input: waits, stream: "HALF" }[stage] ?? "SAY it";

async function* prompt() {
  yield { type: "user", session_id: "", parent_tool_use_id: null, message: { role: "user", content } };
  // A query that outlives the kill at its start has its end.
  if (!["start", "end_of_input"].includes(stage)) await forever();
}

const hold = async () => {
  tell("hook");
  await forever();
};
const options = {
  pathToClaudeCodeExecutable: executable,
  env: { ...process.env },
  settingSources: [],
  persistSession: false,
  includePartialMessages: true,
  allowedTools: ["Bash"],
  ...(stage === "hook" ? { hooks: { PreToolUse: [{ hooks: [hold] }] } } : {}),
};
try {
  const messages = query({ prompt: prompt(), options });
  tell("start");
  for await (const message of messages) {
    if (message.type === "stream_event" && message.event.type === "content_block_delta") tell("stream");
    if (message.type === "result") tell("result");
  }
  tell({ end: "without an error" });
} catch (error) {
  tell({ end: String(error.message) });
}
process.exit(0);
