/** The review side against a running server. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { test } from "node:test";
import { AgentLoop, BadArgument, Closed, isSampled, NoSigningSecret, NotConfigured, Refused } from "../src/index.js";
import { feedbackUrl } from "../src/feedback.js";
import { get, HOME, home, sessionId, turns } from "./support.mjs";

test("turns arrive, in batches, with all that was said", async () => {
  const loop = home();
  const session = sessionId();
  for (let number = 0; number < 700; number++) loop.logTurn(`question ${number}`, session, { sessionId: session });
  loop.logTurn("all", session, {
    sessionId: session, userId: "u_1", signals: { thumbsDown: true }, metadata: { channel: "web" }, goal: "limits",
    model: "m", tags: ["a"], traceId: "0af7651916cd43dd8448eb211c80319c",
  });
  assert.equal(await loop.flush(), true);
  assert.deepEqual(loop.stats, { queued: 701, sent: 701, refused: 0, dropped: 0, retries: 0, waiting: 0 });
  const found = await turns(session);
  assert.equal(new Set(found.map((turn) => turn.question)).size, 701);
  const all = found.find((turn) => turn.question === "all");
  assert.deepEqual([all.user_id, all.signals, all.goal], ["u_1", { thumbsDown: true }, "limits"]);
  await loop.close();
});

test("a turn that is waited for has a receipt", async () => {
  const loop = home();
  const receipt = await loop.logTurn("Where?", sessionId(), { wait: true, wantFeedbackUrl: true });
  assert.match(receipt.turnId, /^turn_/);
  assert.equal(receipt.wasDuplicate, false);
  const ours = feedbackUrl(loop, { turnId: receipt.turnId });
  // The same payload: they differ in the second of signing alone.
  assert.equal(ours.split("/f/")[1].split(".")[0], receipt.feedbackUrl.split("/f/")[1].split(".")[0]);
  await loop.close();
});

test("both forms of links open a page", async () => {
  const loop = home();
  const said = { question: "Why 🌙?", agentResponse: "Because \ud83c\u007f é", userId: "u 1" };
  for (const published of [false, true]) {
    const page = await fetch(feedbackUrl(loop, { ...said, published }));
    assert.equal(page.status, 200);
    assert.match(await page.text(), /Why 🌙\?/);
  }
  await loop.close();
});

test("conditions and texts may be functions, and one that breaks does not hold", async () => {
  const told = [];
  const loop = home({ warn: (sentence) => told.push(sentence) });
  const session = sessionId();
  const never = () => assert.fail("computed in vain");
  loop.logTurnIf(false, never, never);
  loop.logTurnIf(() => 0, never, never);
  loop.logTurnIf(() => null.x, never, never);
  loop.logTurnIf(async () => true, never, never);
  loop.logTurnIf(() => true, () => "if", () => session, { sessionId: session, signals: () => ({ late: 1 }) });
  loop.sample(1, "sampled", session, { sessionId: session, signals: () => ({ more: 2 }) });
  loop.sample(0, never, never);
  await loop.close();
  const found = Object.fromEntries((await turns(session)).map((turn) => [turn.question, turn.signals]));
  assert.deepEqual(found, { if: { late: 1 }, sampled: { more: 2, random_sample: true } });
  assert.equal(told.length, 1);
  assert.match(told[0], /bad_argument/);
});

test("odd values arrive", async () => {
  const loop = home();
  const session = sessionId();
  const circle = {};
  circle.self = circle;
  const broken = { get bad() { throw new Error("no"); } };
  loop.logTurn("odd \ud83c\udf19 \udf19", { an: session }, {
    sessionId: session,
    metadata: {
      when: new Date(Date.UTC(2026, 0, 2)), nan: NaN, set: new Set([1]), map: new Map([["a", 1]]), circle, broken,
      bytes: new Uint8Array([255]), lone: "\ud83c", big: 10n, huge: 2n ** 80n, fn() {}, nothing: undefined,
    },
  });
  await loop.close();
  const [{ question, agent_response, metadata: { circle: _, ...found } }] = await turns(session);
  assert.deepEqual([question, agent_response], ["odd 🌙 \ufffd", `{"an":"${session}"}`]);
  assert.deepEqual(found, {
    when: "2026-01-02T00:00:00.000Z", nan: null, set: [1], map: { a: 1 }, bytes: "\ufffd", lone: "\ufffd", big: 10,
    huge: String(2n ** 80n), broken: "[unreadable Object]",
  });
});

test("what is changed afterwards was said before", async () => {
  const loop = home();
  const session = sessionId();
  const signals = { round: 1 };
  loop.logTurn("q", session, { sessionId: session, signals });
  signals.round = 2;
  await loop.close();
  assert.deepEqual((await turns(session))[0].signals, { round: 1 });
});

test("corrections are found again", async () => {
  const loop = home();
  const tag = sessionId();
  const question = `What is the limit for ${tag}?`;
  const judged = await loop.annotate(question, "R$5,000.", "It is R$1,000 at night.", { rootCause: "context", tags: [tag] });
  const [memory] = await loop.search(question, { tags: [tag] });
  assert.deepEqual([memory.fact, memory.source, memory.id], ["It is R$1,000 at night.", judged.annotationId, judged.memoryId]);
  assert.ok(memory.score > 0 && memory.score <= 1);
  await loop.close();
});

test("a strict client throws, with the server's words", async () => {
  assert.throws(() => new AgentLoop({ baseUrl: HOME.url, apiKey: " ", strict: true }), NotConfigured);
  const loop = new AgentLoop({ ...HOME, baseUrl: HOME.url, signingSecret: " ", strict: true });
  await assert.rejects(loop.annotate("q", "a", "c", { rating: "awful" }), (error) => {
    assert.ok(error instanceof Refused);
    assert.deepEqual([error.status, error.code, "rating" in error.fields], [422, "invalid", true]);
    assert.ok(error.requestId && error.message.includes(error.requestId));
    return true;
  });
  assert.throws(() => loop.logTurnIf(() => null.x, "q", "a"), BadArgument);
  await loop.close();
  assert.throws(() => loop.logTurn("q", "a"), Closed);
});

test("without strict nothing throws, and no content is told", async () => {
  const told = [];
  const environment = { ...process.env };
  delete process.env.AGENTLOOP_API_KEY;
  delete process.env.AGENTLOOP_SIGNING_SECRET;
  const loop = new AgentLoop({ warn: (sentence) => told.push(sentence) });
  Object.assign(process.env, environment);
  loop.logTurn("secret question", "a");
  assert.equal(await loop.logTurn("secret question", "a", { wait: true }), null);
  assert.deepEqual(await loop.search("secret question"), []);
  assert.equal(await loop.annotate("secret question", "a", "c"), null);
  assert.equal(await loop.flush(), true);
  assert.throws(() => feedbackUrl(loop, { turnId: "turn_1" }), NoSigningSecret);
  await loop.close();
  loop.logTurn("secret question", "a");
  assert.match(told.join(), /no_key/);
  assert.doesNotMatch(told.join(), /secret question/);
});

test("settings come from the environment, and secrets are not shown", async () => {
  const loop = new AgentLoop();
  assert.ok(await loop.logTurn("q", sessionId(), { wait: true }));
  const { inspect } = await import("node:util");
  const shown = inspect(loop) + JSON.stringify(loop);
  assert.ok(!shown.includes(HOME.apiKey) && !shown.includes(HOME.signingSecret));
  await loop.close();
});

test("what waits is sent when the process ends by itself", async () => {
  const session = sessionId();
  const script = `
    import { AgentLoop } from ${JSON.stringify(new URL("../src/index.js", import.meta.url).href)};
    const loop = new AgentLoop(), id = ${JSON.stringify(session)};
    for (let n = 0; n < 600; n++) loop.logTurn("question " + n, id, { sessionId: id });`;
  const { stderr } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", script]);
  assert.equal(stderr, "");
  assert.equal((await turns(session)).length, 600);
});

test("a process does not wait for a server that is away", async () => {
  const script = `
    import { AgentLoop } from ${JSON.stringify(new URL("../src/index.js", import.meta.url).href)};
    new AgentLoop({ baseUrl: "http://127.0.0.1:1" }).logTurn("q", "a");`;
  const began = performance.now();
  const { stderr } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", script]);
  assert.match(stderr, /1 messages could not be sent/);
  assert.ok(performance.now() - began < 3000);
});

test("samples are fair", () => {
  for (const rate of [0.01, 0.05, 0.5]) {
    let drawn = 0;
    for (let number = 0; number < 20_000; number++) drawn += isSampled(rate, `session-${number}`);
    assert.ok(Math.abs(drawn / 20_000 - rate) < 5 * Math.sqrt((rate * (1 - rate)) / 20_000));
  }
  assert.ok(isSampled(1, "any") && !isSampled(0, "any"));
});

test("the server counts a session once, however often it is sent", async () => {
  const loop = home();
  const session = sessionId();
  const key = sessionId();
  for (let times = 0; times < 3; times++) loop.logTurn("once", session, { sessionId: session, idempotencyKey: key });
  await loop.close();
  const [turn, ...more] = await turns(session);
  assert.equal(more.length, 0);
  assert.equal((await get(`/v1/turns/${turn.turn_id}`)).occurrences, 1);
});
