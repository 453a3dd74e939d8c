"""The queue's pages and claims with ten thousand and with a million pending turns.

python -m benchmarks.review_queue [--quick]
"""

import json
import random
import subprocess
import sys
import time
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


def _plans(project: Any) -> list[str]:
    """The plans of the hot reads, for the record: each is an index scan that stops after its page."""
    from review.models import Turn

    turns = Turn.objects.of(project).pending().order_by("-rank", "-id")[:51]
    expired = Turn.objects.of(project).filter(status="pending", expires_at__lte="2000-01-01T00:00Z")
    expired = expired.order_by("expires_at").values("id")[:2000]
    lines = []
    for name, query in (("first page", turns), ("sweep", expired)):
        lines += [f"{name}:", "```", query.explain(analyze=True, buffers=True), "```"]
    return lines


if __name__ == "__main__":
    begun = time.time()
    print("\n".join(main(quick="--quick" in sys.argv)))
    print(f"\n{time.time() - begun:.0f} s", file=sys.stderr)
