/** Choosing, doing and telling, against a running server. */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { AgentLoop, BadArgument, FAILURE_CATEGORIES, Router, setDefaultClient } from "../src/index.js";
import { decide, getInsights, getPolicy, registerPath, updateOutcome } from "../src/routing.js";
import { get, home, noJson, stall, status, unkind, until } from "./support.mjs";

const goalName = () => `goal_${randomBytes(6).toString("hex")}`;
const trace = (id) => get(`/api/v1/routing/traces/${id}`);

test("local choice learns from what is reported", async () => {
  const client = home();
  const goal = goalName();
  const router = new Router({ goal, paths: ["good", { model: "bad", params: { temperature: 0.5 } }], client, refreshSeconds: 0 });
  assert.equal(router.choose().reason, "nothing is known yet: the first path");
  assert.ok(await router.ready(20_000));
  for (let round = 0; round < 60; round++) {
    const one = router.startTrace();
    assert.match(one.traceId, /^[0-9a-f]{32}$/);
    one.report({ success: one.path.model === "good", score: one.path.model === "good" ? 0.9 : 0.1 });
  }
  assert.ok(await client.flush(20_000));
  let taken = 0;
  await until(async () => {
    router.choose();
    await router.ready();
    taken = 0;
    for (let draw = 0; draw < 100; draw++) taken += router.choose().model === "good";
    return taken > 85;
  }, "the better path is taken");
  const choice = router.choose();
  assert.ok(choice.path.pathId);
  await client.flush(20_000);
  await client.close();
  assert.equal(client.stats.refused, 0);
});

test("an execution is judged, measured and told", async () => {
  const client = home();
  const goal = goalName();
  const asked = [];
  const router = new Router({
    goal, paths: [{ model: "m", params: { temperature: 0.2 } }], client,
    successWhen: (text) => text.includes("42"), scoreWhen: async () => 0.8,
    complete: async (request) => (asked.push(request), { choices: [{ message: { content: "It is 42." } }], usage: { prompt_tokens: 5, completion_tokens: 7 } }),
  });
  const messages = [{ role: "user", content: "?" }];
  const answer = await router.completion(messages, { max_tokens: 9 });
  assert.equal(answer.choices[0].message.content, "It is 42.");
  assert.deepEqual(asked, [{ model: "m", messages, temperature: 0.2, max_tokens: 9 }]);
  const { traceId } = router.current ?? {};
  assert.ok(await client.flush(20_000));
  router.updateOutcome({ success: false, reason: "it was 43" });
  assert.ok(await client.flush(20_000));
  const { evidence } = await trace(traceId);
  assert.deepEqual(evidence.map((row) => row.success), [true, false]);
  await client.close();
});

test("what breaks is a failure of its kind, and comes through", async () => {
  const client = home();
  const goal = goalName();
  class RateLimitError extends Error { status = 429; }
  const router = new Router({ goal, paths: ["m"], client, complete: () => { throw new RateLimitError("quota of secret"); } });
  await assert.rejects(router.completion([]), RateLimitError);
  const failed = router.current.traceId;
  assert.throws(() => router.trace(() => { throw new TypeError("odd"); }), TypeError);
  await assert.rejects(router.execute(async () => { throw new DOMException("off", "AbortError"); }), { name: "AbortError" });
  const aborted = router.current.traceId;
  assert.ok(await client.flush(20_000));
  const [row] = (await trace(failed)).evidence;
  assert.deepEqual([row.success, row.failure_category], [false, "rate_limited"]);
  assert.doesNotMatch(JSON.stringify(await trace(failed)), /secret/);
  const silent = await fetch(`${process.env.AGENTLOOP_BASE_URL}/api/v1/routing/traces/${aborted}`, { headers: { Authorization: `Bearer ${process.env.AGENTLOOP_API_KEY}` } });
  assert.ok(silent.status === 404 || (await silent.json()).evidence.length === 0);
  await client.close();
});

test("a routed function gets its path first, and keeps what it gives", async () => {
  const client = home();
  const router = new Router({ goal: goalName(), paths: ["m"], client });
  assert.equal(router.routed((path, one) => `${path.model} ${one}`)("x"), "m x");
  assert.equal(await router.routed(async (path, one) => `${path.model} ${one}`)("y"), "m y");
  await client.close();
});

