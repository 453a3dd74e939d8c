"""Insights, policies and snapshots over a million outcomes, and the plans by which the tables that grow are read.

python -m benchmarks.insights [--quick]
"""

import sys
import time
from typing import Any

from benchmarks import rig

GOALS, PATHS = 20, 5
PIPELINES = ("", "chat", "mail")
DAYS = 180

# Outcomes with a row of evidence each, spread evenly over half a year, goals and paths; every path has a rate of its own.
FILL_SQL = """
WITH made AS MATERIALIZED (
    SELECT n, goal.id AS goal_id, path.id AS path_id, path.place,
        (ARRAY['', 'chat', 'mail'])[1 + n %% 3] AS pipeline_id,
        extract(epoch FROM now())::float8 - (n::float8 / %(count)s) * %(days)s * 86400 AS at,
        random() < 0.5 + path.place * 0.08 AS success, 200 + random() * 1000 AS latency,
        (ARRAY['timeout', 'validation_failed', 'tool_error'])[1 + n %% 3] AS failure
    FROM generate_series(1, %(count)s) AS n
    JOIN bench_goal AS goal ON goal.place = n %% %(goals)s
    JOIN bench_path AS path ON path.goal_id = goal.id AND path.place = (n / %(goals)s) %% %(paths)s
), ledger AS (
    INSERT INTO routing_ledgerrow (project_id, goal_id, trace_id, path_id, key, ref, source, success, confidence,
        failure_category, occurred_at, pipeline_id, recorded_at)
    SELECT %(project)s, goal_id, md5('t' || n), path_id, md5('k' || n), '', 'provider', success, 1,
        CASE WHEN NOT success THEN failure END, at, pipeline_id, to_timestamp(at) FROM made
), spans AS (
    INSERT INTO routing_eventspan (project_id, span_id, trace_id, parent_id, goal_name, provider, model, operation,
        status, error_type, cost_usd, latency_ms, at, received_at)
    SELECT %(project)s, md5('s' || n), md5('t' || n), '', '', '', 'model-' || place, '', 'ok', '', 0.001 * (1 + place),
        latency, to_timestamp(at), to_timestamp(at) FROM made
), decisions AS (
    INSERT INTO routing_decision (id, project_id, goal_id, trace_id, path_id, pipeline_id, risk, mode, exploration,
        reason, is_reported, decided_at)
    SELECT gen_random_uuid(), %(project)s, goal_id, md5('t' || n), path_id, pipeline_id, 'medium', 'apply', false, '',
        false, to_timestamp(at) FROM made
), firsts AS (
    INSERT INTO routing_firstreport (project_id, goal_id, path_id, trace_id, source, value, weight, at, recorded_at)
    SELECT %(project)s, goal_id, path_id, md5('t' || n), 'provider', success::int, 1, at, to_timestamp(at) FROM made
    WHERE at > extract(epoch FROM now()) - 14 * 86400
)
INSERT INTO routing_outcome (project_id, goal_id, trace_id, path_id, pipeline_id, success, confidence, attribution,
    failure_category, source, at, cost_usd, latency_ms)
SELECT %(project)s, goal_id, md5('t' || n), path_id, pipeline_id, success, 1, 1,
    CASE WHEN NOT success THEN failure END, 'provider', at,
    0.001 * (1 + place), latency FROM made
"""
GROWING = ("ledgerrow", "outcome", "pathbucket", "pathstate", "decision", "eventspan", "firstreport")


def main(quick: bool = False) -> list[str]:
    count = 20_000 if quick else 1_000_000
    seconds = 3.0 if quick else 10.0
    with rig.home():
        project, key = rig.new_project("Insights")
        begun = time.perf_counter()
        _make_goals(project)
        _fill(project, count)
        loaded = time.perf_counter() - begun
        begun = time.perf_counter()
        buckets = _sum_up(project, check=quick)
        summed = time.perf_counter() - begun
        lines = [
            f"| {count:,} outcomes of {GOALS} goals with {PATHS} paths over {DAYS} days | p50, ms | p99, ms |",
            "|---|---|---|",
        ]
        with rig.web(18815) as port:
            for name, figures in _ask(port, key, seconds).items():
                lines.append(f"| {name} | {figures.p50:.1f} | {figures.p99:.1f} |")
        lines += ["", f"Loaded in {loaded:.0f} s; summed up into {buckets:,} buckets in {summed:.0f} s.", ""]
        return lines + _plans(project)


