"""What is known of goals, for whoever has to act on it: policies, recommendations, insights, snapshots."""

import hashlib
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
from django.db import connection

from agentloop.ids import shown
from agentloop.models import Project
from agentloop.sql import run
from routing.engine import sketch
from routing.engine.categories import FAILURE_CATEGORIES
from routing.engine.choice import IDLE_SHARE, TRIES_KEPT, Constraints, Standing
from routing.engine.histogram import EMPTY, POINTS, Histogram
from routing.engine.insights import GoalReport, PathReport, Window, cross_goal_summary, goal_insight
from routing.engine.recommendation import Aim, recommend
from routing.models import WHOLE_GOAL, Mode
from routing.standings import WINDOW_HOURS, GoalView, PathView, look, look_at_paths, window_start, with_chances

SCHEMA_VERSION = "1.0"
MOST_WINDOW_HOURS = 24 * 366
_PROVIDERS = {
    "gpt": "openai",
    "o1": "openai",
    "o3": "openai",
    "o4": "openai",
    "claude": "anthropic",
    "gemini": "google",
    "mistral": "mistral",
    "command": "cohere",
    "deepseek": "deepseek",
    "llama": "meta",
}


def provider_of(model: str) -> str | None:
    """The provider that a model's name tells: what stands before a slash, or a family's beginning."""
    if "/" in model:
        return model.partition("/")[0]
    return next((provider for start, provider in _PROVIDERS.items() if model.lower().startswith(start)), None)


# --- policy and recommendations -------------------------------------------------------------------------------


def policy(
    project: Project,
    goal_name: str,
    *,
    pipeline: str = "",
    constraints: Constraints,
    window_hours: float = WINDOW_HOURS,
    aim: Aim = Aim.OUTCOME,
) -> dict[str, Any]:
    """The path to recommend, and what it rests on. One query."""
    goal = look(project, goal_name, pipeline=pipeline, window_hours=window_hours)
    wishes = goal.wishes(constraints=constraints)
    contenders = with_chances(goal, wishes, pipeline)
    advised = recommend(contenders, wishes.constraints, aim)
    figures = {one.path_id: one.figures for one in contenders}
    best = next((path for path in goal.paths if path.id.hex == advised.path_id), None)
    ranked = [path for key in advised.ranked for path in goal.paths if path.id.hex == key]
    return {
        "goal": goal_name,
        "recommended_model": best.model if best else None,
        "recommended_provider": provider_of(best.model) if best else None,
        "path_id": best.shown_id if best else None,
        "tool_id": best.tool if best else None,
        "params": dict(best.params) if best else {},
        "outcome_success_rate": _rate(best) if best else None,
        "outcome_sample_count": int(best.contender.figures.samples) if best else 0,
        "confidence": (figures[best.id.hex].probability_best or 0.0) if best else 0.0,
        "risk_score": best.contender.figures.risk_score if best else None,
        "reasoning": advised.reason,
        "blocked_by": advised.blocked_by,
        "alternatives": [_alternative(path, figures) for path in ranked[1:6]],
    }


def _rate(path: PathView) -> float | None:
    return path.successes / path.rated if path.rated > 0 else None


def _alternative(path: PathView, figures: Mapping[str, Any]) -> dict[str, Any]:
    seen = figures[path.id.hex]
    return {
        "model": path.model,
        "model_id": path.model,
        "provider": provider_of(path.model),
        "path_id": path.shown_id,
        "tool_id": path.tool,
        "params": dict(path.params),
        "outcome_success_rate": _rate(path),
        "outcome_sample_count": int(seen.samples),
        "mean_value": seen.mean_value,
        "mean_cost_usd": seen.mean_cost_usd,
        "p95_latency_ms": seen.p95_latency_ms,
        "probability_best": seen.probability_best,
        "risk_score": seen.risk_score,
    }


