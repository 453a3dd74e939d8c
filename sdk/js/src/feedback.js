/**
 * Links to a form where users say what was wrong, signed without asking the server.
 *
 * Apart from the client, since a page has no business with what signs: neither with the secret nor with these bytes.
 */

import { NoSigningSecret } from "./errors.js";
import { feedbackToken, publishedUrl } from "./signing.js";

/**
 * @typedef {object} FeedbackUrlOptions
 * @property {string} [turnId] with it alone the link is short and says nothing of the person
 * @property {string} [question]
 * @property {string} [agentResponse]
 * @property {string} [userId]
 * @property {string} [sessionId]
 * @property {string} [traceId]
 * @property {string} [goal]
 * @property {boolean} [published] the long form
 * @property {number} [at] Unix seconds
 */

/**
 * A signed link to a form where whoever holds it can say what was wrong with this answer.
 *
 * Throws `NoSigningSecret` without a secret: a link that can't work must not reach a user.
 * @param {import("./client.js").AgentLoop} client whose settings have the server's address and the secret
 * @param {FeedbackUrlOptions} options
 * @returns {string}
 */
export function feedbackUrl(client, { turnId, question = "", agentResponse = "", userId, sessionId, traceId, goal, published, at }) {
  const { baseUrl, signingSecret } = client.settings;
  if (!signingSecret) throw new NoSigningSecret();
  if (published) {
    const said = { q: question, a: agentResponse, u: userId ?? "", s: sessionId ?? "" };
    return publishedUrl(baseUrl, signingSecret, said, at);
  }
  const about = turnId ? { turn: turnId } : { q: question, a: agentResponse };
  const payload = { ...about, u: userId, s: sessionId, trace: traceId, goal };
  return `${baseUrl}/f/${feedbackToken(signingSecret, payload, at)}`;
}
