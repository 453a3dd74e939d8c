"""AgentLoop's client: log turns for review, and choose paths by what the reviews said. Never in the agent's way."""

from agentloop_client._async_client import AsyncAgentLoop
from agentloop_client._client import AgentLoop
from agentloop_client._messages import Annotation, LoggedTurn, Memory, is_sampled
from agentloop_client._outbox import Stats
from agentloop_client.errors import AgentLoopError

__version__ = "0.1.0"

__all__ = [
    "AgentLoop",
    "AgentLoopError",
    "Annotation",
    "AsyncAgentLoop",
    "LoggedTurn",
    "Memory",
    "Stats",
    "__version__",
    "is_sampled",
]
