"""An OpenTelemetry span processor: cost and time of GenAI spans go to the router, and nothing that was said.

provider.add_span_processor(AgentLoopSpanProcessor(loop, goal="answer_question"))
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from agentloop_client.ext._watch import Posts

if TYPE_CHECKING:

    class SpanProcessor: ...

else:
    from opentelemetry.sdk.trace import SpanProcessor

GOAL = "agentloop.goal"
_MODEL = ("gen_ai.response.model", "gen_ai.request.model")
_IN = ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens")
_OUT = ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens")
_PROVIDER = ("gen_ai.provider.name", "gen_ai.system")


class AgentLoopSpanProcessor(SpanProcessor):
    """Takes the spans that name a GenAI model and passes the others by. A span's attribute `agentloop.goal` names its
    goal, where it is not the one given here. The trace id is the span's own, so a router's choice joins a span by it.
    """

    def __init__(self, loop: Posts, *, goal: str = "") -> None:
        self._loop, self._goal = loop, goal

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        pass

    def on_end(self, span: Any) -> None:
        with suppress(Exception):
            said = self._event(span)
            if said is not None:
                self._loop.post("events", said)

    def _event(self, span: Any) -> dict[str, Any] | None:
        attributes = span.attributes or {}
        model = _first(attributes, _MODEL)
        if model is None:
            return None
        failed = span.status is not None and span.status.status_code.name == "ERROR"
        said = {
            "trace_id": f"{span.context.trace_id:032x}",
            "span_id": f"{span.context.span_id:016x}",
            "parent_span_id": f"{span.parent.span_id:016x}" if span.parent else None,
            "goal": attributes.get(GOAL) or self._goal or None,
            "provider": _first(attributes, _PROVIDER),
            "model_id": str(model),
            "operation": attributes.get("gen_ai.operation.name"),
            "input_tokens": _first(attributes, _IN),
            "output_tokens": _first(attributes, _OUT),
            "latency_ms": round((span.end_time - span.start_time) / 1e6, 3),
            "status": "error" if failed else "ok",
            "error_type": attributes.get("error.type"),
            "timestamp": round(span.start_time / 1e9, 3),
        }
        return {name: value for name, value in said.items() if value is not None}

    def shutdown(self) -> None:
        self.force_flush(5000)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        flush = getattr(self._loop, "flush", None)
        return bool(flush(timeout_millis / 1000)) if flush is not None else True


def _first(attributes: Any, names: tuple[str, ...]) -> Any:
    return next((attributes[name] for name in names if attributes.get(name) is not None), None)
