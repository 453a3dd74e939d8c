"""The routing side, a function for each question. They ask the server and wait; `Router` doesn't.

Where the server can't be asked, or refuses, they answer None, and raise for a client that is strict.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from secrets import token_hex
from typing import Any
from urllib.parse import urlencode

from agentloop_client._client import AgentLoop
from agentloop_client._encode import encode
from agentloop_client._http import Request
from agentloop_client.failures import FAILURE_CATEGORIES

Answered = dict[str, Any]

_default: AgentLoop | None = None
_guard = threading.Lock()


def default_client() -> AgentLoop:
    """The client of whoever names none, with its settings from the environment. Made at first use."""
    global _default
    with _guard:
        if _default is None:
            _default = AgentLoop()
        return _default


def set_default_client(client: AgentLoop | None) -> None:
    """From now on this is the client of whoever names none."""
    global _default
    _default = client


def decide(
    goal: str,
    *,
    candidate_model_ids: Sequence[str] | None = None,
    task_risk_level: str = "medium",
    pipeline_id: str | None = None,
    constraints: Mapping[str, float] | None = None,
    client: AgentLoop | None = None,
) -> Answered | None:
    """Which path now? The server's answer, with `trace_id`, `model_id`, `tools`, `params` and the reason."""
    said = {
        "goal": goal,
        "candidate_model_ids": list(candidate_model_ids) if candidate_model_ids else None,
        "task_risk_level": task_risk_level,
        "pipeline_id": pipeline_id,
        "constraints": constraints,
    }
    return _post("/api/v1/routing/decide", said, client, "trace_id")


def get_policy(
    goal: str,
    *,
    task_type: str | None = None,
    constraints: Mapping[str, float] | None = None,
    pipeline_id: str | None = None,
    window_hours: float = 168,
    client: AgentLoop | None = None,
) -> Answered | None:
    """The path that is recommended on what is known, without a draw and without a decision on record."""
    said = {
        "goal": goal,
        "task_type": task_type,
        "constraints": constraints,
        "pipeline_id": pipeline_id,
        "window_hours": window_hours,
    }
    return _post("/api/v1/intelligence/policy", said, client, "goal")


def report_outcome(
    trace_id: str,
    goal: str,
    success: bool | None = None,
    *,
    score: float | None = None,
    failure_reason: str | None = None,
    failure_category: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    model_id: str | None = None,
    path_id: str | None = None,
    tool_id: str | None = None,
    execution_params: Mapping[str, Any] | None = None,
    pipeline_id: str | None = None,
    idempotency_key: str | None = None,
    client: AgentLoop | None = None,
) -> Answered | None:
    """How an execution turned out."""
    said = {
        "trace_id": trace_id,
        "goal": goal,
        "success": success,
        "score": score,
        "failure_reason": failure_reason,
        "failure_category": failure_category,
        "metadata": metadata,
        "model_id": model_id,
        "path_id": path_id,
        "tool_id": tool_id,
        "execution_params": execution_params,
        "pipeline_id": pipeline_id,
    }
    return _post("/api/v1/intelligence/report-outcome", said, client, "status", idempotency_key or token_hex(16))


def update_outcome(
    trace_id: str,
    goal: str,
    *,
    success: bool | None = None,
    score: float | None = None,
    failure_reason: str | None = None,
    failure_category: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    idempotency_key: str | None = None,
    client: AgentLoop | None = None,
) -> Answered | None:
    """What became known later about an execution. What is None stays as it is."""
    said = {
        "trace_id": trace_id,
        "goal": goal,
        "success": success,
        "score": score,
        "failure_reason": failure_reason,
        "failure_category": failure_category,
        "metadata": metadata,
    }
    return _post("/api/v1/intelligence/update-outcome", said, client, "status", idempotency_key or token_hex(16))


def register_path(
    goal: str,
    model_id: str,
    *,
    tools: Sequence[str] = (),
    params: Mapping[str, Any] | None = None,
    risk_level: str = "low",
    client: AgentLoop | None = None,
) -> Answered | None:
    """Adds a way to do the task, or finds it again."""
    said = {
        "goal": goal,
        "model_id": model_id,
        "tool_id": tools[0] if tools else None,
        "tools": list(tools) or None,
        "params": params,
        "risk_level": risk_level,
    }
    return _post("/api/v1/routing/paths", said, client, "path_id")


def get_insights(
    goal: str | None = None,
    *,
    window_hours: float = 168,
    pipeline_id: str | None = None,
    client: AgentLoop | None = None,
) -> Answered | None:
    """How the goals fare, as data: status, success rates, failure modes, paths, and what to do about them."""
    asked = {"goal": goal, "window_hours": window_hours, "pipeline_id": pipeline_id}
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    return _ask(Request("GET", f"/api/v1/intelligence/insights?{query}"), client, "goals")


def _post(
    path: str, said: Mapping[str, Any], client: AgentLoop | None, expected: str, idempotency_key: str = ""
) -> Answered | None:
    body = encode({name: value for name, value in said.items() if value is not None})
    headers = {"Idempotency-Key": idempotency_key} if idempotency_key else None
    return _ask(Request("POST", path, body, headers), client, expected)


def _ask(request: Request, client: AgentLoop | None, expected: str) -> Answered | None:
    asked = client or default_client()
    try:
        return asked.ask(request, expected)
    except Exception as error:
        asked.trouble(error)
        return None


__all__ = [
    "FAILURE_CATEGORIES",
    "decide",
    "default_client",
    "get_insights",
    "get_policy",
    "register_path",
    "report_outcome",
    "set_default_client",
    "update_outcome",
]
