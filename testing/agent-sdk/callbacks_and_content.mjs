// Scenarios of callbacks that are late, wrong, fail or never answer, and of input and
// output of all sizes and kinds.
import { BASH, never, parts, pause, text, told } from "./helpers.mjs";

export function scenarios(given) {
  const { sdk, base, collect, z } = given;
  const { turns } = parts(given);
  const { query, tool, createSdkMcpServer } = sdk;

  return {
    async permission_answered_late_or_never() {
      const log = [];
      let asked = 0;
      const canUseTool = async (name, input, { signal, toolUseID }) => {
        asked += 1;
        log.push({ asked: [name, input, typeof toolUseID] });
        if (asked === 1) {
          await pause(1500);
          return { behavior: "allow", updatedInput: input };
        }
        signal.addEventListener("abort", () => log.push({ asked: "cancelled" }));
        return never();
      };
      return turns({ canUseTool }, [BASH, BASH, "SAY after"], log, async (message, running) => {
        if (asked < 2 && message.type === "result") void (async () => {
          while (asked < 2) await pause(50);
          log.push({ asked: Boolean(await told(running.interrupt())) });
        })();
      });
    },
    async permission_answered_after_its_end() {
      const log = [];
      let goOn;
      const canUseTool = async (name, input) => {
        log.push({ asked: name });
        await new Promise((resolve) => (goOn = resolve));
        return { behavior: "allow", updatedInput: input };
      };
      return turns({ canUseTool }, [BASH, "SAY after"], log, async (message, running) => {
        if (message.type === "assistant" && message.message.content[0].type === "tool_use") void (async () => {
          while (!goOn) await pause(50);
          await running.interrupt();
          goOn();
        })();
      });
    },
    async permission_answers_that_are_wrong() {
      const log = [];
      const answers = [{}, { behavior: "maybe" }, { behavior: "allow", updatedInput: "x" }, { behavior: "deny" }];
      let asked = 0;
      const canUseTool = async (name) => {
        log.push({ asked: name });
        return answers[asked++];
      };
      return turns({ canUseTool }, answers.map(() => BASH), log);
    },
    async hook_that_never_answers() {
      const log = [];
      const hooks = { PreToolUse: [{ matcher: "Bash", timeout: 1, hooks: [async (input, id, { signal }) => {
        log.push({ hook: input.hook_event_name });
        signal.addEventListener("abort", () => log.push({ hook: "cancelled" }));
        return never();
      }] }] };
      return turns({ hooks, allowedTools: ["Bash"] }, ['USE Bash {"command":"echo x"}'], log);
    },
    async hooks_by_matcher_and_in_groups() {
      const log = [];
      const named = (name) => async (input, id) => {
        log.push({ hook: name, tool: input.tool_name, id: typeof id });
        return {};
      };
      const hooks = {
        PreToolUse: [
          { matcher: "Bash|Read", hooks: [named("one"), named("two")] },
          { matcher: "Write", hooks: [named("three")] }, { hooks: [named("all")] },
        ],
        PostToolUseFailure: [{ hooks: [named("failed")] }],
        PostToolUse: [{ hooks: [async () => ({ async: true, asyncTimeout: 1000 })] }],
        SessionStart: [{ hooks: [async () => ({ hookSpecificOutput: {
          hookEventName: "SessionStart", additionalContext: "SAY context" } })] }],
        Stop: [{ hooks: [async (input) => input.stop_hook_active ? {} : { decision: "block", reason: "SAY more" }] }],
      };
      return turns({ hooks, allowedTools: ["Bash", "Read"] },
        ['USE Bash {"command":"echo x"}', 'USE Read {"file_path":"/not/there"}'], log);
    },
    async tools_of_the_program() {
      const log = [];
      const extra = [];
      const server = createSdkMcpServer({ name: "host", version: "2.0.0", tools: [
        tool("image", "An image", {}, async () => ({ content: [
          { type: "image", data: Buffer.alloc(60).toString("base64"), mimeType: "image/png" }, { type: "text", text: "seen" }] })),
        tool("large", "Many bytes", { bytes: z.number() }, async ({ bytes }) => text("y".repeat(bytes))),
        tool("wrong", "Says that it failed", {}, async () => ({ ...text("wrong"), isError: true })),
        tool("throws", "Fails", {}, () => { throw new Error("at once"); }),
        tool("slow", "Takes its time", { name: z.string() }, async ({ name }) => { await pause(700); return text(name); }),
        tool("links", "Links", {}, async () => ({ content: [
          { type: "resource_link", uri: "file:///a", name: "a" },
          { type: "resource", resource: { uri: "file:///b", text: "inside" } }] })),
        tool("shape", "Structured", {}, async () => ({ ...text("{}"), structuredContent: { a: [1, { b: "ü" }] } })),
        tool("given", "Tells what it is given", { a: z.array(z.string()).optional(), b: z.enum(["x", "y"]).default("x") },
          async (input, more) => { extra.push(Object.keys(more ?? {}).length > 0); return text(JSON.stringify(input)); },
          { annotations: { readOnlyHint: true } }),
      ] });
      const use = (name, input = {}) => `USE mcp__host__${name} ${JSON.stringify(input)}`;
      await turns({ mcpServers: { host: server }, allowedTools: ["mcp__host"] }, [
        use("image"), use("large", { bytes: 20_000 }), use("large", { bytes: 4_000_000 }), use("wrong"), use("throws"),
        [use("slow", { name: "first" }), use("slow", { name: "second" }), use("given", { a: ["ü", "\u2028\u0000"] })].join("\n"),
        use("links"), use("shape"), use("given", { b: "no such" }), use("given"), use("none"),
      ], log);
      log.push({ extra });
      return log;
    },
    async texts_of_every_kind() {
      const kinds = ["größe 😀 \u{1F469}\u200D\u{1F467} \u202Eabc", "a\u2028b\u2029c\u0085d", "tab\t nul\u0000 bell\u0007",
        "lone \uD800 half", '{"type":"result"}\n{"type":"user"}', "\\u0041 \\n \"quoted\"", "line\r\nline\rline", " ".repeat(50)];
      return turns({}, kinds.map((kind) => `SAY one ${kind}`));
    },
    async sizes_of_every_kind() {
      const image = { type: "image", source: { type: "base64", media_type: "image/png", data: "A".repeat(400_000) } };
      const content = [{ type: "text", text: "SAY seen" }, image];
      const prompts = [content, `SAY long ${"ü".repeat(2_000_000)}`, "LONG 3000000"];
      const sizes = (entry) => JSON.parse(JSON.stringify(entry), (_, value) =>
        typeof value === "string" && value.length > 1000 ? `${value.length} characters` : value);
      return (await turns({}, prompts)).map(sizes);
    },
    async a_program_that_reads_slowly() {
      return turns({ includePartialMessages: true }, ["LONG 20000", "SAY after"], [], async (message) => {
        if (message.type === "stream_event") await pause(4);
      });
    },
    async commands() {
      return turns({}, ["/context", "/cost", "/nothing-such", "SAY x", "/clear", "COUNT", "/compact", "SAY after"])
        .then((log) => log.map((entry) => JSON.parse(JSON.stringify(entry).replace(/: +\d+s/g, ": <time>"))));
    },
    async plan_and_questions() {
      const log = [];
      const canUseTool = async (name, input) => {
        log.push({ asked: [name, Object.keys(input)] });
        if (name !== "AskUserQuestion") return { behavior: "allow", updatedInput: input };
        return { behavior: "allow", updatedInput: { ...input, answers: { "Which?": "Red" } } };
      };
      const questions = [{ question: "Which?", header: "Colour", multiSelect: false,
        options: [{ label: "Red", description: "r" }, { label: "Blue", description: "b" }] }];
      return turns({ canUseTool, permissionMode: "plan" }, [
        `USE AskUserQuestion ${JSON.stringify({ questions })}`, 'USE ExitPlanMode {"plan":"do it"}', "SAY after",
      ], log);
    },
    async mode_changed_while_a_tool_waits() {
      const log = [];
      let changed = false;
      const held = [];
      const canUseTool = async (name, input) => {
        log.push({ asked: name });
        await new Promise((resolve) => held.push(resolve));
        return { behavior: "allow", updatedInput: input };
      };
      return turns({ canUseTool }, [BASH], log, async (message, running) => {
        if (message.type !== "assistant" || changed) return;
        changed = true;
        void (async () => {
          while (held.length === 0) await pause(20);
          await running.setPermissionMode("acceptEdits");
          await running.setModel("claude-haiku-4-5");
          held.pop()();
        })();
      });
    },
    async output_that_does_not_fit_its_form() {
      const schema = { type: "object", properties: { a: { type: "number" } }, required: ["a"] };
      const options = { ...base(), outputFormat: { type: "json_schema", schema }, maxTurns: 4 };
      return collect(query({ prompt: 'USE StructuredOutput {"a":"no number"}', options }), []);
    },
  };
}
