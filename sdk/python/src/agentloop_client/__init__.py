"""AgentLoop's client: log turns for review, and choose paths by what the reviews said. Never in the agent's way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentloop_client._choice import Path
from agentloop_client._client import AgentLoop
from agentloop_client._messages import Annotation, LoggedTurn, Memory, is_sampled
from agentloop_client._outbox import Stats
from agentloop_client.errors import AgentLoopError
from agentloop_client.router import Choice, Router, Trace
from agentloop_client.routing import (
    FAILURE_CATEGORIES,
    decide,
    get_insights,
    get_policy,
    register_path,
    report_outcome,
    set_default_client,
    update_outcome,
)

if TYPE_CHECKING:
    from agentloop_client._async_client import AsyncAgentLoop

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`AsyncAgentLoop` is loaded by whoever asks for it: asyncio is a third of the time that importing us takes."""
    if name == "AsyncAgentLoop":
        from agentloop_client._async_client import AsyncAgentLoop

        return AsyncAgentLoop
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "FAILURE_CATEGORIES",
    "AgentLoop",
    "AgentLoopError",
    "Annotation",
    "AsyncAgentLoop",
    "Choice",
    "LoggedTurn",
    "Memory",
    "Path",
    "Router",
    "Stats",
    "Trace",
    "__version__",
    "decide",
    "get_insights",
    "get_policy",
    "is_sampled",
    "register_path",
    "report_outcome",
    "set_default_client",
    "update_outcome",
]
