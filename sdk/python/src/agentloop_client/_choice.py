"""The law of choosing, as the server has it, over a snapshot of a goal: Thompson sampling among the eligible paths.

No clock, no thread, no network: time and randomness are handed in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

# Fewer observations than this are too little to hold a path to a constraint.
ENOUGH_OBSERVATIONS = 5
# From this (smaller) parameter on a Beta draw is a normal one, at a quarter of the price.
NORMAL_FROM = 150.0
# What is believed of a path of which nothing is known: the server's prior, as a Beta.
PRIOR_A = PRIOR_B = 2.0
CONSTRAINTS = ("max_cost_usd", "max_latency_ms", "min_quality", "min_confidence", "max_risk")


@dataclass(frozen=True)
class Path:
    """One way to do the task."""

    model: str
    tools: tuple[str, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    path_id: str = ""
    """The server's name for it; nothing while the server hasn't told."""

    @property
    def tool(self) -> str | None:
        return self.tools[0] if self.tools else None


@dataclass(frozen=True)
class Contender:
    path: Path
    a: float = PRIOR_A
    b: float = PRIOR_B
    mean: float = 0.5
    deviation: float = 0.2236
    status: str = "active"
    samples: float = 0.0
    tried_at: float | None = None
    probe_at: float | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Snapshot:
    """A goal as the server saw it."""

    contenders: tuple[Contender, ...] = ()
    mode: str = "apply"
    pinned_path_id: str = ""
    exploration_rate: float = 0.0
    exploration_on_high_risk: bool = False
    min_samples_before_exploit: float = 20.0
    staleness_seconds: float = 7 * 86400.0
    idle_share: float = 1 / 50
    etag: str = ""


@dataclass(frozen=True)
class Terms:
    """What a router asks for."""

    models: frozenset[str]
    constraints: Mapping[str, float] = field(default_factory=dict)
    risk: str = "medium"


@dataclass(frozen=True)
class Drawn:
    """One draw's result; no path where none may be taken."""

    path: Path | None
    reason: str
    exploration: bool = False


def read_snapshot(body: Mapping[str, Any], etag: str = "") -> Snapshot:
    """The server's answer. Raises where it is none."""
    config = body["config"]
    return Snapshot(
        contenders=tuple(_contender(one) for one in body["paths"]),
        mode=str(body.get("mode") or "apply"),
        pinned_path_id=str(body.get("pinned_path_id") or ""),
        exploration_rate=float(config.get("exploration_rate") or 0.0),
        exploration_on_high_risk=config.get("exploration_on_high_risk") is True,
        min_samples_before_exploit=float(config.get("min_samples_before_exploit") or 0.0),
        staleness_seconds=float(config.get("staleness_days") or 7) * 86400,
        idle_share=float(body.get("idle_share", 1 / 50)),
        etag=etag,
    )


def _contender(one: Mapping[str, Any]) -> Contender:
    believed = one["posterior"]
    a, b = float(believed["a"]), float(believed["b"])
    if not (a > 0 and b > 0 and math.isfinite(a + b)):
        raise ValueError("no posterior")
    return Contender(
        path=Path(str(one["model_id"]), tuple(one.get("tools") or ()), dict(one.get("params") or {}), one["path_id"]),
        a=a,
        b=b,
        mean=float(believed["mean"]),
        deviation=float(believed["deviation"]),
        status=str(one.get("status") or "active"),
        samples=float(one.get("sample_count") or 0),
        tried_at=one.get("tried_at"),
        probe_at=one.get("probe_at"),
        figures=dict(one.get("figures") or {}),
    )


def broken_constraints(constraints: Mapping[str, float], figures: Mapping[str, Any], best: float | None) -> list[str]:
    """The constraints that a path breaks, as far as enough was observed to say so."""
    seen = {
        "max_cost_usd": (figures.get("mean_cost_usd"), figures.get("cost_samples")),
        "max_latency_ms": (figures.get("p95_latency_ms"), figures.get("latency_samples")),
        "min_quality": (figures.get("mean_value"), figures.get("samples")),
        "min_confidence": (best, figures.get("samples")),
        "max_risk": (figures.get("risk_score"), figures.get("samples")),
    }
    broken = []
    for name, bound in constraints.items():
        observed, samples = seen[name]
        if observed is None or (samples or 0) < ENOUGH_OBSERVATIONS:
            continue
        if observed > bound if name.startswith("max_") else observed < bound:
            broken.append(name)
    return broken


