"""Logging turns over HTTP, beside a bare Django view that inserts the same rows into the same table.

python -m benchmarks.intake [--quick]
"""

import json
import sys

from benchmarks import rig

ROUNDS = 3


def main(quick: bool = False) -> list[str]:
    seconds, lines = (2.0 if quick else 8.0), []
    with rig.home():
        _, key = rig.new_project("Bench")
        other, _ = rig.new_project("Bare")
        with (
            rig.web(18801) as ours,
            rig.web(18802, "benchmarks.rig.bare:application", BARE_PROJECT=str(other.id)) as bare,
        ):
            ahead = Numbers()
            for name, size, connections in (("one turn", 1, 32), ("batch of 100", 100, 8)):
                found = {"ours": [], "bare": []}
                # The first round warms both sides up and is not counted.
                for counts in (False, *[True] * (2 if quick else ROUNDS)):
                    for side, port in (("ours", ours), ("bare", bare)):
                        requests = [ahead.request(size) for _ in range(int(seconds * (6000 if size == 1 else 500)))]
                        run = rig.load(port, requests, key=key, connections=connections, seconds=seconds)
                        assert set(run.statuses) <= {"200", "201"}, run.statuses
                        if counts:
                            found[side].append(run)
                a, b = rig.median_of(found["ours"]), rig.median_of(found["bare"])
                lines.append(
                    f"| {name}, {connections} connections | {a.per_second * size:,.0f} turns/s, p50 {a.p50:.1f} ms, "
                    f"p99 {a.p99:.1f} ms | {b.per_second * size:,.0f}/s, p50 {b.p50:.1f} ms, p99 {b.p99:.1f} ms | "
                    f"{a.per_second / b.per_second:.2f} |"
                )
    return ["| logging turns | AgentLoop | bare view | ratio |", "|---|---|---|---|", *lines]


class Numbers:
    """Turns that were never sent before."""

    def __init__(self) -> None:
        self.last = 0

    def request(self, size: int) -> tuple[str, str]:
        turns = [rig.turn(self.last + place) for place in range(size)]
        self.last += size
        if size == 1:
            return "/v1/turns", json.dumps(turns[0])
        return "/v1/turns/batch", json.dumps({"turns": turns})


if __name__ == "__main__":
    print("\n".join(main(quick="--quick" in sys.argv)))
