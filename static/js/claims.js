// A claim is a lease: taken when a turn is opened, kept alive while the page is, given back when it is left.

import { announce } from "./live.js";
import { pieces, send, sendLast } from "./requests.js";
import { showTimes } from "./times.js";

const BEAT_MS = 40_000;
// A page that nobody has touched for so long holds nothing any more.
const IDLE_MS = 15 * 60_000;

export const formOf = (work) => work?.querySelector("#verdict");
export const tokenOf = (work) => work?.querySelector("#claim input[name=claim_token]")?.value;
const isOver = (work) => work.dataset.acted !== undefined;

function put(work, piece) {
  work.querySelector("#claim")?.replaceWith(piece.querySelector("#claim"));
  showTimes(work);
}

// Answers whether the turn is ours now. Whoever has it instead is shown by `onRefused`.
export async function claim(work, onRefused) {
  const form = formOf(work);
  if (!form || tokenOf(work)) return Boolean(form);
  const answer = await send(form.dataset.claim, {});
  if (!answer.ok) {
    onRefused(pieces(await answer.text()));
    return false;
  }
  put(work, pieces(await answer.text()));
  // Left while the answer was under way: nobody is here to hold it.
  if (!work.isConnected && work.dataset.waiting === undefined) release(work);
  return true;
}

export function release(work, { leaving = false } = {}) {
  const form = formOf(work);
  const token = tokenOf(work);
  if (!form || !token || isOver(work)) return;
  work.dataset.acted = "";
  const body = { claim_token: token, leaving: "true" };
  if (leaving) sendLast(form.dataset.release, body);
  else send(form.dataset.release, body).catch(() => {});
}

// What was written stays where it is, and without its token it can still be sent while nobody else has the turn.
function lose(work) {
  const claim = work.querySelector("#claim");
  const form = formOf(work);
  if (!claim || claim.classList.contains("lost")) return;
  const again = Object.assign(document.createElement("button"), { type: "submit", className: "as-inline", textContent: "Claim it again" });
  again.formAction = form.dataset.claim;
  const line = document.createElement("p");
  line.id = "claim";
  line.className = "claim lost";
  line.append(Object.assign(document.createElement("span"), { className: "dot" }), "Your claim has lapsed. What you wrote is kept. ", again);
  claim.replaceWith(line);
  if (work.isConnected) announce("Your claim on this turn has lapsed. What you wrote is kept.");
}

export async function beat(work) {
  const token = tokenOf(work);
  if (!token || isOver(work)) return true;
  const url = work.querySelector("#claim").dataset.heartbeat;
  const answer = await send(url, { claim_token: token }).catch(() => null);
  if (!answer || isOver(work)) return true;
  if (answer.ok) put(work, pieces(await answer.text()));
  else if (answer.status === 409 || answer.status === 404) lose(work);
  return answer.ok;
}

export function keepAlive(held) {
  let touchedAt = Date.now();
  const isIdle = () => Date.now() - touchedAt > IDLE_MS;
  const all = () => { if (!isIdle()) held().filter(Boolean).forEach(beat); };
  const touched = () => {
    const wasIdle = isIdle();
    touchedAt = Date.now();
    if (wasIdle) all();
  };
  for (const kind of ["keydown", "pointerdown", "pointermove", "wheel"]) document.addEventListener(kind, touched, { capture: true, passive: true });
  setInterval(all, BEAT_MS);
  // Browsers slow the clocks of pages in the background.
  document.addEventListener("visibilitychange", () => { if (!document.hidden) all(); });
}
