/** The README's examples run as they stand, one after the other, against a running server. */

import assert from "node:assert/strict";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { provider, unkind } from "./support.mjs";

test("the examples run", async () => {
  const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
  const blocks = [...readme.matchAll(/```js\n([^]*?)```/g)].map(([, block]) => block);
  assert.ok(blocks.length >= 5);
  // Beside the package's own files, so that its name means itself.
  const file = new URL(`./readme-${process.pid}.mjs`, import.meta.url);
  const before = `import { AgentLoop as Client, setDefaultClient } from "@agentloop/client"; const shared = new Client(); setDefaultClient(shared);\n`;
  const stand = await unkind([], provider);
  Object.assign(process.env, { OPENAI_API_KEY: "sk-none", OPENAI_BASE_URL: `${stand.url}/v1` });
  const after = `export { completion, durable, insights, link, loop, receipt, router, reading, text }; await shared.flush(20_000); export const sent = shared.stats; await shared.close();`;
  writeFileSync(file, before + blocks.join("\n") + after);
  try {
    const { completion, durable, insights, link, loop, receipt, reading, text, sent } = await import(file.href);
    assert.match(receipt.turnId, /^turn_/);
    assert.equal(reading.kind, "reject");
    assert.match(text, /answers/);
    assert.equal((await fetch(link)).status, 200);
    assert.ok(Array.isArray(insights.goals));
    assert.equal(completion.choices[0].message.content, "SECRET answer");
    const { queued, sent: arrived, refused, dropped, waiting } = loop.stats;
    assert.ok(queued >= 4);
    assert.deepEqual([arrived, refused, dropped, waiting], [queued, 0, 0, 0]);
    assert.ok(sent.sent >= 5 && sent.refused === 0);
    assert.ok(await durable.close() && durable.stats.sent === 1);
  } finally {
    rmSync(file);
    rmSync("spool", { recursive: true, force: true });
  }
});

test("the example of docs/clients.md runs", async () => {
  const page = readFileSync(new URL("../../../docs/clients.md", import.meta.url), "utf8");
  const [, block] = /## In JavaScript\n[^]*?```js\n([^]*?)```/.exec(page);
  const file = new URL(`./clients-${process.pid}.mjs`, import.meta.url);
  const given = `const question = "When?", answer = "I don't know, please contact support.", traceId = "0af7651916cd43dd8448eb211c80319d";\n`;
  writeFileSync(file, `${block.replace("const loop", `${given}export const loop`)}\nawait loop.close();`);
  try {
    const { loop } = await import(file.href);
    assert.deepEqual([loop.stats.sent, loop.stats.waiting, loop.stats.refused], [5, 0, 0]);
  } finally {
    rmSync(file);
  }
});
