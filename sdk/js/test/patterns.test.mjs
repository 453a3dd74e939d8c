/** The helpers of the five patterns; that they see what Python's see is tested from there. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { agentPunted, isRephrase, makesFactualClaim, recurrence, revertedQuickly } from "../src/patterns.js";
import { data } from "./support.mjs";

const HELPERS = {
  is_rephrase: ({ question, history }) => isRephrase(question, history),
  agent_punted: ({ response }) => agentPunted(response),
  makes_factual_claim: ({ response }) => makesFactualClaim(response),
};
const NOON = Date.UTC(2026, 2, 1, 12) / 1000;

for (const [name, helper] of Object.entries(HELPERS)) {
  test(`${name}: precision and recall on the table`, () => {
    const said = data("client-patterns.json")[name].map((one) => [helper(one), one.right]);
    const hits = said.filter(([found, right]) => found && right).length;
    assert.ok(hits / said.filter(([found]) => found).length >= 0.95);
    assert.ok(hits / said.filter(([, right]) => right).length >= 0.95);
  });
}

test("what happened afterwards", () => {
  assert.deepEqual(recurrence(NOON, [NOON - 30 * 3600, NOON - 5 * 3600, NOON + 60]), { recurrence: true, gap_hours: 5 });
  assert.deepEqual(recurrence(new Date(NOON * 1000), [NOON - 5400]), { recurrence: true, gap_hours: 1.5 });
  assert.equal(recurrence(NOON, [NOON - 4 * 86400]), null);
  assert.ok(revertedQuickly(NOON, NOON + 1200) && !revertedQuickly(NOON, NOON + 7200) && !revertedQuickly(NOON, null));
});
