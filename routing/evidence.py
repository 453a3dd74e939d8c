"""The one door for evidence: a ledger row, its execution's outcome recomputed, the old contribution out, the new in.

`record` is one transaction of three statements (four where goals or paths are new): it locks the traces and looks up
what the rows need, appends and reads the traces' ledgers, and writes outcomes, states and buckets. Writers of one
trace wait for each other at an advisory lock, taken in order; states and buckets are added to in order too, by
`SET x = x + d`, so writers of one path neither deadlock nor lose an update.
"""

import hashlib
import math
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
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
from routing.engine.choice import TRIES_KEPT
from routing.engine.evidence import Evidence, Source
from routing.engine.executions import Execution, Said, executions
from routing.engine.histogram import POINTS
from routing.engine.identity import canonical, path_identity
from routing.errors import UnknownFailureCategory
from routing.models import NAME_LIMIT, TRACE_LIMIT, Origin, goal_id, path_key
from routing.sums import Counted, StateKey, Sums, Terms, outcome_of

MAX_BATCH = 500
MAX_TEXT = 500
MAX_METADATA, MAX_METADATA_TEXT = 50, 100
# Older ones tell the watch nothing, and are deleted.
FIRST_REPORTS_LAST_S = 14 * 86400
Pair = tuple[UUID, str]
Costs = tuple[float | None, float | None]


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


def withdraw(project: Project, *, ref: str = "", keys: Sequence[str] = ()) -> int:
    """Takes back all standing rows that were made of `ref`, or have one of `keys`; answers how many. Twice is safe."""
    return restate(project, ref=ref, keys=keys)


def restate(project: Project, *, ref: str = "", keys: Sequence[str] = (), says: Observation | None = None) -> int:
    """Takes back all standing rows of `ref` and, where `says` is given, says that of the same executions instead.

    `says` gives the word, its time and a key to which each trace is added; goal, trace and path stay as they were.
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
            ORDER BY row.id
            """,
            {"project": project.id, "ref": ref, "keys": list(keys)},
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

    def correct() -> None:
        with transaction.atomic(savepoint=False):
            lock_traces(project, traces)
            pairs = run(
                "SELECT DISTINCT goal_id, trace_id FROM routing_ledgerrow WHERE project_id = %s AND trace_id = ANY(%s)",
                [project.id, list(traces)],
            )
            _apply(project, _correct(project, pairs, _append(project, [], pairs)))

    with_retries(correct)


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
        _apply(project, _correct(project, pairs, ledger))
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
            'model', path.model, 'at', extract(epoch FROM decided_at), 'pipeline_id', pipeline_id))
        FROM routing_decision AS taken JOIN routing_path AS path ON path.id = taken.path_id
        WHERE taken.project_id = %(project)s AND taken.trace_id = ANY(%(traces)s::text[])),
    (SELECT count(*) FROM locked)
"""


def _look_up(project: Project, rows: Sequence[Mapping[str, Any]]) -> _Known:
    """Takes the traces' locks, in order, and finds goals, the paths of named models, and decisions."""
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
    )
    return _Known(
        {UUID(key): name for key, name in loaded(goals)},
        {UUID(path["id"]): _typed(path) for path in loaded(paths)},
        {(UUID(one["goal_id"]), one["trace_id"]): _typed(one) for one in loaded(decisions)},
    )


def loaded(value: Any) -> list[Any]:
    """A JSON column, whichever way the connection hands it over."""
    if value is None:
        return []
    return orjson.loads(value) if isinstance(value, str | bytes) else value


def _typed(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: UUID(value) if name in ("id", "goal_id", "path_id") and value else value for name, value in row.items()
    }


