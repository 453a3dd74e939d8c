"""The queue's pages and claims with ten thousand and with a million pending turns.

Pages are asked for over HTTP; claims are made by processes that call the queue itself.

python -m benchmarks.review_queue [--quick | --plans]
"""

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks import rig

SMALL, LARGE = 10_000, 1_000_000
CLAIMERS = 8
CLAIM_WORKER = """
import json, sys, time
sys.path.insert(0, {root!r})
import django
django.setup()
from agentloop.actors import Actor
from agentloop.models import Project
from review.queue import claim_next
project, me = Project.objects.get(slug={slug!r}), Actor("bench:{number}", "bench", frozenset(["review"]))
claim_next(project, me)
times, end = [], time.perf_counter() + {seconds}
begun = time.perf_counter()
while time.perf_counter() < end and len(times) < {most}:
    at = time.perf_counter()
    claim_next(project, me)
    times.append(time.perf_counter() - at)
print(json.dumps([time.perf_counter() - begun, times]))
"""


def main(quick: bool = False) -> list[str]:
    large = 50_000 if quick else LARGE
    seconds = 2.0 if quick else 5.0
    rows: dict[str, list[str]] = {}
    with rig.home():
        for count in (SMALL, large):
            project, key = rig.new_project(f"Queue {count}")
            rig.fill(project, count)
            with rig.web(18811) as port:
                for name, figures in _pages(port, key, seconds).items():
                    rows.setdefault(name, []).append(f"p50 {figures.p50:.1f}, p99 {figures.p99:.1f} ms")
            for name, text in _claims(project.slug, seconds).items():
                rows.setdefault(name, []).append(text)
        plans = _plans(project)
    lines = [f"| queue | {SMALL:,} pending | {large:,} pending |", "|---|---|---|"]
    return [*lines, *(f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()), "", *plans]


def _pages(port: int, key: str, seconds: float) -> dict[str, rig.Figures]:
    """One client. The next page is the tenth, reached by cursors as a reader would."""
    first = "/v1/turns?sort=priority&limit=50"
    cursor, paths = "", []
    for _ in range(10):
        cursor = _get(port, key, first + cursor)["next_cursor"]
        cursor = f"&cursor={cursor}"
        paths.append(first + cursor)
    wanted = {
        "first page": first,
        "tenth page": paths[-1],
        "filtered by goal": f"{first}&goal=goal_7",
        "filtered by signal": f"{first}&signal=confidence%3C0.5",
        "figures": "/v1/stats",
    }
    found = {}
    for name, path in wanted.items():
        rig.load(port, [(path, "")] * 20, method="GET", key=key, connections=1, seconds=2)
        found[name] = rig.load(port, [(path, "")] * 4000, method="GET", key=key, connections=1, seconds=seconds)
    return found


def _get(port: int, key: str, path: str) -> Any:
    import urllib.request

    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def _claims(slug: str, seconds: float) -> dict[str, str]:
    """`claim_next` as every face calls it, by processes of their own."""
    found = {}
    for claimers in (1, CLAIMERS):
        # Both rounds together leave something pending of the small queue.
        most = SMALL * 4 // 10 // claimers
        workers = [_claimer(slug, number, seconds, most) for number in range(claimers)]
        results = [json.loads(worker.communicate(timeout=120)[0]) for worker in workers]
        rate = sum(len(times) / elapsed for elapsed, times in results)
        times = sorted(time for _, times in results for time in times)
        p99 = 1000 * times[int(len(times) * 0.99)]
        found[f"claims, {claimers} at once"] = f"{rate:,.0f}/s, p99 {p99:.1f} ms"
    return found


def _claimer(slug: str, number: int, seconds: float, most: int) -> subprocess.Popen[str]:
    who = f"{number}-{random.random()}"
    code = CLAIM_WORKER.format(root=str(rig.ROOT), slug=slug, number=who, seconds=seconds, most=most)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def plans_at(count: int) -> list[str]:
    with rig.home():
        project, _ = rig.new_project("Plans")
        rig.fill(project, count)
        return _plans(project)


def _plans(project: Any) -> list[str]:
    """The plans of the hot statements, each as its function sends it, for the record."""
    from agentloop.actors import Actor
    from review import figures, filters, intake, queue, removal
    from review.models import Turn

    me = Actor("bench:plans", "bench", frozenset(["review"]))
    waiting = Turn.objects.of(project).pending()
    first = filters.page_of(waiting, sort="priority", limit=50, cursor=None)
    twin = {"question": "Asked before?", "agent_response": "Yes."}
    intake.log_turns(project, [twin])
    hot = {
        "first page": lambda: filters.page_of(waiting, sort="priority", limit=50, cursor=None),
        "next page": lambda: filters.page_of(waiting, sort="priority", limit=50, cursor=first.next_cursor),
        "count": lambda: figures.pending_count(project),
        "claim": lambda: queue._claim_due(project, me),
        "a new turn, and one merged": lambda: intake.log_turns(project, [{**twin, "question": "New?"}, twin]),
        "sweep": lambda: removal.sweep_expired(project),
    }
    # One turn that the sweep finds.
    waiting.filter(id=first.turns[0].id).update(expires_at="2000-01-01T00:00Z")
    lines = []
    for name, call in hot.items():
        for sql, params in _sent_by(call):
            lines += [f"## {name}", "", "```", *_plan(sql, params), "```", ""]
    return lines


def _sent_by(call: Callable[[], object]) -> list[tuple[str, Any]]:
    """The statements that a call sends, with their values. Nothing of what they do stays."""
    from django.db import transaction

    from benchmarks.rig.statements import every_statement

    sent: list[tuple[str, Any]] = []
    with transaction.atomic(), every_statement(lambda sql, params, ask: sent.append((sql, params))):
        call()
        transaction.set_rollback(True)
    return [(sql, params) for sql, params in sent if "SAVEPOINT" not in sql]


def _plan(sql: str, params: Any) -> list[str]:
    from django.db import transaction

    from agentloop.sql import run, run_positional

    explain = run_positional if "$1" in sql else run
    with transaction.atomic():
        rows = explain(f"EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) {sql}", params)
        transaction.set_rollback(True)
    return [line for (line,) in rows]


if __name__ == "__main__":
    begun = time.time()
    only_plans = "--plans" in sys.argv
    print("\n".join(plans_at(LARGE) if only_plans else main(quick="--quick" in sys.argv)))
    print(f"\n{time.time() - begun:.0f} s", file=sys.stderr)
