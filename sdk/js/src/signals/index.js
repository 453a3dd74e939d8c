/** Signals from users: what they say of an answer, plainly, in their next message, or by what they do with it. */

export { classify } from "./classifier.js";
export { chatModel, masked } from "./model.js";
export { MemoryStore } from "./sessions.js";
export { Signals } from "./signals.js";
export { ACTIONS, useOf } from "./use.js";
