/** What the clients of all languages share: examples, vectors, tables of cases. */

import assert from "node:assert/strict";
import { createHash, createHmac, randomBytes } from "node:crypto";
import { test } from "node:test";
import * as routing from "../src/routing.js";
import { AgentLoop, AgentLoopError, isSampled } from "../src/index.js";
import { placeOf } from "../src/sampling.js";
import { hmac, sha256 } from "../src/sha256.js";
import { feedbackToken, publishedUrl } from "../src/signing.js";
import { data, unkind } from "./support.mjs";

const EXAMPLES = data("client-examples.json");
const ANY = "<any>";
const camel = (name) => name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());
const FOREIGN = ["metadata", "params", "signals", "execution_params"];

function camelCased(value) {
  if (Array.isArray(value)) return value.map(camelCased);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, part]) => [camel(name), FOREIGN.includes(name) ? part : camelCased(part)]),
  );
}

/** What was sent, with what the example leaves open taken from it. */
function filled(expected, found) {
  if (expected === ANY) return found || "something";
  if (Array.isArray(expected)) return expected.map((part, at) => filled(part, found?.[at]));
  if (typeof expected !== "object" || expected === null) return expected;
  return Object.fromEntries(Object.entries(expected).map(([name, part]) => [name, filled(part, found?.[name])]));
}

/** The arguments that Python takes by name stand before the others here. */
const POSITIONAL = {
  log_turn: ["question", "agent_response"],
  search: ["query"],
  annotate: ["question", "agent_response", "correction"],
  decide: ["goal"],
  get_policy: ["goal"],
  report_outcome: ["trace_id", "goal", "success"],
  update_outcome: ["trace_id", "goal"],
  register_path: ["goal", "model_id"],
  get_insights: ["goal"],
};

async function call(loop, { client: side, call: name, arguments: given }) {
  const places = POSITIONAL[name];
  const options = camelCased(Object.fromEntries(Object.entries(given).filter(([key]) => !places.includes(key))));
  const positional = places.map((place) => given[place]);
  if (side === "routing") return routing[camel(name)](...positional, { ...options, client: loop });
  return (await loop[camel(name)](...positional, options)) ?? null;
}

for (const example of EXAMPLES.exchanges) {
  test(`the client sends and understands: ${example.name}`, async () => {
    const { request, response } = example;
    const server = await unkind([], (answer) => answer.writeHead(response.status).end(JSON.stringify(response.body)));
    const loop = new AgentLoop({ apiKey: "al_key", baseUrl: server.url, strict: true });
    let answer;
    try {
      answer = await call(loop, example);
      assert.ok(await loop.flush(5000));
    } catch (error) {
      assert.ok(error instanceof AgentLoopError, error);
      answer = { error: error.code };
    }
    await loop.close();
    await server.close();
    const [seen] = server.seen;
    assert.deepEqual([seen.method, seen.path], [request.method, request.path]);
    assert.deepEqual(seen.json, filled(request.body ?? {}, seen.json));
    assert.equal(seen.headers.authorization, "Bearer al_key");
    for (const [name, value] of Object.entries(request.headers ?? {})) {
      assert.equal(seen.headers[name.toLowerCase()], filled(value, seen.headers[name.toLowerCase()]));
    }
    assert.deepEqual(answer, camelCased(example.answer));
  });
}

test("a key is drawn alike everywhere", () => {
  for (const { key, place } of EXAMPLES.sampling) {
    assert.equal(placeOf(key), place);
    assert.ok(isSampled(place + 1e-9, key) && !isSampled(place, key));
  }
});

test("links are the vectors, to the byte", () => {
  for (const one of data("feedback-urls.json")) assert.equal(publishedUrl(one.base_url, one.secret, one, one.t), one.url);
  for (const one of data("feedback-links.json")) assert.equal(feedbackToken(one.secret, one.payload, one.t), one.token);
});

test("our SHA-256 is Node's", () => {
  for (let length = 0; length < 300; length++) {
    const bytes = randomBytes(length);
    assert.deepEqual(Buffer.from(sha256(bytes)), createHash("sha256").update(bytes).digest());
    assert.deepEqual(Buffer.from(hmac(bytes, bytes)), createHmac("sha256", bytes).update(bytes).digest());
  }
});
