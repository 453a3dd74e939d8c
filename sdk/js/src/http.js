/** One request and what came of it, without a thought of retrying; and when to try again. */

import { encode, kindOf } from "./encode.js";
import * as errors from "./errors.js";
import { IS_PAGE } from "./settings.js";

export const VERSION = "0.1.0";
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 30_000;
const LONGEST_RETRY_AFTER_MS = 300_000;
const TRIES_OF_A_CALL = 3;

/**
 * @typedef {object} Request
 * @property {"GET" | "POST"} method
 * @property {string} path
 * @property {string} [body]
 * @property {Record<string, string>} [headers]
 * @property {boolean} [keepalive] outlives the page that sends it
 */

/**
 * @param {string} path
 * @param {object} body
 * @param {unknown} [key] an idempotency key
 * @returns {Request}
 */
export function posted(path, body, key) {
  // Whatever somebody chose for a key must not break the request that carries it.
  const headers = key ? { "Idempotency-Key": String(key).replace(/[^\x20-\x7e]/g, "?") } : undefined;
  return { method: "POST", path, body: encode(body), headers };
}

/**
 * @typedef {object} Answer What the server said: a JSON object, or an error that says what is wrong.
 * @property {number} status 0 where there is none
 * @property {Record<string, any>} body
 * @property {string} [etag]
 * @property {errors.AgentLoopError} [error]
 * @property {number} [retryAfterMs]
 */

/**
 * @param {errors.AgentLoopError} error
 * @param {number} [status]
 * @param {number} [retryAfterMs]
 * @returns {Answer}
 */
export const failed = (error, status = 0, retryAfterMs) => ({ status, body: {}, error, retryAfterMs });

/**
 * What an answer says, if it has a member of the expected name. Throws whatever went wrong.
 * @param {Answer} answer
 * @param {string} expected
 */
export function bodyOf({ error, status, body }, expected) {
  if (error) throw error;
  if (body[expected] == null) throw new errors.BadAnswer("", { status });
  return body;
}

/**
 * Whether the same request may fare better later.
 * @param {Answer} answer
 */
export const isWorthARetry = ({ status, error }) =>
  !!error && !isOver(error) && ([0, 408, 425, 429].includes(status) || status >= 500 || error instanceof errors.BadAnswer);

/**
 * Whether it is just that the client was closed meanwhile: no reason for an alarm.
 * @type {(error: unknown) => boolean}
 */
export const isOver = (error) => error instanceof errors.Closed;

/**
 * Whether our server says that what was sent is at fault, and not who sent it or where to.
 * @param {Answer} answer
 */
export const isAboutTheContent = ({ status, error }) =>
  status === 413 || ((status === 400 || status === 422) && error?.code !== errors.Refused.code);

/**
 * Milliseconds to the next try: doubled each time, drawn at random so that clients don't come back together.
 * @param {number} failures
 * @param {number} [retryAfterMs]
 */
export function pause(failures, retryAfterMs) {
  const longest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(failures, 10));
  const drawn = longest * (0.5 + 0.5 * Math.random());
  return retryAfterMs === undefined ? drawn : Math.min(retryAfterMs, LONGEST_RETRY_AFTER_MS) + drawn * 0.1;
}

/**
 * An answer from its parts. Whatever is no JSON object of ours becomes an error, never an exception.
 * @param {number} status
 * @param {{get(name: string): string | null}} headers
 * @param {string} content
 * @returns {Answer}
 */
export function readAnswer(status, headers, content) {
  const etag = headers.get("etag") ?? "";
  if (status === 304) return { status, body: {}, etag };
  const body = jsonObject(content);
  if (status < 200 || status >= 300) return refusal(status, headers, body ?? {});
  return body ? { status, body, etag } : failed(new errors.BadAnswer("", { status }), status);
}

/**
 * @param {string} content
 * @returns {Record<string, any> | undefined}
 */
function jsonObject(content) {
  try {
    const body = JSON.parse(content);
    if (isObject(body)) return body;
  } catch {
    // Then it is none of ours.
  }
}

/**
 * @param {unknown} value
 * @returns {value is Record<string, any>}
 */
export function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * @param {number} status
 * @param {{get(name: string): string | null}} headers
 * @param {Record<string, any>} body
 */
function refusal(status, headers, body) {
  const Kind =
    status < 400
      ? errors.BadAnswer
      : status === 429
        ? errors.RateLimited
        : status >= 500
          ? errors.ServerFailed
          : errors.Refused;
  const { error, code, fields } = body;
  const more = { status, requestId: headers.get("x-request-id") ?? "", fields: isObject(fields) ? fields : {} };
  const refused = new Kind(textual(error), { code: textual(code), ...more });
  return failed(refused, status, milliseconds(headers.get("retry-after")));
}