def _place(row: dict[str, Any], known: _Known) -> None:
    """Gives a row its path, once and for all, and what the trace's decision says."""
    goal = row["goal_id"]
    if goal not in known.goals:
        known.new_goals[goal] = row["goal"]
    decision = known.decisions.get((goal, row["trace_id"]))
    row["decided_at"] = decision["at"] if decision else None
    row["decided_path_id"] = decision["path_id"] if decision else None
    row["pipeline_id"] = row["pipeline_id"] or (decision["pipeline_id"] if decision else "")
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
_MAKE_PATHS = f"""
WITH goals AS ({_MAKE_GOALS})
INSERT INTO routing_path (id, project_id, goal_id, model, tools, params, identity, risk_level, origin, status,
    disabled_by, failures, terms, half_life_s, landmark, created_at)
SELECT made.id, %(project)s, made.goal_id, made.model, made.tools, made.params, made.identity, made.risk_level,
    made.origin, 'active', '', 0, 0, goal.half_life_hours * 3600,
    CASE WHEN goal.half_life_hours IS NOT NULL THEN extract(epoch FROM now()) END,
    clock_timestamp() + made.place * interval '1 microsecond'
FROM json_to_recordset(%(paths)s::json) AS made(
    place int, id uuid, goal_id uuid, model text, tools text[], params jsonb, identity text, risk_level text,
    origin text)
LEFT JOIN routing_goal AS goal ON goal.id = made.goal_id
ORDER BY made.id ON CONFLICT DO NOTHING RETURNING id
"""


def make_goals(project: Project, names: Mapping[UUID, str]) -> None:
    run(_MAKE_GOALS, {"project": project.id, "goals": _goals_json(names)})


def _goals_json(names: Mapping[UUID, str]) -> str:
    return orjson.dumps([{"id": key, "name": name} for key, name in names.items()]).decode()


def make_paths(
    project: Project, paths: Sequence[Mapping[str, Any]], goals: Mapping[UUID, str] = MappingProxyType({})
) -> list[UUID]:
    """Makes those of the paths, and of the goals, that are not there yet, under their goals' terms; answers which
    paths those were. One statement."""
    given = [{"place": place, **path} for place, path in enumerate(paths)]
    params = {"project": project.id, "goals": _goals_json(goals), "paths": orjson.dumps(given).decode()}
    return [path for (path,) in run(_MAKE_PATHS, params)]


LEDGER = {
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
    "decided_at": "float8",
    "decided_path_id": "uuid",
    "pipeline_id": "text",
    "withdraws": "text",
    "at_random": "boolean",
}
# What the outcome is made of.
WORD = (
    "goal_id, trace_id, path_id, key, source, success, score, confidence, failure_category, attribution, occurred_at, "
    "decided_at, decided_path_id, pipeline_id, withdraws, at_random"
)
OUTCOME_COLUMNS = (
    "id, goal_id, trace_id, path_id, pipeline_id, success, score, confidence, attribution, failure_category, source, "
    "at, cost_usd, latency_ms"
)
# A path's terms, in the order of `Terms`.
TERMS = "terms, since, half_life_s, landmark, forgets_before"
_NAMES = ", ".join(LEDGER)
_RECORD = ", ".join(f"{name} {kind}" for name, kind in LEDGER.items())

APPEND_SQL = f"""
WITH pair AS (SELECT * FROM json_to_recordset(%(pairs)s::json) AS given(goal_id uuid, trace_id text)),
added AS (
    INSERT INTO routing_ledgerrow (project_id, recorded_at, {_NAMES})
    SELECT %(project)s, now(), {_NAMES} FROM json_to_recordset(%(rows)s::json) AS given({_RECORD})
    ORDER BY key ON CONFLICT (project_id, key) DO NOTHING RETURNING {WORD}
), outcome AS (
    SELECT {OUTCOME_COLUMNS} FROM routing_outcome JOIN pair USING (trace_id, goal_id) WHERE project_id = %(project)s
)
SELECT
    (SELECT json_agg(added) FROM added),
    (SELECT json_agg(word) FROM (
        SELECT {WORD} FROM routing_ledgerrow JOIN pair USING (trace_id, goal_id) WHERE project_id = %(project)s
    ) AS word),
    (SELECT json_agg(outcome) FROM outcome),
    (SELECT json_agg(json_build_array(id, model, {TERMS})) FROM routing_path
        WHERE id = ANY(%(paths)s::uuid[]) OR id IN (SELECT path_id FROM outcome)),
    (SELECT json_agg(json_build_array(trace_id, model, cost_usd, latency_ms)) FROM routing_eventspan
        WHERE project_id = %(project)s AND trace_id IN (SELECT trace_id FROM pair) AND model <> '')
"""


