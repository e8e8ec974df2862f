// Parts of scenarios, made from what scenarios.mjs gives to each file.
export const BASH = 'USE Bash {"command":"rm -f x; echo first"}';
export const text = (value) => ({ content: [{ type: "text", text: value }] });
export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
export const never = () => new Promise(() => {});

// Tells what a promise comes to.
export async function told(promise) {
  try {
    return (await promise) ?? "nothing";
  } catch (error) {
    return { error: String(error.message).split("\n")[0].slice(0, 120), aborted: error.name === "AbortError" };
  }
}

export function parts({ sdk, base, collect, open }) {
  // The tools of a server are offered at once, and not looked for first.
  const env = { ...process.env, ENABLE_TOOL_SEARCH: "false" };
  // One turn for each prompt, and `each` for each message.
  async function turns(options, prompts, log = [], each = () => {}) {
    const input = open();
    const running = sdk.query({ prompt: input.prompt, options: { ...base(), env, ...options } });
    let turn = 0;
    input.say(prompts[0]);
    return collect(running, log, async (message) => {
      await each(message, running, input);
      if (message.type !== "result") return;
      turn += 1;
      if (turn < prompts.length) input.say(prompts[turn]);
      else input.end();
    });
  }
  const host = (tools) => ({ host: sdk.createSdkMcpServer({ name: "host", tools }) });
  return { env, turns, host };
}
