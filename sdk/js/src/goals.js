/** What is known of a goal: a snapshot, refreshed behind the agent's back. */

import { Race, readSnapshot } from "./choice.js";
import { encode, said } from "./encode.js";
import { nameOf } from "./client.js";

const RACE_MS = 60_000;

/** One goal as one router sees it. */
export class Goal {
  #client;
  #name;
  #pipelineId;
  #terms;
  #paths;
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
   * @param {import("./client.js").AgentLoop} client
   * @param {string} name
   * @param {string} pipelineId
   * @param {import("./choice.js").Terms} terms
   * @param {import("./choice.js").Path[]} paths
   * @param {number} refreshMs
   */
  constructor(client, name, pipelineId, terms, paths, refreshMs) {
    this.#client = client;
    this.#name = name;
    this.#pipelineId = pipelineId;
    this.#terms = terms;
    this.#paths = paths;
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
    try {
      this.#isRegistered ||= await this.#register();
      const query = new URLSearchParams({ goal: this.#name });
      if (this.#pipelineId) query.set("pipeline_id", this.#pipelineId);
      const etag = this.#snapshot?.etag;
      const headers = etag ? { "If-None-Match": etag } : undefined;
      const answer = await this.#client.call({ method: "GET", path: `/api/v1/routing/state?${query}`, headers });
      if (answer.error) throw answer.error;
      if (answer.status !== 304) this.#snapshot = readSnapshot(answer.body, answer.etag);
    } catch (error) {
      this.#client.warnings.tell("state", `choosing goes by what was known before: ${nameOf(error)}.`);
    }
  }

  async #register() {
    const answers = await Promise.all(this.#paths.map((path) => this.#client.call(pathRequest(this.#name, path))));
    return answers.every((answer) => !answer.error);
  }

  /**
   * Waits for the first snapshot; whether there is one.
   * @param {number} timeoutMs
   */
  async wait(timeoutMs) {
    const deadline = performance.now() + timeoutMs;
    /** @type {any} */
    let timer;
    const late = new Promise((resolve) => (timer = setTimeout(resolve, timeoutMs)));
    while (!this.#snapshot && performance.now() < deadline) {
      await Promise.race([this.#look(), late]);
      if (!this.#snapshot) await Promise.race([new Promise((resolve) => setTimeout(resolve, 100)), late]);
    }
    clearTimeout(timer);
    return this.#snapshot !== null;
  }
}

/**
 * @param {string} goal
 * @param {{model: string, tools: string[], params: Record<string, any>}} path
 * @param {string} [riskLevel]
 * @returns {import("./http.js").Request}
 */
function pathRequest(goal, { model, tools, params }, riskLevel = "low") {
  const body = {
    goal,
    model_id: model,
    tool_id: tools[0],
    tools: tools.length ? tools : undefined,
    params: Object.keys(params).length ? params : undefined,
    risk_level: riskLevel,
  };
  return { method: "POST", path: "/api/v1/routing/paths", body: encode(said(body)) };
}