class Race:
    """Who may be chosen under some terms, for as long as the snapshot stands."""

    def __init__(self, snapshot: Snapshot, terms: Terms, now: float, rng: Random) -> None:
        self.snapshot, self.terms, self._rng = snapshot, terms, rng
        self._contenders = (*snapshot.contenders, *_unheard_of(snapshot, terms))
        self.racing: list[Contender] = []
        self.idle: list[Contender] = []
        ruled_out = self._line_up(now)
        self._blocked_by = max(sorted(set(ruled_out)), key=ruled_out.count, default="")
        self._best_mean = max((one.mean for one in self.racing), default=0.0)
        self._plays_safe = terms.risk == "high" and not snapshot.exploration_on_high_risk
        self._always = self._settled()

    def _line_up(self, now: float) -> list[str]:
        """Sorts the contenders; answers what ruled the others out."""
        ruled_out: list[str] = []
        terms, stale_before = self.terms, now - self.snapshot.staleness_seconds
        best = self._confidence() if "min_confidence" in terms.constraints else {}
        for one in self._contenders:
            broken = broken_constraints(terms.constraints, one.figures, best.get(id(one)))
            if one.path.model not in terms.models:
                ruled_out.append("candidates")
            elif broken:
                ruled_out += broken
            elif one.status == "active":
                self.racing.append(one)
                if one.tried_at is not None and one.tried_at < stale_before:
                    self.idle.append(one)
            elif one.status != "disabled" and one.probe_at is not None and one.probe_at <= now:
                self.idle.append(one)
            else:
                ruled_out.append(one.status)
        return ruled_out

    def _confidence(self) -> dict[int, float]:
        fit = [one for one in self._contenders if one.path.model in self.terms.models and one.status == "active"]
        return dict(zip(map(id, fit), probabilities_best(fit)))

    def _settled(self) -> Drawn | None:
        """The answer where nothing is left to chance."""
        if self.snapshot.mode != "apply":
            return self._pinned()
        if not self.racing and (self._plays_safe or not self.idle):
            return self._nobody()
        if self._plays_safe:
            known = [one for one in self.racing if one.samples >= ENOUGH_OBSERVATIONS] or self.racing
            best = max(known, key=lambda one: one.mean)
            return Drawn(best.path, f"high risk: best mean {best.mean:.3f} over {best.samples:.0f} outcomes")
        return None

    def _pinned(self) -> Drawn:
        fit = [one for one in self._contenders if one.path.model in self.terms.models and one.status != "disabled"]
        pinned = next((one for one in fit if one.path.path_id == self.snapshot.pinned_path_id), fit[0] if fit else None)
        reason = f"this goal is in mode {self.snapshot.mode}: its pinned or first path"
        return Drawn(pinned.path if pinned else None, reason)

    def _nobody(self) -> Drawn:
        """Where all that may be taken is rolled back, the best of it: something has to be called."""
        down = [
            one
            for one in self._contenders
            if one.status in ("rolled_back", "probing") and one.path.model in self.terms.models
        ]
        if down and self._blocked_by in ("rolled_back", "probing", "candidates"):
            best = max(down, key=lambda one: one.mean)
            return Drawn(best.path, "every candidate is rolled back: the best mean of them")
        return Drawn(None, f"no path is eligible: most are ruled out by {self._blocked_by}")

    def draw(self) -> Drawn:
        return self._always or self._explorer() or self._winner()

    def _explorer(self) -> Drawn | None:
        """Whom the idle share or the exploration floor sends, if either does this time."""
        chance, snapshot = self._rng.random, self.snapshot
        if self.idle and (not self.racing or chance() < snapshot.idle_share):
            one = self.idle[int(chance() * len(self.idle))]
            active = one.status == "active"
            reason = "not tried for the staleness time" if active else "probe of a rolled back path"
            return Drawn(one.path, reason, exploration=True)
        if snapshot.exploration_rate > 0 and chance() < snapshot.exploration_rate:
            one = self.racing[int(chance() * len(self.racing))]
            return Drawn(one.path, f"exploration floor of {snapshot.exploration_rate:.3g}", exploration=True)
        return None

    def _winner(self) -> Drawn:
        """The largest of one draw from each posterior (Thompson, 1933)."""
        taken, largest, rng = self.racing[0], -math.inf, self._rng
        for one in self.racing:
            if one.a >= NORMAL_FROM and one.b >= NORMAL_FROM:
                drawn = rng.gauss(one.mean, one.deviation)
            else:
                drawn = rng.betavariate(one.a, one.b)
            if drawn > largest:
                taken, largest = one, drawn
        if taken.mean < self._best_mean:
            above = f"drew {largest:.3f}, above the best mean {self._best_mean:.3f}; own mean {taken.mean:.3f}"
            return Drawn(taken.path, above, exploration=True)
        few = ", too few to be sure" if taken.samples < self.snapshot.min_samples_before_exploit else ""
        return Drawn(taken.path, f"best mean {taken.mean:.3f} and largest draw, {taken.samples:.0f} outcomes{few}")

    def chances(self) -> dict[int, tuple[float, float]]:
        """For every path that may be taken, by its `id`: the probability that it is the best, and that it is taken."""
        if self._always is not None:
            return {id(self._always.path): (1.0, 1.0)} if self._always.path else {}
        best = probabilities_best(self.racing)
        idle = (self.snapshot.idle_share if self.racing else 1.0) if self.idle else 0.0
        floor = self.snapshot.exploration_rate
        found = {
            id(one.path): (share, (1 - idle) * (floor / len(self.racing) + (1 - floor) * share))
            for one, share in zip(self.racing, best)
        }
        for one in self.idle:
            share, taken = found.get(id(one.path), (0.0, 0.0))
            found[id(one.path)] = (share, taken + idle / len(self.idle))
        return found