def recommendation(
    project: Project,
    task_type: str,
    *,
    goal_name: str = "",
    pipeline: str = "",
    optimize_for: str = "balanced",
    constraints: Constraints,
    window_hours: float = WINDOW_HOURS,
) -> dict[str, Any]:
    """The same in the words of `recommend`: a task type without a goal is taken for one."""
    aim = Aim(optimize_for) if optimize_for in set(Aim) else Aim.BALANCED
    goal = goal_name or task_type
    found = policy(project, goal, pipeline=pipeline, constraints=constraints, window_hours=window_hours, aim=aim)
    advised = {
        "model": found["recommended_model"],
        "model_id": found["recommended_model"],
        "provider": found["recommended_provider"],
        "path_id": found["path_id"],
        "tool_id": found["tool_id"],
        "params": found["params"],
        "confidence": found["confidence"],
    }
    return {
        "task_type": task_type,
        "goal": goal,
        "optimize_for": aim.value,
        "recommendation": advised if found["recommended_model"] is not None else None,
        "alternatives": found["alternatives"],
        "stats": {
            "outcome_success_rate": found["outcome_success_rate"],
            "outcome_sample_count": found["outcome_sample_count"],
            "window_hours": window_hours,
        },
        "reasoning": found["reasoning"],
    }


# --- insights -------------------------------------------------------------------------------------------------

_COUNTS = ", ".join(f"sum(counts[{place}])" for place in range(1, len(POINTS) + 1))
_FAILURES = ", ".join(f"sum(failures[{place}])" for place in range(1, len(FAILURE_CATEGORIES) + 1))
_BUCKETS_SQL = f"""
SELECT goal_id, path_id, start >= %(half)s AS is_recent, sum(samples)::bigint, sum(successes), sum(rated),
    ARRAY[{_COUNTS}], ARRAY[{_FAILURES}], sum(cost_usd), sum(costs)::bigint,
    '[' || string_agg(latencies::text, ',') FILTER (WHERE latencies <> '{{{{}}}}' AND path_id <> '{WHOLE_GOAL}') || ']'
FROM routing_pathbucket
WHERE project_id = %(project)s AND goal_id = ANY(%(goals)s) AND pipeline_id = %(pipeline)s AND start >= %(from)s
    {{and_more}}
GROUP BY 1, 2, 3
"""
_EVERY_SQL, _WHOLE_SQL = (_BUCKETS_SQL.format(and_more=more) for more in ("", f"AND path_id = '{WHOLE_GOAL}'"))


@dataclass(slots=True)
class Seen:
    """A path's or a goal's sums over the window. Its later half against its former gives the trend."""

    samples: int = 0
    successes: float = 0.0
    rated: float = 0.0
    recent: Histogram = EMPTY
    earlier: Histogram = EMPTY
    failures: dict[str, float] = field(default_factory=dict)
    cost_usd: float = 0.0
    costs: int = 0
    latencies: list[dict[str, float]] = field(default_factory=list)

    @property
    def window(self) -> Window:
        modes = {name: count for name, count in self.failures.items() if count > 1e-9}
        values = self.recent + self.earlier
        return Window(self.samples, max(0.0, self.successes), max(0.0, self.rated), values, modes)

    @property
    def mean_cost_usd(self) -> float | None:
        return self.cost_usd / self.costs if self.costs else None


def insights(
    project: Project,
    *,
    goal_name: str = "",
    goals: Mapping[UUID, str] | None = None,
    pipeline: str = "",
    window_hours: float = WINDOW_HOURS,
) -> dict[str, Any]:
    """The figures of the goals that are given, or else of all, from the buckets of time.

    Four queries, however many outcomes there are; three where the goals are given.
    """
    window_hours = min(max(1.0, window_hours), MOST_WINDOW_HOURS)
    if goals is None:
        goals = _goals(project, goal_name)
    given = {"project": project.id, "goals": list(goals), "pipeline": pipeline}
    seen = seen_in_window(given, window_hours)
    paths = look_at_paths(project, list(goals), pipeline=pipeline)
    drifts = _drifts(project, window_hours)
    found = [
        goal_insight(report_of(goal, name, pipeline, seen, paths.get(goal, ()), drifts)) for goal, name in goals.items()
    ]
    for path in (path for goal in found for path in goal["paths"]):
        path["last_outcome_at"] = _as_time(path["last_outcome_at"])
    return {
        "schema_version": SCHEMA_VERSION,
        "tenant_id": project.tenant_id,
        "generated_at": datetime.now(UTC).isoformat(),
        "window_hours": window_hours,
        "goals": found,
        "cross_goal_summary": cross_goal_summary(found),
    }


def _as_time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()


