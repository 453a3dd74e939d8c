"""Sweeping a million expired turns, and what intake feels of it.

python -m benchmarks.sweep [--quick]
"""

import json
import subprocess
import sys
import time

from benchmarks import rig

SWEEPER = """
import json, sys, time
sys.path.insert(0, {root!r})
import django
django.setup()
from review.upkeep import sweep_expired
count, begun = 0, time.perf_counter()
while done := sweep_expired():
    count += done
print(json.dumps([count, time.perf_counter() - begun]))
"""


def main(quick: bool = False) -> list[str]:
    count = 200_000 if quick else 1_000_000
    with rig.home():
        swept, _ = rig.new_project("Swept")
        _, key = rig.new_project("Busy")
        rig.fill(swept, count, expired=True)
        with rig.web(18821) as port:
            rig.load(port, _requests(0, 500), key=key, connections=8, seconds=2)
            calm = _intake(port, key, 1)
            code = SWEEPER.format(root=str(rig.ROOT))
            sweeper = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
            time.sleep(1)
            busy = _intake(port, key, 2)
            # It sweeps on: what intake felt was felt while it ran.
            assert sweeper.poll() is None
            done, seconds = json.loads(sweeper.communicate(timeout=900)[0])
    return [
        "| sweep | figure |",
        "|---|---|",
        f"| expired turns deleted | {done:,} in {seconds:.0f} s, {done / seconds:,.0f}/s |",
        f"| intake without it, 8 connections | {calm.per_second:,.0f}/s, p99 {calm.p99:.1f} ms |",
        f"| intake while it runs | {busy.per_second:,.0f}/s, p99 {busy.p99:.1f} ms, {busy.p99 / calm.p99:.2f} of it |",
    ]


def _intake(port: int, key: str, series: int) -> rig.Figures:
    """The median of five runs."""
    return rig.median_of(
        [rig.load(port, _requests(5 * series + part, 20_000), key=key, connections=8, seconds=10) for part in range(5)]
    )


def _requests(series: int, count: int) -> list[tuple[str, str]]:
    return [("/v1/turns", json.dumps(rig.turn(series * 10_000_000 + number))) for number in range(count)]


if __name__ == "__main__":
    print("\n".join(main(quick="--quick" in sys.argv)))
