// Programs with the official Agent SDK for TypeScript. Each scenario tells what
// happened, without what differs from run to run; the same scenario with the CLI
// itself and with claude-relay-agent has to tell the same.
//
//   node scenarios.mjs SDK EXECUTABLE [NAME…]     one line of JSON per scenario; the
//                                                  name of a file is all of its own
//   node scenarios.mjs SDK --coverage             options and methods without one
import { readFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { scenarios as beginningsAndEnds } from "./beginnings_and_ends.mjs";
import { scenarios as callbacksAndContent } from "./callbacks_and_content.mjs";
import { OWN, scenarios as optionsAndMethods } from "./options_and_methods.mjs";
import { scenarios as rulesAndServers } from "./rules_and_servers.mjs";
import { scenarios as sessionsAndFiles } from "./sessions_and_files.mjs";

const [sdkDirectory, executable, ...only] = process.argv.slice(2);
const sdk = await import(pathToFileURL(path.join(sdkDirectory, "sdk.mjs")).href);
const { query, tool, createSdkMcpServer } = sdk;
// The SDK brings it along.
const { z } = await import(
  pathToFileURL(path.join(sdkDirectory, "../../zod/index.js")).href
);

const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g;
// What of a value does not depend on the run.
const plain = (value) =>
  JSON.parse(
    JSON.stringify(value ?? null)
      .replaceAll(UUID, "<uuid>")
      .replaceAll(process.cwd(), "<cwd>")
      .replaceAll(process.env.RELAY_WORKSPACE ?? "<cwd>", "<cwd>")
      .replaceAll(OWN, "<own>")
      .replace(/toolu_\d+/g, "<call>")
      // What is too large is kept in a file of the session.
      .replace(/\/[^ "\\]*\/\.claude\/projects\/[^ "\\]*/g, "<file>")
      .replace(/127\.0\.0\.1:\d+/g, "<address>"),
  );

// What of a message does not depend on the run.
function summary(message) {
  switch (message.type) {
    case "system":
      if (message.subtype === "init") {
        const { model, permissionMode, mcp_servers, agents } = message;
        const tools = message.tools.length;
        return { init: { model, permissionMode, mcp_servers, tools, agents } };
      }
      return ["status", "hook_started", "hook_response", "compact_boundary"].includes(message.subtype)
        ? { system: message.subtype }
        : null;
    case "assistant":
    case "user":
      return { [message.type]: message.message.content };
    case "stream_event":
      return { event: message.event.type };
    case "result":
      return {
        result: [message.subtype, message.result, message.is_error, message.num_turns],
        structured: message.structured_output,
        denials: message.permission_denials?.map((denial) => denial.tool_name),
      };
    default:
      return null;
  }
}

async function collect(messages, log, each = () => {}) {
  try {
    for await (const message of messages) {
      const seen = summary(message);
      if (seen) log.push(seen);
      await each(message);
    }
    log.push("end");
  } catch (error) {
    log.push({ error: plain(String(error.message).split("\n")[0]).slice(0, 200) });
  }
  return log;
}

const base = () => ({
  pathToClaudeCodeExecutable: executable,
  env: { ...process.env },
  settingSources: [],
  persistSession: false,
});

const user = (text) => ({
  type: "user", session_id: "", parent_tool_use_id: null,
  message: { role: "user", content: text },
});

// A prompt that stays open until it is ended.
function open() {
  let wake;
  const waiting = [];
  let ended = false;
  const prompt = (async function* () {
    for (;;) {
      while (waiting.length > 0) yield waiting.shift();
      if (ended) return;
      await new Promise((resolve) => (wake = resolve));
    }
  })();
  return {
    prompt,
    say(text) { waiting.push(user(text)); wake?.(); },
    end() { ended = true; wake?.(); },
  };
}

const echo = () =>
  createSdkMcpServer({
    name: "host", version: "1.0.0",
    tools: [
      tool("echo", "Says it again", { text: z.string() }, async ({ text }) => ({
        content: [{ type: "text", text: `echo: ${text}` }],
      })),
      tool("fail", "Fails", {}, async () => { throw new Error("it failed"); }),
    ],
  });

const scenarios = {
  async text() {
    return collect(query({ prompt: "SAY one", options: base() }), []);
  },
  async options_by_argv() {
    const options = {
      ...base(), model: "claude-sonnet-4-5", fallbackModel: "claude-haiku-4-5", maxTurns: 3,
      maxBudgetUsd: 5, effort: "low", thinking: { type: "disabled" }, allowedTools: ["Read"],
      disallowedTools: ["WebSearch"], tools: ["Read", "Bash"], title: "a title",
      systemPrompt: "You are a PIRATE", strictMcpConfig: true, promptSuggestions: false,
      sandbox: { enabled: false }, settings: '{"includeCoAuthoredBy":false}',
      managedSettings: { cleanupPeriodDays: 9 }, additionalDirectories: [process.cwd()],
      sessionId: "11111111-2222-4333-8444-555555555555", betas: [], skills: [],
    };
    return collect(query({ prompt: "SAY two", options }), []);
  },
  async preset_prompt() {
    const systemPrompt = { type: "preset", preset: "claude_code", append: "You are a PIRATE" };
    return collect(query({ prompt: "SAY three", options: { ...base(), systemPrompt } }), []);
  },
  async partial_messages() {
    const options = { ...base(), includePartialMessages: true };
    return collect(query({ prompt: "SAY four", options }), []);
  },
  async structured_output() {
    const schema = { type: "object", properties: { a: { type: "number" } }, required: ["a"] };
    const options = { ...base(), outputFormat: { type: "json_schema", schema } };
    return collect(query({ prompt: 'USE StructuredOutput {"a":7}', options }), []);
  },
  async tool_allowed() {
    const log = [];
    const options = {
      ...base(),
      canUseTool: async (name, input, { suggestions }) => {
        log.push({ asked: [name, input, Boolean(suggestions)] });
        return { behavior: "allow", updatedInput: { command: "echo changed" } };
      },
    };
    return collect(query({ prompt: 'USE Bash {"command":"rm -f x; echo first"}', options }), log);
  },
  async tool_denied() {
    const log = [];
    const options = {
      ...base(),
      canUseTool: async (name) => {
        log.push({ asked: name });
        return { behavior: "deny", message: "not today" };
      },
    };
    return collect(query({ prompt: 'USE Bash {"command":"rm -f x"}', options }), log);
  },
  async tool_denied_and_interrupted() {
    const options = {
      ...base(),
      canUseTool: async () => ({ behavior: "deny", message: "stop", interrupt: true }),
    };
    return collect(query({ prompt: 'USE Bash {"command":"rm -f x"}', options }), []);
  },
  async hooks() {
    const log = [];
    const hook = (name) => async (input) => {
      log.push({ hook: name, event: input.hook_event_name, tool: input.tool_name });
      return {};
    };
    const events = ["PreToolUse", "PostToolUse", "UserPromptSubmit", "Stop", "SessionEnd"];
    const hooks = Object.fromEntries(events.map((event) => [event, [{ hooks: [hook(event)] }]]));
    const options = { ...base(), hooks, allowedTools: ["Bash(echo:*)"] };
    await collect(query({ prompt: 'USE Bash {"command":"echo hooked"}', options }), log);
    return log;
  },
  async hook_blocks_and_adds() {
    const hooks = {
      UserPromptSubmit: [{
        hooks: [async () => ({
          hookSpecificOutput: { hookEventName: "UserPromptSubmit", additionalContext: "SAY added" },
        })],
      }],
      PreToolUse: [{
        matcher: "Bash",
        hooks: [async () => ({
          hookSpecificOutput: {
            hookEventName: "PreToolUse", permissionDecision: "deny",
            permissionDecisionReason: "a hook says no",
          },
        })],
      }],
    };
    return collect(query({ prompt: 'USE Bash {"command":"echo x"}', options: { ...base(), hooks } }), []);
  },
  async host_tools() {
    const options = {
      ...base(), mcpServers: { host: echo() }, allowedTools: ["mcp__host__echo", "mcp__host__fail"],
    };
    const log = await collect(
      query({ prompt: 'USE mcp__host__echo {"text":"größe"}', options }), []);
    return collect(query({ prompt: "USE mcp__host__fail {}", options }), log);
  },
  async several_turns_and_methods() {
    const input = open();
    const options = { ...base(), canUseTool: async () => ({ behavior: "deny", message: "no" }) };
    const running = query({ prompt: input.prompt, options });
    const log = [];
    let turns = 0;
    input.say("SAY first");
    return collect(running, log, async (message) => {
      if (message.type !== "result") return;
      turns += 1;
      if (turns === 1) {
        await running.setModel("claude-haiku-4-5");
        await running.setPermissionMode("acceptEdits");
        await running.setMaxThinkingTokens(1000);
        const commands = await running.supportedCommands();
        const models = await running.supportedModels();
        const agents = await running.supportedAgents();
        const init = await running.initializationResult();
        log.push({
          commands: commands.length > 0, models: models.length > 0, agents: agents.length,
          init: Object.keys(init).sort(), servers: await running.mcpServerStatus(),
          account: Object.keys((await running.accountInfo()) ?? {}).sort(),
          usage: Object.keys(await running.getContextUsage()).sort(),
        });
        input.say("SAY second");
      } else {
        input.end();
      }
    });
  },
  async interrupt() {
    const input = open();
    const running = query({ prompt: input.prompt, options: base() });
    input.say("SLOW SAY never");
    const log = [];
    let interrupted = false;
    return collect(running, log, async (message) => {
      if (message.subtype === "init" && !interrupted) {
        await running.interrupt();
        log.push("interrupted");
        interrupted = true;
      }
      if (message.type !== "result") return;
      if (interrupted && message.subtype !== "success") input.say("SAY after");
      else input.end();
    });
  },
  async servers_set_later() {
    const input = open();
    const running = query({ prompt: input.prompt, options: base() });
    const log = [];
    let turns = 0;
    input.say("SAY first");
    return collect(running, log, async (message) => {
      if (message.type !== "result") return;
      turns += 1;
      if (turns === 1) {
        log.push({ set: await running.setMcpServers({ host: echo() }) });
        await running.setPermissionMode("default");
        await running.applyFlagSettings({ permissions: { allow: ["mcp__host__echo"] } });
        await running.toggleMcpServer("host", false);
        await running.toggleMcpServer("host", true);
        input.say('USE mcp__host__echo {"text":"late"}');
      } else input.end();
    });
  },
  async resumed() {
    const options = { ...base(), persistSession: true };
    let session;
    const log = await collect(query({ prompt: "SAY kept", options }), [], (message) => {
      session = message.session_id ?? session;
    });
    await collect(query({ prompt: "SAY again", options: { ...options, resume: session } }), log, (message) => {
      if (message.type === "result") log.push({ same: message.session_id === session });
    });
    const fork = { ...options, resume: session, forkSession: true };
    return collect(query({ prompt: "SAY forked", options: fork }), log, (message) => {
      if (message.type === "result") log.push({ same: message.session_id === session });
    });
  },
  async sub_agent() {
    const agents = { helper: { description: "Helps", prompt: "You are a PIRATE", tools: ["Read"] } };
    const prompt = 'USE Task {"description":"d","prompt":"SAY sub","subagent_type":"helper"}';
    return collect(query({ prompt, options: { ...base(), agents } }), []);
  },
  async stderr_and_debug() {
    let bytes = 0;
    const options = { ...base(), debug: true, stderr: (text) => (bytes += text.length) };
    const log = await collect(query({ prompt: "SAY debug", options }), []);
    return [...log, { stderr: bytes > 0 }];
  },
  async environment() {
    const options = {
      ...base(), env: { ...process.env, CLAUDE_CODE_MAX_OUTPUT_TOKENS: "1234" },
      allowedTools: ["Bash"],
    };
    const prompt = 'USE Bash {"command":"echo $CLAUDE_CODE_MAX_OUTPUT_TOKENS $CLAUDE_CODE_ENTRYPOINT"}';
    return collect(query({ prompt, options }), []);
  },
  async aborted() {
    const abortController = new AbortController();
    const options = { ...base(), abortController };
    return collect(query({ prompt: "SLOW SAY never", options }), [], (message) => {
      if (message.type === "system" && message.subtype === "init") abortController.abort();
    });
  },
  async closed_early() {
    const running = query({ prompt: "SAY closed", options: base() });
    const log = [];
    for await (const message of running) {
      log.push(message.type);
      break;
    }
    return log;
  },
  async bad_flag_value() {
    const options = { ...base(), extraArgs: { "session-id": "not-a-uuid" } };
    return collect(query({ prompt: "SAY bad", options }), []);
  },
  async unknown_session() {
    const options = { ...base(), resume: "99999999-2222-4333-8444-555555555555" };
    return collect(query({ prompt: "SAY lost", options }), []);
  },
  async two_at_once() {
    const one = collect(query({ prompt: "SAY left", options: base() }), []);
    const other = collect(query({ prompt: "SAY right", options: base() }), []);
    return Promise.all([one, other]);
  },
  async long_lines() {
    const prompt = `SAY long ${"x".repeat(300_000)}`;
    return collect(query({ prompt, options: base() }), []);
  },
};

const given = { sdk, base, collect, open, user, echo, plain, z };
const files = {
  scenarios: { ...scenarios },
  options_and_methods: optionsAndMethods(given),
  beginnings_and_ends: beginningsAndEnds(given),
  callbacks_and_content: callbacksAndContent(given),
  rules_and_servers: rulesAndServers(given),
  sessions_and_files: sessionsAndFiles(given),
};
Object.assign(scenarios, ...Object.values(files));

if (executable === "--coverage") {
  const text = (file) => readFileSync(new URL(`${file}.mjs`, import.meta.url), "utf8");
  const source = Object.keys(files).map(text).join();
  const types = readFileSync(path.join(sdkDirectory, "sdk.d.ts"), "utf8");
  const body = (start) => types.slice(types.indexOf(start)).split(/^}/m)[0];
  const names = (text, pattern) => [...text.matchAll(pattern)].map((match) => match[1]);
  const options = names(body("export declare type Options = {"), /^    (\w+)\??:/gm);
  const methods = names(body("export declare interface Query "), /^    (\w+)\??\(/gm);
  for (const name of [...options, ...methods]) {
    if (!new RegExp(`\\b${name}\\b`).test(source)) console.log(`${name}: no scenario has it`);
  }
  const document = readFileSync(new URL("../../docs/sdk.md", import.meta.url), "utf8");
  const rows = document.split("## Options")[1].split("\n## ")[0].match(/^\| `[^|]*/gm).join();
  const told = new Set(names(rows, /`(\w+)`/g));
  for (const name of options) if (!told.delete(name)) console.log(`${name}: not in docs/sdk.md`);
  for (const name of told) console.log(`${name}: in docs/sdk.md, and no option`);
  process.exit(0);
}
// As many at once: each waits for processes of its own most of its time.
const AT_ONCE = 3;
// The longest time of a scenario.
const LIMIT_MS = 240_000;
const names = only.flatMap((name) => (name in files ? Object.keys(files[name]) : name));
const wanted = Object.entries(scenarios).filter(([name]) => only.length === 0 || names.includes(name));
const failed = (error) => [{ failed: plain(String(error.message)).slice(0, 200) }];
await Promise.all(Array.from({ length: AT_ONCE }, async () => {
  for (let next = wanted.shift(); next; next = wanted.shift()) {
    const [name, scenario] = next;
    const limit = new Promise((resolve) => setTimeout(resolve, LIMIT_MS, ["took over its time"]));
    const log = await Promise.race([scenario().catch(failed), limit]);
    console.log(JSON.stringify({ name, log: plain(log) }));
  }
}));
process.exit(0);
