// Scenarios of sessions that are gone on with, with callbacks and servers, and of files of the
// project that the agent reads by itself.
import { randomUUID } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { BASH, parts, pause, text, told } from "./helpers.mjs";
import { OWN } from "./options_and_methods.mjs";

export function scenarios(given) {
  const { sdk, base, collect, open, user, z } = given;
  const { env, turns, host } = parts(given);
  const { query, startup, tool } = sdk;
  const directory = (name) => {
    const made = path.join(process.cwd(), `${OWN}-${name}`);
    mkdirSync(made, { recursive: true });
    return made;
  };
  const write = (folder, name, content) => {
    const file = path.join(folder, name);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, content);
  };

  // A session, and what others do that go on with it.
  async function resumed(log, first, others, cwd = process.cwd()) {
    const kept = { ...base(), env, cwd, persistSession: true };
    let session;
    await collect(query({ prompt: first[0], options: { ...kept, ...first[1] } }), log, (message) => {
      session = message.session_id ?? session;
    });
    for (const [prompt, options] of others) {
      await collect(query({ prompt, options: { ...kept, resume: session, ...options } }), log, (message) => {
        if (message.type === "result") log.push({ same: message.session_id === session });
      });
    }
    return log;
  }

  return {
    async resumed_with_everything() {
      const log = [];
      const canUseTool = async (name, input) => (log.push({ asked: name }), { behavior: "allow", updatedInput: input });
      const hook = async (input) => (log.push({ hook: input.hook_event_name, source: input.source }), {});
      const hooks = Object.fromEntries(["SessionStart", "PreToolUse", "Stop", "SessionEnd"].map((event) => [event, [{ hooks: [hook] }]]));
      const mcpServers = host([tool("echo", "Says it again", { text: z.string() }, async ({ text: said }) => text(said))]);
      const schema = { type: "object", properties: { a: { type: "number" } }, required: ["a"] };
      const agents = { helper: { description: "Helps", prompt: "You are a PIRATE", tools: ["Read"] } };
      return resumed(log, [BASH, { canUseTool }], [
        [BASH, { canUseTool, hooks }],
        ['USE mcp__host__echo {"text":"x"}', { mcpServers, allowedTools: ["mcp__host"] }],
        ['USE StructuredOutput {"a":7}', { outputFormat: { type: "json_schema", schema } }],
        ['USE Task {"description":"d","prompt":"SAY sub","subagent_type":"helper"}', { agents, forwardSubagentText: true }],
        ["SAY partial", { includePartialMessages: true, model: "claude-haiku-4-5", systemPrompt: "You are a PIRATE" }],
        ["COUNT", { permissionMode: "plan", forkSession: true, hooks }],
        ["COUNT", { maxTurns: 1 }],
      ]);
    },
    async resumed_after_every_end() {
      const log = [];
      const kept = { ...base(), env, persistSession: true };
      const ends = {
        interrupted: ["HALF", async (running) => running.interrupt()],
        closed: ["HALF", async (running) => running.close()],
        denied: [BASH, undefined, { canUseTool: async () => ({ behavior: "deny", message: "no", interrupt: true }) }],
        failed: ["FAIL 400"],
      };
      for (const [name, [prompt, act, more]] of Object.entries(ends)) {
        const sessionId = randomUUID();
        const input = open();
        const options = { ...kept, sessionId, includePartialMessages: true, ...more };
        const running = query({ prompt: input.prompt, options });
        input.say(prompt);
        let acted = false;
        await collect(running, log, async (message) => {
          if (message.type === "result") input.end();
          if (message.type !== "stream_event" || message.event.type !== "content_block_delta" || acted || !act) return;
          acted = true;
          await act(running);
        });
        await collect(query({ prompt: "COUNT", options: { ...kept, resume: sessionId } }), log);
        log.push(name);
      }
      return log;
    },
    async sessions_that_cannot_be() {
      const log = [];
      const sessionId = randomUUID();
      const forms = [{ sessionId, persistSession: true }, { sessionId, persistSession: true }, { sessionId: "no id" },
        { resume: "no id" }, { resume: "" }, { resume: randomUUID(), forkSession: true },
        { resume: sessionId, resumeSessionAt: randomUUID(), persistSession: true }, { resume: sessionId, sessionId: randomUUID(), persistSession: true }];
      for (const options of forms) {
        await collect(query({ prompt: "SAY x", options: { ...base(), ...options } }), log);
      }
      return log;
    },
    async files_of_the_project() {
      const log = [];
      const cwd = directory("project");
      write(cwd, "CLAUDE.md", "You are a PIRATE\n");
      write(cwd, ".claude/commands/greet.md", "---\ndescription: Greets\n---\nSAY greeted $ARGUMENTS");
      write(cwd, ".claude/agents/filed.md", "---\nname: filed\ndescription: From a file\n---\nYou are a PIRATE");
      write(cwd, ".claude/skills/known/SKILL.md", "---\nname: known\ndescription: Known\n---\nSAY skilled");
      write(cwd, ".claude/output-styles/loud.md", "---\nname: loud\ndescription: Loud\n---\nYou are a PIRATE");
      write(cwd, ".claude/settings.json", JSON.stringify({
        permissions: { allow: ["Bash(rm:*)", "Bash(echo:*)"] }, env: { OF_SETTINGS: "yes" },
        hooks: { PreToolUse: [{ matcher: "Bash", hooks: [{ type: "command", command: "echo hooked >> hooked.txt" }] }] },
      }));
      write(cwd, ".claude/settings.local.json", JSON.stringify({ outputStyle: "loud" }));
      write(cwd, ".mcp.json", JSON.stringify({ mcpServers: { filed: { command: "/not/there" } } }));
      const prompts = [BASH, 'USE Bash {"command":"echo $OF_SETTINGS"}', "/greet you",
        'USE Task {"description":"d","prompt":"SAY sub","subagent_type":"filed"}', 'USE Skill {"skill":"known"}'];
      for (const settingSources of [["project"], ["project", "local"], ["user"], []]) {
        await turns({ cwd, settingSources, canUseTool: async (name) => ({ behavior: "deny", message: `no ${name}` }) }, prompts, log,
          async (message, running) => {
            if (message.subtype !== "init") return;
            const names = (list) => list.filter((name) => /greet|filed|known|loud/.test(name));
            log.push({ agents: names(message.agents), skills: names(message.skills ?? []), style: message.output_style,
              commands: names(message.slash_commands), servers: message.mcp_servers });
          });
      }
      return [...log, readFileSync(path.join(cwd, "hooked.txt"), "utf8")];
    },
    async prompts_of_every_form() {
      const log = [];
      for (const systemPrompt of ["", ["static", sdk.SYSTEM_PROMPT_DYNAMIC_BOUNDARY, "a PIRATE"], "--flag=x ü\n\u2028 \"PIRATE\"",
        { type: "preset", preset: "claude_code", append: "a PIRATE", excludeDynamicSections: true }]) {
        await collect(query({ prompt: "SAY x", options: { ...base(), systemPrompt } }), log);
      }
      return log;
    },
    async thinking_and_effort() {
      const log = [];
      for (const options of [{ thinking: { type: "enabled", budgetTokens: 2000 } }, { maxThinkingTokens: 0, effort: "max" },
        { effort: "no such" }, { model: "no-such-model", thinking: { type: "adaptive" } }, { fallbackModel: "claude-opus-5-5" }]) {
        await collect(query({ prompt: "SAY x", options: { ...base(), ...options } }), log);
      }
      return log;
    },
    async agents_of_every_form() {
      const log = [];
      const agents = {
        one: { description: "One", prompt: "You are a PIRATE", model: "haiku", tools: ["Bash"], permissionMode: "acceptEdits", maxTurns: 2 },
        two: { description: "Two", prompt: "plain", disallowedTools: ["Bash"], mcpServers: ["host"], initialPrompt: "SAY begun" },
      };
      const mcpServers = host([tool("echo", "Says it again", { text: z.string() }, async ({ text: said }) => text(said))]);
      const hook = async (input) => (log.push({ hook: [input.hook_event_name, input.agent_type, input.tool_name] }), {});
      const hooks = Object.fromEntries(["SubagentStart", "SubagentStop", "PreToolUse"].map((event) => [event, [{ hooks: [hook] }]]));
      const task = (subagent_type, prompt, more) => `USE Task ${JSON.stringify({ description: "d", prompt, subagent_type, ...more })}`;
      await turns({ agents, mcpServers, hooks, forwardSubagentText: true, allowedTools: ["Task", "mcp__host"] }, [
        task("one", "SAY sub"), task("one", 'USE Bash {"command":"echo inside"}'), task("two", 'USE mcp__host__echo {"text":"inside"}'),
        task("none", "SAY lost"), `${task("one", "SAY a")}\n${task("two", "SAY b")}`,
      ], log);
      await collect(query({ prompt: "SAY main", options: { ...base(), agents, agent: "one" } }), log);
      await collect(query({ prompt: "SAY main", options: { ...base(), agents, agent: "none" } }), log);
      return log;
    },
    async work_in_the_background() {
      const log = [];
      const input = open();
      const running = query({ prompt: input.prompt, options: { ...base(), env, allowedTools: ["Bash"] } });
      input.say('USE Bash {"command":"sleep 1; echo done","run_in_background":true}');
      await collect(running, log, (message) => {
        if (message.subtype === "task_notification") {
          log.push({ task: message.status });
          setTimeout(() => input.end(), 1500);
        }
      });
      return log.filter((entry) => !JSON.stringify(entry).includes("background with ID"));
    },
    async ends_that_the_program_gives() {
      const log = [];
      const used = query({ prompt: "SAY used", options: base() });
      for (let step = await used.next(); !step.done && step.value.type !== "result";) step = await used.next();
      await used[Symbol.asyncDispose]?.();
      log.push(await told(used.next()));
      const warm = await startup({ options: base(), initializeTimeoutMs: 60_000 });
      await warm[Symbol.asyncDispose]?.();
      // It fails behind the answer: how much of one comes before its end is a matter of time.
      let answered;
      const answer = new Promise((resolve) => { answered = resolve; });
      const failed = query({ prompt: (async function* () { yield user("SAY one"); await answer; throw new Error("of the prompt"); })(), options: base() });
      await collect(failed, log, (message) => { if (message.type === "result") answered(); });
      log.push(await told(query({ prompt: "SAY x", options: { ...base(), pathToClaudeCodeExecutable: "/not/there" } }).next()));
      await pause(10);
      return log;
    },
    async errors_of_the_api() {
      const log = [];
      const options = { ...base(), env: { ...env, CLAUDE_CODE_MAX_RETRIES: "1" } };
      for (const status of [401, 404, 529]) {
        await collect(query({ prompt: `FAIL ${status}`, options }), log);
      }
      await collect(query({ prompt: "SAY x", options: { ...options, env: { ...options.env, ANTHROPIC_BASE_URL: "http://127.0.0.1:1" } } }), log);
      await collect(query({ prompt: "SAY x", options: { ...options, env: { ...options.env, ANTHROPIC_API_KEY: "" } } }), log);
      return log;
    },
    async keys_and_variables() {
      const options = (more) => ({ ...base(), allowedTools: ["Bash"], env: { ...env, ...more } });
      const names = ["CLAUDE_CODE_ENTRYPOINT", "CLAUDE_AGENT_SDK_VERSION", "DISABLE_TELEMETRY", "CLAUDE_CODE_MAX_OUTPUT_TOKENS", "MAX_MCP_OUTPUT_TOKENS",
        "BASH_MAX_OUTPUT_LENGTH", "OTEL_SERVICE_NAME", "API_TIMEOUT_MS"];
      const prompt = `USE Bash ${JSON.stringify({ command: names.map((name) => `echo ${name}=$${name}`).join("; ") })}`;
      const given = { MAX_MCP_OUTPUT_TOKENS: "9000", BASH_MAX_OUTPUT_LENGTH: "10000", OTEL_SERVICE_NAME: "mine", API_TIMEOUT_MS: "50000" };
      const log = await collect(query({ prompt, options: options(given) }), []);
      await collect(query({ prompt: 'USE Bash {"command":"seq 1 2000"}', options: options({ BASH_MAX_OUTPUT_LENGTH: "100" }) }), log);
      await collect(query({ prompt: 'USE Bash {"command":"sleep 3; echo late"}', options: options({ BASH_DEFAULT_TIMEOUT_MS: "1000", BASH_MAX_TIMEOUT_MS: "1000" }) }), log);
      return log;
    },
  };
}
