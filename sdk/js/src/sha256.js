/**
 * SHA-256 and HMAC, without waiting: WebCrypto only has them in promises, and in a page without https not at all.
 * Held to Node's own in the tests.
 */

const K = constants(64, 1 / 3);
const INITIAL = constants(8, 1 / 2);
const BLOCK_BYTES = 64;

/**
 * The first 32 bits of the fractional parts of the first primes' roots.
 * @param {number} count
 * @param {number} power
 */
function constants(count, power) {
  const found = new Uint32Array(count);
  for (let candidate = 2, at = 0; at < count; candidate++) {
    let isPrime = true;
    for (let factor = 2; factor * factor <= candidate; factor++) isPrime &&= candidate % factor !== 0;
    if (isPrime) found[at++] = (candidate ** power % 1) * 2 ** 32;
  }
  return found;
}

/**
 * @param {ArrayLike<number>} data
 * @returns {Uint8Array}
 */
export function sha256(data) {
  const blocks = Math.ceil((data.length + 9) / BLOCK_BYTES);
  const padded = new Uint8Array(blocks * BLOCK_BYTES);
  padded.set(data);
  padded[data.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setBigUint64(padded.length - 8, BigInt(data.length * 8));
  const state = INITIAL.slice();
  for (let block = 0; block < padded.length; block += BLOCK_BYTES) stir(state, view, block);
  const digest = new DataView(new ArrayBuffer(32));
  state.forEach((word, at) => digest.setUint32(at * 4, word));
  return new Uint8Array(digest.buffer);
}

/** @param {number} word @param {number} by */
const turned = (word, by) => (word >>> by) | (word << (32 - by));

/**
 * @param {Uint32Array} state
 * @param {DataView} view
 * @param {number} block
 */
function stir(state, view, block) {
  const w = new Uint32Array(64);
  for (let t = 0; t < 16; t++) w[t] = view.getUint32(block + t * 4);
  for (let t = 16; t < 64; t++) {
    const s0 = turned(w[t - 15], 7) ^ turned(w[t - 15], 18) ^ (w[t - 15] >>> 3);
    const s1 = turned(w[t - 2], 17) ^ turned(w[t - 2], 19) ^ (w[t - 2] >>> 10);
    w[t] = w[t - 16] + s0 + w[t - 7] + s1;
  }
  let [a, b, c, d, e, f, g, h] = state;
  for (let t = 0; t < 64; t++) {
    const t1 = (h + (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) + ((e & f) ^ (~e & g)) + K[t] + w[t]) | 0;
    const t2 = ((turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    [h, g, f, e, d, c, b, a] = [g, f, e, (d + t1) | 0, c, b, a, (t1 + t2) | 0];
  }
  [a, b, c, d, e, f, g, h].forEach((word, at) => (state[at] += word));
}

/**
 * @param {Uint8Array} key
 * @param {Uint8Array} message
 */
export function hmac(key, message) {
  const short = key.length > BLOCK_BYTES ? sha256(key) : key;
  /** @param {number} with_ */
  const masked = (with_) => Array.from({ length: BLOCK_BYTES }, (_, at) => short[at] ^ with_);
  return sha256([...masked(0x5c), ...sha256([...masked(0x36), ...message])]);
}
