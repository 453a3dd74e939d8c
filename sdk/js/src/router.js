/** Choosing a path for each execution, and telling how it turned out. */

import { drawn, pathOf } from "./choice.js";
import { chain, Context, isThenable } from "./context.js";
import { isFull, kindOf, said } from "./encode.js";
import { BadArgument } from "./errors.js";
import { categoryOf, FAILURE_CATEGORIES, reasonOf } from "./failures.js";
import { Goal } from "./goals.js";
import { posted } from "./http.js";
import { unixSeconds } from "./messages.js";
import { outcome, readConstraints } from "./requests.js";
import { defaultClient } from "./shared.js";
import { tokenHex } from "./tokens.js";
import { textOfAnswer, tokensOf } from "./usage.js";

/** @typedef {import("./choice.js").Path} Path */
/** @typedef {{model: string, tools?: string | string[], params?: Record<string, any>}} PathObject */
/** @typedef {"local" | "remote"} Mode */

/**
 * @typedef {object} Choice Which path this execution takes, and why.
 * @property {Path} path
 * @property {string} model the path's
 * @property {string} traceId
 * @property {string} goal
 * @property {string} reason
 * @property {boolean} exploration
 * @property {number | null} probability with which it was chosen; null while that was not yet worked out
 * @property {number | null} confidence the probability that it is the best
 */

/**
 * @template {Mode} [M="local"]
 * @typedef {object} RouterOptions
 * @property {string} goal one task with one criterion of success
 * @property {(string | PathObject)[]} paths the ways to do it
 * @property {import("./requests.js").Constraints} [constraints]
 * @property {(result: any) => boolean | Promise<boolean>} [successWhen]
 * @property {(result: any) => number | Promise<number>} [scoreWhen]
 * @property {(request: any) => any} [complete] calls the provider: takes `{ model, messages, ...params }`
 * @property {import("./requests.js").Risk} [risk] medium
 * @property {string} [pipelineId]
 * @property {M} [mode] "local" draws from a snapshot; "remote" asks the server, and answers in promises
 * @property {number} [refreshSeconds] 10
 * @property {import("./client.js").AgentLoop} [client]
 */

/**
 * @typedef {object} Report
 * @property {boolean} [success]
 * @property {number} [score]
 * @property {string} [reason]
 * @property {string} [failureCategory] one of `FAILURE_CATEGORIES`
 * @property {Record<string, unknown>} [metadata]
 */

/**
 * `choose` costs microseconds: it draws from a snapshot that is refreshed in the background, works while the server
 * is away, and takes the first path while nothing was ever known.
 * @template {Mode} [M="local"]
 */
export class Router {
  #constraints;
  #goal;
  #complete;
  /** @type {Context<Trace>} */
  #current = new Context();

