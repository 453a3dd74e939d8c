/** Ids that nobody else draws. */

let pool = "";

/**
 * So many random bytes in hexadecimal. They are drawn by the hundred: that is what takes time.
 * @param {number} bytes
 */
export function tokenHex(bytes) {
  if (pool.length < bytes * 2) {
    const drawn = new Uint8Array(256);
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
  for (const byte of bytes) text += (byte + 256).toString(16).slice(1);
  return text;
}
