// A program with the official Agent SDK whose agent calls tools of both sides, turn
// after turn, until the proxy before the relay has cut so many connections. It tells
// how often each hook, question and tool was called.
//
//   node calls.mjs SDK EXECUTABLE CUTS     one line of JSON
//
// The proxy is at CLAUDE_RELAY_URL.
import { appendFileSync, readFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { text } from "./helpers.mjs";

const [sdkDirectory, executable, wanted] = process.argv.slice(2);
const load = (file) => import(pathToFileURL(path.join(sdkDirectory, file)).href);
const { query, tool, createSdkMcpServer } = await load("sdk.mjs");
const { z } = await load("../../zod/index.js");

const cuts = async () => Number(await (await fetch(`${process.env.CLAUDE_RELAY_URL}/cuts`)).text());
const written = path.resolve(`calls-${process.pid}.txt`);
appendFileSync(written, "");

const seen = { asked: [], before: [], after: [], host: [], results: [] };
let turns = 0;
let goOn;
async function* prompt() {
  while ((await cuts()) < Number(wanted)) {
    turns += 1;
    const uses = [
      `USE mcp__host__count {"n":${turns}}`,
      `USE Bash {"command":"echo ${turns} >> ${written}"}`,
    ];
    yield {
      type: "user", session_id: "", parent_tool_use_id: null,
      message: { role: "user", content: uses.join("\n") },
    };
    await new Promise((resolve) => (goOn = resolve));
  }
}
const number = (input) => input.n ?? Number(input.command.split(" ")[1]);
const hook = (list) => [{ hooks: [async ({ tool_name, tool_input }) => {
  list.push(`${tool_name} ${number(tool_input)}`);
  return {};
}] }];
const count = tool("count", "Counts", { n: z.number() }, async ({ n }) => {
  seen.host.push(n);
  return text(`counted ${n}`);
});
const running = query({
  prompt: prompt(),
  options: {
    pathToClaudeCodeExecutable: executable,
    env: { ...process.env, ENABLE_TOOL_SEARCH: "false" },
    settingSources: [],
    persistSession: false,
    mcpServers: { host: createSdkMcpServer({ name: "host", tools: [count] }) },
    canUseTool: async (name, input) => {
      seen.asked.push(`${name} ${number(input)}`);
      return { behavior: "allow", updatedInput: input };
    },
    hooks: { PreToolUse: hook(seen.before), PostToolUse: hook(seen.after) },
  },
});
let end = "an end";
try {
  for await (const message of running) {
    if (message.type !== "result") continue;
    seen.results.push(message.result.split(" | ")[0]);
    goOn();
  }
} catch (error) {
  end = String(error.message);
}

// Tells what is not there exactly once for each turn.
const each = (form) => Array.from({ length: turns }, (_, n) => form(n + 1));
const both = each((n) => [`Bash ${n}`, `mcp__host__count ${n}`]).flat().sort();
const agent = readFileSync(written, "utf8").split("\n").filter(Boolean).map(Number);
const expected = {
  asked: both, before: both, after: both, host: each((n) => n), agent: each((n) => n),
  results: each((n) => `the tool said: counted ${n}`),
};
const sorted = { ...seen, agent, asked: seen.asked.sort(), before: seen.before.sort(), after: seen.after.sort() };
const wrong = Object.keys(expected).filter((name) =>
  JSON.stringify(sorted[name]) !== JSON.stringify(expected[name]));
const log = {
  end, turns, cuts: await cuts(),
  wrong: wrong.map((name) => ({ [name]: sorted[name], expected: expected[name].length })),
};
console.log(JSON.stringify({ name: "calls", log }));
process.exit(0);
