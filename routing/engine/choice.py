"""Which path a decision takes, why, and how likely it was to."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from operator import attrgetter
from random import Random
from types import MappingProxyType

from routing.engine.posterior import Posterior, shares_below

# Fewer observations than this are too little to hold a path to a constraint.
ENOUGH_OBSERVATIONS = 5

# At most one decision in fifty goes to paths that were not tried for long, or are to be probed.
IDLE_SHARE = 1 / 50

# A path is stale while it had fewer tries than this within the staleness time. One would tell nothing of
# whether it got better: where another path rose from 0.4 to 0.7 beside a leader at 0.5, one try a week cost
# 2,650 of regret in 20,000 decisions, twenty 1,560.
TRIES_KEPT = 20


class Standing(StrEnum):
    ACTIVE = "active"
    ROLLED_BACK = "rolled_back"
    PROBING = "probing"
    DISABLED = "disabled"


class Risk(StrEnum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@dataclass(frozen=True, slots=True)
class Figures:
    """What was observed of a path in the request's window; None where nothing was."""

    samples: float = 0.0
    mean_value: float | None = None
    mean_cost_usd: float | None = None
    cost_samples: float = 0.0
    p95_latency_ms: float | None = None
    latency_samples: float = 0.0
    risk_score: float | None = None
    probability_best: float | None = None


@dataclass(frozen=True, slots=True)
class Contender:
    """A path as a decision sees it. Made once for a state version."""

    path_id: str
    model_id: str
    posterior: Posterior
    figures: Figures = Figures()
    standing: Standing = Standing.ACTIVE
    tried_at: float | None = None
    """When the twentieth-last try was (the first, of fewer): what `tried` keeps, its first element."""
    probe_at: float | None = None


@dataclass(frozen=True, slots=True)
class Constraints:
    max_cost_usd: float | None = None
    max_latency_ms: float | None = None
    min_quality: float | None = None
    min_confidence: float | None = None
    max_risk: float | None = None

    def __bool__(self) -> bool:
        return bool(_bounds(self))

    def and_also(self, other: Constraints) -> Constraints:
        """What keeps both: of two bounds the stricter one."""
        return Constraints(
            max_cost_usd=_either(min, self.max_cost_usd, other.max_cost_usd),
            max_latency_ms=_either(min, self.max_latency_ms, other.max_latency_ms),
            min_quality=_either(max, self.min_quality, other.min_quality),
            min_confidence=_either(max, self.min_confidence, other.min_confidence),
            max_risk=_either(min, self.max_risk, other.max_risk),
        )

    def broken_by(self, seen: Figures) -> list[str]:
        """The constraints that a path breaks, as far as enough was observed to say so."""
        return [name for name, verdict in self.verdicts(seen) if verdict is False]

    def met_by(self, seen: Figures) -> bool:
        """All of them, with enough observed to say so."""
        return all(verdict for _, verdict in self.verdicts(seen))

    def verdicts(self, seen: Figures) -> list[tuple[str, bool | None]]:
        """Whether each constraint that was set is met; None for too little data."""
        return [(name, _verdict(*read(seen), side, bound)) for name, read, side, bound in _bounds(self)]


# What a constraint looks at: the figure with the observations behind it, and on which side of the bound it must not be.
_RULES: dict[str, tuple[attrgetter[tuple[float | None, float]], float]] = {
    "max_cost_usd": (attrgetter("mean_cost_usd", "cost_samples"), 1.0),
    "max_latency_ms": (attrgetter("p95_latency_ms", "latency_samples"), 1.0),
    "min_quality": (attrgetter("mean_value", "samples"), -1.0),
    "min_confidence": (attrgetter("probability_best", "samples"), -1.0),
    "max_risk": (attrgetter("risk_score", "samples"), 1.0),
}

_Bound = tuple[str, "attrgetter[tuple[float | None, float]]", float, float]


@lru_cache(maxsize=1_000)
def _bounds(constraints: Constraints) -> tuple[_Bound, ...]:
    """Those that were set: a decision looks at them for each of its paths."""
    set_here = {name: getattr(constraints, name) for name in _RULES if getattr(constraints, name) is not None}
    return tuple((name, *_RULES[name], bound) for name, bound in set_here.items())


def _verdict(observed: float | None, samples: float, side: float, bound: float) -> bool | None:
    return None if observed is None or samples < ENOUGH_OBSERVATIONS else side * observed <= side * bound


def _breaks(seen: Figures, bounds: tuple[_Bound, ...]) -> bool:
    """Whether `broken_by` would name any; without a call or a list for each, as every decision asks of every path."""
    for _, read, side, bound in bounds:
        observed, samples = read(seen)
        if observed is not None and samples >= ENOUGH_OBSERVATIONS and side * observed > side * bound:
            return True
    return False


