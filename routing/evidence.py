"""The one door for evidence: a ledger row, its execution's outcome recomputed, the old contribution out, the new in.

`record` is one transaction of three statements (four where goals or paths are new): it locks the traces and looks up
what the rows need, appends and reads the traces' ledgers, and writes outcomes, states and buckets. Writers of one
trace wait for each other at an advisory lock, taken in order; states and buckets are added to in order too, by
`SET x = x + d`, so writers of one path neither deadlock nor lose an update.
"""

import hashlib
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any
from uuid import UUID, uuid4

import orjson
from django.db import transaction

from agentloop.ids import new_id, read
from agentloop.masking import Mask, masker
from agentloop.models import Project
from agentloop.parsing import clean, clean_text
from agentloop.sql import run, with_retries
from routing.engine.categories import FAILURE_CATEGORIES
from routing.engine.evidence import Source
from routing.engine.identity import canonical, path_identity
from routing.errors import UnknownFailureCategory
from routing.models import NAME_LIMIT, TRACE_LIMIT, Origin, goal_id, path_key
from routing.outcomes import (
    OUTCOME_COLUMNS,
    TERMS,
    WORD,
    Ledger,
    Pair,
    apply,
    correct,
    ledger_of,
    loaded,
    renew_landmarks,
)

MAX_BATCH = 500
MAX_TEXT = 500
MAX_METADATA, MAX_METADATA_TEXT = 50, 100


