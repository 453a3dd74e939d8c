"""Choosing a path: the engine's choice over a goal as it stands now, and the decision recorded."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any

import orjson
from django.db import transaction

from agentloop.gathering import Gathering
from agentloop.ids import new_id, read, shown
from agentloop.models import Project
from agentloop.parsing import clean_text
from agentloop.sql import run, with_retries
from routing import paths as registry
from routing.engine.choice import Choice, Constraints, Contender, Risk, Standing, choose
from routing.engine.evidence import Source
from routing.evidence import MAKE_SQL, Observation, lock_traces, make_goals, making, own_trace, record
from routing.models import NAME_LIMIT, TRACE_LIMIT, Mode, goal_id
from routing.standings import (
    WINDOW_HOURS,
    GoalView,
    PathView,
    chances_of,
    look,
    look_to_choose,
    with_chances,
    with_new_paths,
)

MAX_CANDIDATES = 100
_rng = Random()  # noqa: S311 - draws from posteriors, no secrets


@dataclass(frozen=True, slots=True)
class Asked:
    """What a decision is asked for."""

    goal: str
    risk: Risk = Risk.MEDIUM
    pipeline: str = ""
    models: tuple[str, ...] | None = None
    constraints: Constraints = field(default_factory=Constraints)
    window_hours: float = WINDOW_HOURS


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision, and the path that was taken; None where no path may be."""

    asked: Asked
    trace_id: str
    choice: Choice
    path: PathView | None
    would: PathView | None = None
    mode: str = Mode.APPLY
    decided_at: float = 0.0

    def as_answer(self) -> dict[str, Any]:
        path, choice = self.path, self.choice
        return {
            "trace_id": self.trace_id,
            "path_id": path.shown_id if path else None,
            "model_id": path.model if path else None,
            "tool_id": path.tool if path else None,
            "tools": list(path.tools) if path else [],
            "params": dict(path.params) if path else {},
            "goal": self.asked.goal,
            "reason": choice.reason,
            "confidence": choice.confidence or 0.0,
            "probability": choice.probability,
            "exploration": choice.exploration,
            "success_rate": path.own.mean if path and path.own.weight > 0 else None,
            "sample_count": path.samples if path else 0,
            "decided_at": datetime.fromtimestamp(self.decided_at, UTC),
            "alternatives_considered": choice.considered,
            "blocked_by": choice.blocked_by,
            "mode": self.mode,
            "would_path_id": self.would.shown_id if self.would else None,
        }


def decide(project: Project, asked: Asked, *, dry_run: bool = False) -> Decided:
    """One decision. Two queries: the goal with its paths, states and figures, and the decision's row (for the one
    exception see `look_to_choose`).

    Candidates that no path of the goal has are registered with it, which a dry run leaves out.
    """
    look_at = look if asked.constraints else look_to_choose
    goal = look_at(project, asked.goal, pipeline=asked.pipeline, window_hours=asked.window_hours)
    if dry_run:
        return _decided(goal, asked)
    new = _new_paths(goal, asked)
    if new:
        goal = with_new_paths(goal, new)
    decided = _decided(goal, asked)
    if decided.path is None:
        return decided
    row = _row_of(goal, decided)
    if new:
        _keep_with_paths(project, goal, new, row)
    else:
        _together.store(project, row)
    return decided


def _new_paths(goal: GoalView, asked: Asked) -> list[dict[str, Any]]:
    """Of each candidate that the goal doesn't know. One of those can always be taken, so there will be a decision."""
    there = {path.model for path in goal.paths}
    return [registry.NewPath(model).row(goal.id) for model in asked.models or () if model not in there]


