/** The client of whoever names none. */

import { AgentLoop } from "./client.js";

/** @type {AgentLoop | null} */
let shared = null;

/** With its settings from the environment. Made at first use. */
export function defaultClient() {
  return (shared ??= new AgentLoop());
}

/**
 * From now on this is the client of whoever names none.
 * @param {AgentLoop | null} client
 */
export function setDefaultClient(client) {
  shared = client;
}
