/** AgentLoop's client: log turns for review, and choose paths by what the reviews said. Never in the agent's way. */

/** @typedef {import("./choice.js").Path} Path */
/** @typedef {import("./messages.js").Annotation} Annotation */
/** @typedef {import("./messages.js").LoggedTurn} LoggedTurn */
/** @typedef {import("./messages.js").Memory} Memory */
/** @typedef {import("./outbox.js").Stats} Stats */
/** @typedef {import("./router.js").Choice} Choice */

export { AgentLoop } from "./client.js";
export {
  AgentLoopError,
  BadAnswer,
  BadArgument,
  BufferFull,
  Closed,
  NoSigningSecret,
  NotConfigured,
  RateLimited,
  Refused,
  ServerFailed,
  TimedOut,
  Unreachable,
} from "./errors.js";
export { isSampled } from "./sampling.js";
export { FAILURE_CATEGORIES } from "./failures.js";
export { Router, Trace } from "./router.js";
export { defaultClient, setDefaultClient } from "./shared.js";
