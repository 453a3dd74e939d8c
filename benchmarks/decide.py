"""Choosing and reporting over HTTP, beside a bare Django view with one SELECT and one INSERT; then insights.

python -m benchmarks.decide [--quick]
"""

import json
import sys
import time
import urllib.request
from typing import Any

from benchmarks import rig

DECIDE, REPORT = "/api/v1/routing/decide", "/api/v1/intelligence/report-outcome"
INSIGHTS = "/api/v1/intelligence/insights"
GOAL_LIMIT_MS = 200
LEDGER_SQL = """
INSERT INTO routing_ledgerrow (project_id, goal_id, trace_id, path_id, key, ref, source, success, score, confidence,
    occurred_at, pipeline_id, recorded_at, failure_category)
SELECT path.project_id, path.goal_id, 'bulk' || n, path.id, 'bulk' || n, '', 'provider', n %% 5 <> 0, NULL, 1,
    extract(epoch FROM now()) - (n %% 604800), '', now(), CASE WHEN n %% 5 = 0 THEN 'timeout' END
FROM generate_series(0, %s) AS n
JOIN (SELECT *, row_number() OVER (ORDER BY id) - 1 AS place, count(*) OVER () AS paths FROM routing_path
    WHERE project_id = %s) AS path ON path.place = n %% path.paths
"""


def main(quick: bool = False) -> list[str]:
    seconds = 1.5 if quick else 6.0
    lines = ["| routing | AgentLoop | bare view | ratio |", "|---|---|---|---|"]
    with rig.home():
        project, key = rig.new_project("Bench")
        for paths in (2, 10, 50):
            _fill(project, f"g{paths}", paths)
        with (
            rig.web(18821) as ours,
            rig.web(18822, "benchmarks.rig.bare:application", BARE_PROJECT=str(project.id)) as bare,
        ):
            for paths in (2, 10, 50):
                for connections in (1, 8, 32):
                    lines.append(_decide(ours, bare, key, paths, connections, seconds))
            for name, spread in (("one hot path", 1), ("100 paths", 100)):
                lines.append(_report(ours, key, name, spread, seconds))
        lines += _insights(50_000 if quick else 1_000_000)
    return lines


def _fill(project: Any, goal: str, paths: int) -> None:
    from routing.engine.evidence import Source
    from routing.evidence import Observation, record

    for path in range(paths):
        rows = [
            Observation(goal, Source.PROVIDER, f"{goal}-{path}-{n}", model=f"m{path}", success=(n * 7 + path) % 10 > 2)
            for n in range(60)
        ]
        record(project, rows)


def _decide(ours: int, bare: int, key: str, paths: int, connections: int, seconds: float) -> str:
    body = json.dumps({"goal": f"g{paths}", "task_risk_level": "medium"})
    found: dict[str, list[rig.Figures]] = {"ours": [], "bare": []}
    for counts in (False, True, True):
        for side, port, path in (("ours", ours, DECIDE), ("bare", bare, "/decide")):
            requests = [(path, body)] * int(seconds * 6000)
            run = rig.load(port, requests, key=key, connections=connections, seconds=seconds)
            assert set(run.statuses) == {"200"}, run.statuses
            if counts:
                found[side].append(run)
    a, b = rig.median_of(found["ours"]), rig.median_of(found["bare"])
    return f"| decide, {paths} paths, {connections} connections | {_cell(a)} | {_cell(b)} | {a.per_second / b.per_second:.2f} |"


def _report(port: int, key: str, name: str, spread: int, seconds: float) -> str:
    requests = [
        (
            REPORT,
            json.dumps({"goal": "hot", "trace_id": f"{name}{n}", "model_id": f"m{n % spread}", "success": n % 4 > 0}),
        )
        for n in range(int(seconds * 4000))
    ]
    rig.load(port, requests[:300], key=key, connections=8, seconds=seconds)
    run = rig.load(port, requests[300:], key=key, connections=32, seconds=seconds)
    assert set(run.statuses) == {"200"}, run.statuses
    return f"| report-outcome, {name}, 32 connections | {_cell(run)} | | |"


def _cell(run: rig.Figures) -> str:
    return f"{run.per_second:,.0f}/s, p50 {run.p50:.1f} ms, p99 {run.p99:.1f} ms"


def _insights(count: int) -> list[str]:
    """A million outcomes of a week on 20 paths in 4 goals, loaded into the ledger and made into states from it."""
    from django.db import connection

    from agentloop.actors import SYSTEM
    from routing.paths import NewPath, register_path
    from routing.rebuild import rebuild

    project, key = rig.new_project("Bulk")
    for goal in range(4):
        for path in range(5):
            register_path(project, SYSTEM, f"goal{goal}", NewPath(f"m{path}"))
    with connection.cursor() as cursor:
        cursor.execute(LEDGER_SQL, [count - 1, project.id])
    begun = time.perf_counter()
    rebuild(project)
    rebuilt = time.perf_counter() - begun
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE routing_pathbucket")
    with rig.web(18823) as port:
        # Each process's first answer, which fills its caches, is not counted.
        times = sorted([_get(port, key) for _ in range(220)][20:])
    note = f"goal: {GOAL_LIMIT_MS} ms"
    return [
        f"| insights over {count:,} outcomes | p50 {1000 * times[100]:.0f} ms, p99 {1000 * times[198]:.0f} ms | {note} | |",
        f"| rebuild of {count:,} outcomes | {rebuilt:.0f} s | | |",
    ]


def _get(port: int, key: str) -> float:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{INSIGHTS}", headers={"X-API-Key": key})
    begun = time.perf_counter()
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert len(json.load(answer)["goals"]) == 4
    return time.perf_counter() - begun


if __name__ == "__main__":
    print("\n".join(main("--quick" in sys.argv)))
