// Scenarios that take options, methods and answers of callbacks from tables, as
// many in one process of the CLI as do not disturb one another.
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

// A name that no other process uses in the same directory.
export const OWN = `own-${process.pid}`;

// The form of an answer: its names and types, not its values.
function form(value, depth = 3) {
  if (value === null || typeof value !== "object") return typeof value;
  if (Array.isArray(value)) return value.length === 0 ? [] : [form(value[0], depth - 1)];
  if (depth === 0) return "…";
  const entries = Object.entries(value).map(([name, part]) => [name, form(part, depth - 1)]);
  return Object.fromEntries(entries.sort(([one], [other]) => (one < other ? -1 : 1)));
}

export function scenarios({ sdk, base, collect, open, user, echo, plain }) {
  const { query, tool, createSdkMcpServer, InMemorySessionStore } = sdk;
  // The tools of a server are offered at once, and not looked for first.
  const env = { ...process.env, ENABLE_TOOL_SEARCH: "false" };
  const stdio = () => ({
    type: "stdio", command: process.execPath,
    args: [fileURLToPath(new URL("mcp_server.mjs", import.meta.url))],
  });

  // Runs turns in one process: `[prompt, what is done after its result]`.
  async function turns(options, steps, log = []) {
    const input = open();
    const running = query({ prompt: input.prompt, options: { ...base(), ...options } });
    let turn = 0;
    input.say(steps[0][0]);
    return collect(running, log, async (message) => {
      if (message.type !== "result") return;
      await steps[turn][1]?.(running, log);
      turn += 1;
      if (turn < steps.length) input.say(steps[turn][0]);
      else input.end();
    });
  }

  // Calls methods one after the other and tells what each gives.
  async function call(log, methods) {
    for (const [name, method] of Object.entries(methods)) {
      try {
        log.push({ [name]: (await method()) ?? null });
      } catch (error) {
        log.push({ [name]: { error: plain(error.message).slice(0, 200) } });
      }
    }
  }

  function plugin() {
    const root = path.join(process.cwd(), `${OWN}-plugin`);
    mkdirSync(path.join(root, ".claude-plugin"), { recursive: true });
    mkdirSync(path.join(root, "commands"), { recursive: true });
    writeFileSync(path.join(root, ".claude-plugin/plugin.json"), '{"name":"added","version":"1.0.0"}');
    writeFileSync(path.join(root, "commands/greet.md"), "SAY plugged");
    return [{ type: "local", path: root }];
  }

  const hook = (log, answer) => [{ hooks: [async (input) => {
    log.push({ hook: input.hook_event_name, tool: input.tool_name });
    return answer?.(input) ?? {};
  }] }];
  const specific = (hookEventName, more) => ({ hookSpecificOutput: { hookEventName, ...more } });
  const BASH = 'USE Bash {"command":"rm -f x; echo first"}';

  return {
    async options_in_one_process() {
      const root = process.cwd();
      return turns({
        projectConfigRoot: root, toolAliases: { Shell: "Bash" }, executableArgs: [],
        toolConfig: { askUserQuestion: { previewFormat: "html" } }, perTaskStopAffordance: true,
        loadTimeoutMs: 5000, verbatimPrompts: true, maxThinkingTokens: 1024, taskBudget: { total: 90_000 },
        planModeInstructions: "Plan as a PIRATE", agentProgressSummaries: true,
        supportedDialogKinds: ["colour"], onUserDialog: async () => ({ behavior: "cancelled" }),
        debugFile: path.join(root, `${OWN}.log`), permissionMode: "plan", permissionPrompts: "none",
      }, [["SAY one"], ["SAY two"], [BASH]]);
    },
    async options_of_delivery() {
      const log = [];
      for (const delivery of ["argv", "initialize"]) {
        await turns({
          plugins: plugin(), pluginDelivery: delivery, mcpServersDelivery: delivery,
          mcpServers: { host: echo(), asks: stdio() }, strictMcpConfig: true,
          allowedTools: ["mcp__host__echo"], env,
        }, [["/added:greet"], ['USE mcp__host__echo {"text":"x"}', async (running) => {
          const commands = (await running.supportedCommands()).map((command) => command.name);
          log.push({ plugged: commands.filter((name) => name.includes("greet")) });
        }]], log);
      }
      return log;
    },
    async permissions_skipped() {
      return turns({
        allowDangerouslySkipPermissions: true, permissionMode: "bypassPermissions",
        env: { ...process.env, IS_SANDBOX: "1" },
      }, [[BASH]]);
    },
    async permission_prompt_tool() {
      const log = [];
      const ask = tool("ask", "Decides", {}, async () => ({
        content: [{ type: "text", text: '{"behavior":"allow","updatedInput":{"command":"echo by a tool"}}' }],
      }));
      const mcpServers = { decides: createSdkMcpServer({ name: "decides", tools: [ask] }) };
      return turns({ mcpServers, permissionPromptToolName: "mcp__decides__ask" }, [[BASH]], log);
    },
    async answers_of_permissions() {
      const rule = (behavior, destination = "session") => ({
        type: "addRules", behavior, destination, rules: [{ toolName: "Bash", ruleContent: "rm -f one:*" }],
      });
      const answers = [
        (input) => ({ behavior: "allow", updatedInput: input }),
        () => ({ behavior: "allow", updatedInput: { command: "echo other" } }),
        () => ({ behavior: "deny", message: "no" }),
        (input) => ({ behavior: "allow", updatedInput: input, updatedPermissions: [rule("allow")] }),
        (input) => ({ behavior: "allow", updatedInput: input, updatedPermissions: [
          { type: "setMode", mode: "acceptEdits", destination: "session" },
        ] }),
        () => { throw new Error("the callback failed"); },
        () => ({ behavior: "deny", message: "stop", interrupt: true }),
      ];
      const log = [];
      let asked = 0;
      const canUseTool = async (name, input, context) => {
        log.push({ asked: [name, input, Object.keys(context).sort()] });
        return answers[asked++](input);
      };
      const commands = ["a", "b", "c", "one d", "one e", "f", "g", "h"];
      return turns({ canUseTool }, commands.map((name) =>
        [`USE Bash ${JSON.stringify({ command: `rm -f ${name}; echo ${name}` })}`]), log);
    },
    async answers_of_hooks() {
      const table = [
        ["PreToolUse", () => specific("PreToolUse", { permissionDecision: "allow", updatedInput: { command: "echo by a hook" } })],
        ["PreToolUse", () => specific("PreToolUse", { permissionDecision: "ask", permissionDecisionReason: "sure?" })],
        ["PreToolUse", () => ({ decision: "block", reason: "blocked" })],
        ["PreToolUse", () => ({ continue: false, stopReason: "halted" })],
        ["PreToolUse", () => ({ async: true })],
        ["PreToolUse", () => { throw new Error("the hook failed"); }],
        ["PostToolUse", () => specific("PostToolUse", { additionalContext: "more of it" })],
        ["PostToolUse", () => ({ decision: "block", reason: "not good" })],
        ["UserPromptSubmit", () => ({ decision: "block", reason: "no such prompt" })],
        ["UserPromptSubmit", () => ({ systemMessage: "a message", suppressOutput: true })],
        ["PermissionRequest", () => specific("PermissionRequest", { decision: { behavior: "allow" } })],
        ["PermissionRequest", () => specific("PermissionRequest", { decision: { behavior: "deny", message: "never" } })],
      ];
      const log = [];
      let step = 0;
      const events = ["PreToolUse", "PostToolUse", "UserPromptSubmit", "PermissionRequest"];
      const hooks = Object.fromEntries(events.map((event) => [event, hook(log, () => {
        const [wanted, answer] = table[step];
        return event === wanted ? answer() : {};
      })]));
      const canUseTool = async (name, input) => {
        log.push({ asked: [name, input] });
        return { behavior: "allow", updatedInput: input };
      };
      return turns({ hooks, canUseTool, includeHookEvents: true },
        table.map(() => [BASH, async () => { step += 1; }]), log);
    },
    async every_hook_event() {
      const seen = new Set();
      const hooks = Object.fromEntries(sdk.HOOK_EVENTS.map((event) => [event, [{ hooks: [async (input) => {
        seen.add(`${input.hook_event_name} ${input.tool_name ?? ""}`);
        return event === "WorktreeCreate" ? specific(event, { worktreePath: process.cwd() }) : {};
      }] }]]));
      const agents = { helper: { description: "Helps", prompt: "You are a PIRATE", tools: ["Read"] } };
      const canUseTool = async () => ({ behavior: "deny", message: "no" });
      const options = {
        hooks, agents, canUseTool, env, forwardSubagentText: true, mcpServers: { asks: stdio() },
        allowedTools: ["Bash(echo:*)", "Bash(cd:*)", "mcp__asks__ask", "Task", "TaskCreate"],
        onElicitation: async () => ({ action: "decline" }),
      };
      const log = await turns(options, [
        ['USE Bash {"command":"echo hooked"}'], ['USE Read {"file_path":"/not/there"}'], [BASH],
        ['USE Task {"description":"d","prompt":"SAY sub","subagent_type":"helper"}'],
        ['USE TaskCreate {"subject":"s","description":"d"}'], ["USE mcp__asks__ask {}"],
        ["SAY last", async (running) => running.setModel("claude-haiku-4-5")], ["/compact"],
      ]);
      // After the last result.
      return [...log, { hooks: [...seen].sort() }];
    },
    async elicitation() {
      const log = [];
      const answers = [{ action: "accept", content: { colour: "red" } }, { action: "decline" }, { action: "cancel" }];
      let asked = 0;
      const onElicitation = async (request) => {
        log.push({ elicited: [request.serverName, request.message, Object.keys(request).sort()] });
        return answers[asked++];
      };
      return turns({ mcpServers: { asks: stdio() }, allowedTools: ["mcp__asks__ask"], env, onElicitation },
        answers.map(() => ["USE mcp__asks__ask {}"]), log);
    },
    async methods() {
      const file = path.join(process.cwd(), `${OWN}.txt`);
      writeFileSync(file, "some text\n");
      const servers = { host: echo(), asks: stdio() };
      return turns({ mcpServers: { asks: stdio() }, env }, [["SAY first", async (running, log) => call(log, {
        setMcpServers: () => running.setMcpServers(servers),
        reconnectMcpServer: () => running.reconnectMcpServer("asks"),
        unknownServer: () => running.reconnectMcpServer("none"),
        readMcpResource: () => running.readMcpResource("asks", "ui://one"),
        setMcpPermissionModeOverride: () => running.setMcpPermissionModeOverride("asks", "default"),
        updateSettings: () => running.updateSettings("localSettings", { includeCoAuthoredBy: false }),
        reinitialize: async () => Object.keys(await running.reinitialize()).sort(),
        usage: async () => form(
          await running.usage_EXPERIMENTAL_MAY_CHANGE_DO_NOT_RELY_ON_THIS_API_YET({ skipBehaviors: true }), 1),
        readFile: () => running.readFile(file, { maxBytes: 4 }),
        noFile: () => running.readFile("/not/there"),
        reloadPlugins: async () => form(await running.reloadPlugins(), 1),
        reloadSkills: async () => form(await running.reloadSkills(), 1),
        reloadOutputStyles: async () => form(await running.reloadOutputStyles(), 1),
        seedReadState: () => running.seedReadState(file, 1),
        rewindFiles: () => running.rewindFiles(randomUUID()),
        stopTask: () => running.stopTask("none"),
        backgroundTasks: () => running.backgroundTasks(),
        setModel: () => running.setModel("claude-sonnet-4-5"),
        setMaxThinkingTokens: () => running.setMaxThinkingTokens(null, "omitted"),
        setPermissionMode: () => running.setPermissionMode("plan"),
        applyFlagSettings: () => running.applyFlagSettings({ effortLevel: "low" }),
        getContextUsage: async () => form(await running.getContextUsage({ detail: "summary" }), 1),
      })], ['USE mcp__host__echo {"text":"late"}']]);
    },
    async input_streamed_and_closed() {
      const log = [];
      const input = open();
      const running = query({ prompt: input.prompt, options: base() });
      input.say("SAY first");
      let results = 0;
      return collect(running, log, async (message) => {
        if (message.type !== "result") return;
        results += 1;
        if (results === 1) void running.streamInput((async function* () { yield user("SAY streamed"); })());
        else running.close();
      });
    },
    async task_stopped() {
      const log = [];
      let task;
      const input = open();
      const running = query({ prompt: input.prompt, options: { ...base(), allowedTools: ["Bash"] } });
      input.say('USE Bash {"command":"sleep 600","run_in_background":true}');
      return collect(running, log, async (message) => {
        if (message.subtype === "task_started") task = message.task_id;
        if (message.type !== "result" || !task) return;
        await call(log, { stopTask: () => running.stopTask(task) });
        task = undefined;
        input.end();
      }).then((all) => all.filter((entry) => !JSON.stringify(entry).includes("running in background")));
    },
    async files_rewound() {
      const file = path.join(process.cwd(), `${OWN}-rewound.txt`);
      writeFileSync(file, "before\n");
      const id = randomUUID();
      const log = [];
      const input = { file_path: file, content: "after\n" };
      const prompt = (async function* () {
        yield { ...user(`USE Read ${JSON.stringify({ file_path: file })}`), uuid: randomUUID() };
        await first;
        yield { ...user(`USE Write ${JSON.stringify(input)}`), uuid: id };
        await done;
      })();
      let goOn, end;
      const first = new Promise((resolve) => (goOn = resolve));
      const done = new Promise((resolve) => (end = resolve));
      const options = {
        ...base(), persistSession: true, enableFileCheckpointing: true, allowedTools: ["Read", "Write"],
        permissionMode: "acceptEdits", extraArgs: { "replay-user-messages": null },
      };
      const running = query({ prompt, options });
      let results = 0;
      await collect(running, log, async (message) => {
        if (message.type !== "result") return;
        results += 1;
        if (results === 1) return goOn();
        log.push({ written: readFileSync(file, "utf8") });
        await call(log, {
          dryRun: () => running.rewindFiles(id, { dryRun: true }),
          rewindFiles: () => running.rewindFiles(id),
        });
        log.push({ rewound: readFileSync(file, "utf8") });
        end();
      });
      return log;
    },
    async resumed_at_a_message() {
      const kept = { persistSession: true };
      const log = [];
      let session, first;
      const input = open();
      const running = query({ prompt: input.prompt, options: { ...base(), ...kept } });
      input.say("SAY first");
      let results = 0;
      await collect(running, log, (message) => {
        session = message.session_id ?? session;
        if (message.type === "assistant") first ??= message.uuid;
        if (message.type !== "result") return;
        results += 1;
        if (results === 1) input.say("SAY second");
        else input.end();
      });
      for (const more of [{}, { resumeSessionAt: first }, { resumeSessionAt: first, forkSession: true }, { resumeSessionAt: first, resumeDropsTurn: first }]) {
        const options = { ...base(), ...kept, resume: session, ...more };
        await collect(query({ prompt: "COUNT", options }), log);
      }
      return log;
    },
    async session_stored() {
      const sessionStore = new InMemorySessionStore();
      const options = { ...base(), persistSession: true, sessionStore, sessionStoreFlush: "eager" };
      const log = await collect(query({ prompt: "SAY stored", options }), []);
      return [...log, { stored: sessionStore.size ?? "none" }];
    },
    async own_process() {
      const log = [];
      const spawnClaudeCodeProcess = ({ command, args, cwd, env, signal }) => {
        log.push({ spawned: path.basename(command).length > 0 && args.length > 0 });
        return spawn(command, args, { cwd, env, signal, stdio: ["pipe", "pipe", "inherit"] });
      };
      const managedSettings = { permissions: { deny: ["WebSearch", "WebFetch"] } };
      return turns({ spawnClaudeCodeProcess, managedSettings }, [["SAY spawned"]], log);
    },
  };
}
