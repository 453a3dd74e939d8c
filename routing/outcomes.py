"""What is kept of the ledger so that choosing is cheap: outcomes, states, buckets of time, first reports.

Whenever more is known of a trace, its outcomes are made anew from all that was said of it, and each difference is taken
out and put in, in one statement. The states of a path whose terms change are made anew from its outcomes.
"""

import math
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any
from uuid import UUID

import orjson
from django.db import transaction

from agentloop.models import Project
from agentloop.sql import run
from routing.engine.categories import FAILURE_CATEGORIES
from routing.engine.choice import TRIES_KEPT
from routing.engine.evidence import Evidence, Source
from routing.engine.executions import Execution, Said, executions
from routing.engine.histogram import POINTS, RENEWAL_EXPONENT
from routing.prices import bare_name
from routing.sums import Counted, StateKey, StateSum, Sums, Terms, outcome_of

# Older ones tell the watch nothing, and are deleted.
FIRST_REPORTS_LAST_S = 14 * 86400
# Far below what any figure shows, and no product of four such is too small for PostgreSQL, which refuses those.
TINY = 1e-60
Pair = tuple[UUID, str]
Costs = tuple[float | None, float | None]
UNKNOWN_COSTS: Costs = (None, None)

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
# Of a path: its landmark lies so far back that before long a new outcome would weigh more than a float holds.
MUST_RENEW = f"ln(2) * (extract(epoch FROM now()) - landmark) > {RENEWAL_EXPONENT} * half_life_s"


# --- what was said, as it was read ----------------------------------------------------------------------------


def loaded(value: Any) -> list[Any]:
    """A JSON column, whichever way the connection hands it over."""
    if value is None:
        return []
    return orjson.loads(value) if isinstance(value, str | bytes) else value


class Calls:
    """What the calls of traces cost and took, by the models that their spans name."""

    def __init__(self, spans: Iterable[tuple[str, str, float | None, float | None]]) -> None:
        self._by_name: dict[tuple[str, str], dict[str, list[Costs]]] = {}
        for trace, model, cost, latency in spans:
            of_model = self._by_name.setdefault((trace, bare_name(model)), {})
            of_model.setdefault(model, []).append((cost, latency))

    def spent(self, trace: str, model: str, models: Collection[str], before: Costs) -> Costs:
        """What one execution's calls cost and took together, in an order-free sum. `models` are those of all the
        executions of the goal and trace.

        Its calls are those that name its model as it does; else those that name it without the provider or in another
        edition, if no other execution's model goes by that name. Where there are no spans what was known before
        stands: retention ends them, not what the calls cost.
        """
        name = bare_name(model)
        told = self._by_name.get((trace, name))
        if told is None:
            return before
        calls = told.get(model, [])
        if not calls and all(other == model or bare_name(other) != name for other in models):
            calls = [call for of_model in told.values() for call in of_model]
        return _sum_of([cost for cost, _ in calls]), _sum_of([latency for _, latency in calls])


def _sum_of(figures: Iterable[float | None]) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return math.fsum(known) if known else None


@dataclass(slots=True)
class Ledger:
    """The traces as they stand now, and their outcomes as they were."""

    said: dict[Pair, list[Said[UUID]]]
    added: set[str]
    outcomes: dict[Pair, dict[UUID | None, dict[str, Any]]]
    terms: dict[UUID, Terms]
    models: dict[UUID, str]
    calls: Calls

    def models_of(self, paths: Iterable[UUID | None]) -> set[str]:
        return {self.models[path] for path in paths if path in self.models}

    def spent(self, trace: str, path: UUID | None, models: Collection[str], old: Counted | None) -> Costs:
        before = (old.cost_usd, old.latency_ms) if old else UNKNOWN_COSTS
        model = self.models.get(path) if path else None
        return before if model is None else self.calls.spent(trace, model, models, before)


def ledger_of(added: Any, words: Any, outcomes: Any, paths: Any, spans: Any) -> Ledger:
    fresh = loaded(added)
    found = Ledger({}, {row["key"] for row in fresh}, {}, {}, {}, Calls(loaded(spans)))
    for row in (*loaded(words), *fresh):
        found.said.setdefault((UUID(row["goal_id"]), row["trace_id"]), []).append(said_of(row))
    for row in loaded(outcomes):
        of_pair = found.outcomes.setdefault((UUID(row["goal_id"]), row["trace_id"]), {})
        of_pair[UUID(row["path_id"]) if row["path_id"] else None] = row
    for path, model, *terms in loaded(paths):
        found.models[UUID(path)], found.terms[UUID(path)] = model, Terms(*terms)
    return found


