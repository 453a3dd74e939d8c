/** Whatever an agent hands over, as JSON: quickly where it is plain, and with care where it is not. */

const MAX_DEPTH = 20;
/** Units of a question or a response. The server's own limit is lower, and marks what it cuts. */
const MAX_TEXT = 250_000;
const LONE = /[\ud800-\udfff]/gu;
// JSON.stringify writes a surrogate by its number only where it is a lone one. A backslash that was said comes doubled.
const LONE_IN_JSON = /\\(?:\\|ud[89a-f]..)/g;

/**
 * Compact JSON. Never throws: what JSON has no words for is told as text, a lone surrogate is U+FFFD.
 * @param {unknown} value
 * @returns {string}
 */
export function encode(value) {
  let text;
  try {
    text = JSON.stringify(value, stranger);
  } catch {
    // A circle, or a getter that throws: seldom, and worth the slower way.
    text = JSON.stringify(plain(value, 0));
  }
  return (text ?? "null").replace(LONE_IN_JSON, (found) => (found === "\\\\" ? found : "\ufffd"));
}

/**
 * The same value in JSON's own types: a stranger is its text.
 * @param {any} value
 * @param {number} depth
 * @returns {unknown}
 */
function plain(value, depth) {
  try {
    const told = stranger("", typeof value?.toJSON === "function" ? value.toJSON() : value);
    if (typeof told !== "object" || told === null) return told;
    if (depth >= MAX_DEPTH) return "[nested too deep]";
    const parts = Object.entries(told).map(([name, part]) => [name, plain(part, depth + 1)]);
    return Array.isArray(told) ? parts.map(([, part]) => part) : Object.fromEntries(parts);
  } catch {
    return `[unreadable ${kindOf(value)}]`;
  }
}

/**
 * A type that JSON doesn't know, in types that it does.
 * @param {string} _name
 * @param {unknown} value
 * @returns {unknown}
 */
function stranger(_name, value) {
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  if (value instanceof Map) return Object.fromEntries(value);
  if (value instanceof Set) return [...value];
  if (value instanceof Error) return String(value);
  if (ArrayBuffer.isView(value)) return value instanceof Uint8Array ? new TextDecoder().decode(value) : [.../** @type {any} */ (value)];
  return value;
}

/**
 * What kind of thing it is. An error from another library may call itself just "Error", and its class something better.
 * @param {any} value
 * @returns {string}
 */
export function kindOf(value) {
  try {
    const name = typeof value?.name === "string" && value.name;
    return name && name !== "Error" ? name : value?.constructor?.name || typeof value;
  } catch {
    return typeof value;
  }
}

/**
 * Lone surrogates become U+FFFD; a pair that stands together is one character.
 * @param {string} text
 */
export function wellFormed(text) {
  return text.replace(LONE, "\ufffd");
}

/**
 * A question or a response as text, cut where no request could hold it.
 * @param {unknown} value
 */
export function textOf(value) {
  const text = typeof value === "string" ? value : value === null || value === undefined ? "" : encode(value);
  return text.slice(0, MAX_TEXT);
}

/**
 * How long a text is in UTF-8, without making its bytes.
 * @param {string} text
 */
export function byteLength(text) {
  let bytes = text.length;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    // A surrogate pair is two units and four bytes.
    if (unit > 0x7f) bytes += unit > 0x7ff && (unit < 0xd800 || unit > 0xdfff) ? 2 : 1;
  }
  return bytes;
}

/** @param {string} name in camelCase */
export const snake = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/**
 * What was given under some names, under the server's names for them.
 * @template {object} T
 * @param {T} given
 * @param {(keyof T & string)[]} names
 */
export function picked(given, names) {
  /** @type {Record<string, any>} */
  const members = {};
  for (const name of names) members[snake(name)] = given[name];
  return members;
}

/** @param {unknown} value */
const isGiven = (value) => value !== undefined && value !== null;

/** Whether it says anything: an empty text, list or object does not. @param {any} value */
export const isFull = (value) =>
  isGiven(value) && value !== "" && (typeof value !== "object" || Object.keys(value).length > 0);

/**
 * An object without the members that were not given.
 * @param {object} members
 * @param {(value: unknown) => boolean} [keep]
 * @returns {Record<string, any>}
 */
export function said(members, keep = isGiven) {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => keep(value)));
}
