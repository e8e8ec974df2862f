// The cost of turns. The agent's `total_cost_usd` counts from the start of its process, so a turn's
// own cost is a difference; tokens and duration come for each turn. Pure.

export class Ledger {
  #base = 0;
  turns = 0;
  /** The sum over the turns whose cost is known; `costIsWhole` tells whether that is all of them. */
  costUsd = 0;
  costIsWhole = true;
  inputTokens = 0;
  outputTokens = 0;
  durationMs = 0;

  /** The agent's process ended: the next one counts from zero. */
  processEnded() {
    this.#base = 0;
  }

  /** Lines were missed: the next total cannot be told apart into turns. */
  missed() {
    this.#base = undefined;
  }

  /** Books a `result`. Returns the figures of its turn; unknown ones are undefined. */
  add(result) {
    const usage = result.usage ?? {};
    const total = number(result.total_cost_usd);
    // A smaller total means a new process that counts from zero, whose start was not seen.
    const base = this.#base !== undefined && total !== undefined && total < this.#base ? 0 : this.#base;
    const cost = total === undefined || base === undefined ? undefined : Math.max(0, total - base);
    if (total !== undefined) this.#base = total;
    const turn = {
      cost,
      total,
      inputTokens: sum(usage.input_tokens, usage.cache_creation_input_tokens, usage.cache_read_input_tokens),
      cachedTokens: number(usage.cache_read_input_tokens) ?? 0,
      outputTokens: number(usage.output_tokens),
      durationMs: number(result.duration_ms),
      steps: number(result.num_turns),
    };
    this.turns += 1;
    this.costUsd += cost ?? 0;
    this.costIsWhole &&= cost !== undefined;
    this.inputTokens += turn.inputTokens ?? 0;
    this.outputTokens += turn.outputTokens ?? 0;
    this.durationMs += turn.durationMs ?? 0;
    return turn;
  }
}

function number(value) {
  return Number.isFinite(value) ? value : undefined;
}

function sum(...values) {
  const known = values.filter(Number.isFinite);
  return known.length === 0 ? undefined : known.reduce((all, value) => all + value, 0);
}
