"""Seeded simulation of the routing engine against peers from the package index and written references.

    python -m benchmarks.regret [--quick] [--only a,d] [--seeds N] [--processes N] [--policies "imed;river ts"]
    python -m benchmarks.regret --plot docs/img/traffic.svg

The engine under test is what serves `decide`: `choose` over contenders, fed through `contribution`,
`corrected`, `observe`, `alarm`, `regimes_after` and `carried`. Peers (mabwiser, river) are imported here
only; where they are missing the table says so. Cumulative regret by true means; lower is better."""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, Protocol

from benchmarks.rig import plot
from routing.engine import change
from routing.engine.choice import UNCONSTRAINED, Constraints, Contender, Figures, Terms, choose, tried
from routing.engine.histogram import EMPTY, Histogram, contribution, corrected, merged
from routing.engine.posterior import believe
from routing.engine.sketch import Sketch, bucket_of

STEP_S = 60.0


# --- Worlds -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scenario:
    key: str
    title: str
    means: tuple[float, ...]
    means_later: tuple[float, ...] | None = None
    steps: int = 10_000
    spread: float | None = None
    """None for 0/1 outcomes, else the scores' standard deviation."""
    delay: int = 0
    wrong_first: float = 0.0
    corrected_after: int = 0
    wrong_for_good: float = 0.0
    costs: tuple[float, ...] = ()
    latencies: tuple[float, ...] = ()
    constraints: Constraints = UNCONSTRAINED
    seeds: int = 100

    def means_at(self, step: int) -> tuple[float, ...]:
        return self.means_later if self.means_later and step >= self.steps // 2 else self.means

    def worths_at(self, step: int) -> tuple[float, ...]:
        """What a decision is worth: the path's mean, and nothing where it breaks a constraint."""
        means = self.means_at(step)
        return tuple(0.0 if self.breaks(arm) else mean for arm, mean in enumerate(means))

    def breaks(self, arm: int) -> bool:
        """By true figures; latencies are log-normal with sigma 0.3, so p95 is 1.638 times the median."""
        if not self.costs:
            return False
        cost, latency = self.constraints.max_cost_usd, self.constraints.max_latency_ms
        assert cost is not None
        assert latency is not None
        return self.costs[arm] > cost or self.latencies[arm] * math.exp(1.645 * 0.3) > latency


def ten(best: float, gap: float) -> tuple[float, ...]:
    return (*(best - gap,) * 3, best, *(best - gap,) * 6)


A = ten(0.5, 0.1)
COLLAPSED = tuple(0.1 if mean == 0.5 else mean for mean in A)
RISEN = (*A[:6], 0.7, *A[7:])
SCENARIOS = [
    Scenario("a", "0/1, best 0.5, gap 0.1", A),
    Scenario("a9", "0/1, agent-like: 0.9 against 0.85", ten(0.9, 0.05)),
    Scenario("b", "0/1, gap 0.02, T = 100,000", ten(0.5, 0.02), steps=100_000, seeds=10),
    Scenario("c25", "scores, spread 0.1, best 0.25", ten(0.25, 0.1), spread=0.1),
    Scenario("c50", "scores, spread 0.1, best 0.5", ten(0.5, 0.1), spread=0.1),
    Scenario("c90", "scores, spread 0.1, best 0.9", ten(0.9, 0.1), spread=0.1),
    Scenario("d", "the best path collapses to 0.1 half-way", A, COLLAPSED),
    Scenario("e", "the order of paths is swapped half-way", A, tuple(reversed(A))),
    Scenario("e2", "another path rises to 0.7, the leader stays; T = 40,000", A, RISEN, steps=40_000, seeds=20),
    Scenario("f", "outcomes delayed by 500 steps", A, delay=500),
    Scenario("g", "20 % wrong at first, corrected 500 steps later", A, wrong_first=0.2, corrected_after=500),
    Scenario("h", "one in ten wrong for good", A, wrong_for_good=0.1),
    Scenario(
        "i",
        "cost and latency constraints",
        (0.6, 0.55, 0.5, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4),
        costs=(0.05, 0.01, 0.01, 0.01, 0.05, 0.01, 0.01, 0.01, 0.01, 0.01),
        latencies=(500.0, 3000.0, 500.0, 500.0, 500.0, 3000.0, 500.0, 500.0, 500.0, 500.0),
        constraints=Constraints(max_cost_usd=0.02, max_latency_ms=1500.0),
    ),
]


