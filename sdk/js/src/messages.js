/** What the client says to the review side, and understands of it. */

import { isFull, picked, said, textOf } from "./encode.js";
import { isObject, posted } from "./http.js";
import { tokenHex } from "./tokens.js";

/** @typedef {Record<string, unknown>} Fields */
/** @typedef {string | (() => string)} Text a text, or what makes it when it is needed */
/** @typedef {Record<string, any>} Body */
/** @typedef {import("./http.js").Request} Request */

/**
 * @typedef {object} TurnOptions
 * @property {string} [userId]
 * @property {string} [sessionId]
 * @property {Fields | (() => Fields)} [signals] why the turn is worth a look, such as `{ thumbsDown: true }`
 * @property {Fields | (() => Fields)} [metadata]
 * @property {string} [traceId]
 * @property {string} [goal]
 * @property {string} [model]
 * @property {string} [pathId]
 * @property {string} [pipelineId]
 * @property {string[]} [tags]
 * @property {number} [sampleRate]
 * @property {string} [idempotencyKey]
 * @property {boolean} [wantFeedbackUrl]
 * @property {boolean} [wait] stay for the server's receipt
 */

/**
 * @typedef {object} LoggedTurn The server's receipt for a turn.
 * @property {string} turnId
 * @property {string} status
 * @property {boolean} wasDuplicate
 * @property {string | null} feedbackUrl
 */

/**
 * @typedef {object} Memory What a correction taught.
 * @property {string} id
 * @property {string} fact
 * @property {number} score
 * @property {string[]} tags
 * @property {string} source
 * @property {string} createdAt
 */

/**
 * @typedef {object} Annotation A verdict that was given from code.
 * @property {string} annotationId
 * @property {string | null} memoryId
 * @property {string} status
 * @property {number | null} duplicateScore
 * @property {string | null} turnId
 */

/**
 * @typedef {object} SearchOptions
 * @property {number} [limit] 3
 * @property {string} [userId]
 * @property {string[]} [tags] all of them
 */

/**
 * @typedef {object} AnnotateOptions
 * @property {"incorrect" | "partial" | "correct"} [rating] incorrect
 * @property {"context" | "prompt" | "model" | "tool"} [rootCause]
 * @property {string[]} [tags]
 * @property {string} [reviewer]
 * @property {string} [userId]
 * @property {Fields} [metadata]
 * @property {string} [idempotencyKey]
 */

/** @type {(keyof TurnOptions)[]} */
const TURN = [
  "userId", "sessionId", "traceId", "goal", "model", "pathId", "pipelineId", "tags", "sampleRate", "wantFeedbackUrl",
];
/** @type {(keyof AnnotateOptions)[]} */
const ANNOTATION = ["rating", "rootCause", "tags", "reviewer", "userId", "metadata"];

/**
 * @template T
 * @param {T | (() => T)} given
 * @returns {T}
 */
function valueOf(given) {
  return typeof given === "function" ? /** @type {() => T} */ (given)() : given;
}

/** @param {TurnOptions["signals"]} given */
function fields(given) {
  const value = valueOf(given);
  return isObject(value) ? value : undefined;
}

/**
 * A turn as the server takes it. What is not said is left out.
 * @param {Text} question
 * @param {Text} agentResponse
 * @param {TurnOptions} more
 * @returns {Record<string, any>}
 */
export function turnMessage(question, agentResponse, more) {
  const said = picked(more, TURN);
  said.signals = fields(more.signals);
  said.metadata = fields(more.metadata);
  for (const name in said) if (!isFull(said[name])) delete said[name];
  return {
    question: textOf(valueOf(question)),
    agent_response: textOf(valueOf(agentResponse)),
    occurred_at: unixSeconds(),
    idempotency_key: more.idempotencyKey || tokenHex(16),
    ...said,
  };
}

/** To the millisecond. */
export const unixSeconds = () => Date.now() / 1000;

/** @param {Record<string, any>} turn @returns {Request} */
export function turnRequest(turn) {
  return posted("/v1/turns", turn, turn.idempotency_key);
}

/** @param {Body} body @returns {LoggedTurn} */
export function readLogged({ turn_id: turnId, status = "pending", was_duplicate: wasDuplicate = false, feedback_url: feedbackUrl = null }) {
  return { turnId, status, wasDuplicate, feedbackUrl };
}

/** @param {string} query @param {SearchOptions} options @returns {Request} */
export function searchRequest(query, { limit = 3, userId, tags }) {
  return posted("/v1/memories/search", said({ query: textOf(query), limit, user_id: userId, tags }, isFull));
}

/** @param {Body} body @returns {Memory[]} */
export function readMemories({ memories }) {
  return memories.filter((/** @type {Body} */ one) => one?.fact).map((/** @type {Body} */ { id = "", fact, score = 0, tags = [], source = "", created_at: createdAt = "" }) => {
    return { id, fact, score, tags, source, createdAt };
  });
}

/**
 * @param {string} question
 * @param {string} agentResponse
 * @param {string} correction
 * @param {AnnotateOptions} options
 * @returns {Request}
 */
export function annotateRequest(question, agentResponse, correction, options) {
  const body = {
    question,
    agent_response: agentResponse,
    correction,
    rating: "incorrect",
    ...said(picked(options, ANNOTATION)),
  };
  return posted("/v1/annotations", body, options.idempotencyKey || tokenHex(16));
}

/** @param {Body} body @returns {Annotation} */
export function readAnnotation({ annotation_id: annotationId, memory_id: memoryId = null, status = "", duplicate_score: duplicateScore = null, turn_id: turnId = null }) {
  return { annotationId, memoryId, status, duplicateScore, turnId };
}
