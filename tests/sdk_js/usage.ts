import type { Choice, LoggedTurn, Stats } from "@agentloop/client";
import { AgentLoop, AgentLoopError, FAILURE_CATEGORIES, isSampled, Router } from "@agentloop/client";
import { feedbackUrl } from "@agentloop/client/feedback";
import { watch } from "@agentloop/client/openai";
import { agentPunted, recurrence } from "@agentloop/client/patterns";
import { decide } from "@agentloop/client/routing";
import { chatModel, Signals } from "@agentloop/client/signals";
import OpenAI from "openai";

const loop = new AgentLoop({ apiKey: "k", timeoutMs: 500, fetch });
const nothing: void = loop.logTurn("q", () => "a", { signals: { thumbsDown: true }, tags: ["t"] });
const receipt = await loop.logTurn("q", "a", { wait: true });
const id: string | undefined = receipt?.turnId;
loop.logTurnIf(agentPunted("a") || recurrence(2, [1]), "q", "a");
loop.sample(0.1, "q", "a", { sessionId: "s" });
for (const memory of await loop.search("q", { tags: ["a"] })) memory.fact.length;
const link: string = feedbackUrl(loop, { turnId: "t", published: false });
const stats: Stats = loop.stats;
const sent: number = stats.sent;
const logged: LoggedTurn | null = receipt;

const local = new Router({ goal: "g", paths: ["m", { model: "n", params: { temperature: 0 } }], client: loop });
const choice: Choice = local.choose();
const model: string = choice.model;
const length: number = local.execute((path, text: string) => path.model.length + text.length, "x");
const later: Promise<number> = local.execute(async (path) => path.model.length);
const remote = new Router({ goal: "g", paths: ["m"], mode: "remote" });
const confidence: number | null = (await remote.choose()).confidence;
local.startTrace().report({ success: true, score: 0.9, failureCategory: FAILURE_CATEGORIES[0] });

const signals = new Signals(loop, { model: chatModel("http://127.0.0.1", "k", "m") });
const kind: "accept" | "reject" | "continue" = signals.reportUserTurn("s", "no").kind;
const asked = await decide("g", { constraints: { maxCostUsd: 1 } });
try {
  isSampled(0.5, "key");
} catch (error) {
  if (error instanceof AgentLoopError) error.code.length + error.requestId.length;
}

// @ts-expect-error a turn has an answer
loop.logTurn("q");
// @ts-expect-error a rating is one of three
loop.annotate("q", "a", "c", { rating: "awful" });
// @ts-expect-error a router has paths
new Router({ goal: "g" });
// @ts-expect-error a remote choice has to be awaited
remote.choose().model;
// @ts-expect-error no such constraint
new Router({ goal: "g", paths: ["m"], constraints: { maxPrice: 1 } });
const openai: OpenAI = watch(new OpenAI(), loop, { goal: "g", onCall: (call) => call.toolCalls.length });
// @ts-expect-error a client has chat completions
watch({}, loop);
export { asked, confidence, id, kind, later, length, link, logged, model, nothing, openai, sent };
