"""Everything that is kept of the ledger, made anew from it: to repair, and to prove that there is nothing to repair."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any
from uuid import UUID

import orjson
from django.db import connection, transaction

from agentloop.models import Project
from agentloop.sql import run
from routing.engine.categories import FAILURE_CATEGORIES
from routing.engine.executions import executions
from routing.engine.histogram import POINTS
from routing.models import LedgerAlarm, Path
from routing.outcomes import (
    BUCKETS_SQL,
    OUTCOME_COLUMNS,
    UNKNOWN_COSTS,
    WORD,
    Calls,
    Costs,
    counted,
    ladder_of,
    outcome_row,
    said_of,
    write_states,
)
from routing.sums import Sums, Terms, outcome_of

BATCH = 2000
OutcomeKey = tuple[UUID, str, UUID | None]
HOURS_OF_A_DAY = 24


@dataclass(slots=True)
class Whole:
    """What the ledger amounts to."""

    outcomes: dict[OutcomeKey, dict[str, Any]] = field(default_factory=dict)
    sums: Sums = field(default_factory=Sums)


def reckoned(project: Project, traces: list[str] | None = None) -> Whole:
    """All outcomes, states and buckets of a project or of some traces, from the ledger and the spans alone; and where
    retention has ended the spans, from what is kept of their cost and time."""
    whole, ladder = Whole(), ladder_of(project)
    paths = {path.id: path for path in Path.objects.filter(project=project)}
    terms = {key: _terms(path) for key, path in paths.items()}
    calls, kept = _calls(project, traces), _kept_costs(project, traces)
    for (trace, goal), rows in groupby(_ledger(project, traces), key=lambda row: (row["trace_id"], row["goal_id"])):
        found = executions(map(said_of, rows), ladder)
        models = {paths[path].model for path in found if path}
        for path, one in found.items():
            costs = kept.get((goal, trace, path), UNKNOWN_COSTS)
            now = counted(one, calls.spent(trace, paths[path].model, models, costs) if path else costs)
            whole.outcomes[(goal, trace, path)] = outcome_row(goal, trace, path, now)
            whole.sums.correct(goal, path, terms[path] if path else Terms(), None, now)
    return whole


def _terms(path: Path) -> Terms:
    return Terms(path.terms, path.since, path.half_life_s, path.landmark, path.forgets_before)


def _ledger(project: Project, traces: list[str] | None) -> Iterator[dict[str, Any]]:
    sql = f"""
        SELECT {WORD} FROM routing_ledgerrow
        WHERE project_id = %s AND (%s::text[] IS NULL OR trace_id = ANY(%s::text[]))
        ORDER BY trace_id, goal_id
    """
    return _rows(sql, WORD, [project.id, traces, traces])


def _rows(sql: str, columns: str, params: list[Any]) -> Iterator[dict[str, Any]]:
    """Rows by name, some at a time: they stay with the server until they are asked for."""
    names = columns.split(", ")
    with connection.chunked_cursor() as cursor:
        cursor.execute(sql, params)
        while rows := cursor.fetchmany(BATCH):
            for row in rows:
                yield dict(zip(names, row, strict=True))


def _kept_costs(project: Project, traces: list[str] | None) -> dict[OutcomeKey, Costs]:
    rows = run(
        """
        SELECT goal_id, trace_id, path_id, cost_usd, latency_ms FROM routing_outcome
        WHERE project_id = %s AND (%s::text[] IS NULL OR trace_id = ANY(%s::text[]))
            AND (cost_usd IS NOT NULL OR latency_ms IS NOT NULL)
        """,
        [project.id, traces, traces],
    )
    return {(goal, trace, path): (cost, latency) for goal, trace, path, cost, latency in rows}


def _calls(project: Project, traces: list[str] | None) -> Calls:
    rows = run(
        "SELECT trace_id, model, cost_usd, latency_ms FROM routing_eventspan WHERE project_id = %s AND model <> '' "
        "AND (%s::text[] IS NULL OR trace_id = ANY(%s::text[]))",
        [project.id, traces, traces],
    )
    return Calls((trace, model, cost, latency) for trace, model, cost, latency in rows)


def differences(project: Project) -> list[str]:
    """What differs between the ledger and what is kept of it, in words; empty when nothing does."""
    with _one_snapshot():
        whole = reckoned(project)
        return [
            *_outcome_differences(project, None, whole),
            *_state_differences(project, None, whole.sums),
            *_bucket_differences(project, None, whole.sums),
        ]


def trace_differences(project: Project, traces: list[str]) -> list[str]:
    """What differs between what was said of some traces and their outcomes."""
    with _one_snapshot():
        return list(_outcome_differences(project, traces, reckoned(project, traces)))


def path_differences(project: Project, path_id: UUID) -> list[str]:
    """What differs between a path's outcomes, which may be many, and its states and buckets."""
    columns = f"SELECT {OUTCOME_COLUMNS} FROM routing_outcome WHERE project_id = %s AND goal_id = %s AND path_id = %s"
    sums = Sums()
    with _one_snapshot():
        path = Path.objects.of(project).get(id=path_id)
        for row in _rows(columns, OUTCOME_COLUMNS, [project.id, path.goal_id, path.id]):
            sums.correct(path.goal_id, path.id, _terms(path), None, outcome_of(row))
        return [*_state_differences(project, path.id, sums), *_bucket_differences(project, path.id, sums)]


