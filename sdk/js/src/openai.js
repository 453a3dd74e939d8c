/**
 * Watches an OpenAI client: what each call costs goes to the router, and `onCall` may log what is worth a look.
 *
 *     const client = watch(new OpenAI(), loop, { goal: "answer_question", onCall: logWhatFailed });
 */

import { isFull, kindOf, said } from "./encode.js";
import { BadArgument } from "./errors.js";
import { categoryOf } from "./failures.js";
import { unixSeconds } from "./messages.js";
import { tokenHex } from "./tokens.js";
import { textOfAnswer, tokensOf } from "./usage.js";

const TRACE_HEADER = "X-AgentLoop-Trace";

/**
 * @typedef {object} Call One call of a model: what it cost goes to the router, what was said stays here.
 * @property {string} provider
 * @property {string} model
 * @property {string} goal
 * @property {string} traceId
 * @property {string} spanId
 * @property {string} question what the user said last
 * @property {string} text the answer's
 * @property {string[]} toolCalls names of the tools that the answer calls
 * @property {number} [tokensIn]
 * @property {number} [tokensOut]
 * @property {unknown} [error]
 * @property {string} [failureCategory]
 * @property {number} latencyMs
 */

/**
 * @typedef {object} WatchOptions
 * @property {string} [goal]
 * @property {(call: Call) => unknown} [onCall] told of each finished call
 */

/**
 * The same client, its chat completions and responses watched: streams, tools and helpers such as `parse` as well. The
 * request's `headers` may carry `X-AgentLoop-Trace`, the trace id of a router's choice.
 * @template {{chat: {completions: {create: Function}}, responses?: {create: Function}}} C
 * @param {C} client
 * @param {import("./client.js").AgentLoop} loop
 * @param {WatchOptions} [options]
 * @returns {C}
 */
export function watch(client, loop, options = {}) {
  watchCreate(client.chat.completions, completions, loop, options);
  if (client.responses) watchCreate(client.responses, responses, loop, options);
  return client;
}

/**
 * @param {{create: Function}} owner
 * @param {Api} api
 * @param {import("./client.js").AgentLoop} loop
 * @param {WatchOptions} options
 */
function watchCreate(owner, api, loop, options) {
  const create = owner.create.bind(owner);
  owner.create = (/** @type {any} */ body, /** @type {any} */ request, /** @type {any[]} */ ...more) => {
    const sight = new Sight(api, loop, options, body, request);
    try {
      return sight.onto(create(body, request, ...more));
    } catch (error) {
      sight.end(error);
      throw error;
    }
  };
}

/**
 * @typedef {object} Api How one of the library's APIs is read into a call.
 * @property {(call: Call, answer: any) => void} read a whole answer
 * @property {(call: Call, piece: any) => void} take a piece of a streamed one
 */

/** @type {Api} */
const completions = {
  read(call, answer) {
    count(call, answer);
    call.text = textOfAnswer(answer);
    called(call, answer.choices[0].message.tool_calls);
  },
  // The last chunk may carry the usage, where `stream_options` asked for it.
  take(call, chunk) {
    count(call, chunk);
    const delta = chunk.choices[0]?.delta;
    call.text += delta?.content ?? "";
    called(call, delta?.tool_calls);
  },
};

/** @type {Api} */
const responses = {
  read(call, response) {
    conclude(call, response);
    call.text = textOfAnswer(response);
    used(call, response.output);
  },
  take(call, event) {
    if (event.type === "response.output_text.delta") call.text += event.delta;
    else if (event.type === "response.output_item.done") used(call, [event.item]);
    else if (event.type === "error") call.error = new ResponseFailed(event.code);
    else if (event.response) conclude(call, event.response);
  },
};

/** Later counts replace earlier ones. @param {Call} call @param {any} answer */
function count(call, answer) {
  const tokens = tokensOf(answer);
  call.tokensIn = tokens.in ?? call.tokensIn;
  call.tokensOut = tokens.out ?? call.tokensOut;
}

/** @param {Call} call @param {any[] | undefined} calls of a completion */
function called(call, calls) {
  call.toolCalls.push(...(calls ?? []).map((one) => one.function?.name).filter(Boolean));
}

/** @param {Call} call @param {any[]} items of a response's output */
function used(call, items) {
  call.toolCalls.push(...items.filter((one) => one.type.endsWith("_call") && one.name).map((one) => one.name));
}

/** What a response says of itself, as far as it is known. @param {Call} call @param {any} response */
function conclude(call, response) {
  count(call, response);
  call.model ||= String(response.model ?? "");
  if (response.status === "failed") call.error = new ResponseFailed(response.error?.code);
}

/** The provider answered that it failed. Its message is the provider's word for that, and no content. */
class ResponseFailed extends Error {
  name = "ResponseFailed";
}

