/**
 * The routing side, a function for each question. They ask the server and wait; `Router` doesn't.
 *
 * Where the server can't be asked, or refuses, they answer null, and throw for a client that is strict.
 */

import { CONSTRAINTS } from "./choice.js";
import { AgentLoop } from "./client.js";
import { encode, said } from "./encode.js";
import { BadArgument } from "./errors.js";
import { headerSafe } from "./messages.js";
import { tokenHex } from "./tokens.js";

/** @typedef {"low" | "medium" | "high"} Risk */
/** @typedef {{maxCostUsd?: number, maxLatencyMs?: number, minQuality?: number, minConfidence?: number, maxRisk?: number}} Constraints */
/** @typedef {{client?: AgentLoop}} Asked the client to ask; the default one else */
/** @typedef {Promise<Record<string, any> | null>} Answered the server's answer, its names in camelCase */

/** @type {AgentLoop | null} */
let shared = null;

/** The client of whoever names none, with its settings from the environment. Made at first use. */
export function defaultClient() {
  return (shared ??= new AgentLoop());
}

/**
 * From now on this is the client of whoever names none.
 * @param {AgentLoop | null} client
 */
export function setDefaultClient(client) {
  shared = client;
}

/**
 * Which path now? `traceId`, `modelId`, `tools`, `params` and the reason.
 * @param {string} goal
 * @param {{candidateModelIds?: string[], taskRiskLevel?: Risk, pipelineId?: string, constraints?: Constraints} & Asked} [options]
 * @returns {Answered}
 */
export function decide(goal, { candidateModelIds, taskRiskLevel = "medium", pipelineId, constraints, client } = {}) {
  const body = () => ({
    goal,
    candidate_model_ids: candidateModelIds?.length ? candidateModelIds : undefined,
    task_risk_level: taskRiskLevel,
    pipeline_id: pipelineId,
    constraints: constraints && readConstraints(constraints),
  });
  return post("/api/v1/routing/decide", body, client, "trace_id");
}

/**
 * The path that is recommended on what is known, without a draw and without a decision on record.
 * @param {string} goal
 * @param {{taskType?: string, constraints?: Constraints, pipelineId?: string, windowHours?: number} & Asked} [options]
 * @returns {Answered}
 */
export function getPolicy(goal, { taskType, constraints, pipelineId, windowHours = 168, client } = {}) {
  const body = () => ({
    goal,
    task_type: taskType,
    constraints: constraints && readConstraints(constraints),
    pipeline_id: pipelineId,
    window_hours: windowHours,
  });
  return post("/api/v1/intelligence/policy", body, client, "goal");
}

/**
 * @typedef {object} OutcomeOptions
 * @property {number} [score]
 * @property {string} [failureReason]
 * @property {string} [failureCategory] one of `FAILURE_CATEGORIES`
 * @property {Record<string, unknown>} [metadata]
 * @property {string} [idempotencyKey]
 */

/**
 * How an execution turned out.
 * @param {string} traceId
 * @param {string} goal
 * @param {boolean | null} [success]
 * @param {OutcomeOptions & {modelId?: string, pathId?: string, toolId?: string, executionParams?: Record<string, any>, pipelineId?: string} & Asked} [options]
 * @returns {Answered}
 */
export function reportOutcome(traceId, goal, success, options = {}) {
  const body = () => ({
    ...outcome(traceId, goal, success, options),
    model_id: options.modelId,
    path_id: options.pathId,
    tool_id: options.toolId,
    execution_params: options.executionParams,
    pipeline_id: options.pipelineId,
  });
  const key = options.idempotencyKey || tokenHex(16);
  return post("/api/v1/intelligence/report-outcome", body, options.client, "status", key);
}

/**
 * What became known later about an execution. What is left out stays as it is.
 * @param {string} traceId
 * @param {string} goal
 * @param {OutcomeOptions & {success?: boolean} & Asked} [options]
 * @returns {Answered}
 */
