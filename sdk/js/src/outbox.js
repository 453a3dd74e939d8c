/**
 * What waits to be sent: bounded, in lanes, and free of timers and sockets.
 *
 * A lane is a kind of message with an address of its own. A parcel is as many messages of a lane as fit one request.
 * Whoever sends asks `next`, and tells `done` what came of it.
 */

import { byteLength } from "./encode.js";
import * as errors from "./errors.js";
import { failed, isAboutTheContent, isObject, isOver, pause } from "./http.js";
import { IS_PAGE } from "./settings.js";

/** What a browser takes along for a page that goes: 64 kB, headers and neighbours included. */
export const KEEPALIVE_BYTES = 60_000;
const MAX_PARCEL_BYTES = IS_PAGE ? KEEPALIVE_BYTES : 2 * 1024 * 1024;
const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;
// A waiting message costs about this much beside its text.
const OVERHEAD_BYTES = 80;

/** @typedef {{text: string, bytes: number}} Message */
/** @typedef {import("./http.js").Answer} Answer */

const UPDATES = "updates";

/** In the order in which they are sent: a decision before its outcome, an outcome before what corrects it. */
const LANES = {
  decisions: "/api/v1/routing/decisions",
  outcomes: "/api/v1/intelligence/outcomes",
  [UPDATES]: "/api/v1/intelligence/update-outcome",
  signals: "/api/v1/intelligence/signals/batch",
  events: "/api/v1/traces",
  turns: "/v1/turns/batch",
};

/** @typedef {{lane: Lane, messages: Message[], bytes: number}} Parcel as many messages as go in one request */

/**
 * @param {Parcel} parcel
 * @returns {import("./http.js").Request}
 */
export function requestOf({ lane: { name, path, isBatched }, messages, bytes }) {
  const texts = messages.map((message) => message.text);
  const body = isBatched ? `{"${name}":[${texts.join(",")}]}` : texts[0];
  return { method: "POST", path, body, keepalive: IS_PAGE && bytes <= KEEPALIVE_BYTES };
}

/** A kind of message, and how it fares: first in, first out, without moving what stays. */
class Lane {
  failures = 0;
  notBefore = 0;
  most = 1;
  /** @type {Message[]} */
  #kept = [];
  #head = 0;

  /**
   * @param {string} name
   * @param {string} path
   */
  constructor(name, path) {
    this.name = name;
    this.path = path;
    this.isBatched = name !== UPDATES;
    this.ease();
  }

  /** As many as a request may hold, from now on. */
  ease() {
    this.most = this.isBatched ? 500 : 1;
  }

  get length() {
    return this.#kept.length - this.#head;
  }

  get first() {
    return this.#kept[this.#head];
  }

  /** @param {Message} message */
  push(message) {
    this.#kept.push(message);
  }

  shift() {
    const message = this.#kept[this.#head];
    this.#kept[this.#head++] = /** @type {any} */ (undefined);
    if (this.#head > 1024 && this.#head * 2 > this.#kept.length) this.unshift([]);
    return message;
  }

  /** @param {Message[]} messages */
  unshift(messages) {
    this.#kept = [...messages, ...this.#kept.slice(this.#head)];
    this.#head = 0;
  }
}

/**
 * @typedef {object} Stats What became of everything that was handed over.
 * @property {number} queued
 * @property {number} sent
 * @property {number} refused the server will never take these: it told why, and a warning said so
 * @property {number} dropped the oldest, for want of room
 * @property {number} waiting
 * @property {number} retries
 */

export class Outbox {
  #most;
  #spool;
  #warnings;
  #bytes = 0;
  /** How many messages are not done with, those among them that were taken. */
  #count = 0;
  #stats = { queued: 0, sent: 0, refused: 0, dropped: 0, retries: 0 };
  #lanes = Object.entries(LANES).map(([name, path]) => new Lane(name, path));

  /**
   * @param {import("./settings.js").Settings} settings
   * @param {import("./settings.js").Warnings} warnings
   */
  constructor({ bufferBytes, spool }, warnings) {
    this.#most = bufferBytes;
    this.#spool = spool;
    this.#warnings = warnings;
  }

  /**
   * Keeps a message; whether it found room without an older one going for it.
   * @param {string} lane
   * @param {string} text
   */
  put(lane, text) {
    const bytes = byteLength(text);
    this.#stats.queued++;
    if (bytes > MAX_MESSAGE_BYTES) {
      this.#stats.dropped++;
      this.#warnings.tell("large", `one of the ${lane} is too large to be sent.`);
      return false;
    }
    const chosen = this.#lane(lane);
    chosen.push({ text, bytes });
    this.#spool?.put(lane, text);
    this.#count++;
    this.#bytes += bytes + OVERHEAD_BYTES;
    if (this.#bytes <= this.#most) return true;
    this.#makeRoom(chosen);
    this.#warnings.tell("full", errors.BufferFull.sentence);
    return false;
  }

  /** @param {string} name */
  #lane(name) {
    return /** @type {Lane} */ (this.#lanes.find((lane) => lane.name === name));
  }

  /**
   * The oldest of the same lane go, then the oldest of the longest.
   * @param {Lane} lane
   */
  #makeRoom(lane) {
    while (this.#bytes > this.#most) {
      let from = lane;
      if (from.length < 2) for (const other of this.#lanes) if (other.length > from.length) from = other;
      if (!from.length) return;
      this.#settled([this.#taken(from)]);
      this.#stats.dropped++;
    }
  }

  /** They arrived, or never will. @param {Message[]} messages */
  #settled(messages) {
    this.#count -= messages.length;
    this.#spool?.settled(messages);
  }