@dataclass(frozen=True, slots=True)
class Report:
    """One outcome on its way to the policies."""

    handle: int
    arm: int
    decided_at: int
    value: float
    cost: float = 0.0
    latency: float = 0.0


class World:
    """One seed of a scenario. Every arm has a generator of its own, so that the n-th pull of an arm draws
    the same number under every policy."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        self.arms = [Random(f"{scenario.key}/{seed}/{arm}") for arm in range(len(scenario.means))]

    def pull(self, arm: int, step: int) -> tuple[float, Report]:
        """The true value, and the report of it as it is first made."""
        world, rng = self.scenario, self.arms[arm]
        mean = world.means_at(step)[arm]
        if world.spread is None:
            value = float(rng.random() < mean)
        else:
            size = mean * (1 - mean) / world.spread**2 - 1
            value = rng.betavariate(mean * size, (1 - mean) * size)
        wrong = rng.random() < world.wrong_first + world.wrong_for_good
        told = 1 - value if wrong else value
        if not world.costs:
            return value, Report(step, arm, step, told)
        cost = world.costs[arm] * rng.uniform(0.8, 1.2)
        latency = world.latencies[arm] * math.exp(0.3 * rng.gauss(0, 1))
        return value, Report(step, arm, step, told, cost, latency)


# --- Policies ---------------------------------------------------------------------------------------------


class Policy(Protocol):
    def pick(self, step: int) -> int: ...

    def learn(self, report: Report) -> None: ...

    def correct(self, report: Report, value: float) -> None: ...


class AgentLoop:
    """The engine, wired as the server wires it."""

    def __init__(self, scenario: Scenario, seed: int, detect: bool = True) -> None:
        self.rng = Random(seed)
        self.terms = Terms(constraints=scenario.constraints)
        self.watches_cost = bool(scenario.costs)
        self.detect = detect
        arms = range(len(scenario.means))
        self.own: list[Histogram] = [EMPTY for _ in arms]
        self.earlier: list[Histogram] = [EMPTY for _ in arms]
        self.regimes = [change.Regime() for _ in arms]
        self.shaken: dict[str, list[int]] = {}
        self.ledger: list[list[int]] = [[] for _ in arms]
        self.outcomes: dict[int, tuple[float, Histogram]] = {}
        self.detectors = [change.Detector() for _ in arms]
        self.figures = [Figures() for _ in arms]
        self.latencies: list[dict[int, float]] = [{} for _ in arms]
        self.tries: list[tuple[float, ...]] = [() for _ in arms]
        self.contenders = [Contender(str(arm), str(arm), believe(EMPTY)) for arm in arms]

    def pick(self, step: int) -> int:
        taken = choose(self.contenders, self.terms, self.rng, step * STEP_S)
        return int(taken.path_id) if taken.path_id is not None else int(self.rng.random() * len(self.contenders))

    def learn(self, report: Report) -> None:
        arm, at = report.arm, report.decided_at * STEP_S
        vector = contribution(report.value)
        self.outcomes[report.handle] = (at, vector)
        self.ledger[arm].append(report.handle)
        self.tries[arm] = tried(self.tries[arm], at)
        self._put(arm, at, EMPTY, vector)
        if self.watches_cost:
            self._note_cost(report)
        if self.detect:
            self._watch(arm, report.value, at)
        self._refresh(arm)

    def correct(self, report: Report, value: float) -> None:
        at, old = self.outcomes[report.handle]
        new = contribution(value)
        self.outcomes[report.handle] = (at, new)
        self._put(report.arm, at, old, new)
        self._refresh(report.arm)

    def _put(self, arm: int, at: float, old: Histogram, new: Histogram) -> None:
        side = self.own if at >= self.regimes[arm].since else self.earlier
        side[arm] = corrected(side[arm], old, new)

    def _watch(self, arm: int, value: float, at: float) -> None:
        self.detectors[arm] = change.observe(self.detectors[arm], value, at)
        found = change.alarm(self.detectors[arm])
        if found is None:
            return
        leader = max(self.contenders, key=lambda c: c.posterior.mean).path_id
        weights = {str(other): own.weight for other, own in enumerate(self.own)}
        for path, regime in change.regimes_after(found, str(arm), leader, weights).items():
            self._open(int(path), regime)
        self.shaken = {}
        for arm_shaken, regime in enumerate(self.regimes):
            if regime.shaken_by is not None:
                self.shaken.setdefault(regime.shaken_by, []).append(arm_shaken)
        self.detectors[arm] = change.restarted(self.detectors[arm], found.since)

    def _open(self, arm: int, regime: change.Regime) -> None:
        vectors = [self.outcomes[handle] for handle in self.ledger[arm]]
        self.regimes[arm] = regime
        self.own[arm] = merged(vector for at, vector in vectors if at >= regime.since)
        self.earlier[arm] = merged(vector for at, vector in vectors if at < regime.since)
        self._refresh(arm)

    def _refresh(self, arm: int) -> None:
        """The contender anew, and those whose evidence counts by whether this one fell."""
        self._renew(arm)
        for other in self.shaken.get(str(arm), ()):
            self._renew(other)

    def _renew(self, arm: int) -> None:
        own, earlier = self.own[arm], self.earlier[arm]
        self.contenders[arm] = replace(
            self.contenders[arm],
            posterior=believe(own, change.carried(earlier, self._doubt(arm))) if earlier.weight else believe(own),
            figures=self.figures[arm],
            tried_at=self.tries[arm][0] if self.tries[arm] else None,
        )

    def _doubt(self, arm: int) -> float:
        shaker = self.regimes[arm].shaken_by
        moved = arm if shaker is None else int(shaker)
        return change.doubt(self.earlier[moved], self.own[moved])

    def _note_cost(self, report: Report) -> None:
        seen, counts = self.figures[report.arm], self.latencies[report.arm]
        bucket = bucket_of(report.latency)
        counts[bucket] = counts.get(bucket, 0) + 1
        n = seen.cost_samples + 1
        cost = ((seen.mean_cost_usd or 0.0) * seen.cost_samples + report.cost) / n
        self.figures[report.arm] = Figures(
            samples=n,
            mean_cost_usd=cost,
            cost_samples=n,
            p95_latency_ms=Sketch(counts).p95,
            latency_samples=n,
        )


def undetecting(scenario: Scenario, seed: int) -> AgentLoop:
    return AgentLoop(scenario, seed, detect=False)


class Counting:
    """What the written references share: sums by arm, and the charity that a correction takes the wrong
    report out again, which no installed peer can do."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        arms = len(scenario.means)
        self.rng = Random(seed)
        self.pulls, self.sums, self.squares = [0] * arms, [0.0] * arms, [0.0] * arms
        self.asked = 0

    def learn(self, report: Report) -> None:
        self.pulls[report.arm] += 1
        self._add(report.arm, report.value, 1)

    def correct(self, report: Report, value: float) -> None:
        self._add(report.arm, report.value, -1)
        self._add(report.arm, value, 1)

    def _add(self, arm: int, value: float, sign: int) -> None:
        self.sums[arm] += sign * value
        self.squares[arm] += sign * value * value

    def pick(self, step: int) -> int:
        """First each arm once in turn (also while nothing has come back), then by index."""
        self.asked += 1
        if min(self.pulls) == 0:
            return (self.asked - 1) % len(self.pulls)
        return self._largest([self.index(arm, sum(self.pulls)) for arm in range(len(self.pulls))])

    def _largest(self, indices: Sequence[float]) -> int:
        top = max(indices)
        return self.rng.choice([arm for arm, index in enumerate(indices) if index == top])

    def index(self, arm: int, total: int) -> float:
        raise NotImplementedError