def _decided(goal: GoalView, asked: Asked) -> Decided:
    now = time.time()
    models = frozenset(asked.models) if asked.models else None
    wishes = goal.wishes(risk=asked.risk, models=models, constraints=asked.constraints)
    contenders = (
        with_chances(goal, wishes, asked.pipeline)
        if wishes.constraints.min_confidence is not None
        else [path.contender for path in goal.paths]
    )
    best = chances_of(goal, wishes, asked.pipeline, contenders) if contenders else {}
    choice = choose(contenders, wishes, _rng, now, best)
    if choice.path_id is None:
        choice = _least_bad(contenders, choice, models) or choice
    taken = next((path for path in goal.paths if path.id.hex == choice.path_id), None)
    if goal.mode == Mode.APPLY:
        return Decided(asked, own_trace(), choice, taken, None, goal.mode, now)
    pinned = _pinned(goal, models)
    stated = Choice(
        pinned.id.hex if pinned else None,
        f"this goal is in mode {goal.mode}: its pinned or first path",
        considered=choice.considered,
        confidence=best[pinned.id.hex].best if pinned and pinned.id.hex in best else None,
        probability=1.0,
    )
    would = taken if goal.mode == Mode.OBSERVE else None
    return Decided(asked, own_trace(), stated, pinned, would, goal.mode, now)


def _least_bad(contenders: Sequence[Contender], choice: Choice, models: frozenset[str] | None) -> Choice | None:
    """Where all that the caller would take is rolled back, the best of it: it has to call something."""
    if choice.blocked_by not in (Standing.ROLLED_BACK, Standing.PROBING, "candidates"):
        return None
    down = [
        one
        for one in contenders
        if one.standing in (Standing.ROLLED_BACK, Standing.PROBING) and (models is None or one.model_id in models)
    ]
    if not down:
        return None
    best = max(down, key=lambda one: one.posterior.mean)
    return Choice(best.path_id, "every candidate is rolled back: the best mean of them", probability=1.0)


def _pinned(goal: GoalView, models: frozenset[str] | None) -> PathView | None:
    fit = [
        path
        for path in goal.paths
        if path.contender.standing is not Standing.DISABLED and (models is None or path.model in models)
    ]
    return next((path for path in fit if path.id == goal.pinned), fit[0] if fit else None)


_COLUMNS = (
    "id uuid, goal_id uuid, trace_id text, path_id uuid, would_path_id uuid, pipeline_id text, risk text, mode text, "
    "exploration boolean, probability float8, confidence float8, reason text, is_reported boolean, "
    "decided_at timestamptz"
)
_NAMES = ", ".join(part.split()[0] for part in _COLUMNS.split(", "))
KEEP_SQL = f"""
INSERT INTO routing_decision (project_id, {_NAMES})
SELECT %s, {_NAMES} FROM json_to_recordset(%s::json) AS given({_COLUMNS})
ORDER BY trace_id ON CONFLICT DO NOTHING
"""
# One decision, as nearly all are: a plain row costs two thirds of one that is read out of JSON.
KEEP_ONE_SQL = f"""
INSERT INTO routing_decision (project_id, {_NAMES})
VALUES (%(project)s, {", ".join(f"%({name})s" for name in _NAMES.split(", "))})
"""
_KEEP_WITH_PATHS_SQL = f"WITH {MAKE_SQL} {KEEP_ONE_SQL}"


def _keep_with_paths(
    project: Project, goal: GoalView, paths: Sequence[Mapping[str, Any]], row: Mapping[str, Any]
) -> None:
    run(_KEEP_WITH_PATHS_SQL, {**making(project, paths, {goal.id: goal.name}), **row})


def _row_of(goal: GoalView, decided: Decided) -> dict[str, Any]:
    assert decided.path is not None
    return {
        "id": new_id(),
        "goal_id": goal.id,
        "trace_id": decided.trace_id,
        "path_id": decided.path.id,
        "would_path_id": decided.would.id if decided.would else None,
        "pipeline_id": decided.asked.pipeline,
        "risk": decided.asked.risk.value,
        "mode": decided.mode,
        "exploration": decided.choice.exploration,
        "probability": decided.choice.probability,
        "confidence": decided.choice.confidence,
        "reason": decided.choice.reason,
        "is_reported": False,
        "decided_at": datetime.fromtimestamp(decided.decided_at, UTC),
    }


def _keep(project: Project, rows: Sequence[dict[str, Any]]) -> list[None]:
    if len(rows) == 1:
        run(KEEP_ONE_SQL, {"project": project.id, **rows[0]}, keep_plan=True)
    else:
        run(KEEP_SQL, [project.id, orjson.dumps(rows).decode()], keep_plan=True)
    return [None] * len(rows)


_together = Gathering(_keep)


