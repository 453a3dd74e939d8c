/** The three levels, against a running server and a client that keeps what it is given. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { randomBytes } from "node:crypto";
import { defaultClient, setDefaultClient } from "../src/index.js";
import * as levels from "../src/signals/index.js";
import { chatModel, Signals } from "../src/signals/index.js";
import { get, home, sessionId, unkind } from "./support.mjs";

/** A client that sends nothing. */
function sink() {
  const sent = [];
  return { sent, warnings: { tell() {} }, trouble() {}, post: (lane, message) => (sent.push(message), true) };
}
const answered = { sessionId: "s", goal: "g", prompt: "p", output: "It is $5.", model: "m" };

test("what users say, write and do reaches the trace", async () => {
  const client = home();
  const signals = new Signals(client);
  const session = sessionId();
  const goal = `goal_${randomBytes(6).toString("hex")}`;
  const traceId = signals.reportPipeline({ ...answered, sessionId: session, goal });
  const reading = signals.reportUserTurn(session, "No, that's wrong. I meant the night limit.");
  assert.deepEqual([reading.kind, reading.confidence > 0.85], ["reject", true]);
  signals.reportAction(session, "output_copied");
  signals.userAccepted({ run: { traceId, goal } });
  assert.ok(await client.flush(20_000));
  const { evidence } = await get(`/api/v1/routing/traces/${traceId}`);
  const verdicts = evidence.map((row) => row.success).filter((success) => success !== null);
  assert.deepEqual(verdicts, [false, true, true], "in the order in which they happened");
  await client.close();
});

test("only the derived signal leaves, and evidence is masked", () => {
  const quiet = sink();
  const signals = new Signals(quiet);
  signals.reportPipeline(answered);
  signals.reportUserTurn("s", "Perfect, thanks! Write to ana@x.example");
  assert.doesNotMatch(JSON.stringify(quiet.sent), /Perfect|\$5|ana@/);
  const open = sink();
  const loud = new Signals(open, { rawEvidence: true });
  loud.reportPipeline(answered);
  loud.reportUserTurn("s", "Perfect, thanks! Write to ana@x.example");
  assert.equal(open.sent[1].raw_evidence, "Perfect, thanks! Write to [email]");
});

test("a model is asked where words don't settle it, and may fail", async () => {
  const asked = [];
  const client = sink();
  const signals = new Signals(client, { model: async (prompt) => (asked.push(prompt), "reject 0.9") });
  signals.reportPipeline(answered);
  signals.reportUserTurn("s", "Perfect, thank you so much!");
  signals.reportUserTurn("s", "hmm ana@x.example");
  await signals.flush();
  assert.equal(asked.length, 1);
  assert.match(asked[0], /hmm \[email\]/);
  assert.deepEqual(client.sent.map((one) => one.signal_type), ["pipeline_anchor", "user_accepted", "user_rejected"]);
  assert.equal(client.sent[2].dimensions.read_by, "model");
  const broken = new Signals(client, { model: () => { throw new Error("no"); } });
  broken.reportPipeline(answered);
  broken.reportUserTurn("s", "hmm");
  await broken.flush();
});

test("a model behind an endpoint", async () => {
  const server = await unkind([], (response) => response.end('{"choices": [{"message": {"content": "accept 0.8"}}]}'));
  assert.equal(await chatModel(server.url, "key", "small")("prompt"), "accept 0.8");
  assert.equal(server.seen[0].headers.authorization, "Bearer key");
  await server.close();
});

test("a store may answer in promises, and keeps the order", async () => {
  const kept = new Map();
  const later = (value) => new Promise((resolve) => setTimeout(resolve, 5 * Math.random(), value));
  const store = {
    get: (key) => later().then(() => JSON.parse(kept.get(key) ?? "null")),
    put: (key, value) => later().then(() => kept.set(key, JSON.stringify(value))),
    delete: (key) => later().then(() => kept.delete(key)),
  };
  const client = sink();
  const signals = new Signals(client, { store });
  signals.reportPipeline(answered);
  signals.reportUserTurn("s", "That's wrong, it does not work.");
  signals.reportUserTurn("s", "Great, works perfectly now, thanks!");
  assert.equal(await signals.reportSessionEnd("s"), "improving");
  assert.deepEqual(client.sent.map((one) => one.signal_type), ["pipeline_anchor", "user_rejected", "user_accepted", "session_end"]);
  assert.equal(client.sent[3].raw_evidence, "session_end_inferred");
  assert.equal(kept.size, 0);
});

test("an observed use overrides what is said", () => {
  const client = sink();
  const signals = new Signals(client);
  signals.reportPipeline(answered);
  assert.deepEqual(signals.observeUse("It is $5.", "it is  $5.", { sessionId: "s" }), { action: "output_used_verbatim", score: 1 });
  signals.reportUserTurn("s", "That's wrong, it does not work.");
  assert.deepEqual(client.sent.map((one) => one.signal_type), ["pipeline_anchor", "output_used_verbatim"]);
  assert.equal(signals.reportAction("s", "output_edited", { editDiff: "-It is five.\n+It is six." }), true);
  assert.ok(client.sent.at(-1).strength < 1 && client.sent.at(-1).strength > 0);
  assert.equal(signals.reportAction("unknown", "output_copied"), false);
});

test("a run is tracked for the two plain words", () => {
  const client = sink();
  const signals = new Signals(client);
  assert.equal(signals.userAccepted(), false);
  signals.trackRun({ choice: { traceId: "t", goal: "g" } });
  signals.userAccepted({ score: 0.2 });
  signals.userRejected({ reason: "too long" });
  assert.deepEqual(client.sent.map((one) => [one.signal_type, one.strength, one.raw_evidence]), [["user_accepted", 0.51, undefined], ["user_rejected", 0, "too long"]]);
});

test("the levels are functions of the default client as well", () => {
  const client = sink();
  const before = defaultClient();
  try {
    setDefaultClient(client);
    assert.equal(levels.defaultSignals(), levels.defaultSignals());
    levels.trackRun({ traceId: "t", goal: "g" });
    levels.userAccepted();
    levels.userRejected({ reason: "too long" });
    levels.reportPipeline(answered);
    assert.equal(levels.reportUserTurn("s", "Perfect, thanks!").kind, "accept");
    levels.reportAction("s", "output_copied");
    levels.observeUse("It is $5.", "it is  $5.", { sessionId: "s" });
    assert.equal(levels.reportSessionEnd("s"), "flat");
    const kinds = ["user_accepted", "user_rejected", "pipeline_anchor", "user_accepted", "output_copied", "output_used_verbatim"];
    assert.deepEqual(client.sent.map((one) => one.signal_type), kinds);
    setDefaultClient(sink());
    assert.equal(levels.userAccepted(), false, "another client has runs of its own");
  } finally {
    setDefaultClient(before);
  }
});
