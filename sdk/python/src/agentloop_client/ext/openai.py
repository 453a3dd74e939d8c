"""Watches an OpenAI client: what each call costs goes to the router, and `on_call` may log what is worth a look.

client = watch(OpenAI(), loop, goal="answer_question", on_call=log_what_failed)
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, TypeVar

from agentloop_client import usage
from agentloop_client.ext._streams import wrapped
from agentloop_client.ext._watch import Call, OnCall, Posts, Watch, last_user_text, watched

Client = TypeVar("Client")


def watch(client: Client, loop: Posts, *, goal: str = "", on_call: OnCall | None = None) -> Client:
    """The same client, sync or async, its chat completions and responses watched: streams, tools, `stream` and `parse`
    as well. `extra_headers` may carry `X-AgentLoop-Trace`, the trace id of a router's choice."""
    sight = Watch(loop, goal, on_call)

    def begin(given: dict[str, Any]) -> Call:
        asked = given.get("messages") or given.get("input")
        call = Call("openai", str(given.get("model") or ""), goal, question=last_user_text(asked))
        headers = given.get("extra_headers") or {}
        call.trace_id = headers.get("X-AgentLoop-Trace") or call.trace_id
        return call

    for path, take, read in (
        (("chat", "completions"), _take_chunk, _read_completion),
        (("responses",), _take_event, _read_response),
    ):
        # The library's `stream` calls `create`; its `parse` does not.
        for name in ("create", "parse"):
            watched(client, (*path, name), partial(wrapped, begin=begin, take=take, read=read, end=sight.end))
    return client


class ResponseFailed(Exception):
    """The provider answered that it failed. Its text is the provider's word for that, and no content."""


def _parsed(answer: Any) -> Any:
    """`with_raw_response` has read the body, and leaves its shape for later."""
    is_raw = hasattr(answer, "http_response") and answer.http_response.is_closed
    return answer.parse() if is_raw else answer


def _read_completion(call: Call, answer: Any) -> None:
    completion = _parsed(answer)
    call.read_usage(completion)
    call.text = usage.text_of_answer(completion)
    message = completion.choices[0].message
    call.tool_calls = [one.function.name for one in message.tool_calls or ()]


def _read_response(call: Call, answer: Any) -> None:
    response = _parsed(answer)
    _read_end(call, response)
    call.text = usage.text_of_answer(response)
    call.tool_calls = _tools_of(response.output)


def _take_event(call: Call, event: Any) -> None:
    """One event of a streamed response."""
    if event.type == "response.output_text.delta":
        call.text += event.delta
    elif event.type == "response.output_item.done":
        call.tool_calls += _tools_of([event.item])
    elif event.type == "error":
        call.error = ResponseFailed(event.code)
    elif getattr(event, "response", None) is not None:
        _read_end(call, event.response)


def _read_end(call: Call, response: Any) -> None:
    call.read_usage(response)
    call.model = call.model or str(response.model or "")
    if response.status == "failed":
        call.error = ResponseFailed(usage.part_of(response.error, "code"))


def _tools_of(items: Iterable[Any]) -> list[str]:
    return [item.name for item in items if item.type.endswith("_call") and getattr(item, "name", None)]


def _take_chunk(call: Call, piece: Any) -> None:
    """One chunk of a streamed completion. Its last may carry the usage, where `stream_options` asked for it."""
    call.read_usage(piece)
    if not piece.choices:
        return
    delta = piece.choices[0].delta
    call.text += delta.content or ""
    call.tool_calls += [one.function.name for one in delta.tool_calls or () if one.function and one.function.name]
