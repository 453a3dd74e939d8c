"""The three levels: what users say plainly, what their next message says, and what they do with an answer."""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Any, Protocol, TypeVar, cast

from agentloop_client._courier import outlive_forks
from agentloop_client.signals import _use as use
from agentloop_client.signals._background import Background
from agentloop_client.signals._classifier import ACCEPT, CONTINUE, REJECT, Reading, classify
from agentloop_client.signals._masking import masked
from agentloop_client.signals._models import Model, ask
from agentloop_client.signals._sessions import SESSION_SECONDS, MemoryStore, Session, Store
from agentloop_client.signals._use import Use

SURE = 0.85
"""From this confidence on no model is asked."""

LEAST = 0.7
"""Below this nothing is sent: an inferred verdict outranks the automatic report of its trace, so a guess would harm."""

MOST_EVIDENCE = 500
SESSION_END = "session_end_inferred"
"""The mark by which the server knows that nobody said this."""

SCORES = {ACCEPT: 1.0, REJECT: 0.0, CONTINUE: 0.5}
TYPES = {ACCEPT: "user_accepted", REJECT: "user_rejected"}
log = logging.getLogger("agentloop")


class Posts(Protocol):
    """A client, sync or async: hands a message to its background and returns at once."""

    def post(self, lane: str, message: Mapping[str, Any]) -> bool: ...


@dataclass(frozen=True)
class Run:
    """An execution that users may say something about."""

    trace_id: str
    goal: str


Method = TypeVar("Method", bound=Callable[..., Any])
_run: ContextVar[Run | None] = ContextVar("agentloop_run", default=None)


def _harmless(instead: Any) -> Callable[[Method], Method]:
    """What goes wrong here is told to the log, unless the client is strict; the agent gets something to go on with."""

    def guarded(method: Method) -> Method:
        @wraps(method)
        def call(self: Signals, *given: Any, **more: Any) -> Any:
            try:
                return method(self, *given, **more)
            except Exception as error:
                if self._is_strict:
                    raise
                log.warning("AgentLoop: %s went wrong: %s.", method.__name__, type(error).__name__)
                return instead

        return cast(Method, call)

    return guarded


