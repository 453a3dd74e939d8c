/** Logs turns for review and asks for what the reviews taught. */

import { isThenable } from "./context.js";
import { Courier } from "./courier.js";
import { encode, kindOf } from "./encode.js";
import * as errors from "./errors.js";
import { bodyOf, Http, isWorthARetry } from "./http.js";
import * as messages from "./messages.js";
import { isSampled } from "./sampling.js";
import { readSettings, Warnings } from "./settings.js";

/** @typedef {import("./messages.js").Text} Text */
/** @typedef {import("./messages.js").TurnOptions} TurnOptions */
/** @typedef {import("./messages.js").LoggedTurn} LoggedTurn */
/** @typedef {import("./http.js").Answer} Answer */
/** @typedef {import("./http.js").Request} Request */

/**
 * Nothing here throws into the agent unless `strict`; `logTurn` returns in microseconds and the rest happens behind
 * the agent's back. One client serves the whole process, page or isolate.
 */
export class AgentLoop {
  #settings;
  #http;
  #courier;

  /** @param {import("./settings.js").ClientOptions} [options] */
  constructor(options = {}) {
    this.#settings = readSettings(options);
    this.warnings = new Warnings(options.warn);
    this.#http = new Http(this.#settings, options.fetch);
    this.#courier = new Courier(this.#settings, this.#http, this.warnings);
    if (!this.settings.apiKey) this.trouble(new errors.NotConfigured());
  }

  /** Not a field of its own: no secret is shown by whoever prints the client. */
  get settings() {
    return this.#settings;
  }

  // --- turns -------------------------------------------------------------------------------------------------

  /**
   * Hands a turn over for review and returns at once. With `wait` it stays for the server's receipt; where that
   * can't be had in time, the turn goes on in the background and null comes back.
   *
   * Texts, signals and metadata may be functions.
   * @template {TurnOptions} [O={}]
   * @param {Text} question
   * @param {Text} agentResponse
   * @param {O} [options]
   * @returns {O extends {wait: true} ? Promise<LoggedTurn | null> : void}
   */
  logTurn(question, agentResponse, options) {
    const made = () => messages.turnMessage(question, agentResponse, options ?? {});
    if (options?.wait) return /** @type {any} */ (this.#logAndWait(made));
    try {
      this.post("turns", made());
    } catch (error) {
      this.trouble(error);
    }
    return /** @type {any} */ (undefined);
  }

  /** @param {() => Record<string, any>} made */
  async #logAndWait(made) {
    try {
      const turn = made();
      const answer = await this.call(messages.turnRequest(turn));
      // The same idempotency key: if it did arrive, it stays one turn.
      if (isWorthARetry(answer) && !this.settings.strict) this.post("turns", turn);
      return messages.readLogged(bodyOf(answer, "turn_id"));
    } catch (error) {
      this.trouble(error);
      return null;
    }
  }

  /**
   * `logTurn`, if the condition, a value or a function, holds. Costs nothing to speak of if it doesn't.
   * @template {TurnOptions} [O={}]
   * @param {unknown} condition
   * @param {Text} question
   * @param {Text} agentResponse
   * @param {O} [options]
   * @returns {(O extends {wait: true} ? Promise<LoggedTurn | null> : void) | void}
   */
  logTurnIf(condition, question, agentResponse, options) {
    if (condition && this.#holds(condition)) return this.logTurn(question, agentResponse, options);
  }

  /** A condition that breaks does not hold, and is told. @param {unknown} condition */
  #holds(condition) {
    if (typeof condition !== "function") return true;
    try {
      const held = condition();
      // A promise is always true: whoever gives one would log everything.
      if (isThenable(held)) throw new TypeError();
      return Boolean(held);
    } catch (error) {
      this.trouble(new errors.BadArgument(`A condition of logTurnIf broke: ${kindOf(error)}.`, { cause: error }));
      return false;
    }
  }