def _make_goals(project: Any) -> None:
    from django.db import connection

    from agentloop.actors import SYSTEM
    from routing.paths import NewPath, register_path

    for goal in range(GOALS):
        for place in range(PATHS):
            register_path(project, SYSTEM, f"goal-{goal}", NewPath(f"model-{place}"))
    with connection.cursor() as cursor:
        cursor.execute(
            """
            CREATE TABLE bench_goal AS
                SELECT id, split_part(name, '-', 2)::int AS place FROM routing_goal WHERE project_id = %s""",
            [project.id],
        )
        cursor.execute(
            """
            CREATE TABLE bench_path AS
                SELECT id, goal_id, split_part(model, '-', 2)::int AS place FROM routing_path WHERE project_id = %s""",
            [project.id],
        )


def _fill(project: Any, count: int) -> None:
    from django.db import connection

    given = {"project": project.id, "count": count, "days": DAYS, "goals": GOALS, "paths": PATHS}
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE bench_goal, bench_path")
        cursor.execute(FILL_SQL, given)


# What `rebuild_routing` makes of the outcomes, in one statement each. All scores are 0 or 1 here.
ENDS = (
    "ARRAY[count(*) FILTER (WHERE NOT success), 0, 0, 0, 0, 0, 0, 0, 0, 0, count(*) FILTER (WHERE success)]::float8[]"
)
BUCKETS_SQL = f"""
WITH counted AS (
    SELECT goal_id, path.id AS path_id, pipeline.id AS pipeline_id, success, failure_category, cost_usd,
        ceil(ln(latency_ms) / ln(1.025 / 0.975))::int::text AS place, floor(at / 3600)::int AS hour,
        at > extract(epoch FROM now()) - 60 * 86400 AS is_recent
    FROM routing_outcome AS outcome, LATERAL (VALUES (outcome.path_id), (%(whole)s::uuid)) AS path(id),
        LATERAL (SELECT '' AS id UNION SELECT outcome.pipeline_id) AS pipeline
    WHERE project_id = %(project)s
), placed AS (
    SELECT *, CASE WHEN is_recent THEN hour ELSE hour / 24 * 24 END AS start, CASE WHEN is_recent THEN 1 ELSE 24 END AS hours
    FROM counted
), times AS (
    SELECT goal_id, path_id, pipeline_id, start, hours, jsonb_object_agg(place, times) AS latencies FROM (
        SELECT goal_id, path_id, pipeline_id, start, hours, place, count(*) AS times FROM placed GROUP BY 1, 2, 3, 4, 5, 6
    ) AS one GROUP BY 1, 2, 3, 4, 5
)
INSERT INTO routing_pathbucket (project_id, goal_id, path_id, pipeline_id, start, hours, samples, successes, rated,
    counts, failures, cost_usd, costs, latencies)
SELECT %(project)s, goal_id, path_id, pipeline_id, start, hours, count(*), count(*) FILTER (WHERE success), count(*), {ENDS},
    ARRAY[count(*) FILTER (WHERE failure_category = 'timeout'), 0, count(*) FILTER (WHERE failure_category = 'tool_error'),
        0, count(*) FILTER (WHERE failure_category = 'validation_failed'), 0, 0, 0, 0, 0, 0, 0, 0]::float8[],
    sum(cost_usd), count(*), min(latencies::text)::jsonb
FROM placed JOIN times USING (goal_id, path_id, pipeline_id, start, hours) GROUP BY 2, 3, 4, 5, 6
"""
STATES_SQL = f"""
INSERT INTO routing_pathstate (project_id, goal_id, path_id, pipeline_id, terms, version, own, earlier, samples, tries,
    updated_at)
SELECT %(project)s, goal_id, path_id, pipeline.id, 0, 1, {ENDS}, array_fill(0::float8, ARRAY[11]), count(*),
    (array_agg(at ORDER BY at DESC))[1:20], now()
FROM routing_outcome AS outcome, LATERAL (SELECT '' AS id UNION SELECT outcome.pipeline_id) AS pipeline
WHERE project_id = %(project)s GROUP BY 2, 3, 4
"""


def _sum_up(project: Any, check: bool) -> int:
    """States and buckets of all outcomes, old hours as days; in the short form proved against the ledger."""
    from django.db import connection

    from routing.models import WHOLE_GOAL, PathBucket
    from routing.rebuild import differences

    given = {"project": project.id, "whole": WHOLE_GOAL}
    with connection.cursor() as cursor:
        cursor.execute(BUCKETS_SQL, given)
        cursor.execute(STATES_SQL, given)
        for table in GROWING:
            cursor.execute(f"VACUUM ANALYZE routing_{table}")
    found = differences(project)[:3] if check else []
    assert not found, found
    return PathBucket.objects.filter(project=project).count()