  /** @param {RouterOptions<M>} options */
  constructor(options) {
    const { goal, paths, pipelineId = "", risk = "medium", mode = /** @type {M} */ ("local"), refreshSeconds = 10 } = options;
    check(goal && paths?.length, "A router takes a goal and paths.");
    check(["local", "remote"].includes(mode), "mode is local or remote.");
    check(["low", "medium", "high"].includes(risk), "risk is low, medium or high.");
    this.goal = goal;
    this.pipelineId = pipelineId;
    this.risk = risk;
    this.mode = mode;
    this.paths = paths.map(readPath);
    this.successWhen = options.successWhen;
    this.scoreWhen = options.scoreWhen;
    this.#complete = options.complete;
    this.client = options.client ?? defaultClient();
    this.#constraints = readConstraints(options.constraints ?? {});
    const terms = { models: new Set(this.paths.map((path) => path.model)), constraints: this.#constraints, risk };
    this.#goal = new Goal(this, terms, refreshSeconds * 1000);
  }

  // --- choosing ----------------------------------------------------------------------------------------------

  /**
   * A path for one execution, with a trace id of its own. `report` speaks of it until the next choice.
   * @returns {M extends "remote" ? Promise<Choice> : Choice}
   */
  choose() {
    return chain(this.startTrace(), (/** @type {Trace} */ trace) => trace.choice);
  }

  /**
   * A choice as something that can be reported on later, from anywhere.
   * @returns {M extends "remote" ? Promise<Trace> : Trace}
   */
  startTrace() {
    if (this.mode === "remote") {
      return /** @type {any} */ (this.#asked().then((choice) => this.#begin(choice)));
    }
    return /** @type {any} */ (this.#begin(this.#drawn()));
  }

  /** @param {Choice} choice */
  #begin(choice) {
    const trace = new Trace(this, choice);
    this.#current.set(trace);
    return trace;
  }

  /**
   * Work within a trace: an exception that leaves it is reported as a failure of its kind.
   * @template T
   * @param {(trace: Trace) => T} work
   * @returns {M extends "remote" ? Promise<Awaited<T>> : T}
   */
  trace(work) {
    return chain(this.startTrace(), (/** @type {Trace} */ trace) => trace.watch(() => work(trace)));
  }

  /**
   * Waits for the first snapshot. Nothing needs it: choosing works before.
   * @param {number} [timeoutMs]
   */
  ready(timeoutMs = 5_000) {
    return this.#goal.wait(timeoutMs);
  }

  /** @returns {Choice} */
  #drawn() {
    const found = this.#goal.draw();
    const traceId = tokenHex(16);
    if (!found) return this.#choice(traceId, drawn(this.paths[0], "nothing is known yet: the first path"));
    const choice = this.#choice(traceId, found.drawn, found.probability, found.confidence);
    if (choice.path.pathId) this.#tellDecision(choice);
    return choice;
  }

  /**
   * @param {string} traceId
   * @param {import("./choice.js").Drawn} found
   * @param {number | null} [probability]
   * @param {number | null} [confidence]
   * @returns {Choice}
   */
  #choice(traceId, found, probability = null, confidence = null) {
    const path = found.path ?? this.paths[0];
    const reason = found.path ? found.reason : `${found.reason}: the first path`;
    const { goal } = this;
    return { path, model: path.model, traceId, goal, reason, exploration: found.exploration, probability, confidence };
  }