@dataclass(slots=True)
class _Ledger:
    """The traces as they stand now, and their outcomes as they were."""

    said: dict[Pair, list[Said[UUID]]]
    added: set[str]
    outcomes: dict[Pair, dict[UUID | None, dict[str, Any]]]
    terms: dict[UUID, Terms]
    models: dict[UUID, str]
    spans: dict[tuple[str, str], list[Costs]]


def _append(project: Project, rows: Sequence[Mapping[str, Any]], pairs: Sequence[Pair]) -> _Ledger:
    paths = {row["path_id"] for row in rows} | {row["decided_path_id"] for row in rows}
    given = [{name: row[name] for name in LEDGER} for row in rows]
    [answer] = run(
        APPEND_SQL,
        {
            "project": project.id,
            "pairs": _pairs_json(pairs),
            "rows": orjson.dumps(given).decode(),
            "paths": sorted(path for path in paths if path),
        },
    )
    return _ledger_of(*answer)


def _pairs_json(pairs: Iterable[Pair]) -> str:
    return orjson.dumps([{"goal_id": goal, "trace_id": trace} for goal, trace in pairs]).decode()


def _ledger_of(added: Any, words: Any, outcomes: Any, paths: Any, spans: Any) -> _Ledger:
    fresh = loaded(added)
    found = _Ledger({}, {row["key"] for row in fresh}, {}, {}, {}, {})
    for row in (*loaded(words), *fresh):
        found.said.setdefault((UUID(row["goal_id"]), row["trace_id"]), []).append(said_of(row))
    for row in loaded(outcomes):
        of_pair = found.outcomes.setdefault((UUID(row["goal_id"]), row["trace_id"]), {})
        of_pair[UUID(row["path_id"]) if row["path_id"] else None] = row
    for path, model, *terms in loaded(paths):
        found.models[UUID(path)], found.terms[UUID(path)] = model, Terms(*terms)
    for trace, model, cost, latency in loaded(spans):
        found.spans.setdefault((trace, model), []).append((cost, latency))
    return found


def said_of(row: Mapping[str, Any]) -> Said[UUID]:
    """A ledger row in the engine's words."""
    return Said(
        Evidence(
            key=row["key"],
            source=Source(row["source"]),
            occurred_at=row["occurred_at"],
            success=row["success"],
            score=row["score"],
            confidence=row["confidence"],
            failure_category=row["failure_category"],
            attribution=row["attribution"],
            decided_at=row["decided_at"],
            withdraws=row["withdraws"],
            at_random=row["at_random"],
        ),
        UUID(str(row["path_id"])) if row["path_id"] else None,
        UUID(str(row["decided_path_id"])) if row["decided_path_id"] else None,
        row["pipeline_id"],
    )


def ladder_of(project: Project) -> tuple[Source, ...]:
    return tuple(Source(name) for name in project.setting("authority"))


def counted(execution: Execution, costs: Costs) -> Counted:
    """An execution as it is counted and stored: without its words."""
    return Counted(replace(execution.outcome, reason=None), execution.pipeline, *costs)


def spent(calls: Collection[Costs], before: Counted | None = None) -> Costs:
    """What the calls of one execution cost and took together, in an order-free sum. Where none is there what was
    known before stands: retention ends spans, not what they cost."""
    if not calls:
        return (before.cost_usd, before.latency_ms) if before else (None, None)
    costs, latencies = [], []
    for cost, latency in calls:
        if cost is not None:
            costs.append(cost)
        if latency is not None:
            latencies.append(latency)
    return (math.fsum(costs) if costs else None, math.fsum(latencies) if latencies else None)


