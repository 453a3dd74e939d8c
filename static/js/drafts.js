// What is being written is kept on the server within a second, one request at a time.

import { send, sendLast } from "./requests.js";
import { showTimes } from "./times.js";

const WAIT_MS = 500;
const states = new WeakMap();

function stateOf(form) {
  if (!states.has(form)) states.set(form, { timer: 0, isDirty: false, saving: Promise.resolve() });
  return states.get(form);
}

export function wrote(form) {
  const state = stateOf(form);
  state.isDirty = true;
  clearTimeout(state.timer);
  state.timer = setTimeout(() => { state.saving = state.saving.then(() => save(form)); }, WAIT_MS);
}

async function save(form) {
  const state = stateOf(form);
  if (!state.isDirty) return;
  state.isDirty = false;
  try {
    const answer = await send(form.dataset.draft, new FormData(form));
    if (!answer.ok) throw new Error(answer.status);
    const place = form.querySelector("#draft");
    place.innerHTML = await answer.text();
    showTimes(place);
  } catch {
    state.isDirty = true;
    form.querySelector("#draft").textContent = "Not kept yet: the server cannot be reached.";
  }
}

// Before a verdict: no draft may arrive after it.
export function settled(form) {
  const state = stateOf(form);
  clearTimeout(state.timer);
  state.isDirty = false;
  return state.saving;
}

export function keep(form, { leaving = false } = {}) {
  const state = stateOf(form);
  clearTimeout(state.timer);
  if (!state.isDirty) return;
  state.isDirty = false;
  if (leaving) sendLast(form.dataset.draft, new FormData(form));
  else send(form.dataset.draft, new FormData(form)).catch(() => {});
}