def _either(stricter: Callable[..., float], one: float | None, other: float | None) -> float | None:
    given = [bound for bound in (one, other) if bound is not None]
    return stricter(given) if given else None


UNCONSTRAINED = Constraints()


@dataclass(frozen=True, slots=True)
class Terms:
    """What a decision is asked for: the goal's settings and the request's own wishes."""

    constraints: Constraints = UNCONSTRAINED
    models: frozenset[str] | None = None
    risk: Risk = Risk.MEDIUM
    exploration_rate: float = 0.0
    exploration_on_high_risk: bool = False
    min_samples_before_exploit: int = 20
    staleness_s: float = 7 * 86400.0

    @property
    def plays_safe(self) -> bool:
        return self.risk is Risk.HIGH and not self.exploration_on_high_risk


@dataclass(frozen=True, slots=True)
class Field:
    """Who may be chosen: `racing` take part in every draw, `idle` only in their small share."""

    racing: tuple[Contender, ...]
    idle: tuple[Contender, ...]
    blocked_by: str | None = None
    """The reason that ruled out the most, where nobody races."""


@dataclass(frozen=True, slots=True)
class Chance:
    best: float
    chosen: float


NO_CHANCES: Mapping[str, Chance] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Choice:
    path_id: str | None
    reason: str
    exploration: bool = False
    considered: int = 0
    confidence: float | None = None
    probability: float | None = None
    blocked_by: str | None = None


def tried(times: tuple[float, ...], at: float) -> tuple[float, ...]:
    """The latest tries' times after one more, whatever the order in which they become known."""
    return tuple(sorted((*times, at))[-TRIES_KEPT:])


def field_of(contenders: Iterable[Contender], terms: Terms, now: float) -> Field:
    """The eligible paths: in the candidates, enabled, not rolled back unless due for a probe, and not
    known to break a constraint. One with too little data for a constraint stays in."""
    racing: list[Contender] = []
    idle: list[Contender] = []
    ruled_out: list[str] = []
    models, bounds, stale_before = terms.models, _bounds(terms.constraints), now - terms.staleness_s
    active = Standing.ACTIVE
    for contender in contenders:
        if models is not None and contender.model_id not in models:
            ruled_out.append("candidates")
        elif bounds and _breaks(contender.figures, bounds):
            ruled_out += terms.constraints.broken_by(contender.figures)
        elif contender.standing is active:
            racing.append(contender)
            if contender.tried_at is not None and contender.tried_at < stale_before:
                idle.append(contender)
        elif contender.standing is not Standing.DISABLED and _probe_due(contender, now):
            idle.append(contender)
        else:
            ruled_out.append(contender.standing.value)
    return Field(tuple(racing), tuple(idle), _commonest(ruled_out) if not racing else None)


def _probe_due(contender: Contender, now: float) -> bool:
    return contender.probe_at is not None and contender.probe_at <= now


def _commonest(names: Sequence[str]) -> str | None:
    return max(sorted(set(names)), key=names.count, default=None)


def choose(
    contenders: Iterable[Contender],
    terms: Terms,
    rng: Random,
    now: float,
    chances: Mapping[str, Chance] = NO_CHANCES,
) -> Choice:
    """One decision. `chances`, computed by the caller once for a state version, fill in the confidence
    and the probability; nothing else depends on them."""
    running = field_of(contenders, terms, now)
    if not running.racing and (terms.plays_safe or not running.idle):
        return _nobody(running)
    if terms.plays_safe:
        taken, exploration, reason = _safest(running.racing)
    else:
        taken, exploration, reason = _explorer(running, terms, rng) or _winner(running.racing, terms, rng)
    chance = chances.get(taken.path_id)
    return Choice(
        taken.path_id,
        reason,
        exploration,
        len(running.racing),
        chance.best if chance else None,
        chance.chosen if chance else None,
    )


def _nobody(running: Field) -> Choice:
    if running.blocked_by is None:
        return Choice(None, "no path is registered")
    return Choice(
        None,
        f"no path is eligible: most are ruled out by {running.blocked_by}",
        blocked_by=running.blocked_by,
    )


def _safest(racing: Sequence[Contender]) -> tuple[Contender, bool, str]:
    """The best mean among the paths that were observed enough; of all, where none was."""
    best = max(_known(racing), key=_mean)
    return (
        best,
        False,
        f"high risk: best mean {best.posterior.mean:.3f} over {best.figures.samples:.0f} outcomes",
    )


def _known(racing: Sequence[Contender]) -> Sequence[Contender]:
    return [c for c in racing if c.figures.samples >= ENOUGH_OBSERVATIONS] or racing


def _mean(contender: Contender) -> float:
    return contender.posterior.mean


