/** What is known of a goal: a snapshot, refreshed behind the agent's back. */

import { Race, readSnapshot } from "./choice.js";
import { isFull, kindOf, said } from "./encode.js";
import { isOver, sleep, within } from "./http.js";
import { pathRequest } from "./requests.js";

const RACE_MS = 60_000;

/** One goal as one router sees it. */
export class Goal {
  #router;
  #terms;
  #refreshMs;
  #isRegistered = false;
  #lookedAt = -Infinity;
  /** @type {Promise<void> | null} */
  #looking = null;
  /** @type {import("./choice.js").Snapshot | null} */
  #snapshot = null;
  /** @type {Race | null} */
  #race = null;
  #racedAt = 0;
  /** @type {Map<import("./choice.js").Path, {confidence: number, probability: number}>} */
  #chances = new Map();

  /**
   * @param {import("./router.js").Router<any>} router
   * @param {import("./choice.js").Terms} terms
   * @param {number} refreshMs
   */
  constructor(router, terms, refreshMs) {
    this.#router = router;
    this.#terms = terms;
    this.#refreshMs = refreshMs;
  }

  /**
   * A draw with its probability and confidence; nothing while nothing was ever known.
   *
   * Drawn at the time of asking: ten paths take some five microseconds, so that nothing need be made ahead.
   */
  draw() {
    const now = performance.now();
    if (now - this.#lookedAt > this.#refreshMs) void this.#look();
    const snapshot = this.#snapshot;
    if (!snapshot) return null;
    if (this.#race?.snapshot !== snapshot || now - this.#racedAt > RACE_MS) this.#newRace(snapshot, now);
    const drawn = /** @type {Race} */ (this.#race).draw();
    return { drawn, ...this.#chances.get(/** @type {any} */ (drawn.path)) };
  }

  /**
   * @param {import("./choice.js").Snapshot} snapshot
   * @param {number} now
   */
  #newRace(snapshot, now) {
    const race = new Race(snapshot, this.#terms, Date.now() / 1000);
    this.#race = race;
    this.#racedAt = now;
    this.#chances = new Map();
    // This takes a millisecond: not the agent's.
    setTimeout(() => race === this.#race && (this.#chances = race.chances()));
  }

  #look() {
    this.#looking ??= this.#refresh().finally(() => {
      this.#lookedAt = performance.now();
      this.#looking = null;
    });
    return this.#looking;
  }

  async #refresh() {
    const { client, goal, pipelineId } = this.#router;
    try {
      this.#isRegistered ||= await this.#register();
      const query = new URLSearchParams(said({ goal, pipeline_id: pipelineId }, isFull));
      const etag = this.#snapshot?.etag;
      const headers = etag ? { "If-None-Match": etag } : undefined;
      const answer = await client.call({ method: "GET", path: `/api/v1/routing/state?${query}`, headers });
      if (answer.error) throw answer.error;
      if (answer.status !== 304) this.#snapshot = readSnapshot(answer.body, answer.etag);
    } catch (/** @type {any} */ error) {
      if (!isOver(error)) client.warnings.tell("state", `choosing by what was known: ${error.code ?? kindOf(error)}.`);
    }
  }

  async #register() {
    const { client, goal, paths } = this.#router;
    const answers = await Promise.all(paths.map((path) => client.call(pathRequest(goal, path))));
    return answers.every((answer) => !answer.error);
  }

  /**
   * Waits for the first snapshot; whether there is one.
   * @param {number} timeoutMs
   */
  async wait(timeoutMs) {
    const deadline = performance.now() + timeoutMs;
    while (!this.#snapshot && performance.now() < deadline) {
      await within(deadline, this.#look());
      if (!this.#snapshot) await within(deadline, sleep(100));
    }
    return this.#snapshot !== null;
  }
}
