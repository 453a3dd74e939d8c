"""What can go wrong, each with a word for programs. Raised where `strict=True` asks for it, else logged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class AgentLoopError(Exception):
    """Something went wrong with AgentLoop, not with the agent."""

    code = "agentloop_error"

    def __init__(
        self,
        sentence: str = "",
        *,
        code: str = "",
        status: int | None = None,
        request_id: str = "",
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        self.sentence = sentence or (self.__doc__ or "").strip()
        self.code = code or self.code
        self.status = status
        self.request_id = request_id
        self.fields = dict(fields or {})
        super().__init__(self.sentence + (f" (request {request_id})" if request_id else ""))


class NotConfigured(AgentLoopError):
    """No API key was given, and AGENTLOOP_API_KEY is not set."""

    code = "no_key"


class NoSigningSecret(AgentLoopError):
    """No signing secret was given, and AGENTLOOP_SIGNING_SECRET is not set: feedback links can't be signed."""

    code = "no_signing_secret"


class BadArgument(AgentLoopError):
    """An argument can't be understood."""

    code = "bad_argument"


class BufferFull(AgentLoopError):
    """There was no room for it, or only by dropping the oldest of what waits."""

    code = "buffer_full"


class Closed(AgentLoopError):
    """The client was closed."""

    code = "closed"


class Unreachable(AgentLoopError):
    """The server can't be reached, or did not answer to the end."""

    code = "unreachable"


class TimedOut(Unreachable):
    """The server did not answer in time."""

    code = "timed_out"


class BadAnswer(AgentLoopError):
    """The answer is none of AgentLoop's: is the base URL right?"""

    code = "bad_answer"


class Refused(AgentLoopError):
    """The server refused the request."""

    code = "refused"


class RateLimited(Refused):
    """Too many requests."""

    code = "rate_limited"


class ServerFailed(AgentLoopError):
    """The server failed."""

    code = "server_error"


__all__ = [
    "AgentLoopError",
    "BadAnswer",
    "BadArgument",
    "BufferFull",
    "Closed",
    "NoSigningSecret",
    "NotConfigured",
    "RateLimited",
    "Refused",
    "ServerFailed",
    "TimedOut",
    "Unreachable",
]
