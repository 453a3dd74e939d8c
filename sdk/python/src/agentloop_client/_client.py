"""The client for code that waits; `log_turn` does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

from agentloop_client import _messages as messages
from agentloop_client import errors
from agentloop_client._courier import Courier
from agentloop_client._encode import encode
from agentloop_client._http import Answer, Http, Request, Transport
from agentloop_client._messages import Annotation, LoggedTurn, Memory, Objects, Speaker, Text
from agentloop_client._outbox import Stats
from agentloop_client._settings import Settings


class AgentLoop(Speaker):
    """Logs turns for review and asks for what the reviews taught.

    Nothing here raises into the agent unless `strict`; `log_turn` returns in microseconds and a thread does the rest.
    One client serves all threads, and goes on in a forked child.
    """

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        signing_secret: str | None = None,
        *,
        timeout: float = 10.0,
        http_client: Transport = None,
        buffer_bytes: int = 16 * 1024 * 1024,
        spool_dir: str = "",
        spool_bytes: int = 256 * 1024 * 1024,
        exit_timeout: float = 5.0,
        strict: bool = False,
    ) -> None:
        super().__init__(
            Settings.read(
                api_key,
                base_url,
                signing_secret,
                timeout=timeout,
                buffer_bytes=buffer_bytes,
                spool_dir=spool_dir,
                spool_bytes=spool_bytes,
                exit_timeout=exit_timeout,
                strict=strict,
            )
        )
        self._http = Http(self.settings, http_client)
        self._courier = Courier(self.settings, self._http, self.warnings)

    # --- turns -------------------------------------------------------------------------------------------------

    def log_turn(
        self,
        question: Text,
        agent_response: Text,
        *,
        user_id: str | None = None,
        session_id: str | None = None,
        signals: Objects = None,
        metadata: Objects = None,
        trace_id: str | None = None,
        goal: str | None = None,
        model: str | None = None,
        path_id: str | None = None,
        pipeline_id: str | None = None,
        tags: Sequence[str] | None = None,
        sample_rate: float | None = None,
        idempotency_key: str | None = None,
        want_feedback_url: bool | None = None,
        wait: bool = False,
    ) -> LoggedTurn | None:
        """Hands a turn over for review and returns at once. With `wait` it stays for the server's receipt.

        Texts, signals and metadata may be callables. Where a receipt can't be had in time, the turn goes on in the
        background and None comes back.
        """
        more = {
            "user_id": user_id,
            "session_id": session_id,
            "trace_id": trace_id,
            "goal": goal,
            "model": model,
            "path_id": path_id,
            "pipeline_id": pipeline_id,
            "tags": tags,
            "sample_rate": sample_rate,
            "want_feedback_url": want_feedback_url,
        }
        try:
            turn = messages.turn_message(question, agent_response, signals, metadata, idempotency_key, more)
            if wait:
                return self._log_and_wait(turn)
            self.post("turns", turn)
        except Exception as error:
            self.trouble(error)
        return None

    def _log_and_wait(self, turn: Mapping[str, Any]) -> LoggedTurn | None:
        answer = self.call(messages.turn_request(turn))
        if answer.is_worth_a_retry and not self.settings.strict:
            # The same idempotency key: if it did arrive, it stays one turn.
            self.post("turns", turn)
        return messages.read_logged(answer)

    def log_turn_if(self, condition: Callable[[], Any] | Any, *turn: Any, **more: Any) -> LoggedTurn | None:
        """`log_turn`, if the condition, a value or a callable, holds. Costs nothing to speak of if it doesn't."""
        if condition is False or not self._holds(condition):
            return None
        return self.log_turn(*turn, **more)

    def sample(self, rate: float, *turn: Any, **more: Any) -> LoggedTurn | None:
        """`log_turn` for one in so many, with the rate on record, so that statistics can be weighted.

        A session (or else a user) is drawn as a whole or not at all.
        """
        if not self._drawn(rate, more):
            return None
        more["signals"] = messages.with_sample_mark(more.get("signals"))
        return self.log_turn(*turn, **{**more, "sample_rate": min(1.0, rate)})

    # --- what reviews taught -----------------------------------------------------------------------------------

    def search(
        self, query: str, *, limit: int = 3, user_id: str | None = None, tags: Sequence[str] | None = None
    ) -> list[Memory]:
        """Corrections that bear on a question, best first; none where the server can't be asked."""
        try:
            return messages.read_memories(self.call(messages.search_request(query, limit, user_id, tags)))
        except Exception as error:
            self.trouble(error)
            return []

    def annotate(
        self,
        question: str,
        agent_response: str,
        correction: str,
        *,
        rating: str = "incorrect",
        root_cause: str | None = None,
        tags: Sequence[str] | None = None,
        reviewer: str | None = None,
        user_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Annotation | None:
        """Judges an answer and says what it should have been. None where the server would not take it."""
        given = {
            "question": question,
            "agent_response": agent_response,
            "correction": correction,
            "rating": rating,
            "root_cause": root_cause,
            "tags": tags,
            "reviewer": reviewer,
            "user_id": user_id,
            "metadata": metadata,
        }
        try:
            return messages.read_annotation(self.call(messages.annotate_request(given, idempotency_key)))
        except Exception as error:
            self.trouble(error)
            return None

    # --- the way to the server, for the routing side as well ----------------------------------------------------

    def post(self, lane: str, message: Mapping[str, Any]) -> bool:
        """Hands a message to the background; whether it is sure of its place."""
        if self._courier.is_closed or not self.settings.api_key:
            self.trouble(errors.Closed() if self._courier.is_closed else errors.NotConfigured())
            return False
        kept = self._courier.put(lane, encode(message))
        if not kept and self.settings.strict:
            raise errors.BufferFull
        return kept

    def call(self, request: Request, timeout: float | None = None) -> Answer:
        """A request that is waited for, with retries while time is left."""
        if not self.settings.api_key:
            raise errors.NotConfigured
        return self._http.call(request, timeout)

    def ask(self, request: Request, expected: str, timeout: float | None = None) -> dict[str, Any]:
        """A request's answer, which has a member of the expected name. Raises whatever went wrong."""
        answer = self.call(request, timeout)
        if answer.error is not None:
            raise answer.error
        if expected not in answer.body:
            raise errors.BadAnswer(status=answer.status)
        return answer.body

    # --- the end -----------------------------------------------------------------------------------------------

    @property
    def stats(self) -> Stats:
        """How much was queued, sent, refused and dropped, and how much waits."""
        return self._courier.stats

    def flush(self, timeout: float | None = None) -> bool:
        """Waits until everything that was handed over has arrived; whether it has."""
        return self._courier.flush(timeout)

    def close(self, timeout: float | None = None) -> bool:
        """Sends what waits and ends. Happens by itself when the process ends."""
        return self._courier.close(timeout)

    def __enter__(self) -> AgentLoop:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"AgentLoop(base_url={self.settings.base_url!r})"
