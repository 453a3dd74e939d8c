/** A server that refuses, stalls, resets and lies: nothing thrown, nothing twice, nothing lost within the bounds. */

import assert from "node:assert/strict";
import { createServer } from "node:net";
import { test } from "node:test";
import { AgentLoop, BadAnswer, BufferFull, TimedOut, Unreachable } from "../src/index.js";
import * as u from "./support.mjs";

const client = (server, more = {}) => new AgentLoop({ apiKey: "al_key", baseUrl: server.url, warn() {}, timeoutMs: 300, ...more });
const TRICKS = {
  "refuses": u.status(503),
  "fails": u.status(500, {}, "<html>"),
  "has enough": u.status(429, { "Retry-After": "0" }),
  "resets": u.reset,
  "stores and resets": u.storedThenReset,
  "answers by half": u.half,
  "stalls": u.stall,
  "drips": u.drip,
  "answers no JSON": u.noJson("<html>hello"),
  "answers another's JSON": u.noJson("{}"),
  "answers a list": u.noJson("[]"),
  "redirects": u.status(302, { Location: "/elsewhere" }),
  "does not know the key": u.status(401),
  "does not know the address": u.status(404),
};

for (const [name, trick] of Object.entries(TRICKS)) {
  test(`a server that ${name}: every turn is there once in the end`, async () => {
    const server = await u.unkind([trick, trick]);
    const loop = client(server);
    for (let number = 0; number < 20; number++) loop.logTurn(`q${number}`, "a");
    assert.equal(await loop.flush(10_000), true);
    assert.deepEqual([server.stored.size, ...new Set(server.stored.values())], [20, 1]);
    assert.deepEqual([loop.stats.sent, loop.stats.retries], [20, 2]);
    await loop.close();
    await server.close();
  });

  test(`a server that ${name}: whoever waits gets nothing, and the turn goes on`, async () => {
    const server = await u.unkind([], trick);
    const loop = client(server);
    assert.equal(await loop.logTurn("q", "a", { wait: true }), null);
    assert.deepEqual(await loop.search("q"), []);
    // What another try can't mend is not tried again.
    const isFinal = ["does not know the key", "does not know the address", "answers another's JSON"].includes(name);
    assert.equal(loop.stats.queued, isFinal ? 0 : 1);
    await loop.close(300);
    await server.close();
  });
}

test("an endless answer does not fill the memory", async () => {
  const server = await u.unkind([], u.endless);
  const loop = client(server, { timeoutMs: 20_000, strict: true });
  await assert.rejects(loop.call({ method: "GET", path: "/" }).then((answer) => { throw answer.error; }), BadAnswer);
  await loop.close(0);
  await server.close();
});

test("what is refused is given up, and does not hold up the others", async () => {
  const refuse = (response, seen, server) =>
    seen.json.turns.some((turn) => turn.question === "bad")
      ? u.status(422, {}, '{"error": "No.", "code": "invalid"}')(response)
      : u.kind(response, seen, server);
  const server = await u.unkind([], refuse);
  const loop = client(server, { timeoutMs: 5000 });
  for (const question of ["one", "two", "bad", "three", "four"]) loop.logTurn(question, "a");
  assert.equal(await loop.flush(), true);
  assert.deepEqual([...server.stored.keys()].sort(), ["four", "one", "three", "two"]);
  assert.deepEqual([loop.stats.sent, loop.stats.refused], [4, 1]);
  await loop.close();
  await server.close();
});

test("Retry-After is honoured", async () => {
  const server = await u.unkind([u.status(429, { "Retry-After": "1" })]);
  const loop = client(server);
  loop.logTurn("q", "a");
  const began = performance.now();
  assert.equal(await loop.flush(5000), true);
  assert.ok(performance.now() - began >= 1000);
  await loop.close();
  await server.close();
});

test("retries pause longer each time, at random", async () => {
  const { pause } = await import("../src/http.js");
  for (let failures = 0; failures < 20; failures++) {
    const longest = Math.min(30_000, 250 * 2 ** failures);
    const drawn = Array.from({ length: 50 }, () => pause(failures));
    assert.ok(drawn.every((ms) => ms >= longest / 2 && ms <= longest));
    assert.ok(new Set(drawn).size > 40);
  }
});

test("a full buffer drops the oldest, counts them, and tells once", async () => {
  const told = [];
  const loop = client({ url: "http://127.0.0.1:1" }, { bufferBytes: 100_000, warn: (sentence) => told.push(sentence) });
  for (let number = 0; number < 2000; number++) loop.logTurn(`q${number}`, "a".repeat(100));
  const { queued, dropped, waiting } = loop.stats;
  assert.equal(queued, 2000);
  assert.equal(dropped + waiting, 2000);
  assert.ok(waiting > 200 && waiting < 500, String(waiting));
  assert.equal(told.filter((sentence) => sentence.includes("full")).length, 1);
  await loop.close(0);
  const strict = client({ url: "http://127.0.0.1:1" }, { bufferBytes: 1000, strict: true });
  assert.throws(() => { for (;;) strict.logTurn("q", "a".repeat(100)); }, BufferFull);
  await strict.close(0);
});

test("when a server comes back, what waited goes in batches", async () => {
  const server = await u.unkind([u.status(503)]);
  const loop = client(server);
  for (let number = 0; number < 1200; number++) loop.logTurn(`q${number}`, "a");
  assert.equal(await loop.flush(10_000), true);
  assert.deepEqual(server.seen.map((seen) => seen.json.turns.length), [500, 500, 500, 200]);
  await loop.close();
  await server.close();
});

test("a strict client says what is wrong", async () => {
  const server = await u.unkind([], u.stall);
  await assert.rejects(client(server, { strict: true }).search("q"), TimedOut);
  await assert.rejects(client({ url: "http://127.0.0.1:1" }, { strict: true }).search("q"), Unreachable);
  await server.close();
  // Whoever speaks no TLS can't be spoken to over it.
  const plain = createServer((socket) => socket.end("no"));
  await new Promise((resolve) => plain.listen(0, "127.0.0.1", resolve));
  const loop = client({ url: `https://127.0.0.1:${plain.address().port}` }, { strict: true });
  await assert.rejects(loop.search("q"), Unreachable);
  plain.close();
});

test("another transport serves, even one that throws or ignores the clock", async () => {
  const asked = [];
  const answers = [
    () => { throw new Error("proxy with password"); },
    () => new Promise(() => {}),
    (url, { body }) => Response.json({ results: JSON.parse(body).turns.map(() => ({})) }),
  ];
  const told = [];
  const loop = client({ url: "http://nowhere.invalid" }, {
    fetch: (...request) => (asked.push(request), answers.shift()(...request)),
    warn: (sentence) => told.push(sentence),
  });
  loop.logTurn("q", "a");
  assert.equal(await loop.flush(5000), true);
  assert.equal(asked.length, 3);
  assert.equal(asked[0][0], "http://nowhere.invalid/v1/turns/batch");
  assert.doesNotMatch(told.join(), /password/);
  await loop.close();
});

test("an agent's own clock and log may break", async () => {
  const loop = client({ url: "http://127.0.0.1:1" }, { warn() { throw new Error("log"); } });
  loop.logTurn("q", "a");
  assert.equal(await loop.flush(400), false);
  await loop.close(0);
});