def renew_landmarks(project: Project, ledger: Ledger) -> None:
    """Gives those of the paths that were idle for very long a landmark of now, before anything is written by the old
    one."""
    now = time.time()
    overdue = [path for path, terms in ledger.terms.items() if terms.decay and terms.decay.must_renew(now)]
    if not overdue:
        return
    renewed = run(
        f"""
        UPDATE routing_path AS path SET terms = terms + 1, landmark = extract(epoch FROM now()) FROM (
            SELECT id FROM routing_path WHERE project_id = %s AND id = ANY(%s) AND {MUST_RENEW}
            ORDER BY id FOR NO KEY UPDATE
        ) AS locked WHERE path.id = locked.id RETURNING path.id
        """,
        [project.id, overdue],
    )
    if renewed:
        reckon(project, sorted(path for (path,) in renewed))
    # Also of those that another writer renewed meanwhile.
    for path, *terms in run(f"SELECT id, {TERMS} FROM routing_path WHERE id = ANY(%s)", [overdue]):
        ledger.terms[path] = Terms(*terms)


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


@dataclass(slots=True)
class Correction:
    """What is to be written: outcomes that changed or went, first reports, and the sums' differences."""

    outcomes: list[dict[str, Any]] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)
    firsts: list[dict[str, Any]] = field(default_factory=list)
    sums: Sums = field(default_factory=Sums)


def correct(project: Project, pairs: Iterable[Pair], ledger: Ledger) -> Correction:
    done = Correction()
    ladder = ladder_of(project)
    for pair in pairs:
        goal, trace = pair
        before = ledger.outcomes.get(pair, {})
        now = executions(ledger.said.get(pair, []), ladder)
        models = ledger.models_of(now)
        for path in {*before, *now}:
            old = outcome_of(before[path]) if path in before else None
            new = None
            if path in now:
                new = counted(now[path], ledger.spent(trace, path, models, old))
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
# What of a state hangs on its path's terms.
_BY_TERMS = ("terms", "own", "earlier", "own_decayed", "earlier_decayed", "samples")
_ZEROS = f"array_fill(0::float8, ARRAY[{len(POINTS)}])"
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


def apply(project: Project, done: Correction) -> None:
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
        keep_plan=True,
    )
    left = set(done.sums.states) - set(written)
    if left:
        reckon(project, sorted({path for _, path, _ in left}))
    unsure = left | {key for key, total in done.sums.states.items() if total.tries_went}
    if unsure:
        _look_up_tries(project, sorted(unsure))


def _look_up_tries(project: Project, keys: Sequence[StateKey]) -> None:
    """The latest tries of states that lost one, or took none; their rows are this transaction's already."""
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


# A path's outcomes by pipeline, regime and the lower of the two points that a value lies between: what `tally` and
# `contribution` say of each, summed up. Where PostgreSQL would call a product too small, it is nothing.
_PARTS_SQL = f"""
SELECT pipeline_id, is_own, below, count(*), sum(lower), sum(upper), sum(lower * factor), sum(upper * factor)
FROM (
    SELECT *, weight * rest AS upper, weight - weight * rest AS lower,
        CASE WHEN exponent > ln({TINY}) THEN exp(exponent) ELSE 0 END AS factor
    FROM (
        SELECT pipeline_id, coalesce(at >= %(since)s, true) AS is_own, below,
            CASE WHEN value * 10 - below > {TINY} THEN value * 10 - below ELSE 0 END AS rest,
            CASE WHEN at < %(forgets_before)s OR least(attribution, confidence) < {TINY} THEN 0
                ELSE attribution * confidence END AS weight,
            ln(2::float8) / %(half_life_s)s * (at - %(landmark)s) AS exponent
        FROM routing_outcome
        CROSS JOIN LATERAL (SELECT coalesce(score, success::int) AS value) AS told
        CROSS JOIN LATERAL (SELECT least(floor(value * 10), 9)::int AS below) AS placed
        WHERE project_id = %(project)s AND goal_id = %(goal)s AND path_id = %(path)s
            AND attribution > 0 AND value IS NOT NULL
    ) AS weighed
) AS split GROUP BY 1, 2, 3
"""


