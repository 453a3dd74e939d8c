/** What the router and the questions of routing.js alike say to the server. */

import { CONSTRAINTS } from "./choice.js";
import { isFull, picked, said } from "./encode.js";
import { BadArgument } from "./errors.js";
import { posted } from "./http.js";

/** @typedef {"low" | "medium" | "high"} Risk */
/** @typedef {{maxCostUsd?: number, maxLatencyMs?: number, minQuality?: number, minConfidence?: number, maxRisk?: number}} Constraints */

/**
 * @typedef {object} OutcomeOptions
 * @property {number} [score]
 * @property {string} [failureReason]
 * @property {string} [failureCategory] one of `FAILURE_CATEGORIES`
 * @property {Record<string, unknown>} [metadata]
 * @property {string} [idempotencyKey]
 */

/**
 * @param {string} traceId
 * @param {string} goal
 * @param {boolean | null | undefined} success
 * @param {OutcomeOptions} options
 */
export function outcome(traceId, goal, success, options) {
  const how = picked(options, ["score", "failureReason", "failureCategory", "metadata"]);
  return { trace_id: traceId, goal, success, ...how };
}

/**
 * @param {string} goal
 * @param {{model: string, tools: string[], params?: Record<string, any>}} path
 * @param {Risk} [riskLevel]
 */
export function pathRequest(goal, { model, tools, params }, riskLevel = "low") {
  const body = { goal, model_id: model, tool_id: tools[0], tools, params, risk_level: riskLevel };
  return posted("/api/v1/routing/paths", said(body, isFull));
}

/**
 * The server's names for constraints; ours are the same in camelCase.
 * @param {Record<string, any>} given
 * @returns {Record<string, number>}
 */
export function readConstraints(given) {
  const read = picked(said(given), Object.keys(said(given)));
  const unknown = Object.keys(read).filter((name) => !CONSTRAINTS.includes(name));
  if (unknown.length) {
    throw new BadArgument(`Unknown constraints: ${unknown.join(", ")}.`);
  }
  return read;
}
