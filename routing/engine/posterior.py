"""What is believed of a path's mean: a Dirichlet over the eleven points, seen through its mean.

The Dirichlet's parameters are the counts plus a small prior (Riou and Honda, 2020). Its mean is drawn
exactly while there is little evidence; then from the Beta distribution of the same mean and variance,
and with much evidence from the normal one, each as soon as simulation can't tell it from the exact draw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import mul
from random import Random

from routing.engine import beta
from routing.engine.histogram import EMPTY, POINTS, Histogram, merged

# One outcome, spread evenly over the points. Of fourteen priors tried (best means 0.25, 0.5 and 0.9, spreads
# from coin-like to none) the one that is best or within noise of it everywhere; see docs/routing.md.
PRIOR = Histogram((1 / len(POINTS),) * len(POINTS))

SQUARES = tuple(point * point for point in POINTS)
PRIOR_SQUARES = sum(SQUARES) / len(SQUARES)

# A path new to a goal borrows at most this many outcomes from its model's other paths there.
BORROWED_WORTH = 3.0
# A pipeline's own state starts from this many outcomes of the whole's shape.
PIPELINE_WORTH = 5.0

# From this weight on the Beta fitted to the Dirichlet mean's two moments serves for it.
EXACT_BELOW = 12.0
# From this (smaller) Beta parameter on a normal draw does; it costs a quarter.
NORMAL_FROM = 150.0


@dataclass(frozen=True, slots=True)
class Posterior:
    """Made once for a state version, then drawn from many times."""

    mean: float
    deviation: float
    a: float
    b: float
    parts: tuple[tuple[float, float], ...] = ()
    """(point, count) of the evidence, only while the Dirichlet is drawn from."""

    def draw(self, rng: Random) -> float:
        if self.parts:
            return self._draw_from_parts(rng)
        if self.a >= NORMAL_FROM and self.b >= NORMAL_FROM:
            return self.mean + self.deviation * rng.gauss(0.0, 1.0)
        return rng.betavariate(self.a, self.b)

    def _draw_from_parts(self, rng: Random) -> float:
        """The Dirichlet's mean, the prior's share of it drawn at once: its weight is exponential, and its
        own mean all but Beta(2, 2), whose quantile function is a sine. Eleven gamma draws less."""
        random, gamma = rng.random, rng.gammavariate
        total = -math.log(1.0 - random())
        weighted = total * (0.5 - math.sin(math.asin(1.0 - 2.0 * random()) / 3.0))
        for point, count in self.parts:
            share = gamma(count, 1.0)
            total += share
            weighted += share * point
        return weighted / total

    def quantile(self, share: float) -> float:
        return beta.quantile(self.a, self.b, share)

    def interval(self, coverage: float = 0.9) -> tuple[float, float]:
        tail = (1 - coverage) / 2
        return self.quantile(tail), self.quantile(1 - tail)

    def below(self, value: float) -> float:
        """P(mean <= value)."""
        return beta.cdf(self.a, self.b, value)


def believe(*evidence: Histogram) -> Posterior:
    """The posterior over the sum of what is handed in: a path's own evidence, and whatever backs it,
    already capped to what it is worth."""
    counts = evidence[0].counts if len(evidence) == 1 else merged(evidence).counts
    size = sum(counts) + 1.0
    mean = (sum(map(mul, counts, POINTS)) + 0.5) / size
    spread = (sum(map(mul, counts, SQUARES)) + PRIOR_SQUARES) / size - mean * mean
    variance = spread / (size + 1.0)
    a, b = beta.fit(mean, variance)
    parts = tuple((p, c) for p, c in zip(POINTS, counts, strict=True) if c > 0) if size < EXACT_BELOW else ()
    return Posterior(mean, math.sqrt(variance), a, b, parts)


def borrowed(others: list[Histogram], own: Histogram = EMPTY) -> Histogram:
    """What a model's other paths in the goal lend one of its paths: their common shape, worth a few
    outcomes, and nothing to a path that has as many of its own."""
    return merged(others).capped(max(0.0, BORROWED_WORTH - own.weight))


def pipeline_backing(whole: Histogram, own: Histogram) -> Histogram:
    """What all pipelines together lend to one of them; its own outcomes are in the whole already."""
    rest = Histogram(tuple(max(0.0, w - o) for w, o in zip(whole.counts, own.counts, strict=True)))
    return rest.capped(PIPELINE_WORTH)


# So many deviations apart, two means are taken for surely apart.
FAR = 8.0
SLICES = 128


@lru_cache(maxsize=10_000)
def probability_higher(one: Posterior, other: Posterior, by: float = 0.0) -> float:
    """P(one's mean > other's mean + by), to within 0.002: one's slices, each times the other's share below it.

    Kept for the pairs last asked for: of a project's many paths few change between two looks at all of them."""
    gap, spread = one.mean - other.mean - by, math.hypot(one.deviation, other.deviation)
    if abs(gap) > FAR * spread:
        return float(gap > 0)
    ours, theirs = _angles(one), _angles(other)
    below, below_theirs = shares_below(one, ours), shares_below(other, theirs)
    first, step = theirs[0], theirs[1] - theirs[0]
    total = 0.0
    for index in range(SLICES):
        value = math.sin((ours[index] + ours[index + 1]) / 2) ** 2 - by
        place = (math.asin(math.sqrt(min(1.0, max(0.0, value)))) - first) / step
        low = int(min(max(place, 0.0), SLICES - 1))
        share = below_theirs[low] + (below_theirs[low + 1] - below_theirs[low]) * min(1.0, max(0.0, place - low))
        total += (below[index + 1] - below[index]) * share
    return total


def _angles(posterior: Posterior) -> list[float]:
    """Evenly spaced over all but nothing of the posterior, on the scale on which its density stays finite."""
    reach = FAR * posterior.deviation
    low = math.asin(math.sqrt(max(0.0, posterior.mean - reach)))
    high = math.asin(math.sqrt(min(1.0, posterior.mean + reach)))
    step = (high - low) / (SLICES + 1)
    return [low + step * (place + 0.5) for place in range(SLICES + 1)]


def shares_below(posterior: Posterior, angles: Sequence[float]) -> list[float]:
    """The distribution function at x = sin²(angle) for each of the angles, by trapezes, ending at exactly 1."""
    a, b = 2 * posterior.a - 1, 2 * posterior.b - 1
    norm = beta.log_norm(posterior.a, posterior.b)
    total, shares, left, last = 0.0, [0.0], angles[0], 0.0
    for angle in angles:
        height = math.exp(norm + a * math.log(math.sin(angle)) + b * math.log(math.cos(angle)))
        total += (height + last) * (angle - left)
        shares.append(total)
        left, last = angle, height
    return [share / total for share in shares[1:]]


__all__ = [
    "PRIOR",
    "Posterior",
    "believe",
    "borrowed",
    "pipeline_backing",
    "probability_higher",
    "shares_below",
]
