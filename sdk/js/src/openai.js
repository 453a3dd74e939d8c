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
 * The same client, its chat completions watched: streams, tools and helpers such as `parse` as well. The request's
 * `headers` may carry `X-AgentLoop-Trace`, the trace id of a router's choice.
 * @template {{chat: {completions: {create: Function}}}} C
 * @param {C} client
 * @param {import("./client.js").AgentLoop} loop
 * @param {WatchOptions} [options]
 * @returns {C}
 */
export function watch(client, loop, options = {}) {
  const { completions } = client.chat;
  const create = completions.create.bind(completions);
  completions.create = (/** @type {any} */ body, /** @type {any} */ request, /** @type {any[]} */ ...more) => {
    const sight = new Sight(loop, options, body, request);
    try {
      return sight.onto(create(body, request, ...more));
    } catch (error) {
      sight.end(error);
      throw error;
    }
  };
  return client;
}

/** One call, from its beginning to its end. Nothing that breaks here reaches the agent. */
class Sight {
  #loop;
  #onCall;
  #began = performance.now();
  #hasEnded = false;
  /** @type {Call} */
  #call;

  /**
   * @param {import("./client.js").AgentLoop} loop
   * @param {WatchOptions} options
   * @param {any} body
   * @param {any} request
   */
  constructor(loop, { goal = "", onCall }, body, request) {
    this.#loop = loop;
    this.#onCall = onCall;
    this.#call = {
      provider: "openai",
      model: String(body?.model ?? ""),
      goal,
      traceId: quietly(() => traceIn(request?.headers)) || tokenHex(16),
      spanId: tokenHex(8),
      question: quietly(() => lastUserText(body?.messages)) ?? "",
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
    quietly(() => {
      this.#count(answer);
      this.#call.text = textOfAnswer(answer);
      this.#called(answer.choices[0].message.tool_calls);
    });
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

  /** @param {AsyncIterator<any>} pieces */
  async *#watched(pieces) {
    try {
      for await (const piece of { [Symbol.asyncIterator]: () => pieces }) {
        quietly(() => this.#take(piece));
        yield piece;
      }
    } catch (error) {
      this.#failed(error);
    } finally {
      this.end();
    }
  }

  /** One chunk of a stream. Its last may carry the usage, where `stream_options` asked for it. @param {any} piece */
  #take(piece) {
    this.#count(piece);
    const delta = piece.choices[0]?.delta;
    this.#call.text += delta?.content ?? "";
    this.#called(delta?.tool_calls);
  }

  /** Later counts replace earlier ones. @param {any} answer */
  #count(answer) {
    const tokens = tokensOf(answer);
    this.#call.tokensIn = tokens.in ?? this.#call.tokensIn;
    this.#call.tokensOut = tokens.out ?? this.#call.tokensOut;
  }

  /** @param {any[] | undefined} calls */
  #called(calls) {
    this.#call.toolCalls.push(...(calls ?? []).map((one) => one.function?.name).filter(Boolean));
  }

  /** Tells of the call, once. @param {unknown} [error] */
  end(error) {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    const call = this.#call;
    call.error = error;
    call.failureCategory = error === undefined ? undefined : categoryOf(error);
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

/** What the user said last, of messages as the chat APIs shape them. @param {any} messages */
function lastUserText(messages) {
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
