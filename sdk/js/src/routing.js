/**
 * The routing side, a function for each question. They ask the server and wait; `Router` doesn't.
 *
 * Where the server can't be asked, or refuses, they answer null, and throw for a client that is strict.
 */

import { picked, said } from "./encode.js";
import { posted } from "./http.js";
import { outcome, pathRequest, readConstraints } from "./requests.js";
import { defaultClient } from "./shared.js";
import { tokenHex } from "./tokens.js";

/** @typedef {import("./client.js").AgentLoop} AgentLoop */
/** @typedef {import("./requests.js").Constraints} Constraints */
/** @typedef {import("./requests.js").OutcomeOptions} OutcomeOptions */
/** @typedef {import("./requests.js").Risk} Risk */
/** @typedef {{client?: AgentLoop}} Asked the client to ask; the default one else */
/** @typedef {Promise<Record<string, any> | null>} Answered the server's answer, its names in camelCase */

/**
 * Which path now? `traceId`, `modelId`, `tools`, `params` and the reason.
 * @param {string} goal
 * @param {{candidateModelIds?: string[], taskRiskLevel?: Risk, pipelineId?: string, constraints?: Constraints} & Asked} [options]
 * @returns {Answered}
 */
export function decide(goal, options = {}) {
  const body = () => ({
    goal,
    task_risk_level: "medium",
    ...terms(options, ["taskRiskLevel", "pipelineId"]),
    candidate_model_ids: options.candidateModelIds?.length ? options.candidateModelIds : undefined,
  });
  return post("/api/v1/routing/decide", body, options.client, "trace_id");
}

/**
 * @template {{constraints?: Constraints}} T
 * @param {T} options
 * @param {(keyof T & string)[]} names
 */
function terms(options, names) {
  const { constraints } = options;
  return said({ ...picked(options, names), constraints: constraints && readConstraints(constraints) });
}

/**
 * The path that is recommended on what is known, without a draw and without a decision on record.
 * @param {string} goal
 * @param {{taskType?: string, constraints?: Constraints, pipelineId?: string, windowHours?: number} & Asked} [options]
 * @returns {Answered}
 */
export function getPolicy(goal, options = {}) {
  const body = () => ({ goal, window_hours: 168, ...terms(options, ["taskType", "pipelineId", "windowHours"]) });
  return post("/api/v1/intelligence/policy", body, options.client, "goal");
}

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
    ...picked(options, ["modelId", "pathId", "toolId", "executionParams", "pipelineId"]),
  });
  return post("/api/v1/intelligence/report-outcome", body, options.client, "status", options.idempotencyKey || tokenHex(16));
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
  return post("/api/v1/intelligence/update-outcome", body, options.client, "status", options.idempotencyKey || tokenHex(16));
}

/**
 * Adds a way to do the task, or finds it again.
 * @param {string} goal
 * @param {string} modelId
 * @param {{tools?: string[], params?: Record<string, any>, riskLevel?: Risk} & Asked} [options]
 * @returns {Answered}
 */
export function registerPath(goal, modelId, { tools = [], params, riskLevel, client } = {}) {
  return ask(() => pathRequest(goal, { model: modelId, tools, params }, riskLevel), client, "path_id");
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
  return ask(() => posted(path, said(body()), idempotencyKey), client, expected);
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
