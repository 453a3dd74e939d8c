/** What `logTurn` returned for outlives the process, and arrives exactly once in the end. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { AgentLoop } from "../src/index.js";
import { spool } from "../src/spool.js";
import { HOME, half, home, kind, reset, sessionId, status, storedThenReset, turns, unkind } from "./support.mjs";

const AGENT = `
  import { AgentLoop } from ${JSON.stringify(new URL("../src/index.js", import.meta.url).href)};
  import { spool } from ${JSON.stringify(new URL("../src/spool.js", import.meta.url).href)};
  const [baseUrl, apiKey, directory, session, start] = process.argv.slice(1);
  const loop = new AgentLoop({ apiKey, baseUrl, spool: spool(directory), warn() {} });
  process.stdout.write("ready\\n");
  for (let number = Number(start); ; number++) {
    loop.logTurn("question " + number, "answer of " + session, { sessionId: session });
    // Told only when logTurn has returned; a pipe is written at once.
    process.stdout.write(number + "\\n");
    await new Promise((resolve) => setTimeout(resolve, number % 5 ? 0 : 1));
  }`;

function folder() {
  const made = mkdtempSync(join(tmpdir(), "spool-"));
  after(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

/** An agent that is killed at a random moment; the lines that it told in full. */
async function killed(...given) {
  const agent = spawn(process.execPath, ["--input-type=module", "-e", AGENT, ...given], { stdio: ["ignore", "pipe", "inherit"] });
  let told = "";
  for await (const piece of agent.stdout) {
    if (!told) setTimeout(() => agent.kill("SIGKILL"), 10 + 300 * Math.random());
    told += piece;
  }
  if (agent.exitCode === null && agent.signalCode === null) await once(agent, "exit");
  return told.split("\n").slice(1, -1);
}

/** Agents that are killed one after another; what their `logTurn` returned for. */
async function killedAgents(rounds, url, key, directory, session) {
  const promised = new Set();
  let start = 0;
  for (let round = 0; round < rounds; round++) {
    const told = await killed(url, key, directory, session, String(start));
    for (const number of told) promised.add(`question ${number}`);
    // A turn may be spooled of which the agent could not say so any more.
    start += told.length + 1;
  }
  return promised;
}

test("turns survive kill -9", async () => {
  const [directory, session] = [folder(), sessionId()];
  const promised = await killedAgents(4, HOME.url, HOME.apiKey, directory, session);
  const loop = home({ spool: spool(directory) });
  assert.ok(await loop.flush(60_000));
  await loop.close();
  const arrived = new Map((await turns(session)).map((turn) => [turn.question, turn.occurrences]));
  assert.ok(promised.size > 50, `${promised.size} turns`);
  assert.deepEqual([...promised].filter((question) => !arrived.has(question)), []);
  assert.ok(arrived.size <= promised.size + 4);
  assert.deepEqual(new Set(arrived.values()), new Set([1]));
  assert.deepEqual(readdirSync(directory), []);
});

test("turns survive kill -9 beside a server that breaks", async () => {
  const directory = folder();
  const tricks = Array.from({ length: 40 }, () => [storedThenReset, half, status(500), reset, kind]).flat();
  const server = await unkind(tricks);
  const promised = await killedAgents(4, server.url, "al_key", directory, "s");
  tricks.length = 0;
  const loop = new AgentLoop({ apiKey: "al_key", baseUrl: server.url, spool: spool(directory), warn() {} });
  assert.ok(await loop.flush(30_000));
  await loop.close();
  assert.deepEqual([...promised].filter((question) => server.stored.get(question) !== 1), []);
  assert.deepEqual(readdirSync(directory), []);
  await server.close();
});

/** A client that can't send, and what it leaves behind. */
async function left(directory, ...questions) {
  const loop = new AgentLoop({ apiKey: "k", baseUrl: "http://127.0.0.1:1", spool: spool(directory), exitTimeoutMs: 0, warn() {} });
  for (const question of questions) loop.logTurn(question, "a");
  await loop.close();
}

test("a torn line is passed over, a living client's segments are left to it, and names are not trusted", async () => {
  const directory = folder();
  const server = await unkind();
  await left(directory, "of this process");
  const fresh = () => new AgentLoop({ apiKey: "k", baseUrl: server.url, spool: spool(directory) });
  const beside = fresh();
  assert.ok(await beside.flush(5000));
  assert.equal(server.stored.size, 0, "its client may still be there");
  // As the dead leave them: no process has this id.
  const dead = join(directory, "99999999-aaaaaaaaaaaa-00000001.spool");
  writeFileSync(dead, 'turns {"question":"whole","idempotency_key":"k1"}\nnonsense\n');
  appendFileSync(dead, 'turns {"question":"torn","idempo');
  writeFileSync(join(directory, "other.txt"), "not ours");
  const next = fresh();
  assert.ok(await next.flush(5000));
  assert.deepEqual([...server.stored], [["whole", 1]]);
  assert.equal(readdirSync(directory).length, 2);
  await Promise.all([beside.close(), next.close()]);
  await server.close();
});

test("a spool that cannot be used is done without", async () => {
  const blocked = join(folder(), "file");
  writeFileSync(blocked, "no directory");
  const server = await unkind();
  const warned = [];
  const loop = new AgentLoop({ apiKey: "k", baseUrl: server.url, spool: spool(join(blocked, "spool")), warn: (said) => warned.push(said) });
  loop.logTurn("q", "a");
  assert.ok(await loop.close());
  assert.deepEqual([...server.stored], [["q", 1]]);
  assert.match(warned[0], /spool can't be used \(ENOTDIR\)/);
  await server.close();
});
