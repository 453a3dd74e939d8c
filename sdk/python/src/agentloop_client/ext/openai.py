"""Watches an OpenAI client: what each call costs goes to the router, and `on_call` may log what is worth a look.

client = watch(OpenAI(), loop, goal="answer_question", on_call=log_what_failed)
"""

from __future__ import annotations

from typing import Any, TypeVar

from agentloop_client import usage
from agentloop_client.ext._streams import wrapped
from agentloop_client.ext._watch import Call, OnCall, Posts, Watch, last_user_text, watched

Client = TypeVar("Client")


def watch(client: Client, loop: Posts, *, goal: str = "", on_call: OnCall | None = None) -> Client:
    """The same client, sync or async, its chat completions watched: streams and tools as well. `extra_headers` may
    carry `X-AgentLoop-Trace`, the trace id of a router's choice."""
    sight = Watch(loop, goal, on_call)

    def begin(given: dict[str, Any]) -> Call:
        call = Call("openai", str(given.get("model") or ""), goal, question=last_user_text(given.get("messages")))
        headers = given.get("extra_headers") or {}
        call.trace_id = headers.get("X-AgentLoop-Trace") or call.trace_id
        return call

    watched(
        client,
        ("chat", "completions", "create"),
        lambda create: wrapped(create, begin, _take, _read, sight.end),
    )
    return client


def _read(call: Call, response: Any) -> None:
    call.read_usage(response)
    call.text = usage.text_of_answer(response)
    message = response.choices[0].message
    call.tool_calls = [one.function.name for one in message.tool_calls or ()]


def _take(call: Call, piece: Any) -> None:
    """One chunk of a stream. Its last may carry the usage, where `stream_options` asked for it."""
    call.read_usage(piece)
    if not piece.choices:
        return
    delta = piece.choices[0].delta
    call.text += delta.content or ""
    call.tool_calls += [one.function.name for one in delta.tool_calls or () if one.function and one.function.name]
