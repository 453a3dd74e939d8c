/**
 * A directory in which unsent messages survive the process, for Node: they go out when the next one starts.
 *
 *     const loop = new AgentLoop({ spool: spool("/var/lib/agent/spool") });
 *
 * Each process writes segments of its own, named by its id; those of processes that are gone are taken over. A segment
 * is deleted when all of it is settled. Messages are written, not synced: they survive the process, not a loss of power.
 */

import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, renameSync, unlinkSync, writeSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { kindOf } from "./encode.js";
import { tokenHex } from "./tokens.js";

const SEGMENT_BYTES = 1024 * 1024;
const LOOK_EVERY_MS = 30_000;
const NAME = /^(\d+)-([0-9a-f]+)-\d+\.spool$/;

/** @typedef {{path: string, waiting: number, isOpen: boolean}} Segment */

/** Of spools in this process: a segment of this process's id that is none of theirs was left by an earlier one. */
const owners = new Set();

/**
 * One directory for the processes of one machine; a client has a spool of its own.
 * @param {string} directory
 * @returns {import("./settings.js").Spool}
 */
export function spool(directory) {
  return new Spool(directory);
}

class Spool {
  #directory;
  #owner = tokenHex(6);
  #numbers = 0;
  #handle = -1;
  #size = 0;
  /** @type {Segment | null} */
  #writing = null;
  /** Where each message that waits stands. @type {Map<string, Segment>} */
  #places = new Map();
  #lookedAt = 0;
  /** @type {{put(lane: string, text: string): unknown} | undefined} */
  #courier;
  /** @type {import("./settings.js").Warnings | undefined} */
  #warnings;

  /** @param {string} directory */
  constructor(directory) {
    this.#directory = directory;
    owners.add(this.#owner);
  }

  /**
   * Hands over what earlier processes left.
   * @param {{put(lane: string, text: string): unknown}} courier
   * @param {import("./settings.js").Warnings} warnings
   */
  open(courier, warnings) {
    this.#courier = courier;
    this.#warnings = warnings;
    this.#takeOver();
  }

  #takeOver() {
    this.#lookedAt = performance.now();
    this.#guarded(() => {
      mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
      for (const name of readdirSync(this.#directory).sort()) if (isLeft(name)) this.#adopt(name);
    });
  }

  /** @param {string} name */
  #adopt(name) {
    const path = this.#newPath();
    try {
      // Whoever renames it first has it.
      renameSync(join(this.#directory, name), path);
    } catch {
      return;
    }
    const records = recordsOf(path);
    const segment = { path, waiting: records.length, isOpen: false };
    for (const [, text] of records) this.#places.set(text, segment);
    for (const [lane, text] of records) this.#courier?.put(lane, text);
    if (!records.length) unlinkSync(path);
  }

  #newPath() {
    return join(this.#directory, `${process.pid}-${this.#owner}-${String(++this.#numbers).padStart(8, "0")}.spool`);
  }

  /**
   * @param {string} lane
   * @param {string} text
   */
  put(lane, text) {
    if (this.#places.has(text)) return;
    if (performance.now() - this.#lookedAt > LOOK_EVERY_MS) this.#takeOver();
    this.#guarded(() => {
      const segment = (this.#writing ??= this.#begun());
      const record = Buffer.from(`${lane} ${text}\n`);
      if (writeSync(this.#handle, record) !== record.length) throw new RangeError();
      segment.waiting++;
      this.#places.set(text, segment);
      this.#size += record.length;
      if (this.#size >= SEGMENT_BYTES) this.#finish();
    });
  }

  /** @returns {Segment} */
  #begun() {
    const path = this.#newPath();
    this.#handle = openSync(path, "ax", 0o600);
    this.#size = 0;
    return { path, waiting: 0, isOpen: true };
  }

  /** The segment that is written is complete. */
  #finish() {
    const segment = this.#writing;
    if (!segment) return;
    this.#writing = null;
    segment.isOpen = false;
    closeSync(this.#handle);
    if (!segment.waiting) unlinkSync(segment.path);
  }

  /** These arrived, or never will. @param {{text: string}[]} messages */
  settled(messages) {
    for (const { text } of messages) {
      const segment = this.#places.get(text);
      this.#places.delete(text);
      if (segment && --segment.waiting === 0 && !segment.isOpen) this.#guarded(() => unlinkSync(segment.path));
    }
    if (!this.#places.size) this.#guarded(() => this.#finish());
  }

  /** A disk that fails is told of; what waits is in memory all the same. @param {() => void} work */
  #guarded(work) {
    try {
      work();
    } catch (/** @type {any} */ error) {
      const why = error?.code ?? kindOf(error);
      this.#warnings?.tell("spool", `the spool can't be used (${why}): what waits is kept in memory alone.`);
    }
  }
}

/** Whether this is a segment whose process is gone. @param {string} name */
function isLeft(name) {
  const [, pid, owner] = NAME.exec(name) ?? [];
  if (!pid || owners.has(owner)) return false;
  if (Number(pid) === process.pid) return true;
  try {
    process.kill(Number(pid), 0);
    return false;
  } catch (/** @type {any} */ error) {
    return error.code === "ESRCH";
  }
}

/**
 * A segment's messages. Of a process that was killed the last one may be torn: it was not yet promised to anyone.
 * @param {string} path
 */
function recordsOf(path) {
  const lines = readFileSync(path, "utf8").split("\n").slice(0, -1);
  const records = lines.map((line) => /^([a-z]+) (\{.*\})$/s.exec(line)?.slice(1));
  return /** @type {[string, string][]} */ (records.filter(Boolean));
}