  /** @param {Choice} choice */
  #tellDecision(choice) {
    this.client.post("decisions", {
      goal: this.goal,
      trace_id: choice.traceId,
      path_id: choice.path.pathId,
      task_risk_level: this.risk,
      exploration: choice.exploration,
      probability: choice.probability,
      confidence: choice.confidence,
      decided_at: unixSeconds(),
      pipeline_id: this.pipelineId || undefined,
    });
  }

  async #asked() {
    const body = {
      goal: this.goal,
      task_risk_level: this.risk,
      candidate_model_ids: [...new Set(this.paths.map((path) => path.model))],
      constraints: this.#constraints,
      pipeline_id: this.pipelineId,
    };
    try {
      return this.#decided(await this.client.ask(posted("/api/v1/routing/decide", said(body, isFull)), "trace_id"));
    } catch (error) {
      this.client.trouble(error);
      return this.#choice(tokenHex(16), drawn(this.paths[0], "the server can't be asked"));
    }
  }

  /** @param {Record<string, any>} body */
  #decided(body) {
    const traceId = String(body.trace_id);
    const reason = String(body.reason || "");
    const found = drawn(body.path_id && pathOf(body), reason, body.exploration === true);
    return this.#choice(traceId, found, body.probability, body.confidence);
  }

  // --- doing -------------------------------------------------------------------------------------------------

  /**
   * Chooses a path and calls its provider, directly; reports cost, time and how it turned out.
   *
   * The provider's own answer comes back, and its own exception comes through: nothing is tried again.
   * @param {any} messages
   * @param {Record<string, any>} [params]
   * @returns {Promise<any>}
   */
  async completion(messages, params) {
    const trace = await this.startTrace();
    return trace.completion(messages, params);
  }

  /**
   * Chooses a path and does the work with it: `work(path, ...)`, which may be async.
   * @template T
   * @template {any[]} A
   * @param {(path: Path, ...given: A) => T} work
   * @param {A} given
   * @returns {M extends "remote" ? Promise<Awaited<T>> : T}
   */
  execute(work, ...given) {
    return this.trace((trace) => chain(work(trace.path, ...given), (result) => (trace.judge(result), result)));
  }

  /**
   * The same function, each call of which gets the chosen path as its first argument.
   * @template T
   * @template {any[]} A
   * @param {(path: Path, ...given: A) => T} work
   * @returns {(...given: A) => M extends "remote" ? Promise<Awaited<T>> : T}
   */
  routed(work) {
    return (...given) => this.execute(work, ...given);
  }

  /** What calls the provider. */
  get provider() {
    if (!this.#complete) throw new BadArgument("`complete` was not given.");
    return this.#complete;
  }

  // --- telling -----------------------------------------------------------------------------------------------

  /** The latest trace of this chain of calls. */
  get current() {
    return this.#current.get();
  }

  /**
   * How the latest execution turned out. See `Trace.report`.
   * @param {Report} how
   */
  report(how) {
    this.#latest()?.report(how);
  }

  /**
   * A later word about the latest execution. See `Trace.updateOutcome`.
   * @param {Report} how
   */
  updateOutcome(how) {
    this.#latest()?.updateOutcome(how);
  }

  #latest() {
    const trace = this.current;
    if (!trace) this.client.trouble(new BadArgument("Choose a path first."));
    return trace;
  }
}

/** One execution. */
export class Trace {
  #router;
  #began = performance.now();
  #isTold = false;
  #isMeasured = false;

  /**
   * @param {Router<any>} router
   * @param {Choice} choice
   */
  constructor(router, choice) {
    this.#router = router;
    this.choice = choice;
  }

  get traceId() {
    return this.choice.traceId;
  }

  get goal() {
    return this.choice.goal;
  }

  get path() {
    return this.choice.path;
  }

  /**
   * Does the work; reports the exception that leaves it, and the time it took.
   * @template T
   * @param {() => T} work
   * @returns {T}
   */
  watch(work) {
    const done = (/** @type {any} */ result) => (this.#isMeasured || this.measure(), result);
    const broken = (/** @type {unknown} */ error) => {
      this.#fail(error);
      throw error;
    };
    let result;
    try {
      result = work();
    } catch (error) {
      return broken(error);
    }
    return chain(result, done, broken);
  }

  /**
   * Calls the path's provider and tells what it cost and whether it served.
   * @param {any} messages
   * @param {Record<string, any>} [params]
   * @returns {Promise<any>}
   */
  async completion(messages, params) {
    const { provider } = this.#router;
    const beganMs = performance.now();
    try {
      const response = await provider({ model: this.path.model, messages, ...this.path.params, ...params });
      this.measure({ beganMs, response });
      this.judge(textOfAnswer(response) || response);
      return response;
    } catch (error) {
      this.#fail(error, beganMs);
      throw error;
    }
  }

  /**
   * How it turned out. Goes with the next batch; a later report replaces an earlier one.
   * @param {Report} how
   */
  report({ success, score, ...more }) {
    const { failureCategory } = more;
    if (failureCategory !== undefined && !FAILURE_CATEGORIES.includes(failureCategory)) {
      this.#router.client.trouble(new BadArgument("failureCategory is one of FAILURE_CATEGORIES."));
      more.failureCategory = undefined;
    }
    this.#isTold = true;
    const { model, pathId, tools, params } = this.path;
    const body = {
      ...this.#outcome({ success: success ?? (score === undefined ? undefined : score >= 0.5), score, ...more }),
      model_id: model,
      path_id: pathId,
      tool_id: tools[0],
      execution_params: params,
      pipeline_id: this.#router.pipelineId,
      occurred_at: unixSeconds(),
    };
    this.#router.client.post("outcomes", said(body, isFull));
  }

  /**
   * What became known later; it outweighs the report. What is left out stays as it is.
   * @param {Report} how
   */
  updateOutcome(how) {
    this.#router.client.post("updates", said(this.#outcome(how)));
  }

  /** @param {Report} how */
  #outcome({ success, reason, ...more }) {
    const how = outcome(this.traceId, this.goal, success, { failureReason: reason, ...more });
    return { ...how, idempotency_key: tokenHex(16) };
  }