def count_differences(project: Project, path: UUID) -> list[str]:
    """The states of a path that count more or fewer outcomes than its buckets do; no outcome is read."""
    rows = run(
        """
        SELECT pipeline_id FROM routing_pathstate AS state
        WHERE project_id = %s AND path_id = %s AND samples <> (
            SELECT coalesce(sum(bucket.samples), 0) FROM routing_pathbucket AS bucket
            WHERE bucket.project_id = state.project_id AND bucket.goal_id = state.goal_id
                AND bucket.pipeline_id = state.pipeline_id AND bucket.path_id = state.path_id
        ) ORDER BY pipeline_id
        """,
        [project.id, path],
    )
    return [_state_named(path, pipeline) for (pipeline,) in rows]


@contextmanager
def _one_snapshot() -> Iterator[None]:
    """All is read as it stood at one moment while writers go on, unless a transaction is open already."""
    with transaction.atomic():
        if len(connection.savepoint_ids) == 0:
            run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", [])
        yield


def _outcome_differences(project: Project, traces: list[str] | None, whole: Whole) -> Iterator[str]:
    names = OUTCOME_COLUMNS.split(", ")
    rows = run(
        f"""
        SELECT {OUTCOME_COLUMNS} FROM routing_outcome
        WHERE project_id = %s AND (%s::text[] IS NULL OR trace_id = ANY(%s::text[]))
        """,
        [project.id, traces, traces],
    )
    kept = {}
    for row in rows:
        named = dict(zip(names, row, strict=True))
        named.pop("id")
        kept[(named["goal_id"], named["trace_id"], named["path_id"])] = named
    for key in sorted(kept.keys() | whole.outcomes.keys(), key=str):
        if not close(kept.get(key), whole.outcomes.get(key)):
            yield f"outcome of trace {key[1]}"


def _state_differences(project: Project, path: UUID | None, sums: Sums) -> Iterator[str]:
    names = ("samples", "own", "earlier", "own_decayed", "earlier_decayed", "tries")
    rows = run(
        f"""
        SELECT goal_id, path_id, pipeline_id, {", ".join(names)} FROM routing_pathstate
        WHERE project_id = %s AND (%s::uuid IS NULL OR path_id = %s)
        """,
        [project.id, path, path],
    )
    kept = {tuple(row[:3]): dict(zip(names, row[3:], strict=True)) for row in rows}
    due = {
        (row["goal_id"], row["path_id"], row["pipeline_id"]): {name: row[name] for name in names}
        for row in sums.state_rows()
    }
    for key in sorted(kept.keys() | due.keys(), key=str):
        if not close(_something(kept.get(key)), _something(due.get(key))):
            yield _state_named(key[1], key[2])


