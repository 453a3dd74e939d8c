/** What a user did with an answer, told from the answer and the text that they kept. */

/** How content each action says that the user is. */
export const ACTIONS = Object.freeze({
  output_used_verbatim: 1.0,
  downstream_use: 1.0,
  output_copied: 0.9,
  edit_small: 0.8,
  output_edited: 0.4,
  edit_large: 0.3,
  retry: 0.2,
  abandonment: 0.1,
  output_discarded: 0.0,
});
const CONTAINED = 0.95;
const DISCARDED_BELOW = 0.2;
const MOST_COMPARED = 50_000;
const WORD = /[\p{L}\p{N}_]+|[^\p{L}\p{N}_\s]/gu;

/** @typedef {{action: string, score: number}} Use */
/** @typedef {Map<string, number>} Pairs */

/**
 * Taken whole, taken into something larger, edited, or left. Case and blanks don't count; order does.
 * @param {string} output
 * @param {string} finalText
 * @returns {Use}
 */
export function useOf(output, finalText) {
  const before = pairsOf(output);
  const after = pairsOf(finalText);
  const kept = common(before, after);
  const all = sum(before) + sum(after);
  if (2 * kept === all) return { action: "output_used_verbatim", score: 1 };
  if (holds(after, before)) return { action: "output_copied", score: ACTIONS.output_copied };
  const likeness = (2 * kept) / all;
  if (likeness < DISCARDED_BELOW) return { action: "output_discarded", score: 0 };
  return { action: "output_edited", score: rounded(likeness) };
}

/**
 * How much of a text an edit left as it was, from its unified diff; null for what is no diff.
 * @param {string} diff
 */
export function likenessIn(diff) {
  const lines = diff.split(/\r?\n/).filter((line) => !/^(\+\+\+|---|@@|diff |index )/.test(line));
  if (!lines.some((line) => /^[+-]/.test(line))) return null;
  const side = (/** @type {RegExp} */ sign) =>
    pairsOf(lines.filter((line) => sign.test(line)).map((line) => line.slice(1)).join("\n"));
  const before = side(/^[ -]/);
  const after = side(/^[ +]/);
  return rounded((2 * common(before, after)) / Math.max(1, sum(before) + sum(after)));
}

/** @param {number} value */
const rounded = (value) => Math.round(value * 1000) / 1000;

/**
 * Whether a text is in another, all but whole; a single word is in too many to tell.
 * @param {Pairs} whole
 * @param {Pairs} part
 */
function holds(whole, part) {
  const inner = new Map([...part].filter(([pair]) => !pair.startsWith(" ") && !pair.endsWith(" ")));
  return inner.size > 0 && common(inner, whole) >= CONTAINED * sum(inner);
}

/**
 * Each two neighbouring words, ends included: what stays of a text is seen in time that grows with its length.
 * @param {string} text
 * @returns {Pairs}
 */
function pairsOf(text) {
  const words = ["", ...(text.slice(0, MOST_COMPARED).toLowerCase().match(WORD) ?? []), ""];
  /** @type {Pairs} */
  const pairs = new Map();
  for (let at = 1; at < words.length && words.length > 2; at++) {
    const pair = `${words[at - 1]} ${words[at]}`;
    pairs.set(pair, (pairs.get(pair) ?? 0) + 1);
  }
  return pairs;
}

/** @param {Pairs} pairs */
function sum(pairs) {
  let total = 0;
  for (const count of pairs.values()) total += count;
  return total;
}

/** @param {Pairs} one @param {Pairs} other */
function common(one, other) {
  let total = 0;
  for (const [pair, count] of one) total += Math.min(count, other.get(pair) ?? 0);
  return total;
}