  /**
   * Reports what `successWhen` and `scoreWhen` say of a result; nothing, where neither was given.
   * @param {unknown} result
   */
  judge(result) {
    const { successWhen, scoreWhen, client } = this.#router;
    if (this.#isTold || !(successWhen || scoreWhen)) return;
    const broken = (/** @type {unknown} */ error) =>
      client.trouble(new BadArgument(`successWhen or scoreWhen broke: ${kindOf(error)}.`, { cause: error }));
    try {
      const said = [successWhen?.(result), scoreWhen?.(result)];
      // Judges that take their time are not waited for.
      if (said.some(isThenable)) {
        // Strictness has nobody left to throw at here.
        void Promise.all(said).then((verdict) => this.#conclude(verdict)).catch(broken).catch(() => {});
      } else this.#conclude(said);
    } catch (error) {
      broken(error);
    }
  }

  /** @param {any[]} said */
  #conclude([held, weighed]) {
    const success = held === undefined ? undefined : Boolean(held);
    // A score that is no number is told by its kind alone.
    const score = weighed === undefined ? undefined : Math.min(1, Math.max(0, Number(weighed)));
    if (Number.isNaN(score)) throw new TypeError();
    this.report({ success, score, failureCategory: success === false ? "validation_failed" : undefined });
  }

  /**
   * What the execution cost and how long it took. Nothing that was said goes along.
   * @param {{beganMs?: number, response?: any, error?: any, costUsd?: number, latencyMs?: number}} [what]
   */
  measure({ beganMs = this.#began, response, error, costUsd, latencyMs = performance.now() - beganMs } = {}) {
    this.#isMeasured = true;
    const tokens = tokensOf(response);
    this.#router.client.post("events", {
      trace_id: this.traceId,
      span_id: tokenHex(8),
      goal: this.goal,
      model_id: this.path.model,
      operation: "completion",
      input_tokens: tokens.in,
      output_tokens: tokens.out,
      cost_usd: costUsd,
      latency_ms: Number(latencyMs.toFixed(3)),
      status: error ? "error" : "ok",
      error_type: error && kindOf(error),
      timestamp: unixSeconds(),
    });
  }

  /**
   * @param {any} error
   * @param {number} [beganMs]
   */
  #fail(error, beganMs) {
    // An execution that was called off says nothing about the path.
    if (/Abort/.test(kindOf(error))) return;
    if (!this.#isMeasured) this.measure({ beganMs, error });
    if (!this.#isTold) this.report({ success: false, reason: reasonOf(error), failureCategory: categoryOf(error) });
  }
}

/**
 * A model's name, or an object with a model, and perhaps tools and params.
 * @param {any} given
 * @returns {Path}
 */
function readPath(given) {
  const { model, tools = [], params = {} } = typeof given === "string" ? { model: given } : (given ?? {});
  check(typeof model === "string" && model, "A path is a model or has one.");
  return { model, tools: typeof tools === "string" ? [tools] : [...tools], params: { ...params }, pathId: "" };
}

/**
 * A router that is put together wrongly is told at once: that is before any agent runs.
 * @param {unknown} holds
 * @param {string} sentence
 */
function check(holds, sentence) {
  if (!holds) throw new BadArgument(sentence);
}
