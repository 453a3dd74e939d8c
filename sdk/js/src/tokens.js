/** Ids that nobody else draws. */

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));
let pool = "";

/**
 * So many random bytes in hexadecimal. They are drawn by the thousand: that is what takes time.
 * @param {number} bytes
 */
export function tokenHex(bytes) {
  if (pool.length < bytes * 2) {
    const drawn = new Uint8Array(1024);
    // Node 18 has no global crypto. Ids have to differ, not to be secret.
    pool = hex(globalThis.crypto?.getRandomValues(drawn) ?? drawn.map(() => Math.random() * 256));
  }
  const token = pool.slice(0, bytes * 2);
  pool = pool.slice(bytes * 2);
  return token;
}

/** @param {Uint8Array} bytes */
export function hex(bytes) {
  let text = "";
  for (const byte of bytes) text += HEX[byte];
  return text;
}
