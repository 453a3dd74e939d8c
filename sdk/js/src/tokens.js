/** Ids that nobody else draws. */

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));
const pool = new Uint8Array(4096);
let used = pool.length;

/**
 * So many random bytes in hexadecimal. They are drawn by the thousand: that is what takes time.
 * @param {number} bytes
 */
export function tokenHex(bytes) {
  if (used + bytes > pool.length) refill();
  let text = "";
  for (const end = used + bytes; used < end; used++) text += HEX[pool[used]];
  return text;
}

function refill() {
  if (globalThis.crypto?.getRandomValues) globalThis.crypto.getRandomValues(pool);
  // Node 18 has no global crypto. Ids have to differ, not to be secret.
  else for (let at = 0; at < pool.length; at++) pool[at] = Math.random() * 256;
  used = 0;
}
