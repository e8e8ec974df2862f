// The server's state: health, capabilities, and which agent answers.

import { copyText, byId, el } from "./dom.js";
import { request } from "./access.js";
import { count, dollars, duration, isObject, oneLine, visible } from "./text.js";

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
    this.#told(health, agentName(agent));
    byId("server-version").textContent = typeof health.version === "string" ? oneLine(health.version, 30) : "";
    const facts = answer.status === 200 ? flatten(health) : [["health", answer.text || `status ${answer.status}`]];
    byId("status-health").replaceChildren(...rows(facts));
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
      ["turns", count(this.#ledger.turns)],
      ["cost", cost],
      ["tokens in", count(this.#ledger.inputTokens)],
      ["tokens out", count(this.#ledger.outputTokens)],
      ["time in turns", duration(this.#ledger.durationMs)],
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
