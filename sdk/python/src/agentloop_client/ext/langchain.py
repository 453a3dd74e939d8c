"""A LangChain callback: what each model call costs goes to the router, and `on_call` may log what is worth a look.

model.invoke(question, config={"callbacks": [AgentLoopCallback(loop, goal="answer_question")]})
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import UUID

from agentloop_client import usage
from agentloop_client.ext._watch import Call, OnCall, Posts, Watch

if TYPE_CHECKING:

    class BaseCallbackHandler: ...

else:
    from langchain_core.callbacks import BaseCallbackHandler


class AgentLoopCallback(BaseCallbackHandler):
    """Serves chains and agents as well: every model call below them is one call. A run's metadata may name a
    `trace_id`, as of a router's choice."""

    # It only takes notes, so it may run wherever LangChain runs.
    run_inline = True
    raise_error = False

    def __init__(self, loop: Posts, *, goal: str = "", on_call: OnCall | None = None) -> None:
        self._watch = Watch(loop, goal, on_call)
        self._calls: dict[UUID, Call] = {}

    def on_chat_model_start(self, serialized: Any, messages: Any, *, run_id: UUID, **more: Any) -> None:
        said = messages[0] if messages else []
        asked = next((one.content for one in reversed(said) if getattr(one, "type", "") == "human"), "")
        self._begin(run_id, asked if isinstance(asked, str) else usage.text_of_answer({"content": asked}), more)

    def on_llm_start(self, serialized: Any, prompts: list[str], *, run_id: UUID, **more: Any) -> None:
        self._begin(run_id, prompts[-1] if prompts else "", more)

    def _begin(self, run_id: UUID, question: str, more: dict[str, Any]) -> None:
        told, metadata = more.get("invocation_params") or {}, more.get("metadata") or {}
        model = told.get("model") or told.get("model_name") or metadata.get("ls_model_name") or ""
        call = Call(str(metadata.get("ls_provider") or "langchain"), str(model), self._watch.goal, question=question)
        call.trace_id = str(metadata.get("trace_id") or call.trace_id)
        self._calls[run_id] = call

    def on_llm_end(self, response: Any, *, run_id: UUID, **more: Any) -> None:
        call = self._calls.pop(run_id, None)
        if call is None:
            return
        with suppress(Exception):
            generation = response.generations[0][0]
            message = getattr(generation, "message", None)
            call.text = generation.text
            call.read_usage(message)
            call.read_usage({"usage": (response.llm_output or {}).get("token_usage")})
            call.model = call.model or str((response.llm_output or {}).get("model_name") or "")
            call.tool_calls = [one["name"] for one in getattr(message, "tool_calls", None) or ()]
        self._watch.end(call)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **more: Any) -> None:
        call = self._calls.pop(run_id, None)
        if call is not None:
            self._watch.end(call, error)