@dataclass(frozen=True, slots=True)
class Reported:
    """A decision that a client made for itself, from a snapshot of the state."""

    goal: str
    trace_id: str
    path_id: str
    pipeline: str = ""
    risk: str = "medium"
    exploration: bool = False
    probability: float | None = None
    confidence: float | None = None
    decided_at: float | None = None


def record_decisions(project: Project, reported: Sequence[Reported]) -> list[bool]:
    """Records decisions made elsewhere; answers which could be, in their order. A trace's first decision stands.

    Traces of which something was said before their decision became known get it into their ledger, so that the
    order of arrival doesn't matter. Twice is safe, and makes up for what a crash left out."""
    now = time.time()
    known = registry.known_paths(project, [one.path_id for one in reported])
    fit = [known.get(read("path", one.path_id)) == goal_id(project.id, one.goal[:NAME_LIMIT]) for one in reported]
    rows = [_reported_row(project, one, now) for one, fits in zip(reported, fit, strict=True) if fits]
    if rows:
        with_retries(lambda: _store_reported(project, rows))
    return fit


def _store_reported(project: Project, rows: Sequence[dict[str, Any]]) -> None:
    """One transaction, which whoever says something of these traces waits for, or is waited for by: a report either
    finds its decision or is found by it."""
    with transaction.atomic(savepoint=False):
        lock_traces(project, [row["trace_id"] for row in rows])
        run(KEEP_SQL, [project.id, orjson.dumps(rows).decode()])
        record(project, _anchors(project, rows))


def _anchors(project: Project, rows: Sequence[Mapping[str, Any]]) -> list[Observation]:
    """What tells the ledger of the decisions that stand for these traces, where something was said before them."""
    standing = run(
        """
        SELECT goal.name, taken.goal_id, trace_id, path_id, taken.pipeline_id, extract(epoch FROM decided_at)::float8
        FROM routing_decision AS taken JOIN routing_goal AS goal ON goal.id = taken.goal_id
        WHERE taken.project_id = %s AND trace_id = ANY(%s) AND taken.goal_id = ANY(%s) AND EXISTS (
            SELECT FROM routing_ledgerrow AS row
            WHERE row.project_id = taken.project_id AND row.trace_id = taken.trace_id AND row.goal_id = taken.goal_id
                AND row.decided_at IS NULL)
        """,
        [project.id, [row["trace_id"] for row in rows], [row["goal_id"] for row in rows]],
    )
    return [
        Observation(
            goal,
            Source.PROVIDER,
            trace,
            path_id=shown("path", path),
            pipeline_id=pipeline,
            occurred_at=at,
            key=f"decision:{key.hex}:{trace}",
        )
        for goal, key, trace, path, pipeline, at in standing
    ]


def _reported_row(project: Project, one: Reported, now: float) -> dict[str, Any]:
    at = one.decided_at if one.decided_at is not None and one.decided_at <= now else now
    return {
        "id": new_id(),
        "goal_id": goal_id(project.id, one.goal[:NAME_LIMIT]),
        "trace_id": clean_text(one.trace_id)[:TRACE_LIMIT],
        "path_id": read("path", one.path_id),
        "pipeline_id": one.pipeline[:NAME_LIMIT],
        "risk": one.risk[:10],
        "mode": Mode.APPLY.value,
        "exploration": one.exploration,
        "probability": one.probability,
        "confidence": one.confidence,
        "reason": "decided by the client",
        "is_reported": True,
        "decided_at": datetime.fromtimestamp(at, UTC),
    }


def ensure_goal(project: Project, name: str) -> None:
    make_goals(project, {goal_id(project.id, name): name})


def constraints_of(given: Mapping[str, Any]) -> Constraints:
    """From `max_cost_usd` or `maxCostUsd` and the like; what is no number is no constraint."""
    names = {
        "max_cost_usd": "maxCostUsd",
        "max_latency_ms": "maxLatencyMs",
        "min_quality": "minQuality",
        "min_confidence": "minConfidence",
        "max_risk": "maxRisk",
    }
    found = {}
    for name, camel in names.items():
        value = given.get(name, given.get(camel))
        if isinstance(value, int | float) and not isinstance(value, bool):
            found[name] = float(value)
    return Constraints(**found)
