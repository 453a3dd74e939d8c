/** Why executions fail, in the words that the server knows. */

import { kindOf } from "./encode.js";

export const FAILURE_CATEGORIES = Object.freeze([
  "timeout",
  "context_exceeded",
  "tool_error",
  "rate_limited",
  "validation_failed",
  "hallucination_detected",
  "user_unsatisfied",
  "empty_response",
  "malformed_output",
  "auth_error",
  "provider_error",
  "unknown",
  "healed",
]);

// Looked for in this order: a "RateLimitError: request timed out" is the limit's doing.
/** @type {[string, RegExp][]} */
const SIGNS = [
  ["rate_limited", /rate.?limit|too.?many.?requests|\b429\b|quota|resource.?exhausted/i],
  ["context_exceeded", /context.{0,8}(len|window|exceed|limit)|max.{0,8}tokens|prompt is too long/i],
  ["timeout", /time.?d?.?out|deadline|\b408\b|\b504\b/i],
  ["auth_error", /authenticat|authoriz|permission.?denied|api.?key|forbidden|\b40[13]\b/i],
  ["malformed_output", /JSONDecodeError|OutputParser|SyntaxError/i],
];

/** @param {any} error */
const statusOf = (error) => error?.status ?? error?.statusCode;

/**
 * The category of an exception that a provider's library threw.
 * @param {any} error
 */
export function categoryOf(error) {
  const told = `${kindOf(error)} ${statusOf(error) ?? ""} ${String(error?.message ?? error).slice(0, 500)}`;
  return SIGNS.find(([, sign]) => sign.test(told))?.[0] ?? "provider_error";
}

/**
 * What may be said of an exception: its kind and status, and nothing of its text, which may quote the prompt.
 * @param {any} error
 */
export function reasonOf(error) {
  const status = statusOf(error);
  return `${categoryOf(error)}: ${kindOf(error)}${Number.isInteger(status) ? ` (${status})` : ""}`;
}
