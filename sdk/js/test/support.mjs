/** A server of our own that misbehaves on demand, and the way to the real one that the tests are given. */

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { randomBytes } from "node:crypto";
import { after } from "node:test";
import { AgentLoop } from "../src/index.js";

export const HOME = {
  url: process.env.AGENTLOOP_BASE_URL,
  apiKey: process.env.AGENTLOOP_API_KEY,
  signingSecret: process.env.AGENTLOOP_SIGNING_SECRET,
};
export const sessionId = () => `s_${randomBytes(16).toString("hex")}`;
export const data = (name) => JSON.parse(readFileSync(new URL(`../../../tests/data/${name}`, import.meta.url), "utf8"));

/** A client of the real server. */
export const home = (more = {}) => new AgentLoop({ ...HOME, baseUrl: HOME.url, ...more });

export async function get(path, query = {}) {
  const answer = await fetch(`${HOME.url}${path}?${new URLSearchParams(query)}`, {
    headers: { Authorization: `Bearer ${HOME.apiKey}` },
  });
  if (answer.status !== 200) throw new Error(await answer.text());
  return answer.json();
}

/** All of a session's turns, page by page. */
export async function turns(session) {
  const found = [];
  for (let query = { session_id: session, limit: 200 }; ; ) {
    const page = await get("/v1/turns", query);
    found.push(...page.turns);
    if (page.next_cursor === null) return found;
    query = { ...query, cursor: page.next_cursor };
  }
}

export async function until(holds, what) {
  for (const deadline = Date.now() + 15_000; !(await holds()); ) {
    if (Date.now() > deadline) throw new Error(`waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Answers as AgentLoop does, and between that plays the tricks, one a request; `always` when none is left. */
export async function unkind(tricks = [], always = kind) {
  const server = { seen: [], stored: new Map(), keys: new Set() };
  const http = createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    const text = Buffer.concat(parts).toString();
    const seen = { method: request.method, path: request.url, headers: request.headers, json: text ? JSON.parse(text) : {} };
    server.seen.push(seen);
    (tricks.shift() ?? always)(response, seen, server);
  });
  await new Promise((resolve) => http.listen(server.port ?? 0, "127.0.0.1", resolve));
  server.url = `http://127.0.0.1:${http.address().port}`;
  server.close = () => (http.closeAllConnections(), new Promise((resolve) => http.close(resolve)));
  // A test that failed must not keep the process.
  after(() => server.close());
  return server;
}

function store(turn, server) {
  if (server.keys.has(turn.idempotency_key)) return;
  server.keys.add(turn.idempotency_key);
  server.stored.set(turn.question, (server.stored.get(turn.question) ?? 0) + 1);
}

function answerOf({ json, path }, server) {
  for (const turn of json.turns ?? (path === "/v1/turns" ? [json] : [])) store(turn, server);
  for (const name of ["turns", "outcomes", "decisions", "signals"]) {
    if (json[name]) return { accepted: json[name].length, results: json[name].map(() => ({ turn_id: "turn_1", status: "pending" })) };
  }
  if (json.events) return { accepted: json.events.length, rejected: 0 };
  return { turn_id: "turn_1", status: "pending", path_id: "path_1", memories: [], annotation_id: "ann_1" };
}

export function kind(response, seen, server) {
  response.setHeader("Content-Type", "application/json").end(JSON.stringify(answerOf(seen, server)));
}

export const status = (code, headers = {}, body = '{"error": "No.", "code": "no"}') => (response) =>
  response.writeHead(code, { Connection: "close", ...headers }).end(body);

export const reset = (response) => response.socket.resetAndDestroy();

/** The worst of all: it has everything, and the client can't know. */
export function storedThenReset(response, seen, server) {
  answerOf(seen, server);
  reset(response);
}

export function half(response, seen, server) {
  const content = JSON.stringify(answerOf(seen, server));
  response.writeHead(200, { "Content-Length": content.length }).write(content.slice(0, content.length / 2));
  setTimeout(() => response.socket.destroy(), 10);
}

export const stall = () => {};

export function drip(response) {
  response.writeHead(200).write("{");
  const timer = setInterval(() => response.write(" "), 20);
  response.on("close", () => clearInterval(timer));
}

export function endless(response) {
  response.writeHead(200);
  const block = Buffer.alloc(1_000_000, " ");
  const more = () => {
    while (!response.destroyed && response.write(block));
  };
  response.on("drain", more);
  more();
}

export const noJson = (content) => (response) => response.end(content);

// --- a model's provider -------------------------------------------------------------------------------------------

const USAGE = { prompt_tokens: 1000, completion_tokens: 100, total_tokens: 1100 };
const CALLS = [{ index: 0, id: "1", type: "function", function: { name: "look_up", arguments: "{}" } }];

const RESPONSES = data("openai-responses.json");

/** Speaks as OpenAI's chat completions and responses do; what it does goes by the model's name. */
export function provider(response, { json, path }) {
  if (json.model === "limited") return response.writeHead(429).end('{"error": {"message": "SECRET"}}');
  if (path.endsWith("/responses")) return responded(response, json);
  const usesTools = json.model === "tools";
  if (json.stream) return streamed(response, json.model, usesTools ? [{ tool_calls: CALLS }] : [{ content: "SECRET " }, { content: "answer" }]);
  const message = usesTools ? { role: "assistant", content: null, tool_calls: CALLS } : { role: "assistant", content: "SECRET answer" };
  const choices = [{ index: 0, message, finish_reason: "stop" }];
  const answer = { id: "1", object: "chat.completion", created: 1, model: json.model, choices, usage: USAGE };
  response.writeHead(200, { "Content-Type": "application/json", "X-Request-Id": "req_1" }).end(JSON.stringify(answer));
}

function responded(response, { model, stream }) {
  const { answer, events } = RESPONSES[model] ?? RESPONSES.plain;
  if (!stream) return response.writeHead(200, { "Content-Type": "application/json" }).end(JSON.stringify(answer));
  response.writeHead(200, { "Content-Type": "text/event-stream" });
  response.end(events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join(""));
}

function streamed(response, model, deltas) {
  const head = { id: "1", object: "chat.completion.chunk", created: 1, model };
  const pieces = [{ role: "assistant", content: "" }, ...deltas].map((delta, at) => {
    return { ...head, choices: [{ index: 0, delta, finish_reason: at === deltas.length ? "stop" : null }] };
  });
  const events = [...pieces, { ...head, choices: [], usage: USAGE }].map((event) => `data: ${JSON.stringify(event)}\n\n`);
  response.writeHead(200, { "Content-Type": "text/event-stream" });
  if (model === "broken") return response.write(events[0], () => response.socket.destroy());
  response.end(`${events.join("")}data: [DONE]\n\n`);
}
