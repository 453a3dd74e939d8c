"""Opening and answering feedback links over HTTP, beside a bare view that reads a turn or writes one row.

python -m benchmarks.widget [--quick]
"""

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

from benchmarks import rig

# More turns than a run answers, as in use: a link is one person's word on one answer.
ROUNDS, TURNS, BATCH = 3, 20_000, 500
FORM = "application/x-www-form-urlencoded"
GOAL_US = 50
Requests = Iterator[tuple[str, str]]


def main(quick: bool = False) -> list[str]:
    seconds, lines = (2.0 if quick else 8.0), []
    with rig.home():
        unlimited = {"feedback_per_address": 100_000, "feedback_per_project": 1_000_000}
        project, _key = rig.new_project("Bench", **unlimited)
        links = Links(project, _logged(project))
        with (
            rig.web(18841, AGENTLOOP_TRUSTED_PROXIES="1") as ours,
            rig.web(18842, "benchmarks.rig.bare:application", BARE_PROJECT=str(project.id)) as bare,
        ):
            for name, method, mine, other in (
                ("opening a short link", "GET", links.short, links.bare_opened),
                ("opening a published link", "GET", links.published, links.bare_opened),
                ("answering yes", "POST", links.answers("correct"), links.bare_submitted),
                ("answering no", "POST", links.answers("incorrect"), links.bare_submitted),
            ):
                found: dict[str, list[rig.Figures]] = {"ours": [], "bare": []}
                # The first round warms both sides up and is not counted.
                for counts in (False, *[True] * (2 if quick else ROUNDS)):
                    for side, port, make in (("ours", ours, mine), ("bare", bare, other)):
                        run = _load(port, method, make, seconds)
                        if counts:
                            found[side].append(run)
                a, b = rig.median_of(found["ours"]), rig.median_of(found["bare"])
                lines.append(f"| {name} | {_cell(a)} | {_cell(b)} | {a.per_second / b.per_second:.2f} |")
        lines += _verifying()
    return ["| the widget, 16 connections | AgentLoop | bare view | ratio |", "|---|---|---|---|", *lines]


def _load(port: int, method: str, make: Callable[[], Requests], seconds: float) -> rig.Figures:
    requests = [request for _, request in zip(range(int(seconds * 2500)), make(), strict=False)]
    run = rig.load(port, requests, method=method, connections=16, seconds=seconds, content_type=FORM, from_afar=True)
    assert set(run.statuses) == {"200"}, (method, requests[0], run.statuses)
    return run


def _cell(run: rig.Figures) -> str:
    return f"{run.per_second:,.0f}/s, p50 {run.p50:.1f} ms, p99 {run.p99:.1f} ms"


def _logged(project: Any) -> list[Any]:
    from review.intake import log_turns

    made: list[Any] = []
    for start in range(0, TURNS, BATCH):
        turns = [rig.turn(number) for number in range(start, start + BATCH)]
        made += [logged.turn_id for logged, _ in log_turns(project, turns)]
    return made


class Links:
    """Links that were never sent before, to turns that are there."""

    def __init__(self, project: Any, turns: list[Any]) -> None:
        from agentloop.actors import SYSTEM
        from agentloop.keys import create_signing_key

        key, self.secret = create_signing_key(project=project, actor=SYSTEM)
        self.key_id, self.turns, self.last = key.key_id, turns, 0

    def next(self) -> int:
        self.last += 1
        return self.last

    def token(self, number: int) -> str:
        from agentloop.ids import shown
        from agentloop.signing import make_token

        turn = shown("turn", self.turns[number % TURNS])
        return make_token(self.secret, {"k": self.key_id, "turn": turn, "u": f"u{number}"}, int(time.time()))

    def short(self) -> Requests:
        while True:
            yield f"/f/{self.token(self.next())}", ""

    def published(self) -> Requests:
        from agentloop.signing import make_feedback_query

        while True:
            turn = rig.turn(self.next())
            query = make_feedback_query(
                self.secret, question=turn["question"], response=turn["agent_response"], at=int(time.time())
            )
            yield f"/feedback?{query}", ""

    def answers(self, rating: str) -> Callable[[], Requests]:
        def made() -> Requests:
            while True:
                yield f"/f/{self.token(self.next())}", urlencode({"rating": rating, "correction": "At nine."})

        return made

    def bare_opened(self) -> Requests:
        while True:
            yield f"/opened/{self.turns[self.next() % TURNS]}", ""

    def bare_submitted(self) -> Requests:
        while True:
            yield f"/submitted/{self.turns[self.next() % TURNS]}", urlencode({"rating": "correct", "correction": "x"})


def _verifying() -> list[str]:
    """The mathematics of a link alone: read, made again, compared."""
    from agentloop import signing

    secret, at = "a secret of the usual length, 43 characters", int(time.time())
    token = signing.make_token(secret, {"k": "0" * 12, "turn": f"turn_{'0' * 32}"}, at)
    turn = rig.turn(1)
    query = signing.make_feedback_query(secret, question=turn["question"], response=turn["agent_response"], at=at)

    def short() -> bool:
        payload, seconds = signing.read_token(token)
        return signing.is_signed_token(secret, token, payload, seconds)

    def published() -> bool:
        return signing.read_query(query).is_signed_with(secret)

    rows = []
    for name, verify in (("short", short), ("published", published)):
        assert verify()
        best = min(_timed(verify) for _ in range(5))
        rows.append(f"| verifying a {name} link | {best:.0f} µs | goal: under {GOAL_US} µs | |")
    return rows


def _timed(verify: Callable[[], bool], times: int = 2000) -> float:
    """Microseconds of the processor's time, so that what else runs here doesn't count."""
    begun = time.process_time()
    for _ in range(times):
        verify()
    return 1e6 * (time.process_time() - begun) / times


if __name__ == "__main__":
    print("\n".join(main(quick="--quick" in sys.argv)))