export function updateOutcome(traceId, goal, options = {}) {
  const body = () => outcome(traceId, goal, options.success, options);
  const key = options.idempotencyKey || tokenHex(16);
  return post("/api/v1/intelligence/update-outcome", body, options.client, "status", key);
}

/**
 * @param {string} traceId
 * @param {string} goal
 * @param {boolean | null | undefined} success
 * @param {OutcomeOptions} options
 */
function outcome(traceId, goal, success, { score, failureReason, failureCategory, metadata }) {
  return {
    trace_id: traceId,
    goal,
    success,
    score,
    failure_reason: failureReason,
    failure_category: failureCategory,
    metadata,
  };
}

/**
 * Adds a way to do the task, or finds it again.
 * @param {string} goal
 * @param {string} modelId
 * @param {{tools?: string[], params?: Record<string, any>, riskLevel?: Risk} & Asked} [options]
 * @returns {Answered}
 */
export function registerPath(goal, modelId, { tools = [], params, riskLevel = "low", client } = {}) {
  const body = () => ({
    goal,
    model_id: modelId,
    tool_id: tools[0],
    tools: tools.length ? tools : undefined,
    params,
    risk_level: riskLevel,
  });
  return post("/api/v1/routing/paths", body, client, "path_id");
}

/**
 * How the goals fare, as data: status, success rates, failure modes, paths, and what to do about them.
 * @param {string | null} [goal] all of them else
 * @param {{windowHours?: number, pipelineId?: string} & Asked} [options]
 * @returns {Answered}
 */
export function getInsights(goal, { windowHours = 168, pipelineId, client } = {}) {
  const query = new URLSearchParams(said({ goal, window_hours: windowHours, pipeline_id: pipelineId }));
  return ask(() => ({ method: "GET", path: `/api/v1/intelligence/insights?${query}` }), client, "goals");
}

/**
 * @param {string} path
 * @param {() => object} body
 * @param {AgentLoop | undefined} client
 * @param {string} expected
 * @param {string} [idempotencyKey]
 */
function post(path, body, client, expected, idempotencyKey) {
  const headers = idempotencyKey ? { "Idempotency-Key": headerSafe(idempotencyKey) } : undefined;
  const keep = (/** @type {unknown} */ value) => value !== undefined && value !== null;
  return ask(() => ({ method: "POST", path, body: encode(said(body(), keep)), headers }), client, expected);
}

/**
 * @param {() => import("./http.js").Request} request
 * @param {AgentLoop | undefined} client
 * @param {string} expected
 * @returns {Answered}
 */
async function ask(request, client, expected) {
  const asked = client ?? defaultClient();
  try {
    return camelCased(await asked.ask(request(), expected));
  } catch (error) {
    asked.trouble(error);
    return null;
  }
}

/**
 * The server's names for constraints; ours are the same in camelCase.
 * @param {Record<string, any>} given
 * @returns {Record<string, number>}
 */
export function readConstraints(given) {
  const read = Object.fromEntries(
    Object.entries(given)
      .filter(([, bound]) => bound !== undefined && bound !== null)
      .map(([name, bound]) => [name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`), bound]),
  );
  const unknown = Object.keys(read).filter((name) => !CONSTRAINTS.includes(name));
  if (unknown.length) {
    throw new BadArgument(`Unknown constraints: ${unknown.sort().join(", ")}. They are ${CONSTRAINTS.map(camel).join(", ")}.`);
  }
  return read;
}

/** @param {string} name */
const camel = (name) => name.replace(/_([a-z0-9])/g, (_, letter) => letter.toUpperCase());

// What stands in these is somebody else's, and so are its names.
const FOREIGN = new Set(["params", "execution_params", "metadata", "value"]);

/**
 * @param {any} value
 * @returns {any}
 */
function camelCased(value) {
  if (Array.isArray(value)) return value.map(camelCased);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, part]) => [camel(name), FOREIGN.has(name) ? part : camelCased(part)]),
  );
}
