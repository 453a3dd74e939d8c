/** What a client is told once: by its arguments, or by the environment. */

import { said } from "./encode.js";

/** In a page there are other limits, and an end of its own. */
export const IS_PAGE = typeof document !== "undefined";
const DEFAULT_BASE_URL = "http://127.0.0.1:8000";
const TELL_EVERY_MS = 60_000;

/**
 * @typedef {object} ClientOptions
 * @property {string} [apiKey] or AGENTLOOP_API_KEY
 * @property {string} [baseUrl] or AGENTLOOP_BASE_URL
 * @property {string} [signingSecret] or AGENTLOOP_SIGNING_SECRET; only where nobody reads along: never in a page
 * @property {number} [timeoutMs] for whatever is waited for; 10 seconds
 * @property {number} [exitTimeoutMs] for sending what is left at the end; 5 seconds
 * @property {number} [bufferBytes] of what waits to be sent; 16 MB
 * @property {Spool} [spool] where unsent messages outlive the process: `spool()` of "@agentloop/client/spool"
 * @property {boolean} [strict] raise what goes wrong, instead of telling `warn`
 * @property {typeof fetch} [fetch] another transport
 * @property {(sentence: string) => void} [warn] where warnings go, without content and without keys; `console.warn`
 */

/**
 * @typedef {object} Spool
 * @property {(courier: {put(lane: string, text: string): unknown}, warnings: Warnings) => void} open
 * @property {(lane: string, text: string) => void} put
 * @property {(messages: {text: string}[]) => void} settled
 */

/** @typedef {Readonly<Required<Omit<ClientOptions, "fetch" | "warn" | "spool">> & {spool?: Spool}>} Settings */

/**
 * @param {ClientOptions} given
 * @returns {Settings}
 */
export function readSettings(given) {
  return Object.freeze({
    timeoutMs: 10_000,
    exitTimeoutMs: 5_000,
    bufferBytes: 16 * 1024 * 1024,
    strict: false,
    ...said(given),
    apiKey: (given.apiKey || environment("AGENTLOOP_API_KEY")).trim(),
    baseUrl: (given.baseUrl || environment("AGENTLOOP_BASE_URL") || DEFAULT_BASE_URL).trim().replace(/\/+$/, ""),
    signingSecret: given.signingSecret || environment("AGENTLOOP_SIGNING_SECRET"),
  });
}

/** @param {string} name */
function environment(name) {
  return globalThis.process?.env?.[name] ?? "";
}

/** Each kind of trouble is told when it begins and then once a minute, with how often it came. */
export class Warnings {
  #warn;
  /** @type {Map<string, {at: number, silent: number}>} */
  #told = new Map();

  /** @param {(sentence: string) => void} [warn] */
  constructor(warn = (sentence) => console.warn(sentence)) {
    this.#warn = warn;
  }

  /**
   * @param {string} kind
   * @param {string} sentence
   */
  tell(kind, sentence) {
    const now = performance.now();
    const last = this.#told.get(kind);
    if (last && now - last.at < TELL_EVERY_MS) {
      last.silent++;
      return;
    }
    this.#told.set(kind, { at: now, silent: 0 });
    try {
      this.#warn(`AgentLoop: ${sentence}` + (last?.silent ? ` (${last.silent} more)` : ""));
    } catch {
      // A log that breaks is no reason for an agent to.
    }
  }
}