@dataclass(slots=True)
class _Correction:
    """What is to be written: outcomes that changed or went, first reports, and the sums' differences."""

    outcomes: list[dict[str, Any]] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)
    firsts: list[dict[str, Any]] = field(default_factory=list)
    sums: Sums = field(default_factory=Sums)


def _correct(project: Project, pairs: Iterable[Pair], ledger: _Ledger) -> _Correction:
    done = _Correction()
    ladder = ladder_of(project)
    for pair in pairs:
        goal, trace = pair
        before = ledger.outcomes.get(pair, {})
        now = executions(ledger.said.get(pair, []), ladder)
        for path in {*before, *now}:
            old = outcome_of(before[path]) if path in before else None
            new = None
            if path in now:
                model = ledger.models.get(path) if path else None
                calls = ledger.spans.get((trace, model), []) if model is not None else []
                new = counted(now[path], spent(calls, old))
                if new != old:
                    done.outcomes.append(outcome_row(goal, trace, path, new))
                if path is not None:
                    done.firsts += _first_rows(goal, trace, path, now[path])
            else:
                done.gone.append(before[path]["id"])
            terms = ledger.terms.get(path, Terms()) if path else Terms()
            done.sums.correct(goal, path, terms, old, new)
    return done


def outcome_row(goal: UUID, trace: str, path: UUID | None, one: Counted) -> dict[str, Any]:
    said = one.outcome
    return {
        "goal_id": goal,
        "trace_id": trace,
        "path_id": path,
        "pipeline_id": one.pipeline,
        "success": said.success,
        "score": said.score,
        "confidence": said.confidence,
        "attribution": said.attribution,
        "failure_category": said.failure_category,
        "source": said.source.value if said.source else "",
        "at": said.at,
        "cost_usd": one.cost_usd,
        "latency_ms": one.latency_ms,
    }


def _first_rows(goal: UUID, trace: str, path: UUID, one: Execution) -> list[dict[str, Any]]:
    return [
        {
            "goal_id": goal,
            "trace_id": trace,
            "path_id": path,
            "source": source.value,
            "value": first.value,
            "weight": first.weight,
            "at": one.outcome.at,
        }
        for source, first in sorted(one.firsts.items())
        if one.outcome.at > time.time() - FIRST_REPORTS_LAST_S
    ]


def _sum(name: str, size: int) -> str:
    """`name` element by element, the state's and the new part's."""
    parts = ", ".join(f"kept.{name}[{place}] + excluded.{name}[{place}]" for place in range(1, size + 1))
    return f"ARRAY[{parts}]"


def _decayed(name: str) -> str:
    return (
        f"CASE WHEN excluded.{name} IS NULL THEN kept.{name} WHEN kept.{name} IS NULL THEN excluded.{name} "
        f"ELSE {_sum(name, len(POINTS))} END"
    )


_OUTCOME_RECORD = (
    "goal_id uuid, trace_id text, path_id uuid, pipeline_id text, success boolean, score float8, confidence float8, "
    "attribution float8, failure_category text, source text, at float8, cost_usd float8, latency_ms float8"
)
_OUTCOME_NAMES = ", ".join(part.split()[0] for part in _OUTCOME_RECORD.split(", "))
_STATE_RECORD = (
    "goal_id uuid, path_id uuid, pipeline_id text, terms int, own float8[], earlier float8[], own_decayed float8[], "
    "earlier_decayed float8[], samples bigint, tries float8[]"
)
_STATE_NAMES = ", ".join(part.split()[0] for part in _STATE_RECORD.split(", "))
_BUCKET_RECORD = (
    "goal_id uuid, path_id uuid, pipeline_id text, start int, samples bigint, successes float8, rated float8, "
    "counts float8[], failures float8[], cost_usd float8, costs bigint, latencies jsonb"
)
_BUCKET_NAMES = ", ".join(part.split()[0] for part in _BUCKET_RECORD.split(", "))

