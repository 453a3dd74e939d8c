/**
 * The five usual reasons to log a turn, as small questions about texts and times: is this one worth a look?
 *
 * English, Spanish, Portuguese, French and German. Nothing here needs the network; each answers in microseconds.
 */

import * as data from "./data/patterns.js";

/** @typedef {Date | number} Moment a number is Unix seconds */

const LETTER = "[\\p{L}\\p{N}_]";
const MOST_READ = 4000;

/**
 * A pattern of Python's, whose words have letters of all alphabets.
 * @param {string} source
 */
function unicode(source) {
  const translated = source
    .replaceAll("\\b", `(?:(?<=${LETTER})(?!${LETTER})|(?<!${LETTER})(?=${LETTER}))`)
    .replaceAll("\\w", LETTER)
    .replaceAll("\\W", LETTER.replace("[", "[^"))
    .replaceAll("\\d", "\\p{Nd}");
  return new RegExp(translated, "u");
}

/** @type {Record<string, RegExp>} */
const made = {};
/** Made at first use: who asks one question need not pay for the others. @param {"ASKS_AGAIN" | "PUNTS" | "CLAIMS"} name */
const pattern = (name) => (made[name] ??= unicode(data[name]));

const STOP = new Set(data.STOP.split(" "));
const ENDING = new RegExp(data.ENDING);
const WORD = new RegExp(`${LETTER}+`, "gu");

/** Lower case without accents. @param {string} text */
function folded(text) {
  return text.toLowerCase().replaceAll("ß", "ss").normalize("NFKD").replace(/\p{Mn}/gu, "");
}

/** Cheap, and alike in five languages: what endings change is at the end. @param {string} word */
function stem(word) {
  if (word.length > 3 && word.endsWith("s")) word = word.slice(0, -1);
  if (word.length > 5) word = word.replace(ENDING, "");
  return word.slice(0, 7);
}

/** @param {string} text */
function contentOf(text) {
  const words = folded(text).match(WORD) ?? [];
  const content = new Set(words.filter((word) => word.length > 1 && !STOP.has(word)).map(stem));
  return content.size ? content : new Set(words);
}

/**
 * Whether the user asks again what one of their last questions (`history`, the latest last) asked already.
 *
 * A question asked again in other words shares most of its words that matter; one that goes on about the same
 * subject shares some and adds as many.
 * @param {string} question
 * @param {string[]} history
 */
export function isRephrase(question, history) {
  const asked = contentOf(question);
  if (!asked.size || !history.length) return false;
  if (pattern("ASKS_AGAIN").test(folded(question))) return true;
  return history.slice(-5).some((earlier) => saysTheSame(asked, contentOf(earlier)));
}

/** @param {Set<string>} asked @param {Set<string>} earlier */
function saysTheSame(asked, earlier) {
  const common = [...asked].filter((word) => earlier.has(word)).length;
  if (!common) return false;
  const fewest = Math.min(asked.size, earlier.size);
  const all = asked.size + earlier.size - common;
  if (fewest === 1) return all === 1;
  return common / all >= 0.5 || (common / fewest >= 0.75 && common / all >= 0.4);
}

/**
 * Whether the agent passed: said that it can't or doesn't know, or sent the user to somebody else.
 * @param {string} response
 */
export function agentPunted(response) {
  return pattern("PUNTS").test(folded(response).replaceAll("’", "'").slice(0, MOST_READ));
}

/**
 * Whether the answer states a price, a date, a time, a measure or a promise: what a user will rely on.
 * @param {string} response
 */
export function makesFactualClaim(response) {
  return pattern("CLAIMS").test(folded(response.slice(0, MOST_READ)).replaceAll("’", "'"));
}

/**
 * Signals for a user who came back with the same matter: `recurrence`, and the `gap_hours` since the last time.
 * Null where they did not, so that it can be handed to `logTurnIf` as condition.
 * @param {Moment} askedAt
 * @param {Iterable<Moment>} earlier
 * @param {{withinHours?: number}} [options]
 * @returns {{recurrence: true, gap_hours: number} | null}
 */
export function recurrence(askedAt, earlier, { withinHours = 72 } = {}) {
  const gaps = Array.from(earlier, (moment) => (seconds(askedAt) - seconds(moment)) / 3600);
  const fit = gaps.filter((gap) => gap > 0 && gap <= withinHours);
  return fit.length ? { recurrence: true, gap_hours: Math.round(Math.min(...fit) * 100) / 100 } : null;
}

/**
 * Whether what the agent did was taken back so soon that it was hardly wanted.
 * @param {Moment} doneAt
 * @param {Moment | null | undefined} revertedAt
 * @param {{withinHours?: number}} [options]
 */
export function revertedQuickly(doneAt, revertedAt, { withinHours = 1 } = {}) {
  if (revertedAt === null || revertedAt === undefined) return false;
  const gap = seconds(revertedAt) - seconds(doneAt);
  return gap >= 0 && gap <= withinHours * 3600;
}

/** @param {Moment} moment */
const seconds = (moment) => (moment instanceof Date ? moment.getTime() / 1000 : moment);
