/** One request and what came of it, without a thought of retrying; and when to try again. */

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

/** What the server said: a JSON object, or an error that says what is wrong. */
export class Answer {
  /**
   * @param {number} status
   * @param {Record<string, any>} body
   * @param {{etag?: string, error?: errors.AgentLoopError, retryAfterMs?: number}} [more]
   */
  constructor(status, body, { etag = "", error, retryAfterMs } = {}) {
    this.status = status;
    this.body = body;
    this.etag = etag;
    this.error = error;
    this.retryAfterMs = retryAfterMs;
  }

  /** Whether the same request may fare better later. */
  get isWorthARetry() {
    if (!this.error) return false;
    return (
      [0, 408, 425, 429].includes(this.status) || this.status >= 500 || this.error instanceof errors.BadAnswer
    );
  }

  /** Whether our server says that what was sent is at fault, and not who sent it or where to. */
  get isAboutTheContent() {
    if (!this.error) return false;
    const isJudged = this.status === 400 || this.status === 422;
    return this.status === 413 || (isJudged && this.error.code !== errors.Refused.code);
  }
}

/**
 * @param {errors.AgentLoopError} error
 * @param {number} [status]
 */
export function failed(error, status = 0) {
  return new Answer(status, {}, { error });
}

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
 */
export function readAnswer(status, headers, content) {
  const etag = headers.get("etag") ?? "";
  if (status === 304) return new Answer(status, {}, { etag });
  const body = jsonObject(content);
  if (status < 200 || status >= 300) return refusal(status, headers, body ?? {});
  return body ? new Answer(status, body, { etag }) : failed(new errors.BadAnswer("", { status }), status);
}

/**
 * @param {string} content
 * @returns {Record<string, any> | null}
 */
function jsonObject(content) {
  try {
    const body = JSON.parse(content);
    return isObject(body) ? body : null;
  } catch {
    return null;
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
  const sentence = typeof body.error === "string" ? body.error : `The server answered with status ${status}.`;
  const error = new Kind(sentence, {
    code: typeof body.code === "string" ? body.code : "",
    status,
    requestId: headers.get("x-request-id") ?? "",
    fields: isObject(body.fields) ? body.fields : {},
  });
  return new Answer(status, {}, { error, retryAfterMs: milliseconds(headers.get("retry-after")) });
}

/**
 * `Retry-After` is in seconds, or a date.
 * @param {string | null} text
 */
function milliseconds(text) {
  if (!text) return undefined;
  const wait = Number.isFinite(Number(text)) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isNaN(wait) ? undefined : Math.max(0, wait);
}

/** @param {number} ms */
export function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Sends over `fetch`. */
export class Http {
  #settings;
  #fetch;
  /** @type {Set<AbortController>} */
  #open = new Set();

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
    const control = new AbortController();
    let isLate = false;
    const late = () => {
      isLate = true;
      control.abort();
    };
    const timer = setTimeout(late, Math.max(1, timeoutMs));
    this.#open.add(control);
    try {
      return await unlessAborted(control.signal, this.#exchange(request, control.signal));
    } catch (error) {
      return failed(isLate ? new errors.TimedOut() : asOurs(error));
    } finally {
      clearTimeout(timer);
      this.#open.delete(control);
      control.abort();
    }
  }

  /**
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
      ...(request.keepalive ? { keepalive: true } : {}),
    });
    // What a page may not see of a redirect has the status 0.
    if (response.type === "opaqueredirect") return failed(new errors.BadAnswer());
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
      if (isLast || !answer.isWorthARetry || performance.now() + wait >= deadline) return answer;
      await sleep(wait);
    }
  }

  /** Gives up what is under way. */
  abort() {
    for (const control of this.#open) control.abort();
  }
}

/**
 * Some transports don't look at the signal.
 * @template T
 * @param {AbortSignal} signal
 * @param {Promise<T>} work
 * @returns {Promise<T>}
 */
function unlessAborted(signal, work) {
  return new Promise((resolve, reject) => {
    signal.addEventListener("abort", () => reject(new errors.Unreachable()), { once: true });
    work.then(resolve, reject);
  });
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
  const kind = error?.cause?.code ?? error?.name ?? "Error";
  return new errors.Unreachable(`${errors.Unreachable.sentence} (${kind})`);
}
