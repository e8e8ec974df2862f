// Drives the official SDK (TypeScript) with the real CLI: one prompt with one
// set of options, as the JSON object on the command line says.
//
//     node requests.mjs SDK_DIRECTORY CLI '{"options":…,"prompt":…,"cwd":…,"env":…}'
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [sdk, cli, given] = process.argv.slice(2);
const { query } = await import(pathToFileURL(join(sdk, "sdk.mjs")));
process.removeAllListeners("warning");
process.on("warning", () => {});
const { options, prompt, cwd, env } = JSON.parse(given);
const defaults = {
  settingSources: ["project"],
  permissionMode: "bypassPermissions",
  allowDangerouslySkipPermissions: true,
  canUseTool: async () => ({ behavior: "deny", message: "no" }),
};
const place = { cwd, env, pathToClaudeCodeExecutable: cli };
try {
  for await (const _ of query({ prompt, options: { ...defaults, ...place, ...options } }));
} catch (error) {
  // A turn that ends with an error is thrown; its requests count as well.
  console.error(String(error));
}