STATES_SQL = f"""
    INSERT INTO routing_pathstate AS kept (project_id, version, updated_at, {_STATE_NAMES})
    SELECT %(project)s, 1, now(), {_STATE_NAMES} FROM json_to_recordset(%(states)s::json) AS given({_STATE_RECORD})
    ORDER BY path_id, pipeline_id
    ON CONFLICT (project_id, path_id, pipeline_id) DO UPDATE SET
        version = kept.version + 1, updated_at = now(), samples = kept.samples + excluded.samples,
        own = {_sum("own", len(POINTS))}, earlier = {_sum("earlier", len(POINTS))},
        own_decayed = {_decayed("own_decayed")}, earlier_decayed = {_decayed("earlier_decayed")},
        tries = CASE WHEN cardinality(excluded.tries) = 0 THEN kept.tries ELSE ARRAY(
            SELECT try FROM unnest(kept.tries || excluded.tries) AS try ORDER BY try DESC LIMIT {TRIES_KEPT}) END
    WHERE kept.terms = excluded.terms
    RETURNING kept.goal_id, kept.path_id, kept.pipeline_id
"""
BUCKETS_SQL = f"""
    INSERT INTO routing_pathbucket AS kept (project_id, hours, {_BUCKET_NAMES})
    SELECT %(project)s, %(hours)s, {_BUCKET_NAMES} FROM json_to_recordset(%(buckets)s::json) AS given({_BUCKET_RECORD})
    ORDER BY path_id, pipeline_id, start
    ON CONFLICT (project_id, goal_id, pipeline_id, path_id, start, hours) DO UPDATE SET
        samples = kept.samples + excluded.samples, successes = kept.successes + excluded.successes,
        rated = kept.rated + excluded.rated, counts = {_sum("counts", len(POINTS))},
        failures = {_sum("failures", len(FAILURE_CATEGORIES))},
        cost_usd = kept.cost_usd + excluded.cost_usd, costs = kept.costs + excluded.costs,
        latencies = CASE WHEN excluded.latencies = '{{}}' THEN kept.latencies ELSE coalesce((
            SELECT jsonb_object_agg(place, count) FROM (
                SELECT place, sum(count::bigint) AS count FROM (
                    SELECT * FROM jsonb_each_text(kept.latencies) AS one(place, count)
                    UNION ALL SELECT * FROM jsonb_each_text(excluded.latencies) AS other(place, count)
                ) AS both_parts GROUP BY place HAVING sum(count::bigint) <> 0
            ) AS summed), '{{}}') END
"""
APPLY_SQL = f"""
WITH outcomes AS (
    INSERT INTO routing_outcome AS kept (project_id, {_OUTCOME_NAMES})
    SELECT %(project)s, {_OUTCOME_NAMES} FROM json_to_recordset(%(outcomes)s::json) AS given({_OUTCOME_RECORD})
    ORDER BY trace_id, goal_id, path_id
    ON CONFLICT (project_id, trace_id, goal_id, path_id) DO UPDATE SET
        pipeline_id = excluded.pipeline_id, success = excluded.success, score = excluded.score,
        confidence = excluded.confidence, attribution = excluded.attribution,
        failure_category = excluded.failure_category, source = excluded.source, at = excluded.at,
        cost_usd = excluded.cost_usd, latency_ms = excluded.latency_ms
), gone AS (DELETE FROM routing_outcome WHERE id = ANY(%(gone)s::bigint[])),
firsts AS (
    INSERT INTO routing_firstreport (project_id, recorded_at, goal_id, path_id, trace_id, source, value, weight, at)
    SELECT %(project)s, now(), goal_id, path_id, trace_id, source, value, weight, at
    FROM json_to_recordset(%(firsts)s::json) AS given(
        goal_id uuid, path_id uuid, trace_id text, source text, value float8, weight float8, at float8)
    ORDER BY goal_id, path_id, source, trace_id ON CONFLICT DO NOTHING
), buckets AS ({BUCKETS_SQL}), states AS ({STATES_SQL})
SELECT goal_id, path_id, pipeline_id FROM states
"""


