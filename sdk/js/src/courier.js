/** Takes messages to the server behind the agent's back, so that whoever hands one over is done in microseconds. */

import { sleep, within } from "./http.js";
import { KEEPALIVE_BYTES, Outbox, requestOf } from "./outbox.js";
import { IS_PAGE } from "./settings.js";

// What comes within this time goes in one request.
const LINGER_MS = 50;

/** Those with something to send: who ends the process, or leaves the page, has them hurry. @type {Set<Courier>} */
const busy = new Set();

export class Courier {
  #settings;
  #http;
  #warnings;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {Promise<number | null> | null} what is being sent, and then when to come again */
  #pass = null;
  #bytesUnderWay = 0;
  isClosed = false;

  /**
   * @param {import("./settings.js").Settings} settings
   * @param {import("./http.js").Http} http
   * @param {import("./settings.js").Warnings} warnings
   */
  constructor(settings, http, warnings) {
    this.#settings = settings;
    this.#http = http;
    this.#warnings = warnings;
    this.outbox = new Outbox(settings, warnings);
    watchTheEnd();
    settings.spool?.open(this, warnings);
  }

  /**
   * Hands a message over; whether it is sure of its place.
   * @param {string} lane
   * @param {string} text
   */
  put(lane, text) {
    const kept = this.outbox.put(lane, text);
    if (this.#timer === undefined && !this.#pass) this.#comeIn(LINGER_MS);
    busy.add(this);
    return kept;
  }

  /** @param {number} ms */
  #comeIn(ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#send(), ms);
    // The process may end meanwhile: `beforeExit` sends then.
    /** @type {any} */ (this.#timer).unref?.();
  }

  /** Sends all that is due, one parcel at a time; answers the milliseconds until more is, if anything waits. */
  #send() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#pass ??= this.#sendAll().finally(() => (this.#pass = null));
    return this.#pass;
  }

  async #sendAll() {
    for (;;) {
      const step = this.outbox.next(performance.now());
      if (typeof step === "object" && step) await this.#take(step);
      else {
        if (step === null) busy.delete(this);
        else if (!this.isClosed) this.#comeIn(step);
        return step;
      }
    }
  }

  /** @param {import("./outbox.js").Parcel} parcel */
  async #take(parcel) {
    this.#bytesUnderWay += parcel.bytes;
    const answer = await this.#http.send(requestOf(parcel));
    this.#bytesUnderWay -= parcel.bytes;
    this.outbox.done(parcel, answer, performance.now());
  }

  /** The page may be gone in a moment: what a browser takes along goes at once, the lanes side by side. */
  hurry() {
    for (const parcel of this.outbox.hurried(KEEPALIVE_BYTES - this.#bytesUnderWay)) void this.#take(parcel);
  }

  /**
   * Waits until everything has been taken to the server, or the time is over; whether it has.
   * @param {number} [timeoutMs]
   */
  flush(timeoutMs = this.#settings.timeoutMs) {
    return this.#drain(timeoutMs, () => false);
  }

  /** A last try of everything, by whoever ends the process. A server that can't be reached does not hold it up. */
  async end(timeoutMs = this.#settings.exitTimeoutMs) {
    this.outbox.lastChance();
    const isEmpty = await this.#drain(timeoutMs, () => this.outbox.isStuck);
    busy.delete(this);
    if (!isEmpty) {
      const where = this.#settings.spool ? "stay in the spool" : "are lost";
      this.#warnings.tell("left", `${this.outbox.stats.waiting} messages could not be sent and ${where}.`);
    }
    return isEmpty;
  }

  /** @param {number} [timeoutMs] */
  async close(timeoutMs) {
    if (this.isClosed) return this.outbox.isEmpty;
    this.isClosed = true;
    const isEmpty = await this.end(timeoutMs);
    clearTimeout(this.#timer);
    this.#http.close();
    return isEmpty;
  }

  /**
   * @param {number} timeoutMs
   * @param {() => boolean} isHopeless
   */
  async #drain(timeoutMs, isHopeless) {
    const deadline = performance.now() + timeoutMs;
    while (!this.outbox.isEmpty) {
      const wait = await within(deadline, this.#send());
      if (this.outbox.isEmpty || isHopeless() || performance.now() >= deadline) break;
      await sleep(Math.min(wait ?? 5, deadline - performance.now()));
    }
    return this.outbox.isEmpty;
  }
}

let isWatching = false;

/** Once for all: Node tells before it exits for want of work, a page before it is hidden or left. */
function watchTheEnd() {
  if (isWatching) return;
  isWatching = true;
  if (IS_PAGE) {
    const hurry = () => busy.forEach((courier) => courier.hurry());
    addEventListener("pagehide", hurry);
    document.addEventListener("visibilitychange", () => document.visibilityState === "hidden" && hurry());
  } else {
    globalThis.process?.on?.("beforeExit", () => busy.forEach((courier) => void courier.end()));
  }
}
