/** Whatever an agent hands over, as JSON: quickly where it is plain, and with care where it is not. */

const MAX_DEPTH = 20;
/** Units of a question or a response. The server's own limit is lower, and marks what it cuts. */
const MAX_TEXT = 250_000;
// The only way in which JSON.stringify writes a surrogate by its number is a lone one.
const MAYBE_LONE = /\\ud[89a-f]/;
const LONE = /[\ud800-\udfff]/gu;

/**
 * Compact JSON. Never throws: what JSON has no words for is told as text.
 * @param {unknown} value
 * @returns {string}
 */
export function encode(value) {
  try {
    const text = JSON.stringify(value, stranger);
    if (text !== undefined && !MAYBE_LONE.test(text)) return text;
  } catch {
    // A circle, or a getter that throws: seldom, and worth the slower way.
  }
  return JSON.stringify(plain(value, 0)) ?? "null";
}

/**
 * The same value in JSON's own types: NaN is null, a lone surrogate U+FFFD, a stranger its text.
 * @param {unknown} value
 * @param {number} depth
 * @returns {unknown}
 */
function plain(value, depth) {
  if (typeof value === "string") return wellFormed(value);
  if (value === null || typeof value === "boolean" || typeof value === "number") return value;
  if (depth >= MAX_DEPTH) return "[nested too deep]";
  try {
    return unfolded(stranger("", told(value)), depth);
  } catch {
    return `[unreadable ${kindOf(value)}]`;
  }
}

/** @param {any} value */
function told(value) {
  return typeof value?.toJSON === "function" ? value.toJSON() : value;
}

/**
 * @param {unknown} value
 * @param {number} depth
 * @returns {unknown}
 */
function unfolded(value, depth) {
  if (Array.isArray(value)) return value.map((part) => plain(part, depth + 1) ?? null);
  if (typeof value !== "object" || value === null) return typeof value === "string" ? wellFormed(value) : value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, part]) => part !== undefined)
      .map(([name, part]) => [wellFormed(name), plain(part, depth + 1)]),
  );
}

/**
 * A type that JSON doesn't know, in types that it does.
 * @param {string} _name
 * @param {unknown} value
 * @returns {unknown}
 */
function stranger(_name, value) {
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Map) return Object.fromEntries(value);
  if (value instanceof Set) return [...value];
  if (value instanceof Error) return String(value);
  if (ArrayBuffer.isView(value)) return value instanceof Uint8Array ? new TextDecoder().decode(value) : [.../** @type {any} */ (value)];
  return value;
}

/** @param {unknown} value */
function kindOf(value) {
  try {
    return /** @type {any} */ (value)?.constructor?.name || typeof value;
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
  return text.length <= MAX_TEXT ? text : text.slice(0, MAX_TEXT);
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

/**
 * An object without the members that say nothing.
 * @template {object} T
 * @param {T} members
 * @param {(value: unknown) => boolean} [keep]
 * @returns {Record<string, any>}
 */
export function said(members, keep = (value) => value !== undefined && value !== null && value !== "") {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => keep(value)));
}