def _ask(port: int, key: str, seconds: float) -> dict[str, rig.Figures]:
    """One client, as a coding agent or a page would ask."""
    insights = "/api/v1/intelligence/insights"
    wanted = {
        "insights, a week": ("GET", insights, ""),
        "insights, a day": ("GET", f"{insights}?window_hours=24", ""),
        "insights, half a year": ("GET", f"{insights}?window_hours=4320", ""),
        "insights of one goal, a week": ("GET", f"{insights}?goal=goal-7", ""),
        "insights of a pipeline, a week": ("GET", f"{insights}?pipeline_id=chat", ""),
        "a policy": ("POST", "/api/v1/intelligence/policy", '{"goal": "goal-7", "constraints": {"min_quality": 0.5}}'),
        "a snapshot": ("GET", "/api/v1/routing/state?goal=goal-7", ""),
        "a decision": ("POST", "/api/v1/routing/decide", '{"goal": "goal-7"}'),
        "an outcome": (
            "POST",
            "/api/v1/intelligence/report-outcome",
            '{"goal": "goal-7", "model_id": "model-1", "success": true}',
        ),
    }
    found = {}
    for name, (method, path, body) in wanted.items():
        rig.load(port, [(path, body)] * 10, method=method, key=key, connections=1, seconds=2)
        found[name] = rig.load(port, [(path, body)] * 4000, method=method, key=key, connections=1, seconds=seconds)
        assert set(found[name].statuses) == {"200"}, (name, found[name].statuses)
    return found


def _plans(project: Any) -> list[str]:
    """How every statement reads the tables that grow, by PostgreSQL's own account."""
    from django.db import connection

    from routing import advice, standings, watch
    from routing.models import Goal

    goals = list(Goal.objects.filter(project=project).values_list("id", flat=True))
    goal = goals[0]
    now = time.time()
    window = {"project": project.id, "from": standings.window_start(168, now), "half": standings.window_start(84, now)}
    look = {"goal": goal, "fallback": standings.goal_id(project.id, "*"), "pipeline": "", "always": True}
    trace = "SELECT md5('t17')"
    statements: dict[str, tuple[str, Any]] = {
        "insights: buckets": (advice._EVERY_SQL, {**window, "goals": goals, "pipeline": ""}),
        "insights: paths and states": (
            standings._LOOK_ALL_SQL,
            {"project": project.id, "goals": goals, "pipeline": ""},
        ),
        "a look with figures: states and buckets": (standings.LOOK_WINDOW_SQL, {**window, **look}),
        "a trace: ledger": (
            f"SELECT * FROM routing_ledgerrow WHERE project_id = %s AND trace_id = ({trace})",
            [project.id],
        ),
        "a trace: outcomes": (
            f"SELECT * FROM routing_outcome WHERE project_id = %s AND trace_id = ({trace})",
            [project.id],
        ),
        "a trace: spans": (
            f"SELECT * FROM routing_eventspan WHERE project_id = %s AND trace_id = ({trace})",
            [project.id],
        ),
        "a trace: decisions": (
            f"SELECT * FROM routing_decision WHERE project_id = %s AND trace_id = ({trace})",
            [project.id],
        ),
        "the watch: first reports": (watch._FIRST_SQL, {"project": project.id, "goal": goal, "now": now}),
        "the watch: buckets": (
            watch._KNOWN_SQL,
            {"project": project.id, "goal": goal, "now": now, "from": int(now / 3600) - 337},
        ),
        "retention: decisions": (
            "SELECT id FROM routing_decision WHERE project_id = %s AND goal_id = %s "
            "AND decided_at < now() - interval '90 days' ORDER BY decided_at LIMIT 5000",
            [project.id, goal],
        ),
        "a goal's log": (
            "SELECT * FROM routing_decision WHERE project_id = %s AND goal_id = %s ORDER BY decided_at DESC LIMIT 51",
            [project.id, goal],
        ),
        "retention: spans": (
            "SELECT id FROM routing_eventspan WHERE project_id = %s AND received_at < now() - interval '90 days' "
            "ORDER BY received_at LIMIT 5000",
            [project.id],
        ),
        "retention: first reports": (
            "SELECT id FROM routing_firstreport WHERE project_id = %s AND goal_id = %s AND at < %s ORDER BY at LIMIT 5000",
            [project.id, goal, now - 15 * 86400],
        ),
        "merging hours into days": (
            "SELECT id FROM routing_pathbucket WHERE project_id = %s AND hours = 1 AND start < %s ORDER BY start LIMIT 5000",
            [project.id, int(now / 3600) - 1440],
        ),
    }
    lines = []
    with connection.cursor() as cursor:
        for name, (sql, params) in statements.items():
            cursor.execute("EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, SUMMARY OFF) " + sql, params)
            lines += [f"{name}:", "```", *(line for (line,) in cursor.fetchall()), "```"]
    return lines


if __name__ == "__main__":
    begun = time.time()
    print("\n".join(main(quick="--quick" in sys.argv)))
    print(f"\n{time.time() - begun:.0f} s", file=sys.stderr)
