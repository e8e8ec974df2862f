// Scenarios of rules that answers change, of calls that come at once, of MCP servers of
// every kind, and of interrupts wherever a turn is.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { BASH, never, parts, pause, text, told } from "./helpers.mjs";
import { OWN } from "./options_and_methods.mjs";

export function scenarios(given) {
  const { sdk, base, collect, open, z } = given;
  const { env, turns, host } = parts(given);
  const { query, tool, createSdkMcpServer } = sdk;
  const bash = (command) => `USE Bash ${JSON.stringify({ command })}`;
  const allow = (input) => ({ behavior: "allow", updatedInput: input });
  const stdio = {
    type: "stdio", command: process.execPath,
    args: [fileURLToPath(new URL("mcp_server.mjs", import.meta.url))],
  };
  // Waits until a condition holds.
  async function until(holds) {
    while (!holds()) await pause(20);
  }

  return {
    async rules_of_every_kind() {
      const log = [];
      const rules = (ruleContent) => [{ toolName: "Bash", ruleContent }];
      const session = { destination: "session" };
      const updates = {
        "rm -f one": [{ type: "addRules", behavior: "allow", rules: rules("rm -f one:*"), ...session }],
        "rm -f one2": [{ type: "addRules", behavior: "allow", rules: rules("rm -f one2"), ...session }],
        "rm -f two": [{ type: "addRules", behavior: "ask", rules: rules("rm -f two:*"), ...session }],
        "rm -f three": [{ type: "replaceRules", behavior: "allow", rules: rules("rm -f three:*"), ...session }],
        "rm -f four": [{ type: "removeRules", behavior: "allow", rules: rules("rm -f three:*"), ...session }],
        "rm -f five": [
          { type: "addDirectories", directories: ["/var"], ...session },
          { type: "removeDirectories", directories: ["/var"], ...session },
        ],
        "rm -f six": [{ type: "addRules", behavior: "deny", rules: rules("rm -f one:*"), ...session }],
        "rm -f seven": [{ type: "setMode", mode: "dontAsk", ...session }],
      };
      const canUseTool = async (name, input, { suggestions }) => {
        log.push({ asked: [input.command, (suggestions ?? []).map((each) => each.type)] });
        return { ...allow(input), updatedPermissions: updates[input.command] ?? [] };
      };
      const names = "one one one2 one2 two two three three one four three five six one seven eight".split(" ");
      return turns({ canUseTool }, names.map((name) => bash(`rm -f ${name}`)), log);
    },
    async rules_kept_in_files() {
      const log = [];
      const cwd = path.join(process.cwd(), `${OWN}-rules`);
      spawnSync("mkdir", ["-p", cwd]);
      let destination;
      const canUseTool = async (name, input) => {
        log.push({ asked: input.command });
        return { ...allow(input), updatedPermissions: [
          { type: "addRules", behavior: "allow", rules: [{ toolName: "Bash", ruleContent: "rm -f kept:*" }], destination },
        ] };
      };
      for (destination of ["localSettings", "projectSettings"]) {
        const options = { canUseTool, cwd, settingSources: ["project", "local"] };
        await turns(options, [bash("rm -f kept"), bash("rm -f kept")], log);
        const file = destination === "localSettings" ? "settings.local.json" : "settings.json";
        log.push(JSON.parse(readFileSync(path.join(cwd, ".claude", file), "utf8")).permissions);
        spawnSync("rm", ["-rf", path.join(cwd, ".claude")]);
      }
      return log;
    },
    async questions_answered_in_another_order() {
      const log = [];
      const waiting = new Map();
      const called = [];
      const canUseTool = async (name, input) => {
        await new Promise((resolve) => waiting.set(input.n, resolve));
        return allow(input);
      };
      const mcpServers = host([tool("number", "A number", { n: z.number() }, async ({ n }) => {
        called.push(n);
        // Whether all are asked at once is the CLI's to decide, and so their order.
        return text("a number");
      },
        { annotations: { readOnlyHint: true } })]);
      const uses = [1, 2, 3].map((n) => `USE mcp__host__number {"n":${n}}`).join("\n");
      return turns({ canUseTool, mcpServers }, [uses], log, async (message) => {
        if (message.type !== "assistant" || message.message.content[0].type !== "tool_use") return;
        void (async () => {
          for (const n of [3, 2, 1]) {
            while (!waiting.has(n) && waiting.size < 3) {
              await pause(50);
              // They may be asked one after the other.
              if (waiting.size > 0 && !waiting.has(n)) [...waiting.values()].forEach((answer) => answer());
            }
            waiting.get(n)?.();
          }
        })();
      }).then((all) => [...all, { called: called.sort() }]);
    },
    async servers_of_every_kind() {
      const mcpServers = {
        ...host([tool("echo", "Says it again", { text: z.string() }, async ({ text: said }) => text(said))]),
        asks: stdio,
        gone: { type: "stdio", command: "/not/there" },
        exits: { type: "stdio", command: "false" },
        refused: { type: "http", url: "http://127.0.0.1:1/mcp", headers: { "x-a": "b" } },
        events: { type: "sse", url: "http://127.0.0.1:1/sse" },
      };
      const log = [];
      return turns({ mcpServers, onElicitation: async () => ({ action: "accept", content: { colour: "blue" } }),
        allowedTools: ["mcp__host__echo", "mcp__asks__ask"] },
        ['USE mcp__host__echo {"text":"x"}', "USE mcp__asks__ask {}", "SAY last"], log, async (message, running) => {
          if (message.type !== "result" || message.result !== "last from claude-opus-5-5") return;
          const status = await running.mcpServerStatus();
          log.push(status.map((each) => [each.name, each.status]).sort());
        });
    },
    async tools_that_change() {
      const log = [];
      const changing = createSdkMcpServer({ name: "host", tools: [
        tool("first", "First", {}, async () => text("first")),
      ] });
      return turns({ mcpServers: { host: changing }, allowedTools: ["mcp__host"] },
        ["USE mcp__host__first {}", "USE mcp__host__second {}", "SAY last"], log, async (message, running) => {
          if (message.type !== "result" || log.some((entry) => entry.changed)) return;
          changing.instance.registerTool?.("second", { description: "Second", inputSchema: {} }, async () => text("second"));
          log.push({ changed: await told(running.setMcpServers({ host: changing })) });
        });
    },
    async servers_replaced_and_removed() {
      const log = [];
      const server = (name) => ({ [name]: createSdkMcpServer({ name, tools: [tool("say", "Says", {}, async () => text(name))] }) });
      let step = 0;
      const sets = [{ ...server("one"), ...server("two") }, server("two"), {}, { asks: stdio, gone: { command: "/not/there" } }];
      return turns({ mcpServers: server("own"), allowedTools: ["mcp__own", "mcp__one", "mcp__two"] },
        ["SAY first", "USE mcp__one__say {}", "USE mcp__two__say {}", "USE mcp__own__say {}", "SAY last"], log,
        async (message, running) => {
          if (message.type !== "result" || step >= sets.length) return;
          log.push({ set: await told(running.setMcpServers(sets[step])) });
          step += 1;
        });
    },
    async interrupted_wherever_a_turn_is() {
      const log = [];
      for (const where of ["question", "hook", "tool", "command"]) {
        let reached = false;
        const wait = (name) => async (first, second) => {
          if (name !== where) return name === "question" ? allow(second) : name === "tool" ? text("done") : {};
          reached = true;
          await pause(60_000);
          return never();
        };
        const use = where === "command" ? bash("rm -f x; sleep 100") : "USE mcp__host__wait {}";
        await turns({
          canUseTool: async (name, input) => {
            if (where === "command") setTimeout(() => (reached = true), 500);
            return wait("question")(name, input);
          },
          hooks: { PreToolUse: [{ hooks: [wait("hook")] }] },
          mcpServers: host([tool("wait", "Waits", {}, wait("tool"))]),
        }, [use, "SAY after"], log, async (message, running) => {
          if (message.type !== "assistant" || message.message.content[0].type !== "tool_use") return;
          void (async () => {
            await until(() => reached);
            log.push({ hook: `interrupted in ${where}`, told: typeof (await told(running.interrupt())) });
          })();
        });
      }
      return log;
    },
    async tools_offered() {
      const log = [];
      const forms = [{ tools: [] }, { tools: ["Read"] }, { tools: { type: "preset", preset: "claude_code" } },
        { disallowedTools: ["Bash", "Read"] }, { disallowedTools: ["Bash(rm:*)"] }, { allowedTools: ["Bash(rm -f x:*)", "Bash(echo:*)"] },
        { allowedTools: ["*"] }, { toolAliases: { Bash: "mcp__none" } }];
      for (const options of forms) {
        await collect(query({ prompt: BASH, options: { ...base(), ...options } }), log);
      }
      return log;
    },
    async modes_one_after_the_other() {
      const log = [];
      const modes = ["plan", "acceptEdits", "dontAsk", "default", "no such mode", "bypassPermissions"];
      let step = 0;
      const canUseTool = async (name, input) => (log.push({ asked: step }), allow(input));
      return turns({ canUseTool }, ["SAY first", ...modes.map(() => bash("touch /dev/null"))], log, async (message, running) => {
        if (message.type !== "result" || step >= modes.length) return;
        log.push({ set: await told(running.setPermissionMode(modes[step])) });
        step += 1;
      });
    },
    async a_process_that_dies() {
      const log = [];
      for (const signal of ["KILL", "TERM", "SEGV"]) {
        const prompt = bash(`kill -${signal} $(ps -o ppid= -p $$ | tr -d ' ')`);
        await collect(query({ prompt, options: { ...base(), allowedTools: ["Bash"] } }), log);
      }
      // It may still tell of the command before it dies.
      return log.filter((entry) => !entry.user);
    },
    async a_turn_while_another_goes_on() {
      const log = [];
      const input = open();
      const running = query({ prompt: input.prompt, options: { ...base(), env } });
      input.say("SLOW SAY first");
      input.say("SAY second");
      input.say("SAY third");
      let last;
      return collect(running, log, (message) => {
        if (message.type !== "result") return;
        clearTimeout(last);
        last = setTimeout(() => input.end(), 1500);
      });
    },
  };
}
