"""Two weeks of believable routing: goals whose paths are chosen, judged, rolled back and recovered by the real engine.

Every choice is the engine's own and all evidence goes through the ledger; only the agents are made up.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from agentloop.actors import SYSTEM
from agentloop.models import Project
from routing import paths as registry
from routing.engine.choice import Choice, chances, choose
from routing.engine.evidence import Source
from routing.events import ingest
from routing.evidence import MAX_BATCH, Observation, record
from routing.models import Decision, PathChange, Regime, goal_id
from routing.standings import GoalView, PathView, look
from routing.watch import explore_goal, watch_goal

DAYS = 14
STEP = timedelta(days=1)
# Each holds a lock until its transaction ends.
SPANS_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class _Way:
    """A path as it truly is, which the engine has to find out."""

    model: str
    # Success rates, each from a day on.
    rates: Mapping[float, float]
    tools: tuple[str, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    latency_ms: float = 1200.0
    tokens: tuple[int, int] = (1800, 350)
    failures: tuple[str, ...] = ("validation_failed", "tool_error", "timeout")

    def rate(self, day: float) -> float:
        return self.rates[max(start for start in self.rates if start <= day)]


@dataclass(frozen=True, slots=True)
class _Task:
    goal: str
    description: str
    a_day: int
    ways: tuple[_Way, ...]
    # How much scores spread around the rate; none: outcomes are successes or failures.
    spread: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    begins: float = 0.0


_CALENDAR = ("calendar_api",)
_TASKS = (
    _Task(
        "book_meeting",
        "Find a slot that suits everyone and send the invitation.",
        110,
        (
            _Way("gpt-4o", {0: 0.84, 10: 0.15}, _CALENDAR, latency_ms=2100, tokens=(2600, 420),
                 failures=("tool_error", "tool_error", "tool_error", "timeout")),
            _Way("claude-sonnet-4-20250514", {0: 0.79}, _CALENDAR, latency_ms=2900, tokens=(2700, 460),
                 failures=("validation_failed", "hallucination_detected", "timeout")),
            _Way("gpt-4o-mini", {0: 0.63}, _CALENDAR, latency_ms=1100, tokens=(2600, 380),
                 failures=("hallucination_detected", "validation_failed")),
            _Way("gemini-2.5-flash", {0: 0.7}, _CALENDAR, latency_ms=1300, tokens=(2500, 400)),
        ),
    ),
    _Task(
        "answer_refund_question",
        "Answer from the refund policy; nothing that the policy does not say.",
        160,
        (
            _Way("claude-sonnet-4-20250514", {0: 0.91, 3: 0.2, 5: 0.93}, ("policy_search",), latency_ms=2400,
                 failures=("provider_error", "timeout", "timeout")),
            _Way("gpt-4.1", {0: 0.83}, ("policy_search",), latency_ms=1900,
                 failures=("hallucination_detected", "hallucination_detected", "validation_failed")),
            _Way("gpt-4.1-mini", {0: 0.72}, ("policy_search",), latency_ms=900),
        ),
    ),
    _Task(
        "extract_invoice",
        "Supplier, dates, lines and totals as JSON.",
        75,
        (
            _Way("gpt-4.1-mini", {0: 0.9}, params={"temperature": 0.0}, latency_ms=1500,
                 failures=("malformed_output",)),
            _Way("gpt-4.1-mini", {0: 0.84}, params={"temperature": 0.4}, latency_ms=1500,
                 failures=("malformed_output", "malformed_output", "validation_failed")),
            _Way("gpt-4.1-mini", {0: 0.69}, params={"temperature": 0.8}, latency_ms=1550,
                 failures=("malformed_output", "malformed_output", "hallucination_detected")),
            _Way("mistral-small-latest", {0: 0.78}, params={"temperature": 0.0}, latency_ms=800,
                 failures=("malformed_output", "empty_response")),
        ),
        spread=0.12,
        settings={"auto_explore": True, "max_untested": 2, "bounds": {"temperature": {"low": 0.0, "high": 1.0}}},
    ),
    _Task(
        "summarize_call",
        "Three sentences and the next step.",
        65,
        (
            _Way("gpt-4o", {0: 0.91}, latency_ms=3200, tokens=(6200, 240), failures=("user_unsatisfied", "timeout")),
            _Way("gpt-4o-mini", {0: 0.905}, latency_ms=1700, tokens=(6200, 230), failures=("user_unsatisfied",)),
        ),
    ),
    _Task(
        "triage_ticket",
        "Queue, urgency and language of a new ticket.",
        50,
        (
            _Way("claude-3-5-haiku-20241022", {0: 0.48, 8: 0.62}, latency_ms=700, tokens=(900, 60)),
            _Way("gpt-4.1-nano", {0: 0.44}, latency_ms=400, tokens=(900, 60)),
        ),
        settings={"mode": "observe"},
    ),
    _Task("translate_listing", "A listing in the guest's language.", 3,
          (_Way("deepseek-chat", {0: 0.85}, latency_ms=2600),), begins=12.9),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Execution:
    """One run of an agent, and how it truly turned out: what a demo may log turns of."""

    goal: str
    trace_id: str
    model: str
    path_id: str
    pipeline_id: str
    at: datetime
    success: bool


def demo_goals(
    project: Project, seed: int = 1, now: datetime | None = None, *, reviewed: bool = True
) -> list[Execution]:
    """Fills a project with several goals over the two weeks before `now`; answers their executions, in order.

    Without reviewers' words where it is not to be `reviewed`: whoever tells of turns and verdicts adds their own.
    In a few seconds, for a project that has none of them yet. One path degrades and is rolled back, one recovers,
    one goal only observes, one has hardly begun.
    """
    now = now or datetime.now(UTC)
    silent = frozenset[Source]() if reviewed else frozenset({Source.REVIEW})
    run = [
        one
        for task in _TASKS
        for one in _live(project, task, Random(f"{seed} {task.goal}"), now, silent)  # noqa: S311 - a story
    ]
    return sorted(run, key=lambda one: one.at)


def _live(project: Project, task: _Task, rng: Random, now: datetime, silent: frozenset[Source]) -> list[Execution]:
    """One goal's two weeks: a day is chosen and reported, then the watch looks at it as if it were then."""
    registry.change_goal(project, task.goal, {"description": task.description, **task.settings})
    for way in task.ways:
        registry.register_path(project, SYSTEM, task.goal, registry.NewPath(way.model, way.tools, way.params))
    done: list[Execution] = []
    begun = now - timedelta(days=DAYS)
    moment = begun + timedelta(days=task.begins)
    while moment < now:
        until = min(now, moment + STEP)
        done += _day(project, task, rng, moment, until, (moment - begun) / timedelta(days=1), silent)
        watch_goal(project, goal_id(project.id, task.goal), lag_s=0.0, now=until.timestamp())
        _date_back(project, task.goal, until)
        moment = until
    if task.settings.get("auto_explore"):
        explore_goal(project, registry.find_goal(project, task.goal))
    for part in _in_parts(done, SPANS_AT_ONCE):
        ingest(project, [_span(one, task, rng) for one in part])
    return done