class BetaThompson(Counting):
    def pick(self, step: int) -> int:
        return self._largest([self.index(arm, 0) for arm in range(len(self.pulls))])

    def index(self, arm: int, total: int) -> float:
        return self.rng.betavariate(1 + self.sums[arm], 1 + self.pulls[arm] - self.sums[arm])


class UcbTuned(Counting):
    def index(self, arm: int, total: int) -> float:
        n, mean = self.pulls[arm], self.sums[arm] / self.pulls[arm]
        width = math.log(total) / n
        variance = max(0.0, self.squares[arm] / n - mean * mean) + math.sqrt(2 * width)
        return mean + math.sqrt(width * min(0.25, variance))


class KlUcb(Counting):
    def index(self, arm: int, total: int) -> float:
        n, mean = self.pulls[arm], self.sums[arm] / self.pulls[arm]
        budget = math.log(total) / n
        low, high = mean, min(1.0, mean + math.sqrt(budget / 2))
        while high - low > 1e-4:
            middle = (low + high) / 2
            inside = change.bernoulli_divergence(min(mean, 1.0), min(middle, 1 - 1e-12)) <= budget
            low, high = (middle, high) if inside else (low, middle)
        return low


class Imed(Counting):
    def index(self, arm: int, total: int) -> float:
        means = [s / n for s, n in zip(self.sums, self.pulls, strict=True)]
        best = min(max(means), 1 - 1e-9)
        n, mean = self.pulls[arm], min(max(means[arm], 0.0), 1.0)
        cost = change.bernoulli_divergence(mean, best) if mean < best else 0.0
        return -(n * cost + math.log(n))