def _state_named(path: UUID, pipeline: str) -> str:
    return f"state of path {path.hex} in pipeline {pipeline!r}"


def _something(state: dict[str, Any] | None) -> dict[str, Any] | None:
    """A state that was corrected back to nothing is as good as none."""
    if state is None or not state["samples"]:
        return None
    return {**state, **{name: state[name] or [0.0] * 11 for name in ("own_decayed", "earlier_decayed")}}


def _bucket_differences(project: Project, path: UUID | None, sums: Sums) -> Iterator[str]:
    """By day, for hours may have been merged."""
    rows = run(
        """
        SELECT goal_id, path_id, pipeline_id, start, samples, successes, rated, counts, failures, cost_usd, costs
        FROM routing_pathbucket WHERE project_id = %s AND (%s::uuid IS NULL OR path_id = %s)
        """,
        [project.id, path, path],
    )
    names = ("samples", "successes", "rated", "counts", "failures", "cost_usd", "costs")
    due = [
        (row["goal_id"], row["path_id"], row["pipeline_id"], row["start"], *(row[name] for name in names))
        for row in sums.bucket_rows()
        if path in (None, row["path_id"])
    ]
    kept_days, due_days = _by_day(rows), _by_day(due)
    # Of one length with every day's figures: five single ones, the points and the categories.
    nothing = [0.0] * (5 + len(POINTS) + len(FAILURE_CATEGORIES))
    for key in sorted(kept_days.keys() | due_days.keys(), key=str):
        if not close(kept_days.get(key, nothing), due_days.get(key, nothing)):
            yield f"bucket of {key[1].hex} in pipeline {key[2]!r} on day {key[3]}"


def _by_day(rows: Any) -> dict[tuple[Any, ...], list[float]]:
    days: dict[tuple[Any, ...], list[float]] = {}
    for goal, path, pipeline, start, *figures in rows:
        flat = [float(part) for figure in figures for part in (figure if isinstance(figure, list) else [figure])]
        key = (goal, path, pipeline, start // HOURS_OF_A_DAY)
        days[key] = [one + other for one, other in zip(days.get(key, [0.0] * len(flat)), flat, strict=True)]
    return days


def close(one: Any, other: Any) -> bool:
    """Equal, sums to 1e-9 of their size."""
    if isinstance(one, float | int) and isinstance(other, float | int):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(close(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(close, one, other))
    return bool(one == other)


def rebuild(project: Project) -> None:
    """Makes outcomes, states and buckets anew. Writers wait until it is done; merged days become hours again."""
    with transaction.atomic():
        run("LOCK TABLE routing_ledgerrow, routing_eventspan IN SHARE ROW EXCLUSIVE MODE", [])
        whole = reckoned(project)
        run("DELETE FROM routing_outcome WHERE project_id = %s", [project.id])
        run("DELETE FROM routing_pathbucket WHERE project_id = %s", [project.id])
        rows = list(whole.outcomes.values())
        for start in range(0, len(rows), BATCH):
            _insert_outcomes(project, rows[start : start + BATCH])
        buckets = whole.sums.bucket_rows()
        for start in range(0, len(buckets), BATCH):
            part = orjson.dumps(buckets[start : start + BATCH]).decode()
            run(BUCKETS_SQL, {"project": project.id, "buckets": part, "hours": 1})
        write_states(project, whole.sums, [path.id for path in Path.objects.filter(project=project).only("id")])
        LedgerAlarm.objects.filter(project=project).delete()


def _insert_outcomes(project: Project, rows: list[dict[str, Any]]) -> None:
    names = OUTCOME_COLUMNS.removeprefix("id, ")
    run(
        f"""
        INSERT INTO routing_outcome (project_id, {names})
        SELECT %s, {names} FROM json_populate_recordset(NULL::routing_outcome, %s::json)
        """,
        [project.id, orjson.dumps(rows).decode()],
    )
