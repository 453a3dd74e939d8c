/** Answers what the Python tests ask of the JavaScript client: a list of [function, arguments] in, the results out. */

import { text } from "node:stream/consumers";
import * as patterns from "../../sdk/js/src/patterns.js";
import { placeOf } from "../../sdk/js/src/sampling.js";
import { feedbackUrl } from "../../sdk/js/src/feedback.js";
import { AgentLoop } from "../../sdk/js/src/index.js";
import { categoryOf } from "../../sdk/js/src/failures.js";
import { Race, readSnapshot } from "../../sdk/js/src/choice.js";
import { classify, useOf } from "../../sdk/js/src/signals/index.js";
import { masked } from "../../sdk/js/src/signals/model.js";

function shares(state, terms, now, draws) {
  const race = new Race(readSnapshot(state), { ...terms, models: new Set(terms.models) }, now);
  const counts = {};
  for (let draw = 0; draw < draws; draw++) {
    const { path } = race.draw();
    counts[path ? path.pathId : ""] = (counts[path ? path.pathId : ""] ?? 0) + 1;
  }
  const chances = [...race.chances()].map(([path, { confidence, probability }]) => [path.pathId, [confidence, probability]]);
  return { counts, chances: Object.fromEntries(chances) };
}

const known = {
  feedbackUrl: (secret, options) => feedbackUrl(new AgentLoop({ apiKey: "k", baseUrl: "https://loop.example/", signingSecret: secret }), options),
  categoryOf: (name, message) => categoryOf(Object.assign(new Error(message), { name })),
  placeOf, classify, masked, useOf, shares, ...patterns,
};
const asked = JSON.parse(await text(process.stdin));
process.stdout.write(JSON.stringify(asked.map(([name, given]) => known[name](...given))));