class EpsilonGreedy(Counting):
    def pick(self, step: int) -> int:
        return int(self.rng.random() * len(self.pulls)) if self.rng.random() < 0.1 else super().pick(step)

    def index(self, arm: int, total: int) -> float:
        return self.sums[arm] / self.pulls[arm]


class Uniform(Counting):
    def pick(self, step: int) -> int:
        return int(self.rng.random() * len(self.pulls))


class Mabwiser:
    """Has no way to take a report back: a correction is one more observation."""

    def __init__(self, scenario: Scenario, seed: int, policy: Callable[[Any], Any], each_first: bool = False) -> None:
        from mabwiser.mab import MAB, LearningPolicy  # type: ignore[import-untyped]

        self.arms = list(range(len(scenario.means)))
        self.mab = MAB(self.arms, policy(LearningPolicy), seed=seed)
        self.fitted = False
        self.rng = Random(seed)
        # Its UCB1 never picks an arm that it has not seen.
        self.first = list(self.arms) if each_first else []

    def pick(self, step: int) -> int:
        if self.first:
            return self.first.pop()
        return int(self.mab.predict()) if self.fitted else int(self.rng.random() * len(self.arms))

    def learn(self, report: Report) -> None:
        self._observe(report.arm, report.value)

    def correct(self, report: Report, value: float) -> None:
        self._observe(report.arm, value)

    def _observe(self, arm: int, value: float) -> None:
        (self.mab.partial_fit if self.fitted else self.mab.fit)([arm], [value])
        self.fitted = True


def mabwiser_ts(scenario: Scenario, seed: int) -> Mabwiser:
    """Its binariser flips a coin of the score's bias (Agrawal and Goyal, 2012), which keeps the order of
    the means; a threshold does so only where it happens to lie well, as 0.5 does in (c50)."""
    rng = Random(f"coin/{seed}")

    def coin(arm: int, reward: float) -> int:
        return int(rng.random() < reward)

    return Mabwiser(scenario, seed, lambda policies: policies.ThompsonSampling(coin))


def mabwiser_ucb1(scenario: Scenario, seed: int) -> Mabwiser:
    return Mabwiser(scenario, seed, lambda policies: policies.UCB1(alpha=1.0), each_first=True)


