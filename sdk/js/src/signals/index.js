/** Signals from users: what they say of an answer, plainly, in their next message, or by what they do with it. */

/** @typedef {import("./classifier.js").Reading} Reading */
/** @typedef {import("./model.js").Model} Model */
/** @typedef {import("./sessions.js").Store} Store */
/** @typedef {import("./signals.js").Run} Run */
/** @typedef {import("./use.js").Use} Use */

export { classify } from "./classifier.js";
export {
  defaultSignals,
  observeUse,
  reportAction,
  reportPipeline,
  reportSessionEnd,
  reportUserTurn,
  trackRun,
  userAccepted,
  userRejected,
} from "./functions.js";
export { chatModel } from "./model.js";
export { MemoryStore } from "./sessions.js";
export { Signals } from "./signals.js";
export { ACTIONS, useOf } from "./use.js";
