/**
 * The law of choosing, as the server has it, over a snapshot of a goal: Thompson sampling among the eligible paths.
 *
 * No clock, no timer, no network: time and randomness are handed in.
 */

// Fewer observations than this are too little to hold a path to a constraint.
const ENOUGH_OBSERVATIONS = 5;
// A path of which nothing is known: the server's prior, as a Beta.
const UNTRIED = { status: "active", sample_count: 0, a: 2, b: 2, mean: 0.5, deviation: 0.2236 };
const DAY_SECONDS = 86_400;

/**
 * @typedef {object} Path One way to do the task.
 * @property {string} model
 * @property {string[]} tools
 * @property {Record<string, any>} params
 * @property {string} pathId the server's name for it; empty while the server hasn't told
 */

/**
 * @typedef {object} Contender with the server's names
 * @property {Path} path
 * @property {number} a
 * @property {number} b
 * @property {number} mean
 * @property {number} deviation
 * @property {string} status
 * @property {number} sample_count
 * @property {number | null} [tried_at]
 * @property {number | null} [probe_at]
 * @property {Record<string, any>} [figures]
 */

/**
 * @typedef {object} Snapshot A goal as the server saw it, with the server's names.
 * @property {Contender[]} contenders
 * @property {string} mode
 * @property {string} [pinned_path_id]
 * @property {number} idle_share
 * @property {{exploration_rate: number, exploration_on_high_risk?: boolean, min_samples_before_exploit: number, staleness_days: number}} config
 * @property {string} etag
 */

/** @typedef {{models: Set<string>, constraints: Record<string, number>, risk: string}} Terms What a router asks for. */
/** @typedef {{path: Path | null, reason: string, exploration: boolean}} Drawn No path where none may be taken. */
/** @typedef {() => number} Chance uniform in [0, 1) */

/** @type {(path: Path | null | undefined, reason: string, exploration?: boolean) => Drawn} */
export const drawn = (path, reason, exploration = false) => ({ path: path ?? null, reason, exploration });

/**
 * The server's answer. Throws where it is none.
 * @param {Record<string, any>} body
 * @param {string} [etag]
 * @returns {Snapshot}
 */
export function readSnapshot(body, etag = "") {
  const config = { exploration_rate: 0, min_samples_before_exploit: 0, staleness_days: 7, ...body.config };
  return { mode: "apply", idle_share: 1 / 50, ...body, config, contenders: body.paths.map(readContender), etag };
}

/**
 * A path as the server tells of it.
 * @param {Record<string, any>} one
 * @returns {Path}
 */
export function pathOf({ model_id: model, tools = [], params = {}, path_id: pathId }) {
  return { model, tools, params, pathId };
}

/** @param {Record<string, any>} one @returns {Contender} */
function readContender({ posterior, ...more }) {
  if (!(posterior.a > 0 && posterior.b > 0 && Number.isFinite(posterior.a + posterior.b))) throw new RangeError();
  return { ...UNTRIED, ...more, ...posterior, path: pathOf(more) };
}

/** Where each constraint finds its figure, and how much it was observed. */
const FIGURES = {
  max_cost_usd: ["mean_cost_usd", "cost_samples"],
  max_latency_ms: ["p95_latency_ms", "latency_samples"],
  min_quality: ["mean_value", "samples"],
  min_confidence: ["best", "samples"],
  max_risk: ["risk_score", "samples"],
};
export const CONSTRAINTS = Object.keys(FIGURES);

/**
 * The constraints that a path breaks, as far as enough was observed to say so.
 * @param {Record<string, number>} constraints
 * @param {Record<string, any>} figures
 * @param {number} [best]
 */
function brokenConstraints(constraints, figures = {}, best) {
  return Object.entries(constraints).filter(([name, bound]) => {
    const [figure, samples] = FIGURES[/** @type {keyof typeof FIGURES} */ (name)];
    const observed = figure === "best" ? best : figures[figure];
    if (observed === undefined || observed === null || (figures[samples] || 0) < ENOUGH_OBSERVATIONS) return false;
    return name.startsWith("max_") ? observed > bound : observed < bound;
  }).map(([name]) => name);
}

/** Who may be chosen under some terms, for as long as the snapshot stands. */
export class Race {
  /** @type {Contender[]} */
  racing = [];
  /** @type {Contender[]} */
  idle = [];
  #contenders;
  #chance;
  #bestMean;
  #blockedBy = "";
  #playsSafe;
  #always;

  /**
   * @param {Snapshot} snapshot
   * @param {Terms} terms
   * @param {number} now Unix seconds
   * @param {Chance} chance
   */
  constructor(snapshot, terms, now, chance = Math.random) {
    this.snapshot = snapshot;
    this.terms = terms;
    this.#chance = chance;
    const known = new Set(snapshot.contenders.map((one) => one.path.model));
    // The router's models that the server doesn't know yet come last.
    const unheardOf = [...terms.models].filter((model) => !known.has(model)).sort().map(unknownContender);
    this.#contenders = [...snapshot.contenders, ...unheardOf].filter((one) => terms.models.has(one.path.model));
    this.#lineUp(now);
    this.#bestMean = Math.max(0, ...this.racing.map((one) => one.mean));
    this.#playsSafe = terms.risk === "high" && !snapshot.config.exploration_on_high_risk;
    this.#always = this.#settled();
  }