class River:
    """As Mabwiser: no way to take a report back."""

    def __init__(self, scenario: Scenario, seed: int, policy: Callable[[Any, int], Any]) -> None:
        from river import bandit

        self.arms = list(range(len(scenario.means)))
        self.bandit = policy(bandit, seed)

    def pick(self, step: int) -> int:
        return int(self.bandit.pull(self.arms))

    def learn(self, report: Report) -> None:
        self.bandit.update(report.arm, report.value)

    def correct(self, report: Report, value: float) -> None:
        self.bandit.update(report.arm, value)


def river_ts(scenario: Scenario, seed: int) -> River:
    from river import proba

    return River(scenario, seed, lambda bandit, s: bandit.ThompsonSampling(reward_obj=proba.Beta(), seed=s))


def river_bayes_ucb(scenario: Scenario, seed: int) -> River:
    return River(scenario, seed, lambda bandit, s: bandit.BayesUCB(seed=s))


POLICIES: dict[str, Callable[[Scenario, int], Policy]] = {
    "agentloop": AgentLoop,
    "agentloop, no detector": undetecting,
    "beta-ts": BetaThompson,
    "ucb-tuned": UcbTuned,
    "kl-ucb": KlUcb,
    "imed": Imed,
    "epsilon-greedy 0.1": EpsilonGreedy,
    "uniform": Uniform,
    "mabwiser ts": mabwiser_ts,
    "mabwiser ucb1": mabwiser_ucb1,
    "river ts": river_ts,
    "river bayes-ucb": river_bayes_ucb,
}


# --- Running ----------------------------------------------------------------------------------------------


def played(scenario: Scenario, name: str, seed: int) -> Iterator[tuple[int, int]]:
    """One run: each step with the arm that was picked. Outcomes and corrections reach the policy when they are due."""
    world, policy = World(scenario, seed), POLICIES[name](scenario, seed)
    arriving: deque[Report] = deque()
    correcting: deque[tuple[Report, float]] = deque()
    for step in range(scenario.steps):
        while arriving and arriving[0].decided_at + scenario.delay <= step:
            policy.learn(arriving.popleft())
        while correcting and correcting[0][0].decided_at + scenario.corrected_after <= step:
            policy.correct(*correcting.popleft())
        arm = policy.pick(step)
        yield step, arm
        value, report = world.pull(arm, step)
        arriving.append(report)
        if scenario.wrong_first and value != report.value:
            correcting.append((report, value))


def regret_of(scenario: Scenario, name: str, seed: int) -> tuple[float, float]:
    """One run's cumulative regret, and the share of decisions that broke a constraint."""
    regret, broken = 0.0, 0
    for step, arm in played(scenario, name, seed):
        worths = scenario.worths_at(step)
        regret += max(worths) - worths[arm]
        broken += scenario.breaks(arm)
    return regret, broken / scenario.steps


Job = tuple[str, int, str, int]
"""Scenario, steps, policy, seed."""


def _job(job: Job) -> tuple[Job, tuple[float, float, float]]:
    key, steps, name, seed = job
    begun = time.perf_counter()
    regret, broken = regret_of(replace(BY_KEY[key], steps=steps), name, seed)
    return job, (regret, broken, time.perf_counter() - begun)


BY_KEY = {scenario.key: scenario for scenario in SCENARIOS}
PEERS = {"mabwiser": ("mabwiser ts", "mabwiser ucb1"), "river": ("river ts", "river bayes-ucb")}
WITHOUT_DETECTOR = ("a", "a9", "b", "d", "e")

Results = dict[tuple[str, str], list[tuple[float, float, float]]]


def run(jobs: Sequence[Job], processes: int, kept: Path | None) -> Results:
    """Runs what `kept` does not hold yet, and adds it there, so that a long run can be cut short."""
    done = _read(kept)
    with ProcessPoolExecutor(processes) as pool:
        for job, figures in pool.map(_job, [job for job in jobs if job not in done], chunksize=1):
            done[job] = figures
            if kept is not None:
                with kept.open("a") as lines:
                    lines.write(json.dumps([job, figures]) + "\n")
    results: Results = {}
    for key, steps, name, seed in jobs:
        results.setdefault((key, name), []).append(done[key, steps, name, seed])
    return results


