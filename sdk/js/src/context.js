/** What belongs to one request among many that a process serves at once, as far as the platform can tell them apart. */

/** @returns {any} */
const platformStorage = () =>
  /** @type {any} */ (globalThis).AsyncLocalStorage ??
  /** @type {any} */ (globalThis.process)?.getBuiltinModule?.("node:async_hooks")?.AsyncLocalStorage;

/**
 * The latest value of this chain of calls; in a page, and before Node 20.16, the latest of all.
 * @template T
 */
export class Context {
  #storage;
  /** @type {T | undefined} */
  #latest;

  constructor() {
    const Storage = platformStorage();
    this.#storage = Storage && new Storage();
  }

  /** @returns {T | undefined} */
  get() {
    return this.#storage ? this.#storage.getStore() : this.#latest;
  }

  /** @param {T | undefined} value */
  set(value) {
    this.#latest = value;
    try {
      this.#storage?.enterWith(value);
    } catch {
      // Some edge runtimes have the storage without this.
      this.#storage = undefined;
    }
  }
}

/**
 * What follows on a value, at once or when it has come.
 * @template T, R
 * @param {T | PromiseLike<T>} value
 * @param {(value: T) => R | PromiseLike<R>} next
 * @param {(error: unknown) => R} [caught]
 * @returns {any}
 */
export function chain(value, next, caught) {
  return isThenable(value) ? value.then(next, caught) : next(value);
}

/** @param {any} value @returns {value is PromiseLike<any>} */
export function isThenable(value) {
  return typeof value?.then === "function";
}