class Signals:
    """Tells the server how users took the answers. Returns at once, and raises only if the client is strict.

    `model` is asked about messages that words don't settle: a callable from prompt to text, or a `ChatModel`. It runs
    in a thread and sees masked text. `store` keeps sessions where several processes serve one conversation. With
    `raw_evidence` the message goes along, masked and cut at 500 characters; without it no text leaves the process.
    """

    def __init__(
        self, loop: Posts, *, model: Model | None = None, store: Store | None = None, raw_evidence: bool = False
    ) -> None:
        self._loop, self._model, self._raw_evidence = loop, model, raw_evidence
        self._sessions: Store = store if store is not None else MemoryStore()
        self._answers = MemoryStore()
        self._background = Background()
        self._is_strict = bool(getattr(getattr(loop, "settings", None), "strict", False))
        self._guard = threading.RLock()
        outlive_forks(self)
        classify("")  # Reads the cues now, some 30 ms, so that no message waits for it.

    def after_fork(self) -> None:
        self._guard = threading.RLock()
        self._background.begin()
        for store in (self._sessions, self._answers):
            if isinstance(store, MemoryStore):
                store.after_fork()

    # --- level 1: what users say plainly -----------------------------------------------------------------------

    @_harmless(None)
    def track_run(self, result: Any) -> Run | None:
        """Remembers a run, a router's trace or any mapping or object with `trace_id` and `goal`, for the two below.

        It is remembered for this thread or task. Where the user's word comes in another request, pass the run there.
        """
        run = _run_of(result)
        _run.set(run)
        if run is None:
            log.warning("AgentLoop: a run to track has a trace_id and a goal.")
        return run

    @_harmless(False)
    def user_accepted(self, score: float = 0.85, *, run: Any = None) -> bool:
        """The user is content. A score of a half or less would say the opposite, and is lifted over it."""
        return self._say(run, "user_accepted", "user_explicit", min(1.0, max(0.51, score)))

    @_harmless(False)
    def user_rejected(self, reason: str = "", *, run: Any = None) -> bool:
        """The user is not content. A reason of your own words, if any, goes along."""
        evidence = reason[:MOST_EVIDENCE] if reason and reason != SESSION_END else None
        return self._say(run, "user_rejected", "user_explicit", 0.0, raw_evidence=evidence)

    # --- level 2: what the next message says -------------------------------------------------------------------

    @_harmless("")
    def report_pipeline(
        self,
        session_id: str,
        goal: str,
        prompt: str,
        output: str,
        model: str,
        *,
        trace_id: str | None = None,
        meta_prompt_id: str | None = None,
    ) -> str:
        """An answer was given in a session: what the user does next is about it. Returns the trace id.

        With the trace id of a decision, it is that decision's path that the user's signals count for. Neither the
        prompt nor the output leaves the process; a model, if there is one, sees the output's beginning, masked.
        """
        trace = trace_id or secrets.token_hex(16)
        with self._guard:
            before = self._session(session_id)
            scores = before.scores if before else []
            self._keep(session_id, Session(trace, goal, model, meta_prompt_id, scores=scores, earlier=len(scores)))
            if self._model is not None:
                self._answers.put(session_id, {"output": output[:2000] or prompt[:2000]}, SESSION_SECONDS)
        anchor = {"model": model, "session_id": session_id, "meta_prompt_id": meta_prompt_id}
        self._post(Run(trace, goal), "pipeline_anchor", "pipeline", 0.5, **anchor)
        return trace

    @_harmless(Reading(CONTINUE, 0.0))
    def report_user_turn(self, session_id: str, user_message: str) -> Reading:
        """Reads the user's next message, and sends what it says. What is returned is the heuristic's reading."""
        reading = classify(user_message)
        with self._guard:
            session = self._session(session_id)
        if session is None:
            log.debug("AgentLoop: a message of no known session.")
            return reading
        if self._model is None or reading.confidence >= SURE or session.has_acted:
            self._conclude(session_id, session.trace_id, reading, user_message)
        else:
            self._ask_later(self._model, session_id, session.trace_id, reading, user_message)
        return reading

    def _ask_later(self, model: Model, session_id: str, trace: str, reading: Reading, message: str) -> None:
        """Asks the model in the background. A model that fails or says nothing leaves the heuristic's word.

        What came of it is sent where the agent runs: on its event loop, if it has one.
        """
        loop = _running_loop()

        def work() -> None:
            found = self._asked(model, session_id, message) or reading
            if loop is None or loop.is_closed():
                self._conclude(session_id, trace, found, message)
            else:
                loop.call_soon_threadsafe(self._conclude, session_id, trace, found, message)

        if not self._background.put(work):
            self._conclude(session_id, trace, reading, message)

    def _asked(self, model: Model, session_id: str, message: str) -> Reading | None:
        answer = self._answers.get(session_id) or {}
        try:
            return ask(model, message, answer.get("output", ""))
        except Exception as error:
            log.warning("AgentLoop: the model that reads messages failed: %s.", type(error).__name__)
            return None

    @_harmless(None)
    def _conclude(self, session_id: str, trace: str, reading: Reading, message: str) -> None:
        """Remembers a reading, and sends it if it is a verdict that is sure enough and nothing better is known."""
        with self._guard:
            session = self._session(session_id)
            if session is None or session.trace_id != trace:
                return
            session.saw(SCORES[reading.kind], reading.confidence)
            self._keep(session_id, session)
        if reading.kind == CONTINUE or reading.confidence < LEAST or session.has_acted:
            return
        self._post(
            Run(session.trace_id, session.goal),
            TYPES[reading.kind],
            "user_implicit",
            SCORES[reading.kind],
            confidence=round(reading.confidence, 3),
            dimensions={"read_by": reading.read_by, "is_correction": reading.is_correction},
            raw_evidence=masked(message, MOST_EVIDENCE) if self._raw_evidence else None,
            **_about(session_id, session),
        )

    @_harmless(None)
    def report_session_end(self, session_id: str) -> str | None:
        """The conversation is over: sends what its course says of the latest answer, marked as inferred.

        Returns the momentum: improving, declining or flat; None for a session that nobody knows.
        """
        with self._guard:
            session = self._session(session_id)
            self._sessions.delete(session_id)
            self._answers.delete(session_id)
        if session is None:
            return None
        momentum = session.momentum()
        strength, confidence = session.strength()
        if strength != 0.5 and not session.has_acted:
            self._post(
                Run(session.trace_id, session.goal),
                "session_end",
                "user_implicit",
                round(strength, 3),
                confidence=round(confidence, 3),
                momentum=momentum,
                raw_evidence=SESSION_END,
                **_about(session_id, session),
            )
        return momentum

    # --- level 3: what users do with an answer -----------------------------------------------------------------

    @_harmless(False)
    def report_action(self, session_id: str, action_type: str, edit_diff: str | None = None) -> bool:
        """The user did something with the latest answer, which counts for more than what they say of it.

        `output_used_verbatim`, `output_copied`, `output_edited`, `output_discarded`, or one of `ACTIONS`. A unified
        diff of the edit is weighed here, and stays here.
        """
        strength = use.STRENGTHS.get(action_type)
        if action_type == use.EDITED and edit_diff:
            likeness = use.likeness_in(edit_diff)
            strength = strength if likeness is None else likeness
        return self._acted(session_id, action_type, strength)

    @_harmless(Use(use.EDITED, 0.5))
    def observe_use(self, output: str, final_text: str, *, session_id: str | None = None, run: Any = None) -> Use:
        """Compares an answer with the text that the user kept, and reports the action that this tells.

        Of a session's latest answer; without a session, of the run given or tracked.
        """
        seen = use.use_of(output, final_text)
        if session_id is None:
            self._say(run, seen.action, "downstream", seen.score)
        else:
            self._acted(session_id, seen.action, seen.score)
        return seen

    def _acted(self, session_id: str, action: str, strength: float | None) -> bool:
        with self._guard:
            session = self._session(session_id)
            if session is None:
                log.debug("AgentLoop: an action of no known session.")
                return False
            session.has_acted = True
            self._keep(session_id, session)
        run = Run(session.trace_id, session.goal)
        return self._post(run, action, "downstream", strength, **_about(session_id, session))

    # --- the end -----------------------------------------------------------------------------------------------

    def flush(self, timeout: float = 10.0) -> bool:
        """Waits until the model was asked about everything that waits; whether it was. The client sends on its own."""
        return self._background.flush(timeout)

    # --- sending -----------------------------------------------------------------------------------------------

    def _say(self, given: Any, kind: str, source: str, strength: float, **more: Any) -> bool:
        run = _run_of(given) if given is not None else _run.get()
        if run is None:
            log.warning("AgentLoop: nothing was tracked that a user could have meant.")
            return False
        return self._post(run, kind, source, strength, **more)

    def _post(self, run: Run, kind: str, source: str, strength: float | None, **more: Any) -> bool:
        signal = {
            "trace_id": run.trace_id,
            "goal": run.goal,
            "signal_type": kind,
            "signal_source": source,
            "strength": strength,
            "occurred_at": round(time.time(), 6),
            "idempotency_key": secrets.token_hex(16),
            **more,
        }
        return self._loop.post("signals", {name: value for name, value in signal.items() if value is not None})

    def _session(self, session_id: str) -> Session | None:
        """A store that fails knows no session."""
        try:
            record = self._sessions.get(session_id)
            return Session.read(record) if record else None
        except Exception as error:
            log.warning("AgentLoop: the store of sessions failed: %s.", type(error).__name__)
            return None

    def _keep(self, session_id: str, session: Session) -> None:
        try:
            self._sessions.put(session_id, session.record(), SESSION_SECONDS)
        except Exception as error:
            log.warning("AgentLoop: the store of sessions failed: %s.", type(error).__name__)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _about(session_id: str, session: Session) -> dict[str, Any]:
    return {"session_id": session_id, "model": session.model, "meta_prompt_id": session.meta_prompt_id}


def _run_of(result: Any) -> Run | None:
    known = getattr(result, "choice", result)
    trace, goal = (_part(known, name) for name in ("trace_id", "goal"))
    return Run(str(trace), str(goal)) if trace and goal else None


def _part(known: Any, name: str) -> Any:
    return known.get(name) if isinstance(known, Mapping) else getattr(known, name, None)