// Before Node 20.16 there is nothing to tell them apart by, as the README says.
const canTellApart = Boolean(process.getBuiltinModule);
test("requests side by side each have a trace of their own", { skip: !canTellApart }, async () => {
  const client = home();
  const router = new Router({ goal: goalName(), paths: ["m"], client });
  const one = async () => {
    const { traceId } = router.choose();
    await new Promise((resolve) => setTimeout(resolve, 10 * Math.random()));
    return traceId === router.current.traceId;
  };
  const each = await Promise.all(Array.from({ length: 20 }, () => new Promise((resolve) => setImmediate(() => resolve(one())))));
  assert.ok(each.every(Boolean));
  await client.close();
});

test("remote mode asks the server", async () => {
  const client = home();
  const goal = goalName();
  const router = new Router({ goal, paths: ["m", "n"], client, mode: "remote", constraints: { maxCostUsd: 1 } });
  const choice = await router.choose();
  assert.ok(["m", "n"].includes(choice.model) && choice.path.pathId);
  assert.equal(await router.execute((path) => path.model.length), 1);
  await client.close();
});

test("the functions answer in camelCase, with params as they are", async () => {
  const client = home();
  setDefaultClient(client);
  const goal = goalName();
  const path = await registerPath(goal, "m", { tools: ["t"], params: { max_tokens: 5 } });
  assert.deepEqual([path.modelId, path.params], ["m", { max_tokens: 5 }]);
  const decided = await decide(goal, { candidateModelIds: ["m"] });
  assert.deepEqual([decided.modelId, decided.params], ["m", { max_tokens: 5 }]);
  assert.equal((await getPolicy(goal)).goal, goal);
  assert.ok(Array.isArray((await getInsights(goal)).goals));
  assert.equal(await updateOutcome("0".repeat(31) + "1", goal, { success: true }), null);
  setDefaultClient(null);
  await client.close();
});

test("an unkind server never reaches the agent", async () => {
  for (const trick of [status(500), noJson("{}"), noJson('{"config": 1, "paths": [{}]}')]) {
    const server = await unkind([], trick);
    const client = new AgentLoop({ apiKey: "k", baseUrl: server.url, warn() {}, timeoutMs: 300 });
    const local = new Router({ goal: "g", paths: ["first", "second"], client });
    const remote = new Router({ goal: "g", paths: ["first", "second"], client, mode: "remote" });
    assert.equal(local.choose().model, "first");
    assert.equal(await local.ready(400), false);
    assert.equal(local.choose().model, "first");
    assert.equal((await remote.choose()).model, "first");
    assert.equal(await decide("g", { client }), null);
    await client.close(0);
    await server.close();
  }
});

test("a client that is closed while its router looks raises no alarm", async () => {
  const told = [];
  const server = await unkind([], stall);
  const client = new AgentLoop({ apiKey: "k", baseUrl: server.url, warn: (sentence) => told.push(sentence) });
  const router = new Router({ goal: "g", paths: ["first", "second"], client });
  router.choose();
  const looked = router.ready(500);
  await until(() => server.seen.length === 2, "both paths are being registered");
  client.logTurn("q", "a");
  await client.close(100);
  assert.equal(await looked, false);
  // Both paths and the turn, and nothing after the end.
  assert.equal(server.seen.length, 3);
  await server.close();
  assert.deepEqual(told, ["AgentLoop: 1 messages could not be sent and are lost."]);
});

test("a router that is put together wrongly is told at once", () => {
  const client = home();
  for (const wrong of [{ goal: "", paths: ["m"] }, { goal: "g", paths: [] }, { goal: "g", paths: [{}] }, { goal: "g", paths: ["m"], mode: "x" }, { goal: "g", paths: ["m"], constraints: { odd: 1 } }]) {
    assert.throws(() => new Router({ client, ...wrong }), BadArgument);
  }
  assert.ok(FAILURE_CATEGORIES.includes("rate_limited"));
});