def _goals(project: Project, goal_name: str) -> dict[UUID, str]:
    """By name; the connection check's goals and the row of defaults are nobody's business."""
    rows = run(
        """
        SELECT id, name FROM routing_goal WHERE project_id = %s AND (%s = '' OR name = %s)
            AND name <> '*' AND NOT starts_with(name, '__verify__') ORDER BY name
        """,
        [project.id, goal_name, goal_name],
    )
    return dict(rows)


def seen_in_window(
    given: Mapping[str, Any], window_hours: float, *, only_whole: bool = False
) -> dict[tuple[UUID, UUID], Seen]:
    """The sums of each goal, under `WHOLE_GOAL`, and unless `only_whole` of each of its paths. One query."""
    now = time.time()
    halves = {"from": window_start(window_hours, now), "half": window_start(window_hours / 2, now)}
    found: dict[tuple[UUID, UUID], Seen] = {}
    for row in run(_WHOLE_SQL if only_whole else _EVERY_SQL, {**given, **halves}):
        goal, path, is_recent, samples, successes, rated, counts, failures, cost, costs, latencies = row
        seen = found.setdefault((goal, path), Seen())
        values = Histogram(tuple(max(0.0, count) for count in counts))
        if is_recent:
            seen.recent = values
        else:
            seen.earlier = values
        seen.samples += samples
        seen.successes += successes
        seen.rated += rated
        seen.cost_usd += cost
        seen.costs += costs
        for name, count in zip(FAILURE_CATEGORIES, failures, strict=True):
            seen.failures[name] = seen.failures.get(name, 0.0) + (count or 0.0)
        seen.latencies += orjson.loads(latencies) if latencies else []
    return found


def _drifts(project: Project, window_hours: float) -> dict[UUID, dict[str, Any]]:
    """The latest regime that a path's own outcomes opened within the window."""
    rows = run(
        """
        SELECT DISTINCT ON (path_id) path_id, figures::text FROM routing_regime
        WHERE project_id = %s AND cause = 'changed' AND since >= %s ORDER BY path_id, id DESC
        """,
        [project.id, time.time() - window_hours * 3600],
    )
    return {path: orjson.loads(figures) for path, figures in rows}


def report_of(
    goal: UUID,
    name: str,
    pipeline: str,
    seen: Mapping[tuple[UUID, UUID], Seen],
    views: Iterable[PathView],
    drifts: Mapping[UUID, Mapping[str, Any]],
) -> GoalReport:
    whole = seen.get((goal, WHOLE_GOAL), Seen())
    paths = tuple(_path_report(path, seen.get((goal, path.id), Seen()), drifts.get(path.id)) for path in views)
    return GoalReport(name, whole.window, paths, pipeline or None, whole.recent, whole.earlier)


def _path_report(path: PathView, seen: Seen, drift: Mapping[str, Any] | None) -> PathReport:
    return PathReport(
        path_id=path.shown_id,
        model_id=path.model,
        tools=path.tools,
        params=path.params,
        standing=path.contender.standing,
        origin=path.origin,
        window=seen.window,
        recent=seen.recent,
        earlier=seen.earlier,
        current=path.own,
        posterior=path.contender.posterior,
        mean_cost_usd=seen.mean_cost_usd,
        latency=sketch.summed(seen.latencies),
        last_outcome_at=path.latest_at,
        drift=drift,
    )


# --- snapshots ------------------------------------------------------------------------------------------------


def state_snapshot(project: Project, goal_name: str, *, pipeline: str = "") -> dict[str, Any]:
    """All that a client needs to draw for itself. One query. `version` changes with anything that choosing sees."""
    goal = look(project, goal_name, pipeline=pipeline, window_hours=WINDOW_HOURS)
    barred = _barred(goal, pipeline)
    paths = [
        _snapshot_path(path, goal)
        for path in goal.paths
        if path.contender.standing is not Standing.DISABLED and path.id.hex not in barred
    ]
    body = {
        "goal": goal_name,
        "pipeline_id": pipeline or None,
        "mode": goal.mode,
        "pinned_path_id": shown("path", goal.pinned) if goal.pinned else None,
        "config": dict(goal.config),
        "constraints": {name: bound for name, bound in asdict(goal.constraints).items() if bound is not None},
        "idle_share": IDLE_SHARE,
        "tries_kept": TRIES_KEPT,
        "paths": paths,
    }
    return {**body, "version": snapshot_version(body)}


