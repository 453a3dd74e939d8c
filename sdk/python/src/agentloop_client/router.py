"""Choosing a path for each execution, and telling how it turned out."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from secrets import token_hex
from types import TracebackType
from typing import Any, TypeVar, Union

from agentloop_client import errors, usage
from agentloop_client._choice import CONSTRAINTS, Drawn, Path, Terms
from agentloop_client._client import AgentLoop
from agentloop_client._encode import encode
from agentloop_client._goals import Background, Goal
from agentloop_client._http import Request
from agentloop_client.failures import FAILURE_CATEGORIES, category_of, reason_of
from agentloop_client.routing import default_client

Given = Union[str, Mapping[str, Any], Path]
Result = TypeVar("Result")
_background = Background()


@dataclass(frozen=True)
class Choice:
    """Which path this execution takes, and why."""

    path: Path
    trace_id: str
    goal: str
    reason: str
    exploration: bool = False
    probability: float | None = None
    """The probability with which it was chosen; None while that was not yet worked out."""
    confidence: float | None = None
    """The probability that it is the best."""

    @property
    def model(self) -> str:
        return self.path.model


class Router:
    """One task with one criterion of success, and the ways to do it.

    `choose` costs microseconds: it draws from a snapshot that is refreshed in the background, works while the server
    is away, and takes the first path while nothing was ever known. `mode="remote"` asks the server each time.
    """

    def __init__(
        self,
        goal: str,
        paths: Sequence[Given],
        *,
        constraints: Mapping[str, float] | None = None,
        success_when: Callable[[Any], bool] | None = None,
        score_when: Callable[[Any], float] | None = None,
        complete: Callable[..., Any] | None = None,
        risk: str = "medium",
        pipeline_id: str = "",
        mode: str = "local",
        refresh_seconds: float = 10.0,
        client: AgentLoop | None = None,
    ) -> None:
        self.goal, self.pipeline_id, self.risk, self.mode = goal, pipeline_id, risk, mode
        self.paths = [read_path(path) for path in paths]
        self.success_when, self.score_when, self._complete = success_when, score_when, complete
        self.client = client or default_client()
        self._constraints = read_constraints(constraints)
        _check(bool(goal and self.paths), "A router takes a goal and at least one path.")
        _check(mode in ("local", "remote"), "mode is local or remote.")
        _check(risk in ("low", "medium", "high"), "risk is low, medium or high.")
        terms = Terms(frozenset(path.model for path in self.paths), self._constraints, risk)
        self._goal = Goal(self.client, _background, goal, pipeline_id, terms, self.paths, refresh_seconds)
        self._current: ContextVar[Trace | None] = ContextVar(f"agentloop-trace-{goal}", default=None)

    # --- choosing ----------------------------------------------------------------------------------------------

    def choose(self) -> Choice:
        """A path for one execution, with a trace id of its own. `report` speaks of it until the next choice."""
        return self.start_trace().choice

    def start_trace(self) -> Trace:
        """A choice as something that can be reported on later, from anywhere."""
        trace = Trace(self, self._asked() if self.mode == "remote" else self._drawn())
        self._current.set(trace)
        return trace

    @contextmanager
    def trace(self) -> Iterator[Trace]:
        """`with router.trace() as t`: an exception that leaves the block is reported as a failure of its kind."""
        with self.start_trace() as trace:
            yield trace

    def ready(self, timeout: float = 5.0) -> bool:
        """Waits for the first snapshot. Nothing needs it: choosing works before."""
        return self._goal.wait(timeout)

    def _drawn(self) -> Choice:
        drawn, probability, confidence = self._goal.draw()
        trace_id = token_hex(16)
        if drawn is None:
            return self._choice(trace_id, Drawn(self.paths[0], "nothing is known yet: the first path"), None, None)
        choice = self._choice(trace_id, drawn, probability, confidence)
        if choice.path.path_id:
            self._tell_decision(choice)
        return choice

    def _choice(self, trace_id: str, drawn: Drawn, probability: float | None, confidence: float | None) -> Choice:
        path = drawn.path or self.paths[0]
        reason = drawn.reason if drawn.path else f"{drawn.reason}: the first path"
        return Choice(path, trace_id, self.goal, reason, drawn.exploration, probability, confidence)

    def _tell_decision(self, choice: Choice) -> None:
        said = {
            "goal": self.goal,
            "trace_id": choice.trace_id,
            "path_id": choice.path.path_id,
            "task_risk_level": self.risk,
            "exploration": choice.exploration,
            "probability": choice.probability,
            "confidence": choice.confidence,
            "decided_at": round(time.time(), 3),
        }
        if self.pipeline_id:
            said["pipeline_id"] = self.pipeline_id
        self.post("decisions", said)

    def _asked(self) -> Choice:
        said = {
            "goal": self.goal,
            "task_risk_level": self.risk,
            "candidate_model_ids": list(dict.fromkeys(path.model for path in self.paths)),
            "constraints": dict(self._constraints),
            "pipeline_id": self.pipeline_id,
        }
        body = encode({name: value for name, value in said.items() if value})
        try:
            return self._decided(self.client.ask(Request("POST", "/api/v1/routing/decide", body), "trace_id"))
        except Exception as error:
            self.client.trouble(error)
            return self._choice(token_hex(16), Drawn(self.paths[0], "the server can't be asked"), None, None)

    def _decided(self, body: Mapping[str, Any]) -> Choice:
        reason, trace_id = str(body.get("reason") or ""), str(body["trace_id"])
        if body.get("path_id") is None:
            return self._choice(trace_id, Drawn(None, reason), None, None)
        path = Path(
            str(body["model_id"]), tuple(body.get("tools") or ()), dict(body.get("params") or {}), body["path_id"]
        )
        drawn = Drawn(path, reason, body.get("exploration") is True)
        return self._choice(trace_id, drawn, body.get("probability"), body.get("confidence"))

    # --- doing -------------------------------------------------------------------------------------------------

    def completion(self, messages: Any, **params: Any) -> Any:
        """Chooses a path and calls its provider, directly; reports cost, time and how it turned out.

        The provider's own answer comes back (to be awaited, if it is a coroutine's), and its own exception comes
        through: nothing is tried again.
        """
        return self.start_trace().completion(messages, **params)

    def execute(self, work: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
        """Chooses a path and does the work with it: `work(path, ...)`, which may be a coroutine function."""
        if inspect.iscoroutinefunction(work):
            return self._execute_async(work, *args, **kwargs)  # type: ignore[return-value]
        with self.start_trace() as trace:
            result = work(trace.path, *args, **kwargs)
            trace.judge(result)
            return result

    async def _execute_async(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with self.start_trace() as trace:
            result = await work(trace.path, *args, **kwargs)
            trace.judge(result)
            return result

    def routed(self, work: Callable[..., Result]) -> Callable[..., Result]:
        """A decorator: each call of the function gets the chosen path as its first argument."""
        if inspect.iscoroutinefunction(work):

            @functools.wraps(work)
            async def awaited(*args: Any, **kwargs: Any) -> Any:
                return await self._execute_async(work, *args, **kwargs)

            return awaited  # type: ignore[return-value]

        @functools.wraps(work)
        def called(*args: Any, **kwargs: Any) -> Result:
            return self.execute(work, *args, **kwargs)

        return called

    # --- telling -----------------------------------------------------------------------------------------------

    @property
    def current(self) -> Trace | None:
        """The latest trace of this thread or task."""
        return self._current.get()

    def report(self, success: bool | None = None, score: float | None = None, **more: Any) -> None:
        """How the latest execution of this thread or task turned out. See `Trace.report`."""
        self._latest().report(success, score, **more)

    def update_outcome(self, success: bool | None = None, score: float | None = None, **more: Any) -> None:
        """A later word about the latest execution. See `Trace.update_outcome`."""
        self._latest().update_outcome(success, score, **more)

    def _latest(self) -> Trace:
        trace = self._current.get()
        if trace is None:
            self.client.trouble(errors.BadArgument("There is nothing to report on: choose a path first."))
            return Trace(self, self._choice("", Drawn(None, ""), None, None))
        return trace

    def post(self, lane: str, said: Mapping[str, Any]) -> None:
        try:
            self.client.post(lane, said)
        except errors.AgentLoopError as error:
            self.client.trouble(error)

    def provider(self) -> Callable[..., Any]:
        """What calls the provider: the callable that was given, or else the multi-provider library, if it is there."""
        if self._complete is not None:
            return self._complete
        try:
            from litellm import completion  # type: ignore[import-not-found,unused-ignore]
        except ImportError:
            raise errors.BadArgument(
                "completion() has nothing to call: give Router complete=..., or pip install agentloop-client[litellm]."
            ) from None
        # A failure is told and comes through: the library's own retries would hide it.
        return functools.partial(completion, num_retries=0, max_retries=0)


class Trace:
    """One execution. As a context manager it reports the exception that leaves it, and the time it took."""

    def __init__(self, router: Router, choice: Choice) -> None:
        self._router, self.choice = router, choice
        self._began = time.perf_counter()
        self._is_told = self._is_measured = False

    @property
    def trace_id(self) -> str:
        return self.choice.trace_id

    @property
    def path(self) -> Path:
        return self.choice.path

    def completion(self, messages: Any, **params: Any) -> Any:
        """Calls the path's provider and tells what it cost and whether it served."""
        provider = self._router.provider()
        began = time.perf_counter()
        try:
            response = provider(model=self.path.model, messages=messages, **{**self.path.params, **params})
        except Exception as error:
            self._fail(error, began)
            raise
        return self._awaited(response, began) if inspect.isawaitable(response) else self._completed(response, began)

    async def _awaited(self, coming: Awaitable[Any], began: float) -> Any:
        try:
            response = await coming
        except Exception as error:
            self._fail(error, began)
            raise
        return self._completed(response, began)

    def _completed(self, response: Any, began: float) -> Any:
        self.measure(began=began, response=response, cost_usd=usage.cost_of(response))
        self.judge(usage.text_of_answer(response) or response)
        return response

    def report(
        self,
        success: bool | None = None,
        score: float | None = None,
        *,
        reason: str | None = None,
        failure_category: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """How it turned out. Goes with the next batch; a later report replaces an earlier one."""
        if failure_category is not None and failure_category not in FAILURE_CATEGORIES:
            sentence = f"failure_category is one of {', '.join(FAILURE_CATEGORIES)}."
            self._router.client.trouble(errors.BadArgument(sentence))
            failure_category = None
        self._is_told = True
        path = self.path
        said = {
            "trace_id": self.trace_id,
            "goal": self.choice.goal,
            "success": success if success is not None or score is None else score >= 0.5,
            "score": score,
            "failure_reason": reason,
            "failure_category": failure_category,
            "metadata": metadata,
            "model_id": path.model,
            "path_id": path.path_id,
            "tool_id": path.tool,
            "execution_params": path.params,
            "pipeline_id": self._router.pipeline_id,
            "occurred_at": round(time.time(), 3),
            "idempotency_key": token_hex(16),
        }
        self._router.post("outcomes", {name: one for name, one in said.items() if one not in (None, "", {})})

    def update_outcome(
        self,
        success: bool | None = None,
        score: float | None = None,
        *,
        reason: str | None = None,
        failure_category: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """What became known later; it outweighs the report. What is None stays as it is."""
        said = {
            "trace_id": self.trace_id,
            "goal": self.choice.goal,
            "success": success,
            "score": score,
            "failure_reason": reason,
            "failure_category": failure_category,
            "metadata": metadata,
            "idempotency_key": token_hex(16),
        }
        self._router.post("updates", {name: one for name, one in said.items() if one is not None})

    def judge(self, result: Any) -> None:
        """Reports what `success_when` and `score_when` say of a result; nothing, where neither was given."""
        router = self._router
        if self._is_told or (router.success_when is None and router.score_when is None):
            return
        try:
            success = bool(router.success_when(result)) if router.success_when else None
            score = min(1.0, max(0.0, float(router.score_when(result)))) if router.score_when else None
        except Exception as error:
            broken = errors.BadArgument(f"success_when or score_when broke: {type(error).__name__}.")
            router.client.trouble(broken, error)
            return
        self.report(success, score, failure_category="validation_failed" if success is False else None)

    def measure(
        self,
        *,
        began: float | None = None,
        response: Any = None,
        error: BaseException | None = None,
        cost_usd: float | None = None,
        latency_ms: float | None = None,
    ) -> None:
        """What the execution cost and how long it took. Nothing that was said goes along."""
        self._is_measured = True
        tokens_in, tokens_out = usage.tokens_of(response)
        passed = (time.perf_counter() - (self._began if began is None else began)) * 1000
        said = {
            "trace_id": self.trace_id,
            "span_id": token_hex(8),
            "goal": self.choice.goal,
            "model_id": self.path.model,
            "operation": "completion",
            "input_tokens": tokens_in,
            "output_tokens": tokens_out,
            "cost_usd": cost_usd,
            "latency_ms": round(passed if latency_ms is None else latency_ms, 3),
            "status": "error" if error else "ok",
            "error_type": type(error).__name__ if error else None,
            "timestamp": round(time.time(), 3),
        }
        self._router.post("events", {name: one for name, one in said.items() if one is not None})

    def _fail(self, error: BaseException, began: float | None = None) -> None:
        if not self._is_measured:
            self.measure(began=began, error=error)
        if not self._is_told:
            self.report(False, reason=reason_of(error), failure_category=category_of(error))

    def __enter__(self) -> Trace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A cancelled or interrupted execution says nothing about the path.
        if isinstance(error, Exception):
            self._fail(error)
        elif error is None and not self._is_measured:
            self.measure()


def read_path(given: Given) -> Path:
    """A model's name, or an object with a model, and perhaps tools and params."""
    if isinstance(given, Path):
        return given
    if isinstance(given, str):
        return Path(given)
    _check(
        isinstance(given, Mapping), "A path is a model's name or an object with `model`, and perhaps tools and params."
    )
    model = given.get("model") or given.get("model_id")
    _check(isinstance(model, str) and bool(model), "A path names its `model`.")
    tools = given.get("tools") or given.get("tool_id") or given.get("tool") or ()
    return Path(str(model), (tools,) if isinstance(tools, str) else tuple(tools), dict(given.get("params") or {}))


def read_constraints(given: Mapping[str, float] | None) -> dict[str, float]:
    constraints = dict(given or {})
    unknown = sorted(set(constraints) - set(CONSTRAINTS))
    _check(not unknown, f"Unknown constraints: {', '.join(unknown)}. They are {', '.join(CONSTRAINTS)}.")
    return constraints


def _check(holds: bool, sentence: str) -> None:
    """A router that is put together wrongly is told at once: that is before any agent runs."""
    if not holds:
        raise errors.BadArgument(sentence)
