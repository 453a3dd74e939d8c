/**
 * What waits to be sent: bounded, in lanes, and free of timers and sockets.
 *
 * A lane is a kind of message with an address of its own. A parcel is as many messages of a lane as fit one request.
 * Whoever sends asks `next`, and tells `done` what came of it.
 */

import { byteLength } from "./encode.js";
import * as errors from "./errors.js";
import { failed, isObject, pause } from "./http.js";
import { IS_PAGE } from "./settings.js";

/** What a browser takes along for a page that goes: 64 kB, headers and neighbours included. */
export const KEEPALIVE_BYTES = 60_000;
const MAX_PARCEL_BYTES = IS_PAGE ? KEEPALIVE_BYTES : 2 * 1024 * 1024;
const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;
// A waiting message costs about this much beside its text.
const OVERHEAD_BYTES = 80;

/** @typedef {{name: string, path: string, field: string, most: number}} Lane */
/** @typedef {{text: string, bytes: number}} Message */
/** @typedef {import("./http.js").Answer} Answer */

/**
 * @param {string} name
 * @param {string} path
 * @param {string} field the list's name in the request; nothing where messages go one by one
 * @returns {[string, Lane]}
 */
const lane = (name, path, field) => [name, { name, path, field, most: field ? 500 : 1 }];

/** In the order in which they are sent: a decision before its outcome, an outcome before what corrects it. */
const LANES = new Map([
  lane("decisions", "/api/v1/routing/decisions", "decisions"),
  lane("outcomes", "/api/v1/intelligence/outcomes", "outcomes"),
  lane("updates", "/api/v1/intelligence/update-outcome", ""),
  lane("signals", "/api/v1/intelligence/signals/batch", "signals"),
  lane("events", "/api/v1/traces", "events"),
  lane("turns", "/v1/turns/batch", "turns"),
]);

/** As many messages as go in one request. */
export class Parcel {
  /**
   * @param {Lane} lane
   * @param {Message[]} messages
   */
  constructor(lane, messages) {
    this.lane = lane;
    this.messages = messages;
    this.bytes = messages.reduce((sum, message) => sum + message.bytes + 1, 32);
  }

  /** @returns {import("./http.js").Request} */
  request() {
    const texts = this.messages.map((message) => message.text);
    const body = this.lane.field ? `{"${this.lane.field}":[${texts.join(",")}]}` : texts[0];
    return { method: "POST", path: this.lane.path, body, keepalive: IS_PAGE && this.bytes <= KEEPALIVE_BYTES };
  }
}

/** First in, first out, without moving what stays. */
class Queue {
  /** @type {Message[]} */
  #kept = [];
  #head = 0;

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
    if (this.#head > 1024 && this.#head * 2 > this.#kept.length) {
      this.#kept = this.#kept.slice(this.#head);
      this.#head = 0;
    }
    return message;
  }

  /** @param {Message[]} messages */
  unshift(messages) {
    this.#kept = [...messages, ...this.#kept.slice(this.#head)];
    this.#head = 0;
  }
}

/** How a lane fares. */
class Progress {
  failures = 0;
  notBefore = 0;
  queue = new Queue();

  /** @param {Lane} lane */
  constructor(lane) {
    this.lane = lane;
    this.most = lane.most;
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
  #warnings;
  #bytes = 0;
  /** How many messages are not done with, those among them that were taken. */
  #count = 0;
  #stats = { queued: 0, sent: 0, refused: 0, dropped: 0, retries: 0 };
  /** @type {Map<string, Progress>} */
  #lanes = new Map([...LANES].map(([name, lane]) => [name, new Progress(lane)]));

  /**
   * @param {number} mostBytes
   * @param {import("./settings.js").Warnings} warnings
   */
  constructor(mostBytes, warnings) {
    this.#most = mostBytes;
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
      this.#warnings.tell("large", `one of the ${lane} is over ${MAX_MESSAGE_BYTES} bytes: it is not sent.`);
      return false;
    }
    this.#lane(lane).queue.push({ text, bytes });
    this.#count++;
    this.#bytes += bytes + OVERHEAD_BYTES;
    if (this.#bytes <= this.#most) return true;
    this.#makeRoom(lane);
    this.#warnings.tell("full", "the buffer is full: the oldest of what waits to be sent is dropped.");
    return false;
  }

  /** @param {string} name */
  #lane(name) {
    return /** @type {Progress} */ (this.#lanes.get(name));
  }

  /**
   * The oldest of the same lane go, then the oldest of the longest.
   * @param {string} lane
   */
  #makeRoom(lane) {
    while (this.#bytes > this.#most) {
      let { queue } = this.#lane(lane);
      if (queue.length < 2) {
        for (const other of this.#lanes.values()) if (other.queue.length > queue.length) queue = other.queue;
      }
      if (!queue.length) return;
      this.#bytes -= queue.shift().bytes + OVERHEAD_BYTES;
      this.#count--;
      this.#stats.dropped++;
    }
  }

  /**
   * A parcel to send; or the milliseconds until there may be one; or nothing, when nothing waits.
   * @param {number} now
   * @returns {Parcel | number | null}
   */
  next(now) {
    let soonest = Infinity;
    for (const progress of this.#waiting()) {
      if (progress.notBefore <= now) return this.#take(progress);
      soonest = Math.min(soonest, progress.notBefore);
    }
    return soonest === Infinity ? null : soonest - now;
  }

  /**
   * A parcel of each lane, as far as a browser takes them along for a page that goes.
   * @param {number} bytes
   */
  *hurried(bytes) {
    for (const progress of this.#waiting()) {
      if (progress.queue.first.bytes > bytes) continue;
      const parcel = this.#take(progress, bytes);
      bytes -= parcel.bytes;
      yield parcel;
    }
  }

  *#waiting() {
    for (const progress of this.#lanes.values()) if (progress.queue.length) yield progress;
  }

  /** @param {Progress} progress */
  #take(progress, mostBytes = MAX_PARCEL_BYTES) {
    const { queue, lane, most } = progress;
    /** @type {Message[]} */
    const taken = [];
    let size = 0;
    while (queue.length && taken.length < most && (!taken.length || size + queue.first.bytes < mostBytes)) {
      const message = queue.shift();
      size += message.bytes + 1;
      this.#bytes -= message.bytes + OVERHEAD_BYTES;
      taken.push(message);
    }
    return new Parcel(lane, taken);
  }