def _barred(goal: GoalView, pipeline: str) -> set[str]:
    """The paths that break what the goal itself asks for: clients that draw need not know how that is told."""
    if not goal.constraints or goal.mode != Mode.APPLY:
        return set()
    contenders = with_chances(goal, goal.wishes(), pipeline)
    return {one.path_id for one in contenders if goal.constraints.broken_by(one.figures)}


def snapshot_version(body: Mapping[str, Any]) -> str:
    return hashlib.blake2b(orjson.dumps(body, option=orjson.OPT_SORT_KEYS), digest_size=12).hexdigest()


def _snapshot_path(path: PathView, goal: GoalView) -> dict[str, Any]:
    one, seen = path.contender, path.contender.figures
    return {
        "path_id": path.shown_id,
        "model_id": path.model,
        "tool_id": path.tool,
        "tools": list(path.tools),
        "params": dict(path.params),
        "status": one.standing.value,
        "risk_level": path.risk_level,
        "posterior": {
            "mean": one.posterior.mean,
            "deviation": one.posterior.deviation,
            "a": one.posterior.a,
            "b": one.posterior.b,
            "counts": [round(count, 9) for count in path.own.counts],
        },
        "figures": {
            "samples": seen.samples,
            "mean_value": seen.mean_value,
            "mean_cost_usd": seen.mean_cost_usd,
            "cost_samples": seen.cost_samples,
            "p95_latency_ms": seen.p95_latency_ms,
            "latency_samples": seen.latency_samples,
            "risk_score": seen.risk_score,
        },
        "sample_count": path.samples,
        "tried_at": one.tried_at,
        "probe_at": one.probe_at,
    }


# --- a trace --------------------------------------------------------------------------------------------------


def trace_report(project: Project, trace: str) -> dict[str, Any] | None:
    """A trace's decisions, outcomes and the whole evidence; None where nothing is known of it. Four queries."""
    outcomes = _rows(
        """
        SELECT goal.name AS goal, outcome.path_id, path.model AS model_id, outcome.pipeline_id, success, score,
            confidence, attribution, failure_category, source, at, cost_usd, latency_ms
        FROM routing_outcome AS outcome JOIN routing_goal AS goal ON goal.id = outcome.goal_id
        LEFT JOIN routing_path AS path ON path.id = outcome.path_id
        WHERE outcome.project_id = %s AND outcome.trace_id = %s ORDER BY at, outcome.id
        """,
        project,
        trace,
    )
    evidence = _rows(
        """
        SELECT key, goal.name AS goal, path_id, source, success, score, confidence, failure_category, attribution,
            reason, raw_evidence, metadata, occurred_at, decided_at, pipeline_id, withdraws, at_random, recorded_at
        FROM routing_ledgerrow AS row JOIN routing_goal AS goal ON goal.id = row.goal_id
        WHERE row.project_id = %s AND trace_id = %s ORDER BY row.occurred_at, row.id
        """,
        project,
        trace,
    )
    decisions = _rows(
        """
        SELECT goal.name AS goal, path_id, would_path_id, pipeline_id, risk, taken.mode, exploration, probability,
            confidence, reason, is_reported, decided_at
        FROM routing_decision AS taken JOIN routing_goal AS goal ON goal.id = taken.goal_id
        WHERE taken.project_id = %s AND trace_id = %s ORDER BY taken.id
        """,
        project,
        trace,
    )
    if not (outcomes or evidence or decisions):
        return None
    return {"trace_id": trace, "decisions": decisions, "outcomes": outcomes, "evidence": evidence}


def _rows(sql: str, project: Project, trace: str) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, [project.id, trace])
        names = [column[0] for column in cursor.description]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    for row in rows:
        for name in ("path_id", "would_path_id"):
            if row.get(name) is not None:
                row[name] = shown("path", row[name])
        for name in ("at", "occurred_at", "decided_at"):
            if isinstance(row.get(name), float) and math.isfinite(row[name]):
                row[name] = datetime.fromtimestamp(row[name], UTC)
        if isinstance(row.get("metadata"), str):
            row["metadata"] = orjson.loads(row["metadata"])
    return rows
