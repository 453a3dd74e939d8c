/** Feedback links, made without asking the server. The same input and time make the same link in every language. */

import { wellFormed } from "./encode.js";
import { hmac, sha256 } from "./sha256.js";
import { hex } from "./tokens.js";

const SALT = "agentloop.feedback.v1";

/** @param {string} text */
const utf8 = (text) => new TextEncoder().encode(text);

/** @param {Uint8Array} bytes */
function base64url(bytes) {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

export function secondsNow() {
  return Math.floor(Date.now() / 1000);
}

/**
 * The short form's token: canonical JSON, its time, and an HMAC-SHA256 over both by a key made of the secret.
 * @param {string} secret
 * @param {Record<string, string | undefined>} payload
 * @param {number} [at] Unix seconds
 */
export function feedbackToken(secret, payload, at = secondsNow()) {
  const kept = Object.entries({ ...payload, k: keyId(secret) }).filter(([, text]) => text);
  kept.sort(([one], [other]) => (one < other ? -1 : 1));
  const text = JSON.stringify(Object.fromEntries(kept.map(([name, text]) => [name, wellFormed(/** @type {string} */ (text))])));
  const signed = `${base64url(utf8(text))}.${base64url(bigEndian(at))}`;
  return `${signed}.${base64url(hmac(hmac(utf8(secret), utf8(SALT)), utf8(signed)))}`;
}

/**
 * An integer in the fewest bytes.
 * @param {number} seconds
 */
function bigEndian(seconds) {
  const bytes = [];
  for (let rest = seconds; rest >= 1; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  return Uint8Array.from(bytes);
}

/** @param {string} secret */
export function keyId(secret) {
  return hex(sha256(utf8(secret))).slice(0, 12);
}

/**
 * The long form, with everything in the query: for those who have such links about already.
 * @param {string} baseUrl
 * @param {string} secret
 * @param {{q: string, a: string, u: string, s: string}} said
 * @param {number} [at] Unix seconds
 */
export function publishedUrl(baseUrl, secret, said, at = secondsNow()) {
  const [a, q, s, u] = [said.a, said.q, said.s, said.u].map(wellFormed);
  const canonical = `{"a": ${ascii(a)}, "q": ${ascii(q)}, "s": ${ascii(s)}, "t": ${at}, "u": ${ascii(u)}}`;
  const sig = hex(hmac(utf8(secret), utf8(canonical)));
  const query = String(new URLSearchParams({ q, a, u, s, t: String(at), sig }));
  // Two characters are written otherwise by Python, which signs the published links.
  return `${baseUrl}/feedback?${query.replaceAll("*", "%2A").replaceAll("%7E", "~")}`;
}

/**
 * A JSON string in ASCII: what is outside U+0020..U+007E is escaped by its number.
 * @param {string} text
 */
function ascii(text) {
  return JSON.stringify(text).replace(/[\x7f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