  /**
   * `logTurn` for one in so many, with the rate on record, so that statistics can be weighted.
   *
   * A session (or else a user) is drawn as a whole or not at all.
   * @template {TurnOptions} [O={}]
   * @param {number} rate
   * @param {Text} question
   * @param {Text} agentResponse
   * @param {O} [options]
   * @returns {(O extends {wait: true} ? Promise<LoggedTurn | null> : void) | void}
   */
  sample(rate, question, agentResponse, options) {
    const given = /** @type {TurnOptions} */ (options ?? {});
    if (!Number.isFinite(rate)) {
      return void this.trouble(new errors.BadArgument("A rate is a number from 0 to 1."));
    }
    if (!isSampled(rate, String(given.sessionId || given.userId || ""))) return;
    const { signals } = given;
    const mark = (/** @type {messages.Fields} */ said = {}) => ({ ...said, random_sample: true });
    const marked = typeof signals === "function" ? () => mark(signals()) : mark(signals);
    const more = { ...given, signals: marked, sampleRate: Math.min(1, rate) };
    return /** @type {any} */ (this.logTurn(question, agentResponse, more));
  }

  // --- what reviews taught -----------------------------------------------------------------------------------

  /**
   * Corrections that bear on a question, best first; none where the server can't be asked.
   * @param {string} query
   * @param {import("./messages.js").SearchOptions} [options]
   * @returns {Promise<import("./messages.js").Memory[]>}
   */
  async search(query, options = {}) {
    try {
      return messages.readMemories(await this.ask(messages.searchRequest(query, options), "memories"));
    } catch (error) {
      this.trouble(error);
      return [];
    }
  }

  /**
   * Judges an answer and says what it should have been. Null where the server would not take it.
   * @param {string} question
   * @param {string} agentResponse
   * @param {string} correction
   * @param {import("./messages.js").AnnotateOptions} [options]
   * @returns {Promise<import("./messages.js").Annotation | null>}
   */
  async annotate(question, agentResponse, correction, options = {}) {
    try {
      const request = messages.annotateRequest(question, agentResponse, correction, options);
      return messages.readAnnotation(await this.ask(request, "annotation_id"));
    } catch (error) {
      this.trouble(error);
      return null;
    }
  }

  // --- the way to the server, for the routing side as well ----------------------------------------------------

  /**
   * Hands a message to the background; whether it is sure of its place.
   * @param {string} lane
   * @param {object} message
   */
  post(lane, message) {
    if (this.#courier.isClosed || !this.settings.apiKey) {
      this.trouble(this.#courier.isClosed ? new errors.Closed() : new errors.NotConfigured());
      return false;
    }
    const kept = this.#courier.put(lane, encode(message));
    if (!kept && this.settings.strict) throw new errors.BufferFull();
    return kept;
  }

  /**
   * A request that is waited for, with retries while time is left.
   * @param {Request} request
   * @param {number} [timeoutMs]
   * @returns {Promise<Answer>}
   */
  async call(request, timeoutMs) {
    if (!this.settings.apiKey) throw new errors.NotConfigured();
    return this.#http.call(request, timeoutMs);
  }

  /**
   * A request's answer, which has a member of the expected name. Throws whatever went wrong.
   * @param {Request} request
   * @param {string} expected
   * @returns {Promise<Record<string, any>>}
   */
  async ask(request, expected) {
    return bodyOf(await this.call(request), expected);
  }

  /**
   * Throws where that was asked for; else tells the log, without a word of content.
   * @param {unknown} error
   */
  trouble(error) {
    if (this.settings.strict) throw error;
    if (error instanceof errors.AgentLoopError) {
      const { sentence } = /** @type {typeof errors.AgentLoopError} */ (error.constructor);
      this.warnings.tell(error.code, `${error.code}${error.status ? ` (status ${error.status})` : ""}. ${sentence}`);
    } else {
      this.warnings.tell(kindOf(error), `something broke: ${kindOf(error)}.`);
    }
  }

  // --- the end -----------------------------------------------------------------------------------------------

  /** How much was queued, sent, refused and dropped, and how much waits. */
  get stats() {
    return this.#courier.outbox.stats;
  }

  /**
   * Waits until everything that was handed over has arrived; whether it has.
   * @param {number} [timeoutMs]
   */
  flush(timeoutMs) {
    return this.#courier.flush(timeoutMs);
  }

  /**
   * Sends what waits and ends. Node does as much by itself when nothing is left to do, though not on `process.exit()`.
   * @param {number} [timeoutMs]
   */
  close(timeoutMs) {
    return this.#courier.close(timeoutMs);
  }
}