  /** @param {Parcel} parcel */
  #giveBack(parcel) {
    this.#lane(parcel.lane.name).queue.unshift(parcel.messages);
    for (const message of parcel.messages) this.#bytes += message.bytes + OVERHEAD_BYTES;
    if (this.#bytes > this.#most) this.#makeRoom(parcel.lane.name);
  }

  /** Every lane is due at once, for a last time. */
  lastChance() {
    for (const progress of this.#lanes.values()) {
      progress.failures = 0;
      progress.notBefore = 0;
    }
  }

  /** Whether every lane in which something waits failed when it was last tried. */
  get isStuck() {
    const waiting = [...this.#waiting()];
    return waiting.length > 0 && waiting.every((progress) => progress.failures > 0);
  }

  /**
   * Takes note of what came of a parcel.
   * @param {Parcel} parcel
   * @param {Answer} answer
   * @param {number} now
   */
  done(parcel, answer, now) {
    const progress = this.#lane(parcel.lane.name);
    if (!answer.error && !isOurs(parcel, answer)) {
      answer = failed(new errors.BadAnswer("", { status: answer.status }), answer.status);
    }
    if (!answer.error) this.#arrived(parcel, answer, progress);
    else if (answer.isAboutTheContent || (answer.status === 404 && parcel.lane.name === "updates")) {
      this.#unfit(parcel, answer, progress);
    } else this.#later(parcel, answer, progress, now);
  }

  /**
   * @param {Parcel} parcel
   * @param {Answer} answer
   * @param {Progress} progress
   */
  #arrived(parcel, answer, progress) {
    const { lane, messages } = parcel;
    /** @type {any[]} */
    const results = (lane.field && answer.body.results) || [];
    const refused = results.filter((one) => isObject(one) && one.status === "refused");
    if (refused.length) {
      const codes = [...new Set(refused.map((one) => String(one.code || "refused").slice(0, 40)))].sort().join(", ");
      this.#warnings.tell("refused", `the server refused ${refused.length} of ${messages.length} ${lane.name}: ${codes}.`);
    }
    this.#stats.sent += messages.length - refused.length;
    this.#stats.refused += refused.length;
    this.#count -= messages.length;
    progress.failures = progress.notBefore = 0;
    progress.most = lane.most;
  }

  /**
   * One of them spoils the rest: halved until it stands alone, and then given up.
   * @param {Parcel} parcel
   * @param {Answer} answer
   * @param {Progress} progress
   */
  #unfit(parcel, answer, progress) {
    if (parcel.messages.length > 1) {
      this.#giveBack(parcel);
      progress.most = Math.max(1, parcel.messages.length >> 1);
      return;
    }
    this.#count--;
    this.#stats.refused++;
    progress.most = parcel.lane.most;
    this.#warnings.tell("refused", `the server refused one of the ${parcel.lane.name} (${answer.status} ${answer.error?.code}).`);
  }

  /**
   * @param {Parcel} parcel
   * @param {Answer} answer
   * @param {Progress} progress
   * @param {number} now
   */
  #later(parcel, answer, progress, now) {
    this.#giveBack(parcel);
    this.#stats.retries++;
    progress.notBefore = now + pause(progress.failures++, answer.retryAfterMs);
    this.#warnings.tell("later", whyLater(answer));
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
  if (lane.field) return Array.isArray(body.results) && body.results.length === messages.length;
  return "status" in body;
}

/** @param {Answer} answer */
function whyLater({ status, error }) {
  if (status === 401 || status === 403) {
    return `the server does not accept the API key (${status} ${error?.code}): what waits is kept and tried again.`;
  }
  return `the server could not take what was sent (${status ? `status ${status}` : error?.code}): it is kept and tried again.`;
}
