/** What an answer cost, read from whatever shape a provider's library gives it. */

/**
 * Tokens in and out; undefined where the answer doesn't say.
 * @param {any} response
 */
export function tokensOf(response) {
  const usage = response?.usage ?? response?.usageMetadata ?? response?.usage_metadata;
  return {
    in: count(usage, "prompt_tokens", "input_tokens", "inputTokens", "promptTokens", "promptTokenCount"),
    out: count(usage, "completion_tokens", "output_tokens", "outputTokens", "completionTokens", "candidatesTokenCount"),
  };
}

/**
 * @param {any} usage
 * @param {string[]} names
 * @returns {number | undefined}
 */
function count(usage, ...names) {
  return names.map((name) => usage?.[name]).find(Number.isInteger);
}

/**
 * The text of an answer, as the common libraries shape it.
 * @param {any} response
 * @returns {string}
 */
export function textOfAnswer(response) {
  if (typeof response === "string") return response;
  if (response?.choices?.[0]) return content(response.choices[0].message?.content);
  return content(response?.output_text) || content(response?.text) || content(response?.content);
}

/**
 * Text, or the text among blocks of several kinds.
 * @param {any} given
 * @returns {string}
 */
function content(given) {
  if (typeof given === "string") return given;
  if (!Array.isArray(given)) return "";
  return given.map((one) => (typeof one?.text === "string" ? one.text : "")).join("");
}