def reckon(project: Project, paths: Sequence[UUID]) -> None:
    """Makes the states of paths anew from their outcomes, by the paths' terms as they are now. Their latest tries hang
    on no terms, and stay.

    Locks their states in order, and only then reads: a writer that is under way either has added to a state, and is
    waited for, or finds that the terms have changed and comes here itself.
    """
    with transaction.atomic():
        states = _lock_states(project, paths)
        for goal, path, terms in {(goal, path, state.terms) for (goal, path, _), state in states.items()}:
            parts = run(_PARTS_SQL, {"project": project.id, "goal": goal, "path": path, **asdict(terms)})
            for pipeline, *part in parts:
                for key in {(goal, path, ""), (goal, path, pipeline)} & states.keys():
                    states[key].add_part(*part)
        run(
            f"""
            UPDATE routing_pathstate AS kept SET version = version + 1, updated_at = now(),
                {", ".join(f"{name} = given.{name}" for name in _BY_TERMS)}
            FROM json_to_recordset(%s::json) AS given({_STATE_RECORD})
            WHERE kept.project_id = %s AND kept.path_id = given.path_id AND kept.pipeline_id = given.pipeline_id
            """,
            [orjson.dumps(Sums(states).state_rows()).decode(), project.id],
        )


def _lock_states(project: Project, paths: Sequence[UUID]) -> dict[StateKey, StateSum]:
    """Locks the states of paths, in order; answers them with nothing in them yet, and the terms that hold by then.

    Whoever adds a state to a path adds to that of all pipelines, or takes out of one that is there: so a path without
    any gets one first, and nobody adds to what was locked, nor beside it. The path's row stays free: who changes its
    terms holds it already, and waits here for a writer who would wait for that.
    """
    given = {"project": project.id, "paths": list(paths)}
    run(
        f"""
        INSERT INTO routing_pathstate AS kept (
            project_id, version, updated_at, goal_id, path_id, pipeline_id, terms, own, earlier, samples, tries)
        SELECT project_id, 0, now(), goal_id, id, '', terms, {_ZEROS}, {_ZEROS}, 0, '{{}}' FROM routing_path
        WHERE project_id = %(project)s AND id = ANY(%(paths)s) ORDER BY id
        ON CONFLICT (project_id, path_id, pipeline_id) DO UPDATE SET version = kept.version
        """,
        given,
    )
    states = run(
        "SELECT goal_id, path_id, pipeline_id FROM routing_pathstate "
        "WHERE project_id = %(project)s AND path_id = ANY(%(paths)s) ORDER BY path_id, pipeline_id FOR UPDATE",
        given,
    )
    rows = run(f"SELECT id, {TERMS} FROM routing_path WHERE project_id = %(project)s AND id = ANY(%(paths)s)", given)
    terms = {path: Terms(*rest) for path, *rest in rows}
    return {(goal, path, pipeline): StateSum(terms[path]) for goal, path, pipeline in states}


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
    run(
        f"""
        UPDATE routing_pathstate AS state SET version = version + 1, own = {_ZEROS}, earlier = {_ZEROS},
            own_decayed = NULL, earlier_decayed = NULL, samples = 0, tries = '{{}}',
            terms = (SELECT terms FROM routing_path WHERE id = state.path_id)
        WHERE project_id = %s AND path_id = ANY(%s) AND (path_id, pipeline_id) NOT IN (
            SELECT path_id, pipeline_id FROM json_to_recordset(%s::json) AS given(path_id uuid, pipeline_id text))
        """,
        [project.id, list(paths), orjson.dumps(given).decode()],
    )


# --- costs ----------------------------------------------------------------------------------------------------

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


def recost(project: Project, traces: Sequence[str]) -> None:
    """Gives the outcomes of locked traces what their calls cost and took, as the spans say now."""
    [answer] = run(COSTS_SQL, {"project": project.id, "traces": list(traces)}, keep_plan=True)
    ledger = ledger_of(*answer)
    renew_landmarks(project, ledger)
    done = Correction()
    for (goal, trace), of_pair in ledger.outcomes.items():
        models = ledger.models_of(of_pair)
        for path, row in of_pair.items():
            if path is None:
                continue
            old = outcome_of(row)
            cost, latency = ledger.spent(trace, path, models, old)
            new = replace(old, cost_usd=cost, latency_ms=latency)
            if new != old:
                done.outcomes.append(outcome_row(goal, trace, path, new))
                done.sums.correct(goal, path, ledger.terms[path], old, new)
    apply(project, done)