def _date_back(project: Project, goal: str, at: datetime) -> None:
    """What the watch wrote just now was written then."""
    new = timedelta(minutes=5)
    changes = PathChange.objects.filter(project=project, goal__name=goal, at__gt=datetime.now(UTC) - new)
    changes.update(at=at)
    regimes = Regime.objects.filter(project=project, goal__name=goal, opened_at__gt=datetime.now(UTC) - new)
    regimes.update(opened_at=at)


def _day(
    project: Project,
    task: _Task,
    rng: Random,
    begin: datetime,
    until: datetime,
    day: float,
    silent: frozenset[Source],
) -> list[Execution]:
    goal = look(project, task.goal)
    by_id = {path.id.hex: path for path in goal.paths}
    wishes = goal.wishes()
    contenders = [path.contender for path in goal.paths]
    likely = chances(contenders, wishes, begin.timestamp())
    work = range(_busy(task.a_day, begin, until, rng))
    decisions, said, done = [], [], []
    for at in sorted(begin + (until - begin) * rng.random() for _ in work):
        choice = choose(contenders, wishes, rng, at.timestamp(), likely)
        path = by_id[choice.path_id or goal.paths[0].id.hex]
        taken = path if goal.mode == "apply" else goal.paths[0]
        one = _execution(project, task, taken, rng, at, day)
        decisions.append(_decision(project, goal, one, choice, path, taken))
        said += [row for row in _evidence(one, _way_of(task, taken), task, rng, until) if row.source not in silent]
        done.append(one)
    Decision.objects.bulk_create(decisions, ignore_conflicts=True)
    for rows in _in_parts(said, MAX_BATCH):
        record(project, rows)
    return done


