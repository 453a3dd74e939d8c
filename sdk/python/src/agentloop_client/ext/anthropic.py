"""Watches an Anthropic client: what each call costs goes to the router, and `on_call` may log what is worth a look.

client = watch(Anthropic(), loop, goal="answer_question", on_call=log_what_failed)
"""

from __future__ import annotations

from typing import Any, TypeVar

from agentloop_client import usage
from agentloop_client.ext._streams import wrapped
from agentloop_client.ext._watch import Call, OnCall, Posts, Watch, last_user_text, watched

Client = TypeVar("Client")


def watch(client: Client, loop: Posts, *, goal: str = "", on_call: OnCall | None = None) -> Client:
    """The same client, sync or async, its `messages.create` watched: streams and tools as well. `extra_headers` may
    carry `X-AgentLoop-Trace`, the trace id of a router's choice."""
    sight = Watch(loop, goal, on_call)

    def begin(given: dict[str, Any]) -> Call:
        call = Call("anthropic", str(given.get("model") or ""), goal, question=last_user_text(given.get("messages")))
        headers = given.get("extra_headers") or {}
        call.trace_id = headers.get("X-AgentLoop-Trace") or call.trace_id
        return call

    watched(client, ("messages", "create"), lambda create: wrapped(create, begin, _take, _read, sight.end))
    return client


def _read(call: Call, response: Any) -> None:
    call.read_usage(response)
    call.text = usage.text_of_answer(response)
    call.tool_calls = [block.name for block in response.content if block.type == "tool_use"]


def _take(call: Call, event: Any) -> None:
    """One event of a stream: it begins with the tokens that went in, and ends with those that came out."""
    if event.type == "message_start":
        call.read_usage(event.message)
    elif event.type == "message_delta":
        call.read_usage(event)
    elif event.type == "content_block_start" and event.content_block.type == "tool_use":
        call.tool_calls.append(event.content_block.name)
    elif event.type == "content_block_delta" and event.delta.type == "text_delta":
        call.text += event.delta.text
