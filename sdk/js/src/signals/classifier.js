/**
 * What a user's message says of the answer before it, read from its words, with a confidence that means what it says.
 *
 * A message is read clause by clause. Each cue that it holds adds to a feature: praise, blame, a negated praise, a
 * blame inside a question, and so on. A logistic model over these few features gives the probabilities. Cues and
 * weights are the Python client's, learned from labelled messages.
 */

import { CUES, WEIGHTS } from "../data/signals.js";

/** @typedef {"accept" | "reject" | "continue"} Kind */
/**
 * @typedef {object} Reading
 * @property {Kind} kind
 * @property {number} confidence what is called 0.9 is right about nine times in ten
 * @property {boolean} isCorrection a rejection that says what was meant
 * @property {"heuristic" | "model"} readBy
 */
/** @typedef {[kind: string, at: number, size: number]} Hit a cue, where it begins in its clause, how many words it has */

// Of a long message the beginning and the end are read: there people say what they think; between them they paste.
const HEAD = 200;
const TAIL = 80;
/** A negator negates a cue that begins at most so many words further on. */
const REACH = 4;
/** @type {Record<string, string>} */
const SIDES = { served: "good", praise: "good", failed: "bad", blame: "bad" };
const GOOD = ["served", "praise", "not bad"];
const BAD = ["failed", "blame", "not good"];
const NEGATORS = ["not", "no", "either"];
const QUOTED = /```[^]*?(?:```|$)|"[^"\n]{4,}"|“[^”]{4,}”|«[^»]{4,}»|„[^“”]{4,}[“”]/g;
const WORD = /[\p{L}\p{N}_]+|[^\p{L}\p{N}_\s'’‘´`*\-]/gu;
const CLAUSE_ENDS = new Set(".!?;:,…\n()¿¡。—–");
const GOES_ON = new Set("?,:(");

/**
 * @param {Kind} kind
 * @param {number} confidence
 * @returns {Reading}
 */
export const reading = (kind, confidence, isCorrection = false, readBy = /** @type {Reading["readBy"]} */ ("heuristic")) => ({
  kind,
  confidence,
  isCorrection,
  readBy,
});

/**
 * Reads one message in English, Spanish, Portuguese, French or German, in some tens of microseconds.
 * @param {string} message
 * @returns {Reading}
 */
export function classify(message) {
  const [accept, reject, correction, goOn] = probabilities(message);
  const rejected = reject + correction;
  if (accept >= rejected && accept >= goOn) return reading("accept", accept);
  if (rejected >= goOn) return reading("reject", rejected, correction > reject);
  return reading("continue", goOn);
}

/** Of accept, reject, correction and continue; they add up to 1. @param {string} message */
function probabilities(message) {
  const sums = [0, 0, 0, 0];
  for (const [name, value] of features(message)) {
    /** @type {number[] | undefined} */
    const weights = WEIGHTS[/** @type {keyof typeof WEIGHTS} */ (name)];
    weights?.forEach((weight, place) => (sums[place] += value * weight));
  }
  const highest = Math.max(...sums);
  const shares = sums.map((one) => Math.exp(one - highest));
  const total = shares.reduce((sum, share) => sum + share, 0);
  return shares.map((share) => share / total);
}

/** The few numbers that the weights are for. @param {string} message @returns {Map<string, number>} */
function features(message) {
  const words = wordsOf(message);
  /** @type {Map<string, number>} */
  const found = new Map();
  const count = (/** @type {string} */ kind) => found.set(kind, (found.get(kind) ?? 0) + 1);
  /** @type {string[]} */
  const kinds = [];
  let length = 0;
  let explained = 0;
  clausesOf(words).forEach((clause, place) => {
    const hits = hitsOf(clause);
    const covered = hits.reduce((sum, [, , size]) => sum + size, 0);
    length += clause.length;
    explained += covered;
    const last = clause[clause.length - 1];
    const said = [...saidOf(hits, place === 0, last === "?")];
    kinds.push(...said);
    for (const kind of said) {
      if (kind === "but") concede(found);
      count(kind);
    }
    if (said.length === 1 && clause.length - covered <= 2 && !GOES_ON.has(last)) count(`flat ${said[0]}`);
  });
  const given = new Map([...found].map(([name, times]) => [name, Math.min(times, 2)]));
  given.set("bias", 1);
  given.set("length", Math.log1p(length));
  given.set("unexplained", length ? 1 - explained / length : 1);
  for (const trait of traitsOf(words, kinds, found)) given.set(trait, 1);
  return given;
}

/**
 * What each cue of a clause says, given the others: negated, asked, or said of something else than the answer.
 * @param {Hit[]} hits
 * @param {boolean} isFirst
 * @param {boolean} asks
 */
function* saidOf(hits, isFirst, asks) {
  const { negated, idle } = negationsOf(hits);
  const addressed = hits.some(([kind]) => kind === "you");
  let isAside = false;
  let isQuestion = false;
  for (const [place, [kind, at]] of hits.entries()) {
    const side = SIDES[kind];
    if (side === undefined) {
      isAside ||= kind === "matter";
      isQuestion ||= kind === "ask";
      if ((kind === "no" && isFirst && at === 0) || !NEGATORS.includes(kind)) yield kind;
      else if (idle.has(place)) yield addressed ? "you not" : at === 0 ? "rather" : "not";
    } else if (negated.has(place)) yield `not ${side}`;
    else if (isAside) yield `aside ${side}`;
    else if (asks && (kind !== "failed" || isQuestion)) yield `asked ${side}`;
    else yield kind;
  }
}

/** The places of cues that are negated, and of negators that negate none of them. @param {Hit[]} hits */
function negationsOf(hits) {
  const negated = new Set();
  const idle = new Set();
  hits.forEach(([kind, at], place) => {
    if (!NEGATORS.includes(kind)) return;
    let target = hits.findIndex(([other, from], n) => n > place && other in SIDES && from - at <= REACH);
    if (target < 0 && kind === "either") {
      for (let n = place - 1; n >= 0 && target < 0; n--) if (hits[n][0] in SIDES && at - hits[n][1] <= REACH) target = n;
    }
    if (target < 0) idle.add(place);
    else negated.add(target);
  });
  return { negated, idle };
}

/** What is praised before a "but" is politeness. @param {Map<string, number>} found */
function concede(found) {
  for (const kind of ["served", "praise", "thanks", "assent", "not bad"]) {
    if (found.delete(kind)) found.set("conceded", (found.get("conceded") ?? 0) + 1);
  }
}

/**
 * @param {string[]} words
 * @param {string[]} kinds
 * @param {Map<string, number>} found
 */
function* traitsOf(words, kinds, found) {
  const [first, second] = kinds;
  yield kinds.length ? `opens with ${first}` : "silent";
  if (second && ["no", "assent", "thanks"].includes(first)) yield `${first}, then ${second}`;
  if (kinds.length === 1) yield `only ${first}`;
  if (words[words.length - 1] === "?") yield "ends asking";
  if (GOOD.some((kind) => found.has(kind)) && BAD.some((kind) => found.has(kind))) yield "mixed";
}

// --- words, clauses and cues ----------------------------------------------------------------------------------

/** @param {string} message @returns {string[]} */
function wordsOf(message) {
  return ends(message).normalize("NFC").toLowerCase().replace(QUOTED, " ; ").match(WORD) ?? [];
}

/** The characters at both ends; one may be two units. @param {string} message */
function ends(message) {
  if (message.length <= HEAD + TAIL) return message;
  const head = Array.from(message.slice(0, 2 * (HEAD + TAIL) + 1));
  if (head.length <= HEAD + TAIL && message.length <= 2 * (HEAD + TAIL)) return message;
  return `${head.slice(0, HEAD).join("")}\n${Array.from(message.slice(-2 * TAIL)).slice(-TAIL).join("")}`;
}

/** Each with the mark that ends it, if one does. @param {string[]} words */
function clausesOf(words) {
  const clauses = [];
  let begin = 0;
  words.forEach((word, place) => {
    if (!CLAUSE_ENDS.has(word)) return;
    if (place > begin) clauses.push(words.slice(begin, place + 1));
    begin = place + 1;
  });
  if (begin < words.length) clauses.push(words.slice(begin));
  return clauses;
}

/** The cues of a clause, from left to right; where several begin at one word, the longest. @param {string[]} clause */
function hitsOf(clause) {
  /** @type {Hit[]} */
  const hits = [];
  for (let at = 0, end; at < clause.length; at = end) {
    end = at + 1;
    let kind = "";
    /** @type {Cue | undefined} */
    let node = tree().next.get(clause[at]);
    for (let place = at + 1; node; node = node.next.get(clause[place++])) {
      if (node.kind) [kind, end] = [node.kind, place];
    }
    if (kind && kind !== "none") hits.push([kind, at, end - at]);
  }
  return hits;
}

// --- what was learned -----------------------------------------------------------------------------------------

/** A word of a cue: what it means if the cue ends here, and the words that may follow. */
class Cue {
  kind = "";
  /** @type {Map<string, Cue>} */
  next = new Map();
}

/** @type {Cue | undefined} */
let grown;

function tree() {
  return (grown ??= treeOf(phrases()));
}

/** Each cue's kind and words. @returns {[string, string[]][]} */
function phrases() {
  /** @type {[string, string[]][]} */
  const found = [];
  let kind = "";
  for (const line of CUES.split("\n")) {
    if (line.startsWith("[")) kind = line.slice(1).split(/[ \]]/)[0];
    else for (const phrase of line.split("|")) found.push([kind, phrase.split(" ").filter(Boolean)]);
  }
  return found;
}

/** The phrases word by word. Those as written come first; without accents they fill what is left. @param {[string, string[]][]} given */
function treeOf(given) {
  const root = new Cue();
  const plain = given.map(([kind, words]) => /** @type {[string, string[]]} */ ([kind, words.map(withoutAccents)]));
  for (const [kind, words] of [...given, ...plain]) {
    let node = root;
    for (const word of words) {
      const next = node.next.get(word) ?? new Cue();
      node.next.set(word, next);
      node = next;
    }
    node.kind ||= kind;
  }
  return root;
}

/** @param {string} word */
const withoutAccents = (word) => word.normalize("NFD").replace(/\p{Mn}/gu, "");