  /** Sorts the contenders; notes what ruled most of the others out. @param {number} now */
  #lineUp(now) {
    const { snapshot, terms } = this;
    /** @type {Map<string, number>} */
    const ruledOut = new Map();
    const ruleOut = (/** @type {string} */ why) => ruledOut.set(why, (ruledOut.get(why) ?? 0) + 1);
    for (const one of snapshot.contenders) if (!terms.models.has(one.path.model)) ruleOut("candidates");
    const best = "min_confidence" in terms.constraints ? this.#confidence() : new Map();
    for (const one of this.#contenders) {
      const broken = brokenConstraints(terms.constraints, one.figures, best.get(one));
      if (broken.length) broken.forEach(ruleOut);
      else if (one.status === "active") {
        this.racing.push(one);
        if ((one.tried_at ?? Infinity) < now - snapshot.config.staleness_days * DAY_SECONDS) this.idle.push(one);
      } else if (one.status !== "disabled" && (one.probe_at ?? Infinity) <= now) this.idle.push(one);
      else ruleOut(one.status);
    }
    const most = Math.max(0, ...ruledOut.values());
    this.#blockedBy = [...ruledOut.keys()].sort().find((why) => ruledOut.get(why) === most) ?? "";
  }

  #confidence() {
    const fit = this.#contenders.filter((one) => one.status === "active");
    const shares = probabilitiesBest(fit);
    return new Map(fit.map((one, place) => [one, shares[place]]));
  }

  /** The answer where nothing is left to chance. @returns {Drawn | null} */
  #settled() {
    const { snapshot, racing } = this;
    if (snapshot.mode !== "apply") {
      const fit = this.#contenders.filter((one) => one.status !== "disabled");
      const pinned = fit.find((one) => one.path.pathId === snapshot.pinned_path_id) ?? fit[0];
      return drawn(pinned?.path, `this goal is in mode ${snapshot.mode}: its pinned or first path`);
    }
    if (!racing.length && (this.#playsSafe || !this.idle.length)) return this.#nobody();
    if (!this.#playsSafe) return null;
    const known = racing.filter((one) => one.sample_count >= ENOUGH_OBSERVATIONS);
    const best = bestOf(known.length ? known : racing);
    return drawn(best.path, `high risk: best mean ${best.mean.toFixed(3)} over ${best.sample_count.toFixed(0)} outcomes`);
  }

  /** Where all that may be taken is rolled back, the best of it: something has to be called. */
  #nobody() {
    const down = this.#contenders.filter((one) => isDown(one.status));
    if (down.length && (isDown(this.#blockedBy) || this.#blockedBy === "candidates")) {
      return drawn(bestOf(down).path, "every candidate is rolled back: the best mean of them");
    }
    return drawn(null, `no path is eligible: most are ruled out by ${this.#blockedBy}`);
  }

  /** @returns {Drawn} */
  draw() {
    return this.#always ?? this.#explorer() ?? this.#winner();
  }

  /** Whom the idle share or the exploration floor sends, if either does this time. */
  #explorer() {
    const { idle, racing, snapshot } = this;
    const chance = this.#chance;
    if (idle.length && (!racing.length || chance() < snapshot.idle_share)) {
      const one = idle[Math.floor(chance() * idle.length)];
      const reason = one.status === "active" ? "not tried for the staleness time" : "probe of a rolled back path";
      return drawn(one.path, reason, true);
    }
    const floor = snapshot.config.exploration_rate;
    if (floor > 0 && chance() < floor) {
      const one = racing[Math.floor(chance() * racing.length)];
      return drawn(one.path, `exploration floor of ${floor}`, true);
    }
    return null;
  }

  /** The largest of one draw from each posterior (Thompson, 1933). */
  #winner() {
    let taken = this.racing[0];
    let largest = -Infinity;
    for (const one of this.racing) {
      const value = beta(one.a, one.b, this.#chance);
      if (value > largest) {
        taken = one;
        largest = value;
      }
    }
    const [mean, best] = [taken.mean.toFixed(3), this.#bestMean.toFixed(3)];
    if (taken.mean < this.#bestMean) {
      return drawn(taken.path, `drew ${largest.toFixed(3)}, above the best mean ${best}; own mean ${mean}`, true);
    }
    const few = taken.sample_count < this.snapshot.config.min_samples_before_exploit ? ", too few to be sure" : "";
    return drawn(taken.path, `best mean ${mean} and largest draw, ${taken.sample_count.toFixed(0)} outcomes${few}`);
  }

  /**
   * For every path that may be taken: the probability that it is the best, and that it is taken.
   * @returns {Map<Path, {confidence: number, probability: number}>}
   */
  chances() {
    if (this.#always) return new Map(this.#always.path ? [[this.#always.path, { confidence: 1, probability: 1 }]] : []);
    const { racing, idle, snapshot } = this;
    const idleShare = idle.length ? (racing.length ? snapshot.idle_share : 1) : 0;
    const floor = snapshot.config.exploration_rate;
    /** @type {Map<Path, {confidence: number, probability: number}>} */
    const found = new Map();
    probabilitiesBest(racing).forEach((confidence, place) => {
      const probability = (1 - idleShare) * (floor / racing.length + (1 - floor) * confidence);
      found.set(racing[place].path, { confidence, probability });
    });
    for (const { path } of idle) {
      const { confidence, probability } = found.get(path) ?? { confidence: 0, probability: 0 };
      found.set(path, { confidence, probability: probability + idleShare / idle.length });
    }
    return found;
  }
}

/** @param {string} model @returns {Contender} */
function unknownContender(model) {
  return { ...UNTRIED, path: pathOf({ model_id: model, path_id: "" }) };
}

/** @param {Contender[]} contenders */
const bestOf = (contenders) => contenders.reduce((best, one) => (one.mean > best.mean ? one : best));

/** @param {string} status */
const isDown = (status) => status === "rolled_back" || status === "probing";

// --- draws --------------------------------------------------------------------------------------------------------

/** A standard normal draw (Marsaglia's polar method). @param {Chance} chance */
function gauss(chance) {
  for (;;) {
    const x = 2 * chance() - 1;
    const y = 2 * chance() - 1;
    const s = x * x + y * y;
    if (s > 0 && s < 1) return x * Math.sqrt((-2 * Math.log(s)) / s);
  }
}

/**
 * A draw from Gamma(shape, 1), as its logarithm: with a tiny shape the draw itself is too small for a number.
 * (Marsaglia and Tsang, 2000.)
 * @param {number} shape
 * @param {Chance} chance
 * @returns {number}
 */
function logGamma(shape, chance) {
  if (shape < 1) return logGamma(shape + 1, chance) + Math.log(1 - chance()) / shape;
  const d = shape - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const x = gauss(chance);
    const v = (1 + c * x) ** 3;
    if (v > 0 && Math.log(1 - chance()) < 0.5 * x * x + d - d * v + d * Math.log(v)) return Math.log(d * v);
  }
}

/** @param {number} a @param {number} b @param {Chance} chance */
function beta(a, b, chance) {
  return 1 / (1 + Math.exp(logGamma(b, chance) - logGamma(a, chance)));
}

// --- how likely each is the best ----------------------------------------------------------------------------------

/**
 * P(each has the largest mean), by one pass over a grid that is fine wherever any of them has weight.
 *
 * On the scale theta = asin(sqrt(x)) a Beta's density stays finite at both ends.
 * @param {Contender[]} contenders
 * @returns {number[]}
 */
export function probabilitiesBest(contenders) {
  if (contenders.length < 2) return contenders.map(() => 1);
  const floor = Math.max(...contenders.map((one) => one.mean - 5 * one.deviation));
  const able = contenders.filter((one) => one.mean + 5 * one.deviation >= floor);
  const nodes = gridOf(able);
  const shares = sharesOfMaximum(able.map((one) => runningShare(one, nodes)));
  return contenders.map((one) => shares[able.indexOf(one)] ?? 0);
}

/** @param {Contender[]} contenders */
function gridOf(contenders) {
  const steps = Math.max(8, Math.min(32, Math.floor(320 / contenders.length)));
  const angles = new Set(Array.from({ length: 63 }, (_, step) => (Math.PI * (step + 1)) / 128));
  for (const one of contenders) {
    for (let step = 0; step <= steps; step++) {
      const x = one.mean + one.deviation * ((10 * step) / steps - 5);
      if (x > 0 && x < 1) angles.add(Math.asin(Math.sqrt(x)));
    }
  }
  return Float64Array.from(angles).sort();
}

/**
 * The distribution function at the nodes, by trapezes, ending at exactly 1.
 * @param {Contender} one
 * @param {Float64Array} nodes
 */
function runningShare(one, nodes) {
  const [a, b] = [2 * one.a - 1, 2 * one.b - 1];
  const heights = nodes.map((node) => a * Math.log(Math.sin(node)) + b * Math.log(Math.cos(node)));
  const highest = Math.max(...heights);
  const shares = new Float64Array(nodes.length + 1);
  nodes.forEach((node, at) => {
    heights[at] = Math.exp(heights[at] - highest);
    shares[at + 1] = shares[at] + (heights[at] + (heights[at - 1] ?? 0)) * (node - (nodes[at - 1] ?? nodes[0]));
  });
  return shares.map((share) => share / shares[nodes.length]);
}

/** @param {Float64Array[]} below */
function sharesOfMaximum(below) {
  const shares = below.map(() => 0);
  for (let at = 1; at < below[0].length; at++) {
    const middles = below.map((one) => (one[at - 1] + one[at]) / 2);
    const everyone = middles.reduce((product, middle) => product * middle, 1);
    if (everyone > 0) {
      below.forEach((one, place) => (shares[place] += ((one[at] - one[at - 1]) * everyone) / middles[place]));
    }
  }
  const total = shares.reduce((sum, share) => sum + share, 0);
  return shares.map((share) => share / total);
}