def _unheard_of(snapshot: Snapshot, terms: Terms) -> list[Contender]:
    """The router's models that the server doesn't know yet."""
    known = {one.path.model for one in snapshot.contenders}
    return [Contender(Path(model)) for model in sorted(terms.models - known)]


# --- how likely each is the best ------------------------------------------------------------------------------


def probabilities_best(contenders: Sequence[Contender]) -> list[float]:
    """P(each has the largest mean), by one pass over a grid that is fine wherever any of them has weight.

    On the scale theta = asin(sqrt(x)) a Beta's density stays finite at both ends.
    """
    if len(contenders) < 2:
        return [1.0] * len(contenders)
    floor = max(one.mean - 5 * one.deviation for one in contenders)
    able = [place for place, one in enumerate(contenders) if one.mean + 5 * one.deviation >= floor]
    nodes = _grid([contenders[place] for place in able])
    below = [_running_share(contenders[place], nodes) for place in able]
    shares = [0.0] * len(contenders)
    for place, share in zip(able, _shares_of_maximum(below)):
        shares[place] = share
    return shares


def _grid(contenders: Sequence[Contender]) -> list[float]:
    steps = max(8, min(32, 320 // len(contenders)))
    angles = {math.pi * step / 128 for step in range(1, 64)}
    for one in contenders:
        for step in range(steps + 1):
            x = one.mean + one.deviation * (10 * step / steps - 5)
            if 0.0 < x < 1.0:
                angles.add(math.asin(math.sqrt(x)))
    return sorted(angles)


def _running_share(one: Contender, nodes: Sequence[float]) -> list[float]:
    """The distribution function at the nodes, by trapezes, ending at exactly 1."""
    a, b = 2 * one.a - 1, 2 * one.b - 1
    heights = [a * math.log(math.sin(node)) + b * math.log(math.cos(node)) for node in nodes]
    highest = max(heights)
    total, shares, left, last = 0.0, [0.0], nodes[0], 0.0
    for node, log_height in zip(nodes, heights):
        height = math.exp(log_height - highest)
        total += (height + last) * (node - left)
        shares.append(total)
        left, last = node, height
    return [share / total for share in shares]


def _shares_of_maximum(below: Sequence[Sequence[float]]) -> list[float]:
    shares = [0.0] * len(below)
    columns = list(zip(*below))
    for low, high in zip(columns, columns[1:]):
        middles = [(x + y) / 2 for x, y in zip(low, high)]
        everyone = math.prod(middles)
        if everyone > 0:
            for place, middle in enumerate(middles):
                shares[place] += (high[place] - low[place]) * everyone / middle
    total = sum(shares)
    return [share / total for share in shares]
