"""What the adapters have in common: a call is measured, told as a span, and handed to whoever wants to log it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from secrets import token_hex
from typing import Any, Protocol

from agentloop_client import errors, usage
from agentloop_client.failures import category_of


class Posts(Protocol):
    """A client, of either kind."""

    def post(self, lane: str, message: dict[str, Any]) -> bool: ...

    def trouble(self, error: Exception, cause: BaseException | None = None) -> None: ...


@dataclass
class Call:
    """One call of a model: what it cost goes to the router, what was said stays here."""

    provider: str
    model: str
    goal: str = ""
    trace_id: str = field(default_factory=lambda: token_hex(16))
    span_id: str = field(default_factory=lambda: token_hex(8))
    question: str = ""
    text: str = ""
    tool_calls: list[str] = field(default_factory=list)
    """Names of the tools that the answer calls."""
    tokens_in: int | None = None
    tokens_out: int | None = None
    error: BaseException | None = None
    latency_ms: float = 0.0
    began: float = field(default_factory=time.perf_counter)

    @property
    def failure_category(self) -> str | None:
        return category_of(self.error) if self.error else None

    def read_usage(self, response: Any) -> None:
        """Later counts replace earlier ones: in a stream the last word counts."""
        tokens_in, tokens_out = usage.tokens_of(response)
        self.tokens_in = tokens_in if tokens_in is not None else self.tokens_in
        self.tokens_out = tokens_out if tokens_out is not None else self.tokens_out


OnCall = Callable[[Call], Any]


class Watch:
    """Where finished calls go."""

    def __init__(self, loop: Posts, goal: str, on_call: OnCall | None) -> None:
        self.loop, self.goal, self._on_call = loop, goal, on_call

    def end(self, call: Call, error: BaseException | None = None) -> None:
        """Tells of a call. Nothing that breaks here reaches the agent."""
        call.error = error or call.error
        call.latency_ms = round((time.perf_counter() - call.began) * 1000, 3)
        try:
            self.loop.post("events", span_of(call))
            if self._on_call is not None:
                self._on_call(call)
        except Exception as broken:
            self._tell(broken)

    def _tell(self, broken: Exception) -> None:
        try:
            self.loop.trouble(errors.BadArgument(f"on_call broke: {type(broken).__name__}."), broken)
        except errors.AgentLoopError:
            # Strictness is for our own calls; this one is the agent's.
            return


def span_of(call: Call) -> dict[str, Any]:
    """The span without a word of content."""
    said = {
        "trace_id": call.trace_id,
        "span_id": call.span_id,
        "goal": call.goal or None,
        "provider": call.provider,
        "model_id": call.model,
        "operation": "chat",
        "input_tokens": call.tokens_in,
        "output_tokens": call.tokens_out,
        "latency_ms": call.latency_ms,
        "status": "error" if call.error else "ok",
        "error_type": type(call.error).__name__ if call.error else None,
        "timestamp": round(time.time(), 3),
    }
    return {name: value for name, value in said.items() if value is not None}


def last_user_text(messages: Any) -> str:
    """What the user said last, of messages as the chat APIs shape them."""
    if isinstance(messages, str):
        return messages
    for message in reversed(list(messages or ())):
        if usage.part_of(message, "role") == "user":
            return usage.text_of_answer(message)
    return ""


def watched(client: Any, path: tuple[str, ...], wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Puts a wrapper around a method of this one client object, such as `chat.completions.create`, if its version has
    that method."""
    *owners, name = path
    owner = reduce(lambda one, member: getattr(one, member, None), owners, client)
    if hasattr(owner, name):
        setattr(owner, name, wrap(getattr(owner, name)))
