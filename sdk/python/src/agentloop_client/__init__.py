"""AgentLoop's client: log turns for review, and choose paths by what the reviews said. Never in the agent's way."""

from agentloop_client._async_client import AsyncAgentLoop
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

__version__ = "0.1.0"

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