def _read(kept: Path | None) -> dict[Job, tuple[float, float, float]]:
    if kept is None or not kept.exists():
        return {}
    rows = [json.loads(line) for line in kept.read_text().splitlines()]
    return {tuple(job): tuple(figures) for job, figures in rows}


def mean_and_error(results: Results, key: str, name: str, seeds: int | None = None) -> tuple[float, float]:
    regrets = [regret for regret, _, _ in results[key, name][:seeds]]
    if len(regrets) < 2:
        return regrets[0], math.inf
    return statistics.mean(regrets), statistics.stdev(regrets) / math.sqrt(len(regrets))


def lai_robbins(scenario: Scenario) -> float | None:
    """The least regret that any uniformly good rule has in the long run, for 0/1 outcomes at rest."""
    if scenario.key not in ("a", "a9", "b", "f", "g"):
        return None
    best = max(scenario.means)
    gaps = [(best - mean) / change.bernoulli_divergence(mean, best) for mean in scenario.means if mean < best]
    return sum(gaps) * math.log(scenario.steps)


def print_table(results: Results, scenarios: Sequence[Scenario], names: Sequence[str]) -> None:
    print("| policy | " + " | ".join(s.key for s in scenarios) + " |")
    print("|---" * (len(scenarios) + 1) + "|")
    for name in names:
        print(f"| {name} | " + " | ".join(_cell(results, s, name) for s in scenarios) + " |")


def _cell(results: Results, scenario: Scenario, name: str) -> str:
    if (scenario.key, name) not in results:
        return "-"
    mean, error = mean_and_error(results, scenario.key, name)
    bound = lai_robbins(scenario)
    ratio = f" ({mean / bound:.2f})" if bound else ""
    broken = statistics.mean(share for _, share, _ in results[scenario.key, name])
    seeds = len(results[scenario.key, name])
    few = f" [{seeds}]" if seeds < scenario.seeds else ""
    return f"{mean:.0f} ± {error:.0f}{ratio}{few}" + (f", {broken:.1%} broke" if scenario.costs else "")


@dataclass(frozen=True)
class Check:
    words: str
    figure: float
    bound: float
    error: float = 0.0
    """The figure's standard error, where noise is to be forgiven."""

    @property
    def met(self) -> bool:
        return self.figure <= self.bound + 2 * self.error

    def __str__(self) -> str:
        mark = "met   " if self.met else "NOT MET"
        return f"- {mark} {self.words}: {self.figure:.3g} (at most {self.bound:.3g} ± {2 * self.error:.2g})"


SAMPLERS = ("beta-ts", "mabwiser ts", "river ts")
INSTALLED = ("mabwiser ts", "mabwiser ucb1", "river ts", "river bayes-ucb")


def checks_of(results: Results) -> list[Check]:
    keys = {key for key, name in results if name == "agentloop"}
    found = [check for key in sorted(keys) for check in _against_others(results, key)]
    for key, base, bound, words in (
        ("g", "a", 1.15, "late corrections against the clean run"),
        ("f", "a", 1.3, "a delay of 500 against the clean run"),
    ):
        if {key, base} <= keys:
            found.append(_ratio(results, words, (key, "agentloop"), (base, "agentloop"), bound))
    for key in ("a", "a9", "b"):
        if key in keys and (key, "agentloop, no detector") in results:
            words = f"({key}) change detection where nothing changes"
            found.append(_ratio(results, words, (key, "agentloop"), (key, "agentloop, no detector"), 1.1))
    return found