@dataclass(frozen=True, slots=True)
class Observation:
    """One observation about one execution, as a caller hands it in.

    Names its path by `path_id` (the shown form) or by model, tools and params; or not at all: then it concerns the
    trace's execution at that time. Without a trace it is an execution of its own.
    """

    goal: str
    source: Source
    trace_id: str = ""
    model: str | None = None
    tools: tuple[str, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    path_id: str | None = None
    pipeline_id: str = ""
    success: bool | None = None
    score: float | None = None
    confidence: float = 1.0
    failure_category: str | None = None
    attribution: float | None = None
    reason: str | None = None
    raw_evidence: str | None = None
    metadata: Mapping[str, Any] | None = None
    occurred_at: float | None = None
    key: str = ""
    ref: str = ""
    withdraws: str | None = None
    at_random: bool | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of an observation: `is_new` is false for a key that was there."""

    trace_id: str
    key: str
    is_new: bool


def record(project: Project, rows: Sequence[Observation]) -> list[Recorded]:
    """Records observations in one transaction, in the caller's if there is one; answers in their order.

    A key that was there already changes nothing. Raises UnknownFailureCategory before anything is written.
    """
    if not rows:
        return []
    prepared = _prepare(project, rows)
    return with_retries(lambda: _record(project, prepared))


def withdraw(project: Project, *, ref: str = "", keys: Sequence[str] = (), limit: int | None = None) -> int:
    """Takes back all standing rows that were made of `ref`, or have one of `keys`; answers how many. Twice is safe."""
    return restate(project, ref=ref, keys=keys, limit=limit)


def restate(
    project: Project,
    *,
    ref: str = "",
    keys: Sequence[str] = (),
    says: Observation | None = None,
    limit: int | None = None,
) -> int:
    """Takes back all standing rows of `ref` and, where `says` is given, says that of the same executions instead.

    `says` gives the word, its time and a key to which each trace is added; goal, trace and path stay as they were.
    Rows whose key begins with it say so already. With a limit it answers that many while there may be more.
    """
    with transaction.atomic():
        standing = run(
            """
            SELECT row.key, row.trace_id, goal.name, row.path_id, row.source, row.pipeline_id
            FROM routing_ledgerrow AS row JOIN routing_goal AS goal ON goal.id = row.goal_id
            WHERE row.project_id = %(project)s AND row.withdraws IS NULL
                AND ((row.ref = %(ref)s AND row.ref <> '') OR row.key = ANY(%(keys)s))
                AND NOT EXISTS (
                    SELECT FROM routing_ledgerrow AS later
                    WHERE later.project_id = row.project_id AND later.trace_id = row.trace_id
                        AND later.goal_id = row.goal_id AND later.withdraws = row.key
                )
                AND (%(said)s::text IS NULL OR NOT starts_with(row.key, %(said)s::text))
            ORDER BY row.id LIMIT %(limit)s::bigint
            """,
            {
                "project": project.id,
                "ref": ref,
                "keys": list(keys),
                "said": f"{says.key}:" if says else None,
                "limit": limit,
            },
        )
        rows: list[Observation] = []
        for key, trace, goal, path, source, pipeline in standing:
            same = Observation(
                goal,
                Source(source),
                trace,
                path_id=f"path_{path.hex}" if path else None,
                pipeline_id=pipeline,
                ref=ref,
            )
            rows.append(replace(same, key=f"withdraws:{key}", withdraws=key))
            if says is not None:
                rows.append(_said_of(same, says))
        record(project, rows)
    return len(standing)


def _said_of(same: Observation, says: Observation) -> Observation:
    key = f"{says.key}:{same.goal}:{same.trace_id}:{same.path_id}"
    return replace(
        says, goal=same.goal, trace_id=same.trace_id, path_id=same.path_id, model=None, key=key, ref=same.ref
    )


def goals_of_traces(project: Project, traces: Iterable[str]) -> dict[str, list[str]]:
    """The goals in which something was decided or said of each trace."""
    found = run(
        """
        SELECT known.trace_id, array_agg(DISTINCT goal.name ORDER BY goal.name) FROM (
            SELECT trace_id, goal_id FROM routing_decision WHERE project_id = %(project)s AND trace_id = ANY(%(traces)s)
            UNION
            SELECT trace_id, goal_id FROM routing_outcome WHERE project_id = %(project)s AND trace_id = ANY(%(traces)s)
        ) AS known JOIN routing_goal AS goal ON goal.id = known.goal_id GROUP BY 1
        """,
        {"project": project.id, "traces": list(traces)},
    )
    return dict(found)


def blank_texts(project: Project, traces: Sequence[str]) -> int:
    """Erasure's one permitted edit of the ledger: the free texts about a user's traces go."""
    return len(
        run(
            """
            UPDATE routing_ledgerrow SET reason = NULL, raw_evidence = NULL, metadata = NULL
            WHERE project_id = %s AND trace_id = ANY(%s)
                AND (reason IS NOT NULL OR raw_evidence IS NOT NULL OR metadata IS NOT NULL)
            RETURNING id
            """,
            [project.id, list(traces)],
        )
    )


def sum_up_anew(project: Project, traces: Sequence[str]) -> None:
    """Makes the outcomes of traces anew from their ledger, by the order of sources as the project has it now."""

    def sum_up() -> None:
        with transaction.atomic(savepoint=False):
            lock_traces(project, traces)
            pairs = run(
                "SELECT DISTINCT goal_id, trace_id FROM routing_ledgerrow WHERE project_id = %s AND trace_id = ANY(%s)",
                [project.id, list(traces)],
            )
            apply(project, correct(project, pairs, _append(project, [], pairs)))

    with_retries(sum_up)


# --- reading what came in -------------------------------------------------------------------------------------


def _prepare(project: Project, rows: Sequence[Observation]) -> list[dict[str, Any]]:
    """Rows for the ledger, but for their paths and decisions. Refuses an unknown failure category."""
    if any(row.failure_category not in (None, *FAILURE_CATEGORIES) for row in rows):
        raise UnknownFailureCategory
    mask = masker(tuple(project.setting("mask")), tuple(project.setting("mask_patterns")))
    now = time.time()
    return [_prepared(project, row, mask, now) for row in rows]


def _prepared(project: Project, row: Observation, mask: Mask | None, now: float) -> dict[str, Any]:
    goal = clean_text(row.goal)[:NAME_LIMIT]
    at = row.occurred_at
    return {
        "goal": goal,
        "goal_id": goal_id(project.id, goal),
        "trace_id": clean_text(row.trace_id)[:TRACE_LIMIT] or new_id().hex,
        "key": clean_text(row.key)[:400] or new_id().hex,
        "ref": row.ref,
        "source": row.source.value,
        "success": row.success,
        "score": _unit(row.score),
        "confidence": 1.0 if row.confidence is None else _unit(row.confidence),
        "failure_category": row.failure_category,
        "attribution": _unit(row.attribution),
        "reason": short_text(row.reason, mask),
        "raw_evidence": short_text(row.raw_evidence, mask),
        "metadata": scalars(row.metadata, mask),
        "occurred_at": at if at is not None and math.isfinite(at) and at <= now else now,
        "pipeline_id": clean_text(row.pipeline_id or "")[:NAME_LIMIT],
        "withdraws": row.withdraws,
        "at_random": row.at_random,
        "model": clean_text(row.model)[:NAME_LIMIT] if row.model else None,
        "tools": [clean_text(tool)[:NAME_LIMIT] for tool in row.tools],
        "params": row.params,
        "given_path": read("path", row.path_id) if row.path_id else None,
    }


def _unit(value: float | None) -> float | None:
    """Inside 0..1; nothing plausible is refused, so a 7 is a 1."""
    if value is None or value != value:
        return None
    return min(1.0, max(0.0, float(value)))


def short_text(text: str | None, mask: Mask | None) -> str | None:
    if not text:
        return None
    text = clean_text(text)
    return (mask(text) if mask else text)[:MAX_TEXT]


def scalars(metadata: Mapping[str, Any] | None, mask: Mask | None) -> dict[str, Any] | None:
    """The plain values of an object, cut short: what holds content is longer, or nested."""
    kept: dict[str, Any] = {}
    for name, value in list((metadata or {}).items())[:MAX_METADATA]:
        value, name = clean(value), clean_text(name)
        name = (mask(name) if mask else name)[:MAX_METADATA_TEXT]
        if isinstance(value, str):
            kept[name] = (mask(value) if mask else value)[:MAX_METADATA_TEXT]
        elif isinstance(value, bool | int | float):
            kept[name] = value
    return kept or None


# --- the transaction ------------------------------------------------------------------------------------------


def _record(project: Project, rows: Sequence[dict[str, Any]]) -> list[Recorded]:
    with transaction.atomic(savepoint=False):
        known = _look_up(project, rows)
        for row in rows:
            _place(row, known)
        known.make_missing(project)
        pairs = sorted({(row["goal_id"], row["trace_id"]) for row in rows})
        ledger = _append(project, rows, pairs)
        apply(project, correct(project, pairs, ledger))
    return [Recorded(row["trace_id"], row["key"], row["key"] in ledger.added) for row in rows]


def lock_number(project: Project, trace: str) -> int:
    digest = hashlib.blake2b(trace.encode(), digest_size=8, key=project.id.bytes).digest()
    return int.from_bytes(digest, signed=True)


@dataclass(slots=True)
class _Known:
    """What the look-up found, and what has to be made."""

    goals: dict[UUID, str]
    paths: dict[UUID, dict[str, Any]]
    decisions: dict[Pair, dict[str, Any]]
    new_goals: dict[UUID, str] = field(default_factory=dict)
    new_paths: dict[UUID, dict[str, Any]] = field(default_factory=dict)

    def make_missing(self, project: Project) -> None:
        if self.new_paths:
            make_paths(project, list(self.new_paths.values()), self.new_goals)
        elif self.new_goals:
            make_goals(project, self.new_goals)


LOOK_SQL = """
WITH locked AS MATERIALIZED (SELECT pg_advisory_xact_lock(number) FROM unnest(%(locks)s::bigint[]) AS number)
SELECT
    (SELECT json_agg(json_build_array(id, name)) FROM routing_goal WHERE id = ANY(%(goals)s::uuid[])),
    (SELECT json_agg(json_build_object('id', path.id, 'goal_id', goal_id, 'model', path.model, 'tools', tools,
            'params', params, 'identity', identity))
        FROM routing_path AS path WHERE path.project_id = %(project)s AND path.goal_id = ANY(%(goals)s::uuid[])
            AND (path.model = ANY(%(models)s::text[]) OR path.id = ANY(%(paths)s::uuid[]))),
    (SELECT json_agg(json_build_object('goal_id', taken.goal_id, 'trace_id', trace_id, 'path_id', path_id,
            'model', path.model))
        FROM unnest(%(traces)s::text[]) AS named(trace) CROSS JOIN LATERAL (
            SELECT * FROM routing_decision WHERE project_id = %(project)s AND trace_id = named.trace OFFSET 0
        ) AS taken JOIN routing_path AS path ON path.id = taken.path_id),
    (SELECT count(*) FROM locked)
"""


def _look_up(project: Project, rows: Sequence[Mapping[str, Any]]) -> _Known:
    """Takes the traces' locks, in order, and finds goals, the paths of named models, and what was decided."""
    traces = sorted({row["trace_id"] for row in rows})
    [(goals, paths, decisions, _)] = run(
        LOOK_SQL,
        {
            "project": project.id,
            "locks": sorted({lock_number(project, trace) for trace in traces}),
            "traces": traces,
            "goals": sorted({row["goal_id"] for row in rows}),
            "models": sorted({row["model"] for row in rows if row["model"]}),
            "paths": sorted({row["given_path"] for row in rows if row["given_path"]}),
        },
        keep_plan=True,
    )
    return _Known(
        {UUID(key): name for key, name in loaded(goals)},
        {UUID(path["id"]): _typed(path) for path in loaded(paths)},
        {(UUID(one["goal_id"]), one["trace_id"]): _typed(one) for one in loaded(decisions)},
    )


def _typed(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: UUID(value) if name in ("id", "goal_id", "path_id") and value else value for name, value in row.items()
    }


def _place(row: dict[str, Any], known: _Known) -> None:
    """Gives a row that names its path that path, once and for all."""
    goal = row["goal_id"]
    if goal not in known.goals:
        known.new_goals[goal] = row["goal"]
    decision = known.decisions.get((goal, row["trace_id"]))
    given = known.paths.get(row["given_path"])
    if given is not None and given["goal_id"] == goal:
        row["path_id"] = given["id"]
    elif row["model"] is None:
        row["path_id"] = None
    elif decision is not None and decision["model"] == row["model"]:
        row["path_id"] = decision["path_id"]
    else:
        row["path_id"] = _path_of_model(row, known)


def _path_of_model(row: Mapping[str, Any], known: _Known) -> UUID:
    """The path with exactly that model, tool and params; else the only one of that model; else the plain one."""
    of_model = [
        path
        for path in (*known.paths.values(), *known.new_paths.values())
        if path["goal_id"] == row["goal_id"] and path["model"] == row["model"]
    ]
    identity = path_identity(row["model"], row["tools"], row["params"])
    params = canonical(dict(row["params"]))
    exact = [path for path in of_model if path["identity"] == identity] or [
        path for path in of_model if path["tools"][:1] == row["tools"][:1] and canonical(path["params"]) == params
    ]
    if exact:
        return exact[0]["id"]
    if len(of_model) == 1:
        return of_model[0]["id"]
    plain = path_identity(row["model"])
    made = path_key(row["goal_id"], plain)
    if made not in known.paths:
        known.new_paths[made] = {
            "id": made,
            "goal_id": row["goal_id"],
            "model": row["model"],
            "tools": [],
            "params": {},
            "identity": plain,
            "origin": Origin.OUTCOME.value,
            "risk_level": "low",
        }
    return made


_MAKE_GOALS = """
INSERT INTO routing_goal (
    id, project_id, name, description, mode, auto_explore, max_untested, bounds, told_signals, created_at)
SELECT id, %(project)s, name, '', 'apply', false, 3, '{}', '[]', now()
FROM json_to_recordset(%(goals)s::json) AS made(id uuid, name text)
ORDER BY id ON CONFLICT DO NOTHING
"""
# A goal that this very statement makes can't be joined to, and has no half-life yet.
_MAKE_PATHS = """
INSERT INTO routing_path (id, project_id, goal_id, model, tools, params, identity, risk_level, origin, status,
    disabled_by, failures, terms, half_life_s, landmark, created_at)
SELECT made.id, %(project)s, made.goal_id, made.model, made.tools, made.params, made.identity, made.risk_level,
    made.origin, 'active', '', 0, 0, goal.half_life_hours * 3600,
    CASE WHEN goal.half_life_hours IS NOT NULL THEN extract(epoch FROM now()) END,
    statement_timestamp() + made.place * interval '1 microsecond'
FROM json_to_recordset(%(paths)s::json) AS made(
    place int, id uuid, goal_id uuid, model text, tools text[], params jsonb, identity text, risk_level text,
    origin text)
LEFT JOIN routing_goal AS goal ON goal.id = made.goal_id
ORDER BY made.id ON CONFLICT DO NOTHING RETURNING id
"""
# For a statement that makes both on its way; `making` gives its parameters.
MAKE_SQL = f"goals AS ({_MAKE_GOALS}), paths AS ({_MAKE_PATHS})"


def make_goals(project: Project, names: Mapping[UUID, str]) -> None:
    run(_MAKE_GOALS, {"project": project.id, "goals": _goals_json(names)})


def _goals_json(names: Mapping[UUID, str]) -> str:
    return orjson.dumps([{"id": key, "name": name} for key, name in names.items()]).decode()


def make_paths(
    project: Project, paths: Sequence[Mapping[str, Any]], goals: Mapping[UUID, str] = MappingProxyType({})
) -> list[UUID]:
    """Makes those of the paths, and of the goals, that are not there yet, under their goals' terms; answers which
    paths those were. One statement."""
    made = run(f"WITH {MAKE_SQL} SELECT id FROM paths", making(project, paths, goals))
    return [path for (path,) in made]


def making(
    project: Project, paths: Sequence[Mapping[str, Any]], goals: Mapping[UUID, str] = MappingProxyType({})
) -> dict[str, Any]:
    given = [{"place": place, **path} for place, path in enumerate(paths)]
    return {"project": project.id, "goals": _goals_json(goals), "paths": orjson.dumps(given).decode()}


# What a row brings along.
_GIVEN = {
    "goal_id": "uuid",
    "trace_id": "text",
    "path_id": "uuid",
    "key": "text",
    "ref": "text",
    "source": "text",
    "success": "boolean",
    "score": "float8",
    "confidence": "float8",
    "failure_category": "text",
    "attribution": "float8",
    "reason": "text",
    "raw_evidence": "text",
    "metadata": "jsonb",
    "occurred_at": "float8",
    "pipeline_id": "text",
    "withdraws": "text",
    "at_random": "boolean",
}
# What it has of the trace's decision. Read where it is written: a decision that was recorded while the look-up
# waited for the trace's lock is known here.
_LEDGER = {name: f"given.{name}" for name in _GIVEN} | {
    "pipeline_id": "coalesce(nullif(given.pipeline_id, ''), taken.pipeline_id, '')",
    "decided_at": "extract(epoch FROM taken.decided_at)::float8",
    "decided_path_id": "taken.path_id",
}
_RECORD = ", ".join(f"{name} {kind}" for name, kind in _GIVEN.items())

# OFFSET leaves the planner no choice but the index of traces: while it doesn't know yet how many rows there are, it
# would read all of a project's.
_OF_PAIRS = """SELECT found.* FROM pair CROSS JOIN LATERAL (
        SELECT * FROM {} WHERE project_id = %(project)s AND trace_id = pair.trace_id AND goal_id = pair.goal_id OFFSET 0
    ) AS found"""
APPEND_SQL = f"""
WITH pair AS (SELECT * FROM json_to_recordset(%(pairs)s::json) AS given(goal_id uuid, trace_id text)),
added AS (
    INSERT INTO routing_ledgerrow (project_id, recorded_at, {", ".join(_LEDGER)})
    SELECT %(project)s, now(), {", ".join(_LEDGER.values())}
    FROM json_to_recordset(%(rows)s::json) AS given({_RECORD}) LEFT JOIN LATERAL (
        SELECT * FROM routing_decision
        WHERE project_id = %(project)s AND trace_id = given.trace_id AND goal_id = given.goal_id OFFSET 0
    ) AS taken ON true
    ORDER BY given.key ON CONFLICT (project_id, key) DO NOTHING RETURNING {WORD}
), outcome AS (
    SELECT {OUTCOME_COLUMNS} FROM ({_OF_PAIRS.format("routing_outcome")}) AS outcome
)
SELECT
    (SELECT json_agg(added) FROM added),
    (SELECT json_agg(word) FROM (
        SELECT {WORD} FROM ({_OF_PAIRS.format("routing_ledgerrow")}) AS row
    ) AS word),
    (SELECT json_agg(outcome) FROM outcome),
    (SELECT json_agg(json_build_array(path.id, model, {TERMS})) FROM (
            SELECT unnest(%(paths)s::uuid[]) AS id UNION SELECT path_id FROM outcome
            UNION SELECT decided_path_id FROM added
        ) AS concerned CROSS JOIN LATERAL (SELECT * FROM routing_path WHERE id = concerned.id OFFSET 0) AS path),
    (SELECT json_agg(json_build_array(trace_id, model, cost_usd, latency_ms))
        FROM (SELECT DISTINCT trace_id AS trace FROM pair) AS named CROSS JOIN LATERAL (
            SELECT * FROM routing_eventspan WHERE project_id = %(project)s AND trace_id = named.trace OFFSET 0
        ) AS span WHERE model <> '')
"""


def _append(project: Project, rows: Sequence[Mapping[str, Any]], pairs: Sequence[Pair]) -> Ledger:
    given = [{name: row[name] for name in _GIVEN} for row in rows]
    [answer] = run(
        APPEND_SQL,
        {
            "project": project.id,
            "pairs": _pairs_json(pairs),
            "rows": orjson.dumps(given).decode(),
            "paths": sorted({row["path_id"] for row in rows if row["path_id"]}),
        },
        keep_plan=True,
    )
    ledger = ledger_of(*answer)
    renew_landmarks(project, ledger)
    return ledger


def _pairs_json(pairs: Iterable[Pair]) -> str:
    return orjson.dumps([{"goal_id": goal, "trace_id": trace} for goal, trace in pairs]).decode()


LOCK_SQL = """
WITH locked AS MATERIALIZED (SELECT pg_advisory_xact_lock(number) FROM unnest(%(locks)s::bigint[]) AS number)
SELECT count(*) FROM locked
"""


def lock_traces(project: Project, traces: Iterable[str]) -> None:
    """Makes writers of these traces wait for the end of the caller's transaction."""
    run(LOCK_SQL, {"locks": sorted({lock_number(project, trace) for trace in traces})}, keep_plan=True)


def own_trace() -> str:
    """A trace id that we make: 32 lower-case hex digits."""
    return uuid4().hex
