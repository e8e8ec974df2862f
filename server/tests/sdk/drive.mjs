// Drives the official SDK (TypeScript) once for each case, with a program that
// stands for the CLI, and prints what that program was given: a JSON line each
// with `case`, `argv`, `env` (variables of the CLI), `initialize` and `user`,
// or `error`.
//
//     node drive.mjs SDK_DIRECTORY CASES.json RECORDER DIRECTORY
import { readFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [sdk, cases, recorder, directory] = process.argv.slice(2);
const { query } = await import(pathToFileURL(join(sdk, "sdk.mjs")));
process.removeAllListeners("warning");
process.on("warning", () => {});

/** The options of the SDK for a case of the relay, which has defaults of its own. */
function optionsOf({ mode, prompt_tool, options }) {
  const all = { settingSources: ["project"], ...options };
  if (mode === "unrestricted") {
    all.permissionMode ??= "bypassPermissions";
    all.allowDangerouslySkipPermissions = true;
  }
  if (prompt_tool) all.canUseTool = async () => ({ behavior: "deny", message: "no" });
  if (options.supportedDialogKinds) all.onUserDialog = async () => ({ behavior: "cancelled" });
  return all;
}

async function drive(one) {
  const place = join(directory, one.case);
  mkdirSync(place);
  const { env = {}, cwd, ...options } = optionsOf(one);
  const host = { PATH: process.env.PATH, HOME: place, RECORDER_DIRECTORY: place };
  const said = { case: one.case };
  try {
    const messages = query({
      prompt: "hello",
      options: { ...options, cwd: place, env: { ...host, ...env }, pathToClaudeCodeExecutable: recorder },
    });
    for await (const _ of messages);
  } catch (error) {
    said.error = String(error);
  }
  try {
    const read = (name) => readFileSync(join(place, name), "utf8");
    said.argv = read("argv").split("\0").slice(0, -1);
    said.env = read("env").split("\0").filter((line) => line.startsWith("CLAUDE_"));
    const lines = read("stdin").split("\n").filter(Boolean).map((line) => JSON.parse(line));
    said.initialize = lines.find((line) => line.request?.subtype === "initialize")?.request;
    said.user = lines.find((line) => line.type === "user");
    delete said.error;
  } catch (error) {
    said.error ??= String(error);
  }
  console.log(JSON.stringify(said));
}

const waiting = JSON.parse(readFileSync(cases, "utf8"));
await Promise.all(
  Array.from({ length: 8 }, async () => {
    for (let one = waiting.shift(); one; one = waiting.shift()) await drive(one);
  }),
);
process.exit(0);