def _against_others(results: Results, key: str) -> list[Check]:
    found = []
    samplers = [name for name in SAMPLERS if (key, name) in results]
    if samplers:
        best = min(samplers, key=lambda name: mean_and_error(results, key, name)[0])
        words = f"({key}) against the best Thompson sampler, {best}"
        found.append(_ratio(results, words, (key, "agentloop"), (key, best), 1.0))
    installed = [name for name in INSTALLED if (key, name) in results]
    if installed and key[0] in "cdg":
        best = min(installed, key=lambda name: mean_and_error(results, key, name)[0])
        words = f"({key}) clearly ahead of the best installed peer, {best}"
        found.append(replace(_ratio(results, words, (key, "agentloop"), (key, best), 0.9), error=0.0))
    everyone = [name for scenario, name in results if scenario == key and not name.startswith("agentloop")]
    if key == "e" and everyone:
        best = min(everyone, key=lambda name: mean_and_error(results, key, name)[0])
        found.append(_ratio(results, f"(e) against the best of all, {best}", (key, "agentloop"), (key, best), 1.3))
    return found


def _ratio(results: Results, words: str, one: tuple[str, str], other: tuple[str, str], bound: float) -> Check:
    """Over the seeds that both have."""
    seeds = min(len(results[one]), len(results[other]))
    mean, error = mean_and_error(results, *one, seeds)
    base, base_error = mean_and_error(results, *other, seeds)
    ratio = mean / base
    return Check(words, ratio, bound, ratio * math.hypot(error / mean, base_error / base))


# --- Detection --------------------------------------------------------------------------------------------


def detection_delay(before: float, after: float, history: int, seeds: int, horizon: int = 5_000) -> float:
    """Mean outcomes from a change to the alarm, after `history` outcomes at the old rate."""
    delays = []
    for seed in range(seeds):
        rng, detector = Random(f"{before}/{after}/{history}/{seed}"), change.Detector()
        for step in range(history):
            detector = change.observe(detector, float(rng.random() < before), float(step))
        delays.append(_outcomes_to_alarm(detector, rng, after, horizon))
    return statistics.mean(delays)


def _outcomes_to_alarm(detector: change.Detector, rng: Random, rate: float, horizon: int) -> int:
    for step in range(1, horizon):
        detector = change.observe(detector, float(rng.random() < rate), float(step))
        if change.alarm(detector):
            return step
    return horizon


def false_alarms(rate: float, outcomes: int) -> int:
    rng, detector, alarms = Random(f"false/{rate}"), change.Detector(), 0
    for step in range(outcomes):
        detector = change.observe(detector, float(rng.random() < rate), float(step))
        if step % 20_000 == 0 or change.alarm(detector):
            alarms += step % 20_000 != 0
            detector = change.Detector()
    return alarms


DELAY_GOALS = {0.4: 18, 0.6: 45, 0.7: 90, 0.8: 310}


def print_detection(seeds: int, outcomes: int) -> list[Check]:
    checks = []
    print("\n| 0.9 falls to | Lorden's bound | after 1,000 outcomes | after 100 (stopped at 5,000) |")
    print("|---|---|---|---|")
    for after, goal in DELAY_GOALS.items():
        bound = math.log(10_000) / change.bernoulli_divergence(after, 0.9)
        known, unknown = (detection_delay(0.9, after, history, seeds) for history in (1_000, 100))
        print(f"| {after} | {bound:.0f} | {known:.0f} | {unknown:.0f} |")
        checks.append(Check(f"detection delay 0.9 to {after}", known, goal))
    for rate in (0.1, 0.5, 0.9):
        alarms = false_alarms(rate, outcomes)
        print(f"\nFalse alarms at {rate}: {alarms} in {outcomes:,} outcomes")
        checks.append(Check(f"false alarms for 10,000 outcomes at {rate}", alarms / outcomes * 10_000, 1.0))
    return checks


# --- The plot ---------------------------------------------------------------------------------------------

SHIFT = Scenario("shift", "the leader falls half-way", (0.9, 0.8, 0.6), (0.5, 0.8, 0.6), steps=3_000, seeds=40)
BINS = 60


