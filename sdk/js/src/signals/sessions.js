/** What is remembered of a conversation, for half an hour: ids and readings, never a word of it. */

export const SESSION_SECONDS = 30 * 60;
const MOST_SESSIONS = 10_000;
const MOST_READINGS = 50;

/**
 * @typedef {object} Store Where sessions live. Values are JSON objects of a few hundred bytes. May be async.
 * @property {(key: string) => any} get
 * @property {(key: string, value: object, seconds: number) => any} put
 * @property {(key: string) => any} delete
 */

/** Sessions of this process. When there are too many, the one that rested longest goes. @implements {Store} */
export class MemoryStore {
  /** @type {Map<string, {until: number, value: object}>} */
  #kept = new Map();
  #most;

  constructor(most = MOST_SESSIONS) {
    this.#most = most;
  }

  /** @param {string} key @returns {any} */
  get(key) {
    const found = this.#kept.get(key);
    return found && found.until > Date.now() ? found.value : null;
  }

  /** @param {string} key @param {object} value @param {number} seconds */
  put(key, value, seconds) {
    this.#kept.delete(key);
    this.#kept.set(key, { until: Date.now() + seconds * 1000, value });
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= this.#most) break;
      this.#kept.delete(oldest);
    }
  }

  /** @param {string} key */
  delete(key) {
    this.#kept.delete(key);
  }

  get size() {
    return this.#kept.size;
  }
}

/**
 * @typedef {object} Session A conversation and the latest answer in it, which is what the next message is about.
 * @property {string} traceId
 * @property {string} goal
 * @property {string} model
 * @property {string} [metaPromptId]
 * @property {boolean} hasActed the user was seen to do something with the latest answer: that overrides what they say
 * @property {[score: number, confidence: number][]} scores of each message: how content (0, 0.5, 1), and how sure
 * @property {number} earlier how many of the scores are about answers before the latest
 */

/**
 * @param {Session} session
 * @param {number} score
 * @param {number} confidence
 * @returns {Session}
 */
export function seen(session, score, confidence) {
  /** @type {Session["scores"]} */
  const scores = [...session.scores, [score, Math.round(confidence * 1000) / 1000]];
  const gone = Math.max(0, scores.length - MOST_READINGS);
  return { ...session, scores: scores.slice(gone), earlier: Math.max(0, session.earlier - gone) };
}

/** How content the user seems with the latest answer, and how sure that is; later messages count double. @param {Session} session */
export function strengthOf({ scores, earlier }) {
  let [weighted, total, sure] = [0, 0, 0];
  scores.slice(earlier).reverse().forEach(([score, confidence], age) => {
    const weight = 0.5 ** age;
    weighted += weight * confidence * score;
    sure += weight * confidence;
    total += weight;
  });
  return sure ? { strength: weighted / sure, confidence: sure / total } : { strength: 0.5, confidence: 0 };
}

/** Whether the second half of the conversation went better than the first. @param {Session} session */
export function momentumOf({ scores }) {
  const half = scores.length >> 1;
  if (!half) return "flat";
  const change = mean(scores.slice(half)) - mean(scores.slice(0, half));
  return change > 0.2 ? "improving" : change < -0.2 ? "declining" : "flat";
}

/** @param {Session["scores"]} scores */
const mean = (scores) => scores.reduce((sum, [score]) => sum + score, 0) / scores.length;
