/** What the JavaScript client costs the agent that calls it. Run by benchmarks/client_js.py, beside a server. */

import { spawnSync } from "node:child_process";
import { Race, readSnapshot } from "../sdk/js/src/choice.js";
import { AgentLoop, Router } from "../sdk/js/src/index.js";

const { BENCH_URL: baseUrl, BENCH_KEY: apiKey, BENCH_CALLS } = process.env;
const CALLS = Number(BENCH_CALLS);
const WARM_UP = 1000;
const TURN = { userId: "u_17", sessionId: "s_3", signals: { confidence: 0.41 }, metadata: { channel: "web" } };
const QUESTION = "What is the limit for transfers at night? ".repeat(3);
const ANSWER = "The limit is R$1,000 between 8 pm and 6 am. ".repeat(8);
const MODELS = Array.from({ length: 10 }, (_, number) => `model-${number}`);

/** Microseconds of each call. */
function timed(work, calls, warmUp = WARM_UP) {
  const times = new Float64Array(calls);
  for (let number = -warmUp; number < calls; number++) {
    const began = process.hrtime.bigint();
    work(number);
    // What warms it up is another's turn, and is not counted.
    if (number >= 0) times[number] = Number(process.hrtime.bigint() - began) / 1000;
  }
  return times;
}

function shown(times) {
  const ordered = times.slice().sort();
  const digits = ordered[ordered.length >> 1] >= 1 ? 0 : 2;
  const at = (share) => ordered[Math.floor(ordered.length * share)].toFixed(digits);
  return `p50 ${at(0.5)} µs, p99 ${at(0.99)} µs`;
}

/** Milliseconds in a fresh process, the median of seven. */
function imported() {
  const source = JSON.stringify(new URL("../sdk/js/src/index.js", import.meta.url).href);
  const code = `const began = performance.now(); await import(${source}); console.log(performance.now() - began)`;
  const once = () => Number(spawnSync(process.execPath, ["--input-type=module", "-e", code], { encoding: "utf8" }).stdout);
  return `${Float64Array.from({ length: 7 }, once).sort()[3].toFixed(0)} ms`;
}

/** In slices, as agents do: between them there is time to send. */
async function inSlices(work) {
  const times = [];
  while (times.length < CALLS) {
    times.push(...timed((number) => work(times.length + number), 500, times.length ? 0 : WARM_UP));
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return Float64Array.from(times);
}

async function logging() {
  const loop = new AgentLoop({ apiKey, baseUrl, bufferBytes: 64 * 2 ** 20 });
  const logged = await inSlices((number) => loop.logTurn(`${number} ${QUESTION}`, ANSWER, TURN));
  const passedBy = timed(() => loop.logTurnIf(false, QUESTION, ANSWER, TURN), CALLS);
  if (!(await loop.flush(60_000)) || loop.stats.sent !== logged.length + WARM_UP) throw new Error(JSON.stringify(loop.stats));
  await loop.close();
  return [
    ["`logTurn`", shown(logged), "p50 20 µs, p99 100 µs"],
    ["`logTurnIf(false, …)`", shown(passedBy), "0.5 µs"],
  ];
}

async function choosing() {
  const loop = new AgentLoop({ apiKey, baseUrl });
  for (let number = 0; number < 600; number++) {
    const success = (number * 7) % 10 < 7;
    const ids = { trace_id: `js${number}`, idempotency_key: `js${number}` };
    loop.post("outcomes", { goal: "bench-js", model_id: MODELS[number % 10], success, ...ids });
  }
  await loop.flush(60_000);
  const router = new Router({ goal: "bench-js", paths: MODELS, client: loop });
  if (!(await router.ready(20_000))) throw new Error("there is no snapshot");
  const warm = await inSlices(() => router.choose());
  const state = await loop.ask({ method: "GET", path: "/api/v1/routing/state?goal=bench-js" }, "paths");
  const race = () => new Race(readSnapshot(state), { models: new Set(MODELS), constraints: {}, risk: "medium" }, Date.now() / 1000);
  const cold = timed(() => race().draw(), CALLS / 4);
  await loop.close();
  return [
    ["`choose`, 10 paths", shown(warm), "p50 20 µs"],
    ["a cold draw, 10 paths: a new snapshot, and one draw", shown(cold), "250 µs"],
  ];
}

/** All that the heap holds more when far more was logged than fits, and the server is away. */
function fullBuffer() {
  globalThis.gc();
  const before = process.memoryUsage().heapUsed;
  const loop = new AgentLoop({ apiKey: "al_key", baseUrl: "http://127.0.0.1:9", exitTimeoutMs: 0, warn() {} });
  for (let number = 0; number < 40_000; number++) loop.logTurn(`${number} ${QUESTION}`, ANSWER, TURN);
  globalThis.gc();
  const held = (process.memoryUsage().heapUsed - before) / 2 ** 20;
  return [["memory at a full buffer of 16 MB", `${held.toFixed(1)} MB for ${loop.stats.waiting.toLocaleString("en")} turns`, "bounded"]];
}

const rows = [["`import \"@agentloop/client\"`", imported(), "reported"]];
rows.push(...(await logging()), ...(await choosing()), ...fullBuffer());
console.log(["| the JavaScript client | figure | goal |", "|---|---|---|", ...rows.map((row) => `| ${row.join(" | ")} |`)].join("\n"));
process.exit();
