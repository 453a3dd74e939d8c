/** What can go wrong, each with a word for programs. Raised where `strict: true` asks for it, else logged. */

/** Something went wrong with AgentLoop, not with the agent. */
export class AgentLoopError extends Error {
  static code = "agentloop_error";
  static sentence = "Something broke.";

  /**
   * @param {string} [sentence]
   * @param {{code?: string, status?: number, requestId?: string, fields?: Record<string, unknown>, cause?: unknown}} [more]
   */
  constructor(sentence, { code, status, requestId = "", fields = {}, cause } = {}) {
    const kind = /** @type {typeof AgentLoopError} */ (new.target);
    const told = sentence || kind.sentence;
    super(told + (requestId && ` (request ${requestId})`), cause ? { cause } : undefined);
    this.sentence = told;
    /** A word for programs: the server's, or this class's own. */
    this.code = code || kind.code;
    this.status = status;
    this.requestId = requestId;
    this.fields = fields;
  }

  get name() {
    return this.constructor.name;
  }
}

export class NotConfigured extends AgentLoopError {
  static code = "no_key";
  static sentence = "No API key: AGENTLOOP_API_KEY is not set.";
}

export class NoSigningSecret extends AgentLoopError {
  static code = "no_signing_secret";
  static sentence = "No signing secret: AGENTLOOP_SIGNING_SECRET is not set.";
}

export class BadArgument extends AgentLoopError {
  static code = "bad_argument";
  static sentence = "An argument is wrong.";
}

export class BufferFull extends AgentLoopError {
  static code = "buffer_full";
  static sentence = "The buffer is full: the oldest of what waits is dropped.";
}

export class Closed extends AgentLoopError {
  static code = "closed";
  static sentence = "The client was closed.";
}

export class Unreachable extends AgentLoopError {
  static code = "unreachable";
  static sentence = "The server did not answer.";
}

export class TimedOut extends Unreachable {
  static code = "timed_out";
  static sentence = "The server did not answer in time.";
}

export class BadAnswer extends AgentLoopError {
  static code = "bad_answer";
  static sentence = "The answer is none of AgentLoop's: is the base URL right?";
}

export class Refused extends AgentLoopError {
  static code = "refused";
  static sentence = "The server refused.";
}

export class RateLimited extends Refused {
  static code = "rate_limited";
  static sentence = "Too many requests.";
}

export class ServerFailed extends AgentLoopError {
  static code = "server_error";
  static sentence = "The server failed.";
}