/** @param {unknown} value */
const textual = (value) => (typeof value === "string" ? value : "");

/**
 * `Retry-After` is in seconds, or a date.
 * @param {string | null} text
 */
function milliseconds(text) {
  if (!text) return undefined;
  const seconds = Number(text);
  const wait = Number.isNaN(seconds) ? Date.parse(text) - Date.now() : seconds * 1000;
  return Number.isNaN(wait) ? undefined : Math.max(0, wait);
}

/** @param {number} ms */
export function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/**
 * What comes of the work, if it does in time.
 * @template T
 * @param {number} deadline of `performance.now`
 * @param {Promise<T>} work
 * @returns {Promise<T | undefined>}
 */
export async function within(deadline, work) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, Math.max(0, deadline - performance.now()));
  });
  try {
    return await /** @type {Promise<T>} */ (Promise.race([work, late]));
  } finally {
    clearTimeout(timer);
  }
}

/** Sends over `fetch`. */
export class Http {
  #settings;
  #fetch;
  /** @type {Set<AbortController>} */
  #open = new Set();
  #isClosed = false;

  /**
   * @param {import("./settings.js").Settings} settings
   * @param {typeof fetch} [given]
   */
  constructor(settings, given) {
    this.#settings = settings;
    // Looked up at each request: whoever replaces the global one later is heard, and it keeps its `this`.
    this.#fetch = given ?? /** @type {typeof fetch} */ ((...request) => globalThis.fetch(...request));
  }

  /**
   * @param {Request} request
   * @param {number} [timeoutMs]
   * @returns {Promise<Answer>}
   */
  async send(request, timeoutMs = this.#settings.timeoutMs) {
    if (this.#isClosed) return failed(new errors.Closed());
    const control = new AbortController();
    const timer = setTimeout(() => control.abort(new errors.TimedOut()), Math.max(1, timeoutMs));
    this.#open.add(control);
    try {
      const { signal } = control;
      // Some transports don't look at the signal.
      const aborted = new Promise((_, reject) => (signal.onabort = () => reject(signal.reason)));
      return await /** @type {Promise<Answer>} */ (Promise.race([this.#exchange(request, signal), aborted]));
    } catch (error) {
      return failed(asOurs(error));
    } finally {
      clearTimeout(timer);
      this.#open.delete(control);
      control.abort();
    }
  }

  /**
   * What a page may not see of a redirect has the status 0, and is no answer of ours.
   * @param {Request} request
   * @param {AbortSignal} signal
   */
  async #exchange(request, signal) {
    const response = await this.#fetch(this.#settings.baseUrl + request.path, {
      method: request.method,
      headers: this.#headers(request),
      body: request.body,
      redirect: "manual",
      signal,
      keepalive: request.keepalive || undefined,
    });
    return readAnswer(response.status, response.headers, await contentOf(response));
  }

  /** @param {Request} request */
  #headers(request) {
    /** @type {Record<string, string>} */
    const headers = { Authorization: `Bearer ${this.#settings.apiKey}`, ...request.headers };
    if (request.body !== undefined) headers["Content-Type"] = "application/json";
    if (!IS_PAGE) headers["User-Agent"] = `agentloop-client-js/${VERSION}`;
    return headers;
  }

  /**
   * A request that somebody waits for: tried again while it may help and time is left.
   * @param {Request} request
   * @param {number} [timeoutMs]
   */
  async call(request, timeoutMs = this.#settings.timeoutMs) {
    const deadline = performance.now() + timeoutMs;
    for (let failures = 0; ; failures++) {
      const answer = await this.send(request, deadline - performance.now());
      const wait = pause(failures, answer.retryAfterMs);
      const isLast = failures + 1 === TRIES_OF_A_CALL;
      if (isLast || !isWorthARetry(answer) || performance.now() + wait >= deadline) return answer;
      await sleep(wait);
    }
  }

  /** Gives up what is under way; nothing is asked any more. */
  close() {
    this.#isClosed = true;
    for (const control of this.#open) control.abort(new errors.Closed());
  }
}

/**
 * The body, as long as it fits into memory: a server may never end.
 * @param {Response} response
 */
async function contentOf(response) {
  const reader = response.body?.getReader?.();
  if (!reader) return response.text();
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    text += decoder.decode(value, { stream: true });
    if (text.length > MAX_ANSWER_BYTES) throw new errors.BadAnswer();
  }
}

/**
 * A transport's exception as one of ours. Its text may name a proxy with its password: it stays out.
 * @param {any} error
 */
function asOurs(error) {
  if (error instanceof errors.AgentLoopError) return error;
  return new errors.Unreachable(`${errors.Unreachable.sentence} (${error?.cause?.code ?? kindOf(error)})`);
}