  /** @param {Lane} lane */
  #taken(lane) {
    const message = lane.shift();
    this.#bytes -= message.bytes + OVERHEAD_BYTES;
    return message;
  }

  /**
   * A parcel to send; or the milliseconds until there may be one; or nothing, when nothing waits.
   * @param {number} now
   * @returns {Parcel | number | null}
   */
  next(now) {
    const waiting = this.#waiting();
    const due = waiting.find((lane) => lane.notBefore <= now);
    if (due) return this.#take(due);
    return waiting.length ? Math.min(...waiting.map((lane) => lane.notBefore)) - now : null;
  }

  /**
   * A parcel of each lane, as far as a browser takes them along for a page that goes.
   * @param {number} bytes
   */
  *hurried(bytes) {
    for (const lane of this.#waiting()) {
      if (lane.first.bytes > bytes) continue;
      const parcel = this.#take(lane, bytes);
      bytes -= parcel.bytes;
      yield parcel;
    }
  }

  #waiting() {
    return this.#lanes.filter((lane) => lane.length);
  }

  /** @param {Lane} lane @returns {Parcel} */
  #take(lane, mostBytes = MAX_PARCEL_BYTES) {
    /** @type {Message[]} */
    const messages = [];
    let bytes = 32;
    while (lane.length && messages.length < lane.most && (!messages.length || bytes + lane.first.bytes < mostBytes)) {
      bytes += lane.first.bytes + 1;
      messages.push(this.#taken(lane));
    }
    return { lane, messages, bytes };
  }

  /** @param {Parcel} parcel */
  #giveBack({ lane, messages }) {
    lane.unshift(messages);
    for (const message of messages) this.#bytes += message.bytes + OVERHEAD_BYTES;
    this.#makeRoom(lane);
  }

  /** Every lane is due at once, for a last time. */
  lastChance() {
    for (const lane of this.#lanes) lane.failures = lane.notBefore = 0;
  }

  /** Whether every lane in which something waits failed when it was last tried. */
  get isStuck() {
    const waiting = this.#waiting();
    return waiting.length > 0 && waiting.every((lane) => lane.failures);
  }

  /**
   * Takes note of what came of a parcel.
   * @param {Parcel} parcel
   * @param {Answer} answer
   * @param {number} now
   */
  done(parcel, answer, now) {
    const { lane, messages } = parcel;
    if (!answer.error && !isOurs(parcel, answer)) answer = failed(new errors.BadAnswer(), answer.status);
    const { error, status } = answer;
    if (!error) this.#arrived(parcel, answer);
    else if (!isAboutTheContent(answer) && !(status === 404 && lane.name === UPDATES)) {
      this.#giveBack(parcel);
      this.#stats.retries++;
      lane.notBefore = now + pause(lane.failures++, answer.retryAfterMs);
      if (!isOver(error)) this.#warnings.tell("later", whyLater(answer));
    } else if (messages.length > 1) {
      // One of them spoils the rest: halved until it stands alone, and then given up.
      this.#giveBack(parcel);
      lane.most = messages.length >> 1;
    } else {
      this.#settled(messages);
      lane.ease();
      this.#refused(1, parcel, `${status} ${error.code}`);
    }
  }

  /**
   * @param {Parcel} parcel
   * @param {Answer} answer
   */
  #arrived(parcel, { body }) {
    const { lane, messages } = parcel;
    /** @type {any[]} */
    const results = (lane.isBatched && body.results) || [];
    const refused = results.filter((one) => isObject(one) && one.status === "refused");
    if (refused.length) {
      const codes = new Set(refused.map((one) => String(one.code || "refused").slice(0, 40)));
      this.#refused(refused.length, parcel, [...codes].sort().join(", "));
    }
    this.#stats.sent += messages.length - refused.length;
    this.#settled(messages);
    lane.failures = lane.notBefore = 0;
    lane.ease();
  }

  /**
   * @param {number} count
   * @param {Parcel} parcel
   * @param {string} why
   */
  #refused(count, { lane, messages }, why) {
    this.#stats.refused += count;
    this.#warnings.tell("refused", `the server refused ${count} of ${messages.length} ${lane.name}: ${why}.`);
  }

  /** @returns {Stats} */
  get stats() {
    return { ...this.#stats, waiting: this.#count };
  }

  get isEmpty() {
    return this.#count === 0;
  }
}

/**
 * Whether the answer speaks of what was sent: some other server's `{}` must not pass for a receipt.
 * @param {Parcel} parcel
 * @param {Answer} answer
 */
function isOurs({ lane, messages }, { body }) {
  if (lane.name === "events") return Number.isInteger(body.accepted);
  return lane.isBatched ? body.results?.length === messages.length : "status" in body;
}

/** @param {Answer} answer */
function whyLater({ status, error }) {
  const what = status === 401 || status === 403 ? "the API key" : "what was sent";
  return `the server did not take ${what} (${status} ${error?.code}): it is tried again.`;
}
