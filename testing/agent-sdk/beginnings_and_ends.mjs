// Scenarios of how a query begins and ends, alone and beside others, and of what it
// is given to begin with.
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { BASH, never, parts, pause, text, told } from "./helpers.mjs";
import { OWN } from "./options_and_methods.mjs";

export function scenarios(given) {
  const { sdk, base, collect, open, user, z } = given;
  const { env, host } = parts(given);
  const { query, startup, prewarm, tool } = sdk;

  return {
    async started_before_its_prompt() {
      const log = [];
      const warm = await startup({ options: base() });
      await collect(warm.query("SAY warm"), log);
      log.push({ again: await told((async () => warm.query("SAY twice"))()) });
      const unused = await startup({ options: base() });
      unused.close();
      log.push({ closed: await told((async () => unused.query("SAY closed"))()) });
      return log;
    },
    async spare_claimed() {
      const log = [];
      const cwd = process.cwd();
      const spare = await prewarm({ options: { ...base(), cwd } });
      const running = spare.claim({
        prompt: BASH,
        options: {
          cwd, model: "claude-haiku-4-5", permissionMode: "acceptEdits", title: "claimed",
          settings: { effortLevel: "low" }, appendSystemPrompt: "You are a PIRATE",
          additionalDirectories: [cwd], maxThinkingTokens: 1024,
        },
      });
      await collect(running, log);
      const { cwd: claimed } = await spare.claimed;
      log.push({ claimed });
      return log;
    },
    async spare_refused_and_closed() {
      const log = [];
      const cwd = process.cwd();
      const spare = await prewarm({ options: { ...base(), cwd } });
      const running = spare.claim({ prompt: "SAY never", options: { cwd: "/not/there" } });
      await collect(running, log);
      log.push({ claimed: await told(spare.claimed) });
      const closed = await prewarm({ options: { ...base(), cwd } });
      closed.close();
      log.push({ claimed: await told(closed.claimed) });
      return log;
    },
    async aborted_before_the_beginning() {
      const abortController = new AbortController();
      abortController.abort();
      return collect(query({ prompt: "SAY never", options: { ...base(), abortController } }), []);
    },
    async aborted_in_callbacks() {
      const log = [];
      for (const where of ["canUseTool", "hook", "tool"]) {
        const abortController = new AbortController();
        const here = (name) => async (...given) => {
          if (name !== where) return name === "canUseTool" ? { behavior: "allow", updatedInput: given[1] } : {};
          log.push({ asked: name });
          setTimeout(() => abortController.abort(), 100);
          return never();
        };
        const options = {
          ...base(), env, abortController, canUseTool: here("canUseTool"),
          hooks: { PreToolUse: [{ hooks: [here("hook")] }] },
          mcpServers: host([tool("wait", "Waits", {}, here("tool"))]),
        };
        await collect(query({ prompt: "USE mcp__host__wait {}", options }), log);
      }
      // The process may be seen to end before the abort is told, or behind it, and it
      // is killed some time after the abort: how much of the rest of its turn it says
      // until then is up to the machine.
      const isRest = (entry) => entry.result || entry.assistant?.some(({ type }) => type === "text");
      return log.filter((entry) => !isRest(entry)).map((entry) => (/aborted/.test(entry.error ?? "") ? "aborted" : entry));
    },
    async left_in_every_way() {
      const log = [];
      const options = () => ({ ...base(), includePartialMessages: true });
      for (const way of ["return", "throw", "close", "break", "close twice"]) {
        const running = query({ prompt: "HALF", options: options() });
        let seen = 0;
        try {
          for await (const message of running) {
            if (message.type !== "stream_event" || (seen += 1) < 3) continue;
            if (way === "return") log.push({ returned: await running.return() });
            if (way === "throw") await running.throw(new Error("of the program"));
            if (way.startsWith("close")) running.close();
            if (way === "close twice") running.close();
            if (way === "break") break;
          }
          log.push(way);
        } catch (error) {
          log.push({ way, error: error.message });
        }
        log.push({ after: await told(running.interrupt()) });
      }
      return log;
    },
    async prompts_that_end_or_fail() {
      const log = [];
      const prompts = {
        async *none() {},
        async *two() { yield user("SAY one"); yield user("SAY two"); },
        async *late() { await pause(500); yield user("SAY late"); },
        async *uuid() { yield { ...user("SAY named"), uuid: "22222222-2222-4333-8444-555555555555" }; },
        async *synthetic() { yield { ...user("SAY shown"), isSynthetic: true, shouldQuery: false }; yield user("SAY next"); },
        async *priority() { yield { ...user("SAY soon"), priority: "now" }; },
      };
      for (const [name, prompt] of Object.entries(prompts)) {
        log.push(name);
        await collect(query({ prompt: prompt(), options: base() }), log);
      }
      return log;
    },
    async limits_of_turns_and_cost() {
      const log = [];
      const use = 'USE Bash {"command":"echo x"}';
      for (const more of [{ maxTurns: 1 }, { maxBudgetUsd: 0.0000001 }, { maxTurns: 0 }]) {
        const options = { ...base(), allowedTools: ["Bash"], ...more };
        await collect(query({ prompt: use, options }), log);
      }
      return log;
    },
    async failures_of_the_api() {
      const log = [];
      for (const status of [400]) {
        await collect(query({ prompt: `FAIL ${status}`, options: base() }), log);
      }
      return log;
    },
    async continued_and_forked() {
      const log = [];
      const cwd = path.join(process.cwd(), `${OWN}-continued`);
      mkdirSync(cwd, { recursive: true });
      const options = { ...base(), cwd, persistSession: true };
      const sessions = [];
      const ask = (prompt, more) => collect(query({ prompt, options: { ...options, ...more } }), log, (message) => {
        if (message.type === "result") sessions.push(message.session_id);
      });
      await ask("SAY first");
      await ask("COUNT", { continue: true });
      await ask("COUNT", { continue: true, forkSession: true });
      await ask("COUNT", { resume: sessions[0], sessionId: "33333333-2222-4333-8444-555555555555", forkSession: true });
      await ask("COUNT", { persistSession: false, resume: sessions[0] });
      return [...log, sessions.map((session) => sessions.indexOf(session))];
    },
    async several_at_once() {
      const log = [];
      const one = (n) => collect(query({
        prompt: `USE mcp__host__echo {"n":${n}}`,
        options: { ...base(), env, allowedTools: ["mcp__host"], mcpServers: host([
          tool("echo", "Says it again", { n: z.number() }, async ({ n: given }) => text(`${given} in ${n}`))]) },
      }), []);
      for (let n = 0; n < 2; n += 1) log.push(await Promise.all([0, 1, 2].map((more) => one(3 * n + more))));
      return log;
    },
    async interrupted_again_and_again() {
      const log = [];
      const input = open();
      const running = query({ prompt: input.prompt, options: { ...base(), includePartialMessages: true } });
      input.say("SAY first");
      let results = 0;
      let partial = 0;
      return collect(running, log, async (message) => {
        if (message.type === "stream_event" && message.event.type === "content_block_delta") {
          partial += 1;
          if (results >= 1 && results < 3) await running.interrupt();
        }
        if (message.type !== "result") return;
        results += 1;
        if (results === 1) log.push({ idle: Boolean(await told(running.interrupt())) });
        if (results < 3) input.say("HALF");
        else if (results === 3) input.say("SAY after");
        else input.end();
      });
    },
    async settings_of_every_form() {
      const log = [];
      const file = path.join(process.cwd(), `${OWN}-settings.json`);
      writeFileSync(file, '{"permissions":{"allow":["Bash(rm:*)","Bash(echo:*)"]}}');
      const forms = [file, { permissions: { allow: ["Bash(rm:*)", "Bash(echo:*)"] } }, "/not/there.json", "{no json"];
      for (const settings of forms) {
        await collect(query({ prompt: BASH, options: { ...base(), settings } }), log);
      }
      const extraArgs = [{ "mcp-config": "/not/there.json" }, { "append-system-prompt": "You are a PIRATE" },
        { "not-a-flag": null }, { debug: null, verbose: null }];
      for (const extra of extraArgs) {
        await collect(query({ prompt: "SAY extra", options: { ...base(), extraArgs: extra } }), log);
      }
      return log;
    },
    async working_directories() {
      const log = [];
      const inside = path.join(process.cwd(), `${OWN}-dir ü`);
      mkdirSync(inside, { recursive: true });
      const pwd = 'USE Bash {"command":"basename \\"$(pwd)\\""}';
      const options = { ...base(), allowedTools: ["Bash"] };
      await collect(query({ prompt: pwd, options: { ...options, cwd: inside } }), log);
      await collect(query({ prompt: pwd, options: { ...options, additionalDirectories: [inside, "/not/there"] } }), log);
      const [gone] = await collect(query({ prompt: pwd, options: { ...options, cwd: "/not/there" } }), []);
      return [...log, gone.error.includes("failed to launch")];
    },
    async variables() {
      const names = ["CLAUDE_CODE_EMPTY", "CLAUDE_CODE_BLANK", "CLAUDE_CODE_LINES", "CLAUDE_CODE_QUOTED"];
      const values = { CLAUDE_CODE_EMPTY: "", CLAUDE_CODE_BLANK: " a  b ", CLAUDE_CODE_LINES: "a\nb=c", CLAUDE_CODE_QUOTED: "\"$HOME\" ü" };
      const script = names.map((name) => `echo \\"[\${${name}-unset}]\\"`).join("; ");
      const options = { ...base(), allowedTools: ["Bash"], env: { ...env, ...values, CLAUDE_CODE_UNDEFINED: undefined } };
      return collect(query({ prompt: `USE Bash {"command":"${script}"}`, options }), []);
    },
    async told_on_stderr() {
      const lines = [];
      const options = { ...base(), env: { ...env, DEBUG_CLAUDE_AGENT_SDK: "1" }, stderr: (data) => lines.push(data) };
      const log = await collect(query({ prompt: "SAY debug", options }), []);
      return log;
    },
  };
}