def _explorer(running: Field, terms: Terms, rng: Random) -> tuple[Contender, bool, str] | None:
    """Whom the idle share or the exploration floor sends, if either does this time."""
    if running.idle and (not running.racing or rng.random() < IDLE_SHARE):
        taken = running.idle[int(rng.random() * len(running.idle))]
        probing = taken.standing is not Standing.ACTIVE
        return taken, True, "probe of a rolled back path" if probing else "not tried for the staleness time"
    if terms.exploration_rate > 0 and rng.random() < terms.exploration_rate:
        taken = running.racing[int(rng.random() * len(running.racing))]
        return taken, True, f"exploration floor of {terms.exploration_rate:.3g}"
    return None


def _winner(racing: Sequence[Contender], terms: Terms, rng: Random) -> tuple[Contender, bool, str]:
    """The largest of one draw from each posterior (Thompson, 1933)."""
    taken, largest, best_mean = racing[0], -math.inf, -math.inf
    for contender in racing:
        posterior = contender.posterior
        draw = posterior.draw(rng)
        if draw > largest:
            taken, largest = contender, draw
        if posterior.mean > best_mean:
            best_mean = posterior.mean
    mean, samples = taken.posterior.mean, taken.figures.samples
    if mean < best_mean:
        return taken, True, f"drew {largest:.3f}, above the best mean {best_mean:.3f}; own mean {mean:.3f}"
    few = ", too few to be sure" if samples < terms.min_samples_before_exploit else ""
    return taken, False, f"best mean {mean:.3f} and largest draw, {samples:.0f} outcomes{few}"


def chances(contenders: Iterable[Contender], terms: Terms, now: float) -> dict[str, Chance]:
    """For every path that `choose` may take: the probability that it is the best of those racing, and that
    it is the one taken. To within 0.02; about 1 ms for ten paths."""
    running = field_of(contenders, terms, now)
    racing = running.racing
    best = dict(zip((c.path_id for c in racing), probabilities_best([c.posterior for c in racing]), strict=True))
    if terms.plays_safe:
        safest = _safest(racing)[0].path_id if racing else None
        return {path: Chance(share, float(path == safest)) for path, share in best.items()}
    idle_share = (IDLE_SHARE if racing else 1.0) if running.idle else 0.0
    floor = terms.exploration_rate
    taken = {path: (1 - idle_share) * (floor / len(racing) + (1 - floor) * share) for path, share in best.items()}
    for contender in running.idle:
        taken[contender.path_id] = taken.get(contender.path_id, 0.0) + idle_share / len(running.idle)
    return {path: Chance(best.get(path, 0.0), share) for path, share in taken.items()}


def probabilities_best(posteriors: Sequence[Posterior]) -> list[float]:
    """P(each is the largest); kept for what was asked for last."""
    return list(_probabilities_best(tuple(posteriors)))


@lru_cache(maxsize=2_000)
def _probabilities_best(posteriors: tuple[Posterior, ...]) -> list[float]:
    """By one pass over a grid that is fine wherever any of them has weight.

    On the scale theta = asin(sqrt(x)) a Beta's density stays finite at both ends."""
    if len(posteriors) < 2:
        return [1.0] * len(posteriors)
    floor = max(p.mean - 5 * p.deviation for p in posteriors)
    able = [index for index, p in enumerate(posteriors) if p.mean + 5 * p.deviation >= floor]
    nodes = _grid([posteriors[index] for index in able])
    below = [shares_below(posteriors[index], nodes) for index in able]
    shares = [0.0] * len(posteriors)
    for index, share in zip(able, _shares_of_maximum(below), strict=True):
        shares[index] = share
    return shares


def _grid(posteriors: Sequence[Posterior]) -> list[float]:
    """Angles, a few for each posterior, from five deviations under its mean to five over it."""
    steps = max(8, min(32, 320 // len(posteriors)))
    angles = {math.pi * step / 128 for step in range(1, 64)}
    for p in posteriors:
        for step in range(steps + 1):
            x = p.mean + p.deviation * (10 * step / steps - 5)
            if 0.0 < x < 1.0:
                angles.add(math.asin(math.sqrt(x)))
    return sorted(angles)


def _shares_of_maximum(below: Sequence[Sequence[float]]) -> list[float]:
    shares = [0.0] * len(below)
    for low, high in zip(zip(*below, strict=True), list(zip(*below, strict=True))[1:], strict=False):
        middles = [(x + y) / 2 for x, y in zip(low, high, strict=True)]
        everyone = math.prod(middles)
        if everyone > 0:
            for index, middle in enumerate(middles):
                shares[index] += (high[index] - low[index]) * everyone / middle
    total = sum(shares)
    return [share / total for share in shares]


__all__ = [
    "Chance",
    "Choice",
    "Constraints",
    "Contender",
    "Field",
    "Figures",
    "Risk",
    "Standing",
    "Terms",
    "chances",
    "choose",
    "field_of",
    "probabilities_best",
    "tried",
]
