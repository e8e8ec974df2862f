// The server's state: health, capabilities, and which agent answers.

import { copyText, byId, el } from "./dom.js";
import { request } from "./access.js";
import { count, dollars, duration, isObject, oneLine, plural, size, visible } from "./text.js";

// While the panel is open.
const REFRESH_MS = 5_000;

export class StatusPanel {
  #ledger;
  #ask;
  #told;
  #timer = 0;
  #capabilities = null;

  /** `ask()` asks for a capabilities frame; `told(health, name)` hears of the health and of the agent's name. */
  constructor({ ledger, ask, told }) {
    this.#ledger = ledger;
    this.#ask = ask;
    this.#told = told;
    byId("status-refresh").addEventListener("click", () => {
      this.refresh();
      this.#ask();
    });
  }

  setVisible(visible) {
    clearInterval(this.#timer);
    if (!visible) return;
    this.refresh();
    this.#ask();
    this.#timer = setInterval(() => this.refresh(), REFRESH_MS);
  }

  /** Asks for the health, and shows which agent answers. */
  async refresh() {
    const answer = await request("health");
    const health = isObject(answer.body) ? answer.body : {};
    const agent = isObject(health.agent) ? health.agent : {};
    this.#showAgent(agent);
    const running = Number.isSafeInteger(health.runs?.running) ? health.runs.running : 0;
    byId("sdk-runs").textContent = `${running} SDK ${running === 1 ? "run" : "runs"}`;
    byId("sdk-runs").hidden = running === 0;
    this.#told(health, agentName(agent));
    byId("server-version").textContent = typeof health.version === "string" ? oneLine(health.version, 30) : "";
    const facts = answer.status === 200 ? flatten(health) : [["health", answer.text || `status ${answer.status}`]];
    byId("status-health").replaceChildren(...rows(facts));
    byId("status-agent").replaceChildren(...rows(answer.status === 200 ? agentFacts(health) : facts));
    byId("status-server").replaceChildren(...rows(serverFacts(health)));
    this.showTotals();
  }

  /** A `capabilities` frame. */
  capabilities(frame) {
    const { type, ...facts } = frame;
    this.#capabilities = facts;
    byId("status-capabilities").replaceChildren(...rows(flatten(this.#capabilities)));
    byId("status-capabilities-section").hidden = type !== "capabilities";
  }

  /** The sums over the turns this page has seen. */
  showTotals() {
    const cost = `${this.#ledger.costIsWhole ? "" : "at least "}${dollars(this.#ledger.costUsd)}`;
    byId("status-totals").replaceChildren(...rows([
      ["Turns", count(this.#ledger.turns)],
      ["Cost", cost],
      ["Tokens in", count(this.#ledger.inputTokens)],
      ["Tokens out", count(this.#ledger.outputTokens)],
      ["Time in turns", duration(this.#ledger.durationMs)],
    ]));
    byId("total-cost").textContent = this.#ledger.turns === 0 ? "" : `${cost} · ${count(this.#ledger.turns)} ${this.#ledger.turns === 1 ? "turn" : "turns"}`;
  }

  #showAgent(agent) {
    const demo = agent.demo === true;
    const missing = agent.installed === false && !demo;
    byId("agent-name").textContent = agentName(agent);
    byId("agent-name").dataset.demo = String(demo);
    byId("demo-note").hidden = !demo;
    byId("examples-demo").hidden = !demo;
    byId("examples-agent").hidden = demo;
    const note = byId("missing-note");
    const hint = typeof agent.install_hint === "string" ? agent.install_hint : "";
    if (missing && note.hidden) {
      const code = el("code", { id: "install-hint", text: visible(hint) });
      const copy = el("button", { type: "button", class: "quiet small", text: "Copy" });
      copy.addEventListener("click", () => copyText(hint, copy));
      note.replaceChildren(el("p", {}, el("strong", { text: "The agent is not installed on the server. " }), "The relay runs, but has no command line agent to start.", hint === "" ? "" : " Install it there:"),
        ...(hint === "" ? [] : [el("p", { class: "row" }, code, copy)]));
    }
    note.hidden = !missing;
  }
}

function agentName({ demo, provider }) {
  if (demo === true) return "demo agent";
  return { claude: "Claude Code", codex: "Codex" }[provider] ?? oneLine(String(provider ?? ""), 30);
}

const STATES = { stopped: "not started yet", starting: "starting", idle: "ready", running: "working", waiting: "waits for an answer", stopping: "stopping" };

const CEILINGS = {
  safe: "safe: it reads, and changes nothing",
  ask: "ask: it asks before it changes something",
  agentic: "agentic: it works by itself inside the workspace",
  unrestricted: "unrestricted: it does everything unasked",
};

function agentFacts({ agent, agent_state: state }) {
  if (!isObject(agent)) return [["Details", "Only with the token"]];
  const { turn, model, permission_mode: mode, conversation, background_tasks: tasks, queued, unnamed } = isObject(state) ? state : {};
  const messages = (queued?.length ?? 0) + (unnamed ?? 0);
  const exit = agent.last_exit;
  const how = isObject(exit) ? (exit.signal === null || exit.signal === undefined ? `code ${exit.code}` : `signal ${exit.signal}`) : "";
  return [
    ["State", STATES[state?.state] ?? String(agent.state)],
    isObject(turn) && ["Turn", turn.origin === "agent" ? "the agent's own" : "a message's"],
    ["Agent", `${agentName(agent)}${typeof agent.version === "string" ? ` ${agent.version}` : ""}`],
    typeof model === "string" && ["Model", model],
    typeof mode === "string" && ["Permission mode", mode],
    typeof conversation === "string" && ["Conversation", conversation],
    agent.credential === false && ["Key", "none was found"],
    tasks > 0 && ["Background tasks", count(tasks)],
    messages > 0 && ["Messages waiting", count(messages)],
    agent.open_permissions > 0 && ["Open questions", count(agent.open_permissions)],
    Number.isFinite(agent.idle_ms) && ["Last heard", `${duration(agent.idle_ms)} ago`],
    Number.isFinite(agent.pid) && ["Process", String(agent.pid)],
    agent.restarts > 0 && ["Starts after the first", count(agent.restarts)],
    how !== "" && ["Last failure", how],
  ].filter(Boolean);
}

function serverFacts({ version, client, mode, workspace_trusted: trusted, workspace_wants: wants, sandbox, key_proxy: proxy, replay, limits }) {
  const wanted = isObject(wants) ? Object.entries({ hooks: "hook", mcp_servers: "MCP server", helpers: "helper" }).filter(([name]) => wants[name]?.count > 0)
    .map(([name, word]) => `${plural(wants[name].count, word)}${Array.isArray(wants[name].names) && wants[name].names.length > 0 ? ` (${wants[name].names.join(", ")})` : ""}`).join("; ") : "";
  const told = isObject(sandbox);
  return [
    ["Version", String(version ?? "–")],
    mode !== undefined && ["Ceiling", CEILINGS[mode] ?? String(mode)],
    trusted !== undefined && ["Workspace", trusted ? "trusted: its settings, hooks and servers act" : "not trusted: its settings, hooks and servers do not act (--trust-workspace)"],
    wanted !== "" && ["Workspace would run", wanted],
    told && ["Sandbox", sandbox.active === "none" ? "none" : String(sandbox.active)],
    proxy !== undefined && ["Key", proxy ? "kept from the agent by the key proxy" : "given to the agent"],
    client !== undefined && ["Client", client === "connected" ? "one is connected" : "none"],
    isObject(replay) && ["Kept for a reload", `${size(replay.bytes)} of ${size(replay.limit)}`],
    isObject(limits) && ["Largest message", size(limits.message_bytes)],
    Number.isFinite(limits?.permission_timeout_ms) && ["A question is denied after", duration(limits.permission_timeout_ms)],
  ].filter(Boolean);
}

function rows(facts) {
  return facts.map(([name, value]) => el("div", { data: { fact: name } }, el("dt", { text: oneLine(name, 60) }), el("dd", { text: visible(String(value)).slice(0, 2000) })));
}

const MAX_FACTS = 200;

// Nested objects as `agent.pid`, lists as one line.
function flatten(value, prefix = "") {
  const facts = [];
  for (const [name, each] of Object.entries(value)) {
    const path = prefix === "" ? name : `${prefix}.${name}`;
    if (isObject(each)) facts.push(...flatten(each, path));
    else if (Array.isArray(each)) facts.push([path, each.map((item) => (typeof item === "string" ? item : item?.name ?? item?.value ?? JSON.stringify(item))).join(", ") || "none"]);
    else if (/_ms$/.test(name) && Number.isFinite(each)) facts.push([path.replace(/_ms$/, ""), duration(each)]);
    else facts.push([path, each === null ? "none" : each]);
    if (facts.length > MAX_FACTS) break;
  }
  return facts;
}