/** One call, from its beginning to its end. Nothing that breaks here reaches the agent. */
class Sight {
  #api;
  #loop;
  #onCall;
  #began = performance.now();
  #hasEnded = false;
  /** @type {Call} */
  #call;

  /**
   * @param {Api} api
   * @param {import("./client.js").AgentLoop} loop
   * @param {WatchOptions} options
   * @param {any} body
   * @param {any} request
   */
  constructor(api, loop, { goal = "", onCall }, body, request) {
    this.#api = api;
    this.#loop = loop;
    this.#onCall = onCall;
    this.#call = {
      provider: "openai",
      model: String(body?.model ?? ""),
      goal,
      traceId: quietly(() => traceIn(request?.headers)) || tokenHex(16),
      spanId: tokenHex(8),
      question: quietly(() => lastUserText(body?.messages ?? body?.input)) ?? "",
      text: "",
      toolCalls: [],
      latencyMs: 0,
    };
  }

  /**
   * The library's own promise, with all that it can do; it is read only when the agent reads it.
   * @param {any} promise
   */
  onto(promise) {
    if (typeof promise?._thenUnwrap !== "function") return promise?.then?.((/** @type {any} */ answer) => this.#read(answer), this.#failed) ?? promise;
    promise.asResponse().catch((/** @type {unknown} */ error) => this.end(error));
    return promise._thenUnwrap((/** @type {any} */ answer) => this.#read(answer));
  }

  #failed = (/** @type {unknown} */ error) => {
    this.end(error);
    throw error;
  };

  /** @param {any} answer */
  #read(answer) {
    if (answer?.[Symbol.asyncIterator]) return this.#streamed(answer);
    quietly(() => this.#api.read(this.#call, answer));
    this.end();
    return answer;
  }

  /** The same stream, seen piece by piece as it comes, however it is read. @param {any} stream */
  #streamed(stream) {
    // The library's streams make their iterators by this member, `tee` as well.
    const member = typeof stream.iterator === "function" ? "iterator" : Symbol.asyncIterator;
    const pieces = stream[member].bind(stream);
    stream[member] = () => this.#watched(pieces());
    return stream;
  }

  /**
   * No generator, which would not learn that it was left before its first piece.
   * @param {AsyncIterator<any>} pieces
   * @returns {AsyncIterableIterator<any>}
   */
  #watched(pieces) {
    return {
      next: async () => {
        const step = await pieces.next().catch(this.#failed);
        if (step.done) this.end();
        else quietly(() => this.#api.take(this.#call, step.value));
        return step;
      },
      // Whoever leaves the loop early is done with it: what came until then is told.
      return: async (value) => {
        this.end();
        return (await pieces.return?.(value)) ?? { done: true, value };
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  /** Tells of the call, once. @param {unknown} [error] */
  end(error) {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    const call = this.#call;
    call.error = error ?? call.error;
    call.failureCategory = call.error === undefined ? undefined : categoryOf(call.error);
    call.latencyMs = Number((performance.now() - this.#began).toFixed(3));
    const broken = (/** @type {unknown} */ fault) =>
      // Strictness is for our own calls; this one is the agent's.
      quietly(() => this.#loop.trouble(new BadArgument(`onCall broke: ${kindOf(fault)}.`, { cause: fault })));
    try {
      this.#loop.post("events", spanOf(call));
      Promise.resolve(this.#onCall?.(call)).catch(broken);
    } catch (fault) {
      broken(fault);
    }
  }
}

/** The span without a word of content. @param {Call} call */
function spanOf({ error, ...call }) {
  return said(
    {
      trace_id: call.traceId,
      span_id: call.spanId,
      goal: call.goal,
      provider: call.provider,
      model_id: call.model,
      operation: "chat",
      input_tokens: call.tokensIn,
      output_tokens: call.tokensOut,
      latency_ms: call.latencyMs,
      status: error === undefined ? "ok" : "error",
      error_type: error === undefined ? undefined : kindOf(error),
      timestamp: unixSeconds(),
    },
    isFull,
  );
}

/** @param {any} headers */
function traceIn(headers) {
  return typeof headers?.get === "function" ? headers.get(TRACE_HEADER) : headers?.[TRACE_HEADER];
}

/** What the user said last, of messages as the APIs shape them, or of a text alone. @param {any} messages */
function lastUserText(messages) {
  if (typeof messages === "string") return messages;
  return textOfAnswer([...(messages ?? [])].reverse().find((message) => message?.role === "user"));
}

/**
 * What comes of it, or nothing where it breaks.
 * @template T
 * @param {() => T} work
 */
function quietly(work) {
  try {
    return work();
  } catch {
    return undefined;
  }
}