def _busy(a_day: int, begin: datetime, until: datetime, rng: Random) -> int:
    """Fewer at the weekend, and never the same number twice."""
    quiet = 0.6 if begin.weekday() >= 5 else 1.0
    return max(1, round(a_day * ((until - begin) / timedelta(days=1)) * quiet * rng.uniform(0.8, 1.2)))


def _way_of(task: _Task, path: PathView) -> _Way:
    """The path as it truly is; one that auto-explore proposed is like its model's first."""
    same = [way for way in task.ways if way.model == path.model]
    return next((way for way in same if dict(way.params) == dict(path.params)), same[0])


def _execution(project: Project, task: _Task, path: PathView, rng: Random, at: datetime, day: float) -> Execution:
    trace = hashlib.blake2b(f"{project.id} {task.goal} {rng.random()}".encode(), digest_size=16).hexdigest()
    success = rng.random() < _way_of(task, path).rate(day)
    return Execution(task.goal, trace, path.model, path.shown_id, "", at, success)


def _decision(
    project: Project, goal: GoalView, one: Execution, choice: Choice, path: PathView, taken: PathView
) -> Decision:
    applied = goal.mode == "apply"
    return Decision(
        project=project,
        goal_id=goal.id,
        trace_id=one.trace_id,
        path_id=taken.id,
        would_path_id=None if applied else path.id,
        mode=goal.mode,
        exploration=choice.exploration and applied,
        probability=choice.probability if applied else 1.0,
        confidence=choice.confidence,
        reason=choice.reason if applied else f"this goal is in mode {goal.mode}: its pinned or first path",
        decided_at=one.at,
    )


# Who can tell why it failed; the others are just not content.
_KNOWING = (Source.PROVIDER, Source.REVIEW)
# Who else speaks of an execution: how often, how often they are right, and after how many hours.
_VOICES = (
    (Source.INFERRED, 0.16, 0.82, 0.2),
    (Source.USER, 0.07, 0.93, 3.0),
    (Source.ACTION, 0.12, 0.9, 1.0),
)


def _evidence(one: Execution, way: _Way, task: _Task, rng: Random, until: datetime) -> list[Observation]:
    """What the agent reports, what others say later, and what reviewers find, who mostly look where it went wrong."""
    category = rng.choice(way.failures)
    reported = one.success if rng.random() < 0.93 else not one.success
    rows = [_said(one, Source.PROVIDER, reported, category, 0.0, _score(task, way, reported, one, rng))]
    for source, share, right, hours in _VOICES:
        if rng.random() < share:
            word = one.success if rng.random() < right else not one.success
            rows.append(_said(one, source, word, category, rng.uniform(0.1, 1) * hours))
    random_draw = rng.random() < 0.05
    if random_draw or rng.random() < (0.2 if not reported else 0.03):
        verdict = _said(one, Source.REVIEW, one.success, category, rng.uniform(1, 9), 1.0 if one.success else 0.0)
        rows.append(replace(verdict, at_random=random_draw))
    return [row for row in rows if (row.occurred_at or 0) <= until.timestamp()]


def _score(task: _Task, way: _Way, success: bool, one: Execution, rng: Random) -> float | None:
    if task.spread is None:
        return None
    middle = 0.92 if success else 0.35
    return round(min(1.0, max(0.0, rng.gauss(middle, task.spread))), 3)


def _said(
    one: Execution, source: Source, success: bool, category: str, hours: float, score: float | None = None
) -> Observation:
    return Observation(
        one.goal,
        source,
        one.trace_id,
        path_id=one.path_id,
        success=success,
        score=score,
        failure_category=None if success else category if source in _KNOWING else "user_unsatisfied",
        occurred_at=(one.at + timedelta(hours=hours)).timestamp(),
        key=f"demo:{one.trace_id}:{source.value}",
    )


def _span(one: Execution, task: _Task, rng: Random) -> dict[str, Any]:
    way = next(way for way in task.ways if way.model == one.model)
    into, out = way.tokens
    return {
        "span_id": one.trace_id[:16],
        "trace_id": one.trace_id,
        "goal": one.goal,
        "model_id": one.model,
        "input_tokens": round(into * rng.lognormvariate(0, 0.2)),
        "output_tokens": round(out * rng.lognormvariate(0, 0.35)),
        "latency_ms": round(way.latency_ms * rng.lognormvariate(0, 0.4), 1),
        "timestamp": one.at.isoformat(),
    }


def _in_parts(rows: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
