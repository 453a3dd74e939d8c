/** The three levels: what users say plainly, what their next message says, and what they do with an answer. */

import { chain, Context, isThenable } from "../context.js";
import { isFull, kindOf, said } from "../encode.js";
import { tokenHex } from "../tokens.js";
import { classify, reading } from "./classifier.js";
import { ask, masked } from "./model.js";
import { MemoryStore, momentumOf, seen, SESSION_SECONDS, strengthOf } from "./sessions.js";
import { ACTIONS, likenessIn, useOf } from "./use.js";

/** From this confidence on no model is asked. */
const SURE = 0.85;
/** Below this nothing is sent: an inferred verdict outranks the automatic report of its trace, so a guess would harm. */
const LEAST = 0.7;
const MOST_EVIDENCE = 500;
const MOST_ASKED = 1000;
/** The mark by which the server knows that nobody said this. */
const SESSION_END = "session_end_inferred";
const SCORES = { accept: 1, reject: 0, continue: 0.5 };
const TYPES = { accept: "user_accepted", reject: "user_rejected", continue: "" };

/** @typedef {import("./classifier.js").Reading} Reading */
/** @typedef {import("./sessions.js").Session} Session */
/** @typedef {{traceId: string, goal: string}} Run an execution that users may say something about */

/**
 * @typedef {object} SignalsOptions
 * @property {import("./model.js").Model} [model] asked about messages that words don't settle; sees masked text
 * @property {import("./sessions.js").Store} [store] where several processes serve one conversation
 * @property {boolean} [rawEvidence] the message goes along, masked and cut at 500; else no text leaves the process
 */

/**
 * Tells the server how users took the answers. Returns at once, and throws only if the client is strict.
 *
 * With a store that answers in promises, so do the methods that read it.
 */
export class Signals {
  #loop;
  #model;
  #rawEvidence;
  #sessions;
  #answers = new MemoryStore();
  /** @type {Context<Run>} */
  #run = new Context();
  /** @type {Promise<unknown> | null} what an async store is still at */
  #order = null;
  /** @type {Set<Promise<void>>} */
  #asking = new Set();

  /**
   * @param {import("../client.js").AgentLoop} loop
   * @param {SignalsOptions} [options]
   */
  constructor(loop, { model, store = new MemoryStore(), rawEvidence = false } = {}) {
    this.#loop = loop;
    this.#model = model;
    this.#sessions = store;
    this.#rawEvidence = rawEvidence;
    classify(""); // Reads the cues now, so that no message waits for it.
  }

  // --- level 1: what users say plainly -----------------------------------------------------------------------

  /**
   * Remembers a run, a router's trace or choice or anything with `traceId` and `goal`, for the two below.
   *
   * It is remembered for this chain of calls. Where the user's word comes in another request, pass the run there.
   * @param {any} result
   * @returns {Run | null}
   */
  trackRun(result) {
    const run = runOf(result);
    this.#run.set(run ?? undefined);
    if (!run) this.#loop.warnings.tell("run", "a run to track has a traceId and a goal.");
    return run;
  }

  /**
   * The user is content. A score of a half or less would say the opposite, and is lifted over it.
   * @param {{score?: number, run?: any}} [how]
   */
  userAccepted({ score = 0.85, run } = {}) {
    return this.#say(run, "user_accepted", "user_explicit", Math.min(1, Math.max(0.51, score)));
  }

  /**
   * The user is not content. A reason of your own words, if any, goes along.
   * @param {{reason?: string, run?: any}} [how]
   */
  userRejected({ reason = "", run } = {}) {
    const evidence = reason && reason !== SESSION_END ? reason.slice(0, MOST_EVIDENCE) : undefined;
    return this.#say(run, "user_rejected", "user_explicit", 0, { raw_evidence: evidence });
  }

  // --- level 2: what the next message says -------------------------------------------------------------------

