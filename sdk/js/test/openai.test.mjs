/** The adapter with OpenAI's own library, against a provider's stand-in: cost and time are told, content is not. */

import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI, { APIPromise } from "openai";
import { watch } from "../src/openai.js";
import { AgentLoop } from "../src/index.js";
import { provider, status, unkind } from "./support.mjs";

const messages = [{ role: "system", content: "SECRET system" }, { role: "user", content: "SECRET question" }];
const tools = [{ type: "function", function: { name: "look_up", parameters: { type: "object", properties: {} } } }];
const PLAIN = ["SECRET question", "SECRET answer", [], 1000, 100, undefined];
const TOOLS = ["SECRET question", "", ["look_up"], 1000, 100, undefined];

/** What a piece of work with a watched client told `onCall`, and the spans that reached our server. */
async function ran(work, options = {}) {
  const [stand, server] = [await unkind([], provider), await unkind()];
  const warned = [];
  const loop = new AgentLoop({ apiKey: "al_key", baseUrl: server.url, warn: (sentence) => warned.push(sentence) });
  const calls = [];
  const onCall = (call) => void calls.push(call);
  const openai = new OpenAI({ apiKey: "sk-none", baseURL: `${stand.url}/v1`, maxRetries: 0 });
  const client = watch(openai, loop, { goal: "answer", onCall, ...options });
  assert.equal(client, openai);
  await work((body, request) => client.chat.completions.create({ messages, ...body }, request), client);
  assert.ok(await loop.close());
  const spans = server.seen.flatMap((seen) => seen.json.events);
  assert.doesNotMatch(JSON.stringify([server.seen, warned]), /SECRET/);
  await Promise.all([stand.close(), server.close()]);
  const told = calls.map((call) => [call.question, call.text, call.toolCalls, call.tokensIn, call.tokensOut, call.failureCategory]);
  return { told, calls, spans, warned };
}

const all = async (stream) => {
  const pieces = [];
  for await (const piece of stream) pieces.push(piece);
  return pieces;
};

test("answers and tools", async () => {
  const { told, spans, calls } = await ran(async (create) => {
    const answer = await create({ model: "plain" });
    assert.equal(answer.choices[0].message.content, "SECRET answer");
    assert.equal(answer._request_id, "req_1");
    await create({ model: "tools", tools }, { headers: { "X-AgentLoop-Trace": "7".repeat(32) } });
  });
  assert.deepEqual(told, [PLAIN, TOOLS]);
  assert.equal(spans[1].trace_id, "7".repeat(32));
  assert.equal(spans[0].trace_id, calls[0].traceId);
  for (const span of spans) {
    const { model_id: _, trace_id, span_id, latency_ms, timestamp, ...rest } = span;
    assert.match(trace_id + span_id, /^[0-9a-f]{48}$/);
    assert.ok(latency_ms > 0 && Math.abs(timestamp - Date.now() / 1000) < 60);
    const expected = { goal: "answer", provider: "openai", operation: "chat", input_tokens: 1000, output_tokens: 100, status: "ok" };
    assert.deepEqual(rest, expected);
  }
});

test("streams are the library's own", async () => {
  const { told, spans } = await ran(async (create, client) => {
    for (const model of ["plain", "tools"]) {
      const stream = await create({ model, stream: true });
      assert.ok(stream.controller instanceof AbortController);
      assert.equal((await all(stream)).length, model === "plain" ? 4 : 3);
      await assert.rejects(all(stream), /consumed stream/);
    }
    const [left, right] = (await create({ model: "plain", stream: true })).tee();
    assert.deepEqual(await all(left), await all(right));
    await new Response((await create({ model: "plain", stream: true })).toReadableStream()).text();
    for await (const piece of await create({ model: "left early", stream: true })) if (piece) break;
    const helped = client.chat.completions.stream({ model: "plain", messages });
    assert.equal(await helped.finalContent(), "SECRET answer");
  });
  assert.deepEqual(told.slice(0, 4), [PLAIN, TOOLS, PLAIN, PLAIN]);
  assert.deepEqual(told[4].slice(3), [undefined, undefined, undefined]);
  assert.deepEqual(told.slice(5), [PLAIN]);
  assert.deepEqual(spans.map((span) => span.status), Array(6).fill("ok"));
});

test("a stream that is left is told of, with what came until then", async () => {
  const { told } = await ran(async (create) => {
    for await (const piece of await create({ model: "plain", stream: true })) if (piece.choices[0].delta.content) break;
    // Left before its first piece; and never read at all, of which nothing is known.
    const unread = (await create({ model: "plain", stream: true }))[Symbol.asyncIterator]();
    assert.deepEqual(await unread.return(), { done: true, value: undefined });
    const stream = await create({ model: "plain", stream: true });
    stream.controller.abort();
  });
  assert.deepEqual(told.map((call) => call[1]), ["SECRET ", ""]);
});

