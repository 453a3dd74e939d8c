/** The levels as functions, for whoever has one client for everything: that of `setDefaultClient`. */

import { defaultClient } from "../shared.js";
import { Signals } from "./signals.js";

/** @type {import("../client.js").AgentLoop | undefined} */
let client;
/** @type {Signals | undefined} */
let signals;

/** The default client's signals. They ask no model, and keep sessions in memory. */
export function defaultSignals() {
  const current = defaultClient();
  if (!signals || client !== current) {
    client = current;
    signals = new Signals(current);
  }
  return signals;
}

/** See `Signals.trackRun`. @type {Signals["trackRun"]} */
export const trackRun = (...given) => defaultSignals().trackRun(...given);

/** See `Signals.userAccepted`. @type {Signals["userAccepted"]} */
export const userAccepted = (...given) => defaultSignals().userAccepted(...given);

/** See `Signals.userRejected`. @type {Signals["userRejected"]} */
export const userRejected = (...given) => defaultSignals().userRejected(...given);

/** See `Signals.reportPipeline`. @type {Signals["reportPipeline"]} */
export const reportPipeline = (...given) => defaultSignals().reportPipeline(...given);

/** See `Signals.reportUserTurn`. @type {Signals["reportUserTurn"]} */
export const reportUserTurn = (...given) => defaultSignals().reportUserTurn(...given);

/** See `Signals.reportSessionEnd`. @type {Signals["reportSessionEnd"]} */
export const reportSessionEnd = (...given) => defaultSignals().reportSessionEnd(...given);

/** See `Signals.reportAction`. @type {Signals["reportAction"]} */
export const reportAction = (...given) => defaultSignals().reportAction(...given);

/** See `Signals.observeUse`. @type {Signals["observeUse"]} */
export const observeUse = (...given) => defaultSignals().observeUse(...given);