  /**
   * An answer was given in a session: what the user does next is about it. Returns the trace id.
   *
   * With the trace id of a decision, it is that decision's path that the user's signals count for. Neither the
   * prompt nor the output leaves the process; a model, if there is one, sees the output's beginning, masked.
   * @param {{sessionId: string, goal: string, prompt: string, output: string, model: string, traceId?: string, metaPromptId?: string}} answered
   */
  reportPipeline({ sessionId, goal, prompt, output, model, traceId = tokenHex(16), metaPromptId }) {
    this.#withSession(sessionId, undefined, (before) => {
      const scores = before?.scores ?? [];
      const session = { traceId, goal, model, metaPromptId, hasActed: false, scores, earlier: scores.length };
      if (this.#model) this.#answers.put(sessionId, { output: (output || prompt).slice(0, 2000) }, SESSION_SECONDS);
      const about = { model, session_id: sessionId, meta_prompt_id: metaPromptId };
      this.#post({ traceId, goal }, "pipeline_anchor", "pipeline", 0.5, about);
      return this.#keep(sessionId, session);
    });
    return traceId;
  }

  /**
   * Reads the user's next message, and sends what it says. What is returned is the heuristic's reading.
   * @param {string} sessionId
   * @param {string} userMessage
   * @returns {Reading}
   */
  reportUserTurn(sessionId, userMessage) {
    const read = this.#guarded(reading("continue", 0), () => classify(userMessage));
    this.#withSession(sessionId, undefined, (session) => {
      if (!session) return;
      const model = this.#model;
      const isSettled = !model || read.confidence >= SURE || session.hasActed || this.#asking.size >= MOST_ASKED;
      if (isSettled) return this.#conclude(sessionId, session.traceId, read, userMessage);
      this.#askLater(model, sessionId, session.traceId, read, userMessage);
    });
    return read;
  }

  /**
   * Asks the model in the background. A model that fails or says nothing leaves the heuristic's word.
   * @param {import("./model.js").Model} model
   * @param {string} sessionId
   * @param {string} traceId
   * @param {Reading} read
   * @param {string} message
   */
  #askLater(model, sessionId, traceId, read, message) {
    const answer = this.#answers.get(sessionId)?.output ?? "";
    const work = ask(model, message, answer)
      .catch((error) => this.#loop.warnings.tell("model", `the model that reads messages failed: ${kindOf(error)}.`))
      .then((found) =>
        this.#withSession(sessionId, undefined, () => this.#conclude(sessionId, traceId, found || read, message)),
      )
      .catch(() => {}) // A strict client has nobody left to throw at.
      .finally(() => this.#asking.delete(work));
    this.#asking.add(work);
  }

  /**
   * Remembers a reading, and sends it if it is a verdict that is sure enough and nothing better is known.
   * @param {string} sessionId
   * @param {string} traceId
   * @param {Reading} read
   * @param {string} message
   */
  #conclude(sessionId, traceId, read, message) {
    return chain(this.#sessions.get(sessionId), (/** @type {Session | null} */ session) => {
      if (session?.traceId !== traceId) return;
      const { kind, confidence, isCorrection, readBy } = read;
      if (kind !== "continue" && confidence >= LEAST && !session.hasActed) {
        this.#post(session, TYPES[kind], "user_implicit", SCORES[kind], {
          confidence: Math.round(confidence * 1000) / 1000,
          dimensions: { read_by: readBy, is_correction: isCorrection },
          raw_evidence: this.#rawEvidence ? masked(message, MOST_EVIDENCE) : undefined,
          ...about(sessionId, session),
        });
      }
      return this.#keep(sessionId, seen(session, SCORES[kind], confidence));
    });
  }

  /**
   * The conversation is over: sends what its course says of the latest answer, marked as inferred.
   *
   * Returns the momentum: improving, declining or flat; null for a session that nobody knows.
   * @param {string} sessionId
   * @returns {any}
   */
  reportSessionEnd(sessionId) {
    return this.#withSession(sessionId, null, (session) => {
      this.#answers.delete(sessionId);
      if (!session) return null;
      const { strength, confidence } = strengthOf(session);
      const momentum = momentumOf(session);
      if (strength !== 0.5 && !session.hasActed) {
        this.#post(session, "session_end", "user_implicit", Math.round(strength * 1000) / 1000, {
          confidence: Math.round(confidence * 1000) / 1000,
          momentum,
          raw_evidence: SESSION_END,
          ...about(sessionId, session),
        });
      }
      return chain(this.#sessions.delete(sessionId), () => momentum);
    });
  }

  // --- level 3: what users do with an answer -----------------------------------------------------------------

  /**
   * The user did something with the latest answer, which counts for more than what they say of it: one of `ACTIONS`.
   * A unified diff of the edit is weighed here, and stays here.
   * @param {string} sessionId
   * @param {string} actionType
   * @param {{editDiff?: string}} [how]
   * @returns {any} whether it was taken
   */
  reportAction(sessionId, actionType, { editDiff } = {}) {
    const weighed = actionType === "output_edited" && editDiff ? likenessIn(editDiff) : null;
    const strength = weighed ?? ACTIONS[/** @type {keyof typeof ACTIONS} */ (actionType)];
    return this.#acted(sessionId, actionType, strength);
  }

  /**
   * Compares an answer with the text that the user kept, and reports the action that this tells.
   *
   * Of a session's latest answer; without a session, of the run given or tracked.
   * @param {string} output
   * @param {string} finalText
   * @param {{sessionId?: string, run?: any}} [of]
   */
  observeUse(output, finalText, { sessionId, run } = {}) {
    return this.#guarded({ action: "output_edited", score: 0.5 }, () => {
      const use = useOf(output, finalText);
      if (sessionId === undefined) this.#say(run, use.action, "downstream", use.score);
      else this.#acted(sessionId, use.action, use.score);
      return use;
    });
  }

  /**
   * @param {string} sessionId
   * @param {string} action
   * @param {number | undefined} strength
   */
  #acted(sessionId, action, strength) {
    return this.#withSession(sessionId, false, (session) => {
      if (!session) return false;
      const isTaken = this.#post(session, action, "downstream", strength, about(sessionId, session));
      return chain(this.#keep(sessionId, { ...session, hasActed: true }), () => isTaken);
    });
  }

  // --- the end -----------------------------------------------------------------------------------------------

  /** Waits until the model was asked about everything that waits, and the store is done. The client sends on its own. */
  async flush() {
    await this.#order;
    await Promise.all(this.#asking);
    await this.#order;
  }

  // --- sending -----------------------------------------------------------------------------------------------

  /**
   * @param {any} given
   * @param {string} kind
   * @param {string} source
   * @param {number} strength
   * @param {object} [more]
   */
  #say(given, kind, source, strength, more) {
    const run = given === undefined ? this.#run.get() : runOf(given);
    if (run) return this.#guarded(false, () => this.#post(run, kind, source, strength, more));
    this.#loop.warnings.tell("run", "nothing was tracked that a user could have meant.");
    return false;
  }

  /**
   * @param {Run} run
   * @param {string} kind
   * @param {string} source
   * @param {number | undefined} strength
   * @param {object} [more]
   */
  #post({ traceId, goal }, kind, source, strength, more) {
    const signal = {
      trace_id: traceId,
      goal,
      signal_type: kind,
      signal_source: source,
      strength,
      occurred_at: nextMoment(),
      idempotency_key: tokenHex(16),
      ...more,
    };
    return this.#loop.post("signals", said(signal, isFull));
  }

  /**
   * Work on a session, one after the other. A store that fails is told of, and throws for a client that is strict.
   * @template T
   * @param {string} sessionId
   * @param {T} instead
   * @param {(session: Session | null) => any} work
   * @returns {T | Promise<T>}
   */
  #withSession(sessionId, instead, work) {
    const begin = () => this.#guarded(instead, () => chain(this.#sessions.get(sessionId), work));
    const result = this.#order ? this.#order.then(begin) : begin();
    if (!isThenable(result)) return result;
    const done = Promise.resolve(result).then(() => {}, () => {}).then(() => {
      if (this.#order === done) this.#order = null;
    });
    this.#order = done;
    return /** @type {Promise<T>} */ (result);
  }

  /** @param {string} sessionId @param {Session} session */
  #keep(sessionId, session) {
    return this.#sessions.put(sessionId, session, SESSION_SECONDS);
  }

  /**
   * @template T
   * @param {T} instead
   * @param {() => T} work
   * @returns {T}
   */
  #guarded(instead, work) {
    const broken = (/** @type {unknown} */ error) => (this.#loop.trouble(error), instead);
    try {
      const result = work();
      return isThenable(result) ? /** @type {any} */ (result.then((found) => found, broken)) : result;
    } catch (error) {
      return broken(error);
    }
  }
}

/** @param {string} sessionId @param {Session} session */
function about(sessionId, { model, metaPromptId }) {
  return { session_id: sessionId, model, meta_prompt_id: metaPromptId };
}

let lastMicroseconds = 0;

/** Unix seconds, each later than the last: signals of one millisecond keep their order. */
function nextMoment() {
  lastMicroseconds = Math.max(Date.now() * 1000, lastMicroseconds + 1);
  return lastMicroseconds / 1e6;
}

/** @param {any} result @returns {Run | null} */
function runOf(result) {
  const known = result?.choice ?? result;
  const traceId = known?.traceId ?? known?.trace_id;
  return traceId && known.goal ? { traceId: String(traceId), goal: String(known.goal) } : null;
}