test("responses: answers, tools, streams and helpers", async () => {
  const input = messages;
  const asked = [{ type: "function", name: "look_up", parameters: {}, strict: false }];
  const { told, spans, calls } = await ran(async (_, { responses }) => {
    const answer = await responses.create({ model: "plain", input: "SECRET question" });
    assert.equal(answer.output_text, "SECRET answer");
    await responses.create({ model: "tools", input, tools: asked }, { headers: { "X-AgentLoop-Trace": "7".repeat(32) } });
    for (const model of ["plain", "tools"]) assert.ok((await all(await responses.create({ model, input, stream: true }))).length > 5);
    assert.equal((await responses.stream({ model: "plain", input }).finalResponse()).output_text, "SECRET answer");
    assert.equal((await responses.parse({ model: "plain", input })).output_parsed, null);
    for await (const event of await responses.create({ model: "plain", input, stream: true })) if (event.delta) break;
  });
  assert.deepEqual(told.slice(0, 6), [PLAIN, TOOLS, PLAIN, TOOLS, PLAIN, PLAIN]);
  assert.deepEqual(told[6].slice(0, 5), ["SECRET question", "SECRET ", [], undefined, undefined]);
  assert.equal(spans[1].trace_id, "7".repeat(32));
  assert.deepEqual(spans.map((span) => span.model_id), calls.map((call) => call.model));
  assert.deepEqual(spans.map((span) => span.status), Array(7).fill("ok"));
});

test("responses that fail are failures, whichever way the provider says so", async () => {
  const { told, spans } = await ran(async (_, { responses }) => {
    await responses.create({ model: "failed", input: "SECRET" });
    await all(await responses.create({ model: "failed", input: "SECRET", stream: true }));
    await assert.rejects(responses.create({ model: "limited", input: "SECRET" }), OpenAI.RateLimitError);
  });
  assert.deepEqual(told.map((call) => call.at(-1)), Array(3).fill("rate_limited"));
  assert.deepEqual(spans.map((span) => span.error_type), ["ResponseFailed", "ResponseFailed", "RateLimitError"]);
});

test("the promise is the library's own", async () => {
  const { told } = await ran(async (create, client) => {
    const promise = create({ model: "plain" });
    assert.ok(promise instanceof APIPromise);
    const { data, response, request_id: id } = await promise.withResponse();
    assert.deepEqual([data.model, response.status, id], ["plain", 200, "req_1"]);
    assert.equal((await (await create({ model: "plain" }).asResponse()).json()).model, "plain");
    const parsed = await client.chat.completions.parse({ model: "plain", messages });
    assert.equal(parsed.choices[0].message.parsed, null);
  });
  // A response that the agent reads for itself is nobody else's.
  assert.deepEqual(told, [PLAIN, PLAIN]);
});

test("failures come through, and are told by their kind", async () => {
  const { told, spans } = await ran(async (create) => {
    await assert.rejects(create({ model: "limited" }), OpenAI.RateLimitError);
    const broken = await create({ model: "broken", stream: true });
    await assert.rejects(all(broken));
    const control = new AbortController();
    const late = create({ model: "plain" }, { signal: control.signal });
    control.abort();
    await assert.rejects(late, OpenAI.APIUserAbortError);
  });
  assert.deepEqual(told.map((call) => call.at(-1)), ["rate_limited", "provider_error", "provider_error"]);
  assert.deepEqual(spans.map((span) => [span.status, span.error_type]).slice(0, 1), [["error", "RateLimitError"]]);
  assert.ok(spans.every((span) => span.status === "error"));
});

test("what breaks in onCall, or with a server that is away, is not the agent's", async () => {
  const faults = [() => { throw new RangeError("SECRET"); }, async () => { throw new RangeError("SECRET"); }];
  for (const onCall of faults) {
    const { warned } = await ran(async (create) => void (await create({ model: "plain" })), { onCall });
    assert.equal(warned.length, 1);
    assert.match(warned[0], /bad_argument/);
  }
  const [stand, server] = [await unkind([], provider), await unkind([], status(503))];
  const loop = new AgentLoop({ apiKey: "al_key", baseUrl: server.url, strict: true, exitTimeoutMs: 50, warn() {} });
  const openai = new OpenAI({ apiKey: "sk-none", baseURL: `${stand.url}/v1` });
  const client = watch(openai, loop, { onCall: () => { throw new Error("SECRET"); } });
  assert.equal((await client.chat.completions.create({ model: "plain", messages })).model, "plain");
  await loop.close();
  assert.equal((await client.chat.completions.create({ model: "plain", messages })).model, "plain");
});