def _apply(project: Project, done: _Correction) -> None:
    """Writes a correction. A state whose terms changed since they were read is reckoned anew instead."""
    done.sums.drop_nothings()
    if not (done.outcomes or done.gone or done.firsts or done.sums.buckets):
        return
    written = run(
        APPLY_SQL,
        {
            "project": project.id,
            "outcomes": orjson.dumps(done.outcomes).decode(),
            "gone": done.gone,
            "firsts": orjson.dumps(done.firsts).decode(),
            "states": orjson.dumps(done.sums.state_rows()).decode(),
            "buckets": orjson.dumps(done.sums.bucket_rows()).decode(),
            "hours": 1,
        },
    )
    left = set(done.sums.states) - set(written)
    if left:
        reckon(project, sorted({path for _, path, _ in left}))
    went = [key for key, total in done.sums.states.items() if total.tries_went and key not in left]
    if went:
        _look_up_tries(project, sorted(went))


def _look_up_tries(project: Project, keys: Sequence[StateKey]) -> None:
    """The latest tries of states that lost one; their rows are this transaction's already."""
    given = [{"goal_id": goal, "path_id": path, "pipeline_id": pipeline} for goal, path, pipeline in keys]
    run(
        f"""
        UPDATE routing_pathstate AS state SET tries = ARRAY(
            SELECT at FROM routing_outcome AS outcome
            WHERE outcome.project_id = state.project_id AND outcome.goal_id = state.goal_id
                AND outcome.path_id = state.path_id
                AND (outcome.pipeline_id = state.pipeline_id OR state.pipeline_id = '')
                AND outcome.attribution > 0 AND (outcome.success IS NOT NULL OR outcome.score IS NOT NULL)
            ORDER BY at DESC LIMIT {TRIES_KEPT})
        FROM json_to_recordset(%s::json) AS given(goal_id uuid, path_id uuid, pipeline_id text)
        WHERE state.project_id = %s AND state.path_id = given.path_id
            AND state.pipeline_id = given.pipeline_id
        """,
        [orjson.dumps(given).decode(), project.id],
    )


def reckon(project: Project, paths: Sequence[UUID]) -> None:
    """Makes the states of paths anew from their outcomes, by the paths' terms as they are now.

    Locks the paths and their states in order, and only then reads: a writer that is under way either has added to
    a state, and is waited for, or finds that the terms have changed and comes here itself.
    """
    with transaction.atomic():
        locked = run(
            f"""
            SELECT id, goal_id, {TERMS} FROM routing_path
            WHERE project_id = %s AND id = ANY(%s) ORDER BY id FOR NO KEY UPDATE
            """,
            [project.id, list(paths)],
        )
        run(
            "SELECT 1 FROM routing_pathstate WHERE project_id = %s AND path_id = ANY(%s) "
            "ORDER BY path_id, pipeline_id FOR UPDATE",
            [project.id, list(paths)],
        )
        for path, goal, *terms in locked:
            _reckon_path(project, goal, path, Terms(*terms))


def _reckon_path(project: Project, goal: UUID, path: UUID, terms: Terms) -> None:
    sums = Sums()
    columns = OUTCOME_COLUMNS.split(", ")
    for row in run(
        f"SELECT {OUTCOME_COLUMNS} FROM routing_outcome WHERE project_id = %s AND goal_id = %s AND path_id = %s",
        [project.id, goal, path],
    ):
        sums.correct(goal, path, terms, None, outcome_of(dict(zip(columns, row, strict=True))))
    write_states(project, sums, [path])


