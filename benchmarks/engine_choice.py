"""What one choice costs in-process: `choose` over 2, 10 and 50 paths, with constraints and without.

    python -m benchmarks.engine_choice [--calls N]

Paths are old (hundreds of outcomes), young (under ten) or mixed, with 0/1 outcomes or scores. Beside it,
what the caller does once for a state version: a posterior, and the probabilities of being best and chosen."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from random import Random

from routing.engine import choice
from routing.engine.change import Detector, alarm, observe
from routing.engine.choice import Constraints, Contender, Figures, Terms, chances, choose
from routing.engine.histogram import Histogram, contribution, merged
from routing.engine.posterior import believe

NOW = 1_000_000.0
CONSTRAINED = Terms(constraints=Constraints(max_cost_usd=0.1, max_latency_ms=2_000.0, min_quality=0.1, max_risk=0.99))
AGES: dict[str, Sequence[int]] = {
    "old": (200, 500, 5_000),
    "young": (0, 3, 9),
    "mixed": (0, 3, 9, 200, 5_000),
}


def contenders_of(count: int, ages: Sequence[int], scored: bool, rng: Random) -> list[Contender]:
    return [_contender(str(i), _evidence(rng.choice(ages), scored, rng)) for i in range(count)]


def _evidence(outcomes: int, scored: bool, rng: Random) -> Histogram:
    mean = rng.uniform(0.4, 0.9)
    draw: Callable[[], float] = (
        (lambda: rng.betavariate(5 * mean, 5 * (1 - mean))) if scored else (lambda: float(rng.random() < mean))
    )
    return merged(contribution(draw()) for _ in range(outcomes))


def _contender(name: str, evidence: Histogram) -> Contender:
    n = evidence.weight
    seen = Figures(n, evidence.mean, 0.01, n, 800.0, n, 0.5, 0.1)
    return Contender(name, name, believe(evidence), seen, tried_at=NOW)


def timed(call: Callable[[], object], calls: int) -> tuple[float, float]:
    """(p50, p99) in microseconds."""
    took = []
    for _ in range(calls):
        begun = time.perf_counter_ns()
        call()
        took.append(time.perf_counter_ns() - begun)
    took.sort()
    return took[len(took) // 2] / 1_000, took[int(len(took) * 0.99)] / 1_000


def choices(calls: int) -> None:
    print("| paths | outcomes | age | constraints | p50, µs | p99, µs |\n|---|---|---|---|---|---|")
    for count in (2, 10, 50):
        for scored in (False, True):
            for age, ages in AGES.items():
                _choice_rows(count, scored, age, ages, calls)


def _choice_rows(count: int, scored: bool, age: str, ages: Sequence[int], calls: int) -> None:
    rng = Random(1)
    contenders = contenders_of(count, ages, scored, rng)
    for terms in (Terms(), CONSTRAINED):
        p50, p99 = timed(lambda terms=terms: choose(contenders, terms, rng, NOW), calls)  # type: ignore[misc]
        kind, asked = "scores" if scored else "0/1", "four" if terms.constraints else "none"
        print(f"| {count} | {kind} | {age} | {asked} | {p50:.0f} | {p99:.0f} |")


def rest(calls: int) -> None:
    print("\n| once for a state version, or an outcome | p50, µs | p99, µs |\n|---|---|---|")
    rng = Random(1)
    evidence = _evidence(500, True, rng)
    _row("a posterior", lambda: believe(evidence), calls)
    for count in (2, 10, 50):
        contenders = contenders_of(count, AGES["mixed"], True, rng)
        _row(f"the chances of {count} paths", lambda c=contenders: _chances_anew(c), 200)
    detector = Detector()
    for step in range(10_000):
        detector = observe(detector, float(rng.random() < 0.9), float(step))
    _row("an outcome past the detector, the 10,001st", lambda: alarm(observe(detector, 1.0, 1e4)), calls)


def _chances_anew(contenders: Sequence[Contender]) -> None:
    choice._probabilities_best.cache_clear()
    chances(contenders, CONSTRAINED, NOW)


def _row(words: str, call: Callable[..., object], calls: int) -> None:
    p50, p99 = timed(call, calls)
    print(f"| {words} | {p50:.0f} | {p99:.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=5_000)
    calls = parser.parse_args().calls
    choices(calls)
    rest(calls)


if __name__ == "__main__":
    main()
