import { wellFormed } from "./encode.js";

/**
 * Whether one in so many is drawn. The same key is always drawn alike, in every language; no key, by chance.
 * @param {number} rate
 * @param {string} [key]
 */
export function isSampled(rate, key = "") {
  return (key ? placeOf(key) : Math.random()) < rate;
}

/**
 * Where a key lies between 0 and 1: FNV-1a over its UTF-8, stirred as murmur3 does at its end.
 * @param {string} key
 */
export function placeOf(key) {
  let hashed = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(wellFormed(key))) hashed = Math.imul(hashed ^ byte, 0x01000193);
  hashed = Math.imul(hashed ^ (hashed >>> 16), 0x85ebca6b);
  hashed = Math.imul(hashed ^ (hashed >>> 13), 0xc2b2ae35);
  return ((hashed ^ (hashed >>> 16)) >>> 0) / 2 ** 32;
}