def write_states(project: Project, sums: Sums, paths: Sequence[UUID]) -> None:
    """Puts states in the place of those there are, with a version beyond theirs: a client compares by it.

    A state without outcomes stays as an empty row, so that its version goes on."""
    run(
        f"""
        INSERT INTO routing_pathstate AS kept (project_id, version, updated_at, {_STATE_NAMES})
        SELECT %(project)s, 1, now(), {_STATE_NAMES} FROM json_to_recordset(%(states)s::json) AS given({_STATE_RECORD})
        ORDER BY path_id, pipeline_id
        ON CONFLICT (project_id, path_id, pipeline_id) DO UPDATE SET
            version = kept.version + 1, updated_at = now(),
            {", ".join(f"{name} = excluded.{name}" for name in _STATE_NAMES.split(", ")[3:])}
        """,
        {"project": project.id, "states": orjson.dumps(sums.state_rows()).decode()},
    )
    given = [{"path_id": path, "pipeline_id": pipeline} for _, path, pipeline in sums.states]
    zeros = "array_fill(0::float8, ARRAY[11])"
    run(
        f"""
        UPDATE routing_pathstate AS state SET version = version + 1, own = {zeros}, earlier = {zeros},
            own_decayed = NULL, earlier_decayed = NULL, samples = 0, tries = '{{}}',
            terms = (SELECT terms FROM routing_path WHERE id = state.path_id)
        WHERE project_id = %s AND path_id = ANY(%s) AND (path_id, pipeline_id) NOT IN (
            SELECT path_id, pipeline_id FROM json_to_recordset(%s::json) AS given(path_id uuid, pipeline_id text))
        """,
        [project.id, list(paths), orjson.dumps(given).decode()],
    )


# --- costs ----------------------------------------------------------------------------------------------------

LOCK_SQL = """
WITH locked AS MATERIALIZED (SELECT pg_advisory_xact_lock(number) FROM unnest(%(locks)s::bigint[]) AS number)
SELECT count(*) FROM locked
"""
COSTS_SQL = f"""
WITH outcome AS (
    SELECT {OUTCOME_COLUMNS} FROM routing_outcome WHERE project_id = %(project)s AND trace_id = ANY(%(traces)s::text[])
)
SELECT NULL::json, NULL::json,
    (SELECT json_agg(outcome) FROM outcome),
    (SELECT json_agg(json_build_array(id, model, {TERMS})) FROM routing_path
        WHERE id IN (SELECT path_id FROM outcome)),
    (SELECT json_agg(json_build_array(trace_id, model, cost_usd, latency_ms)) FROM routing_eventspan
        WHERE project_id = %(project)s AND trace_id = ANY(%(traces)s::text[]) AND model <> '')
"""


def lock_traces(project: Project, traces: Iterable[str]) -> None:
    """Makes writers of these traces wait for the end of the caller's transaction."""
    run(LOCK_SQL, {"locks": sorted({lock_number(project, trace) for trace in traces})})


def recost(project: Project, traces: Sequence[str]) -> None:
    """Gives the outcomes of locked traces what their calls cost and took, as the spans say now."""
    [answer] = run(COSTS_SQL, {"project": project.id, "traces": list(traces)})
    ledger = _ledger_of(*answer)
    done = _Correction()
    for (goal, trace), of_pair in ledger.outcomes.items():
        for path, row in of_pair.items():
            if path is None:
                continue
            old = outcome_of(row)
            cost, latency = spent(ledger.spans.get((trace, ledger.models[path]), []), old)
            new = replace(old, cost_usd=cost, latency_ms=latency)
            if new != old:
                done.outcomes.append(outcome_row(goal, trace, path, new))
                done.sums.correct(goal, path, ledger.terms[path], old, new)
    _apply(project, done)


def own_trace() -> str:
    """A trace id that we make: 32 lower-case hex digits."""
    return uuid4().hex