def plotted(seeds: int) -> str:
    """How the traffic of a goal with three paths shifts when the best of them falls; means over the seeds."""
    words = ("0.90, then 0.50", "0.80", "0.60")
    titles = {"agentloop": "AgentLoop", "beta-ts": "Thompson sampling without change detection"}
    panels = [
        plot.Panel(
            f"{title}: share of decisions that each path gets", list(zip(words, _shares(name, seeds), strict=True))
        )
        for name, title in titles.items()
    ]
    title = "A simulated goal: its best path falls from 0.90 to 0.50, and the traffic moves to the next"
    return plot.drawn(panels, title=title, steps=SHIFT.steps, mark=SHIFT.steps // 2, mark_label="the leader falls")


def _shares(name: str, seeds: int) -> list[list[float]]:
    """By arm, the share of decisions in each bin of time."""
    counts = [[0] * BINS for _ in SHIFT.means]
    for seed in range(seeds):
        for step, arm in played(SHIFT, name, seed):
            counts[arm][step * BINS // SHIFT.steps] += 1
    return [[count * BINS / (SHIFT.steps * seeds) for count in of_arm] for of_arm in counts]


# --- The command ------------------------------------------------------------------------------------------


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="5 seeds, T = 2,000; fails on gross failures only")
    parser.add_argument("--only", help="keys of scenarios, comma-separated; `delay` is the detector's own")
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--policies", help="semicolon-separated")
    parser.add_argument("--kept", type=Path, help="a file of results so far, to go on from and add to")
    parser.add_argument("--partial", action="store_true", help="only tell of what --kept holds; run nothing")
    parser.add_argument(
        "--plot", type=Path, help="draw how traffic shifts into this file (docs/img/traffic.svg); run nothing else"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    return parser.parse_args()


def available_policies(wanted: str | None) -> list[str]:
    names = wanted.split(";") if wanted else list(POLICIES)
    for package, peers in PEERS.items():
        if importlib.util.find_spec(package) is None and set(peers) & set(names):
            print(f"*** {package} IS NOT INSTALLED: {', '.join(peers)} are left out ***\n")
            names = [name for name in names if name not in peers]
    return names


def jobs_of(scenarios: Sequence[Scenario], names: Sequence[str], options: argparse.Namespace) -> list[Job]:
    jobs: list[Job] = []
    for scenario in scenarios:
        seeds = options.seeds or (5 if options.quick else scenario.seeds)
        steps = min(2_000, scenario.steps) if options.quick else scenario.steps
        for name in names:
            if name != "agentloop, no detector" or scenario.key in WITHOUT_DETECTOR:
                jobs += [(scenario.key, steps, name, seed) for seed in range(min(seeds, scenario.seeds))]
    return jobs


def main() -> int:
    options = arguments()
    if options.plot:
        options.plot.write_text(plotted(options.seeds or SHIFT.seeds))
        return 0
    keys = options.only.split(",") if options.only else [*BY_KEY, "delay"]
    scenarios = [BY_KEY[key] for key in keys if key in BY_KEY]
    names = available_policies(options.policies)
    jobs = jobs_of(scenarios, names, options)
    if options.partial:
        kept = _read(options.kept)
        jobs = [job for job in jobs if job in kept]
    results = run(jobs, options.processes, options.kept)
    if scenarios:
        shown = [replace(s, steps=min(2_000, s.steps)) if options.quick else s for s in scenarios]
        print("Cumulative regret ± standard error (ratio to the Lai-Robbins bound) [seeds, where fewer]\n")
        print_table(results, shown, names)
        print("\n" + "\n".join(f"- {s.key}: {s.title}" for s in scenarios))
    checks = checks_of(results)
    if "delay" in keys:
        checks += print_detection(*((20, 50_000) if options.quick else (options.seeds or 200, 500_000)))
    print("\nGoals\n\n" + "\n".join(map(str, checks)))
    return int(options.quick and any(_gross(check) for check in checks))


def _gross(check: Check) -> bool:
    """Far beyond what 5 seeds can do by chance."""
    return check.figure > 2 * check.bound + 4 * check.error


if __name__ == "__main__":
    sys.exit(main())
