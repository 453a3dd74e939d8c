"""Outcomes as weights on eleven points, kept so that any of them can be taken out again exactly."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

POINTS: tuple[float, ...] = tuple(step / 10 for step in range(11))
LAST = len(POINTS) - 1

# e^600 is far inside a float's range (e^709), and leaves room for sums of many contributions.
LARGEST_EXPONENT = 600.0
# A landmark is renewed long before.
RENEWAL_EXPONENT = LARGEST_EXPONENT / 2


@dataclass(frozen=True, slots=True)
class Histogram:
    """Weights on the points 0, 0.1, …, 1: an outcome's contribution, or a sum of many."""

    counts: tuple[float, ...] = (0.0,) * len(POINTS)

    def __add__(self, other: Histogram) -> Histogram:
        return Histogram(tuple(map(float.__add__, self.counts, other.counts)))

    def __sub__(self, other: Histogram) -> Histogram:
        return Histogram(tuple(map(float.__sub__, self.counts, other.counts)))

    def scaled(self, factor: float) -> Histogram:
        return Histogram(tuple(count * factor for count in self.counts))

    def capped(self, weight: float) -> Histogram:
        """The same shape, worth at most `weight` outcomes."""
        return self if self.weight <= weight else self.scaled(weight / self.weight)

    @property
    def weight(self) -> float:
        return math.fsum(self.counts)

    @property
    def mean(self) -> float:
        """The weighted mean value; 0.5 where there is nothing to average."""
        weight = self.weight
        return math.fsum(map(float.__mul__, self.counts, POINTS)) / weight if weight > 0 else 0.5

    @property
    def variance(self) -> float:
        weight, mean = self.weight, self.mean
        if weight <= 0:
            return 0.0
        return math.fsum(c * (p - mean) ** 2 for c, p in zip(self.counts, POINTS, strict=True)) / weight

    def quantile(self, share: float) -> float:
        """The value below which `share` of the weight lies, as if each point's weight were spread
        evenly to its neighbours' midpoints."""
        target, passed = share * self.weight, 0.0
        for count, point in zip(self.counts, POINTS, strict=True):
            if count > 0 and passed + count >= target:
                low, high = max(0.0, point - 0.05), min(1.0, point + 0.05)
                # All weight on an end is a 0/1 outcome, which is not spread.
                return point if point in (0.0, 1.0) else low + (high - low) * (target - passed) / count
            passed += count
        return POINTS[LAST] if passed > 0 else 0.5


EMPTY = Histogram()


def contribution(value: float, weight: float = 1.0) -> Histogram:
    """One outcome's vector: split between the two nearest points so that its mean is exactly `value`."""
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"a value lies between 0 and 1, not {value!r}")
    place = value * LAST
    below = min(int(place), LAST - 1)
    counts = [0.0] * len(POINTS)
    counts[below + 1] = weight * (place - below)
    counts[below] = weight - counts[below + 1]
    return Histogram(tuple(counts))


def corrected(total: Histogram, old: Histogram, new: Histogram) -> Histogram:
    """`total` with one outcome's old contribution taken out and its new one put in, in O(1).

    What rounding leaves below zero is cut to zero, so that no posterior meets a negative count."""
    return Histogram(tuple(max(0.0, t - o + n) for t, o, n in zip(total.counts, old.counts, new.counts, strict=True)))


def merged(histograms: Iterable[Histogram]) -> Histogram:
    """The sum of buckets; exact to one rounding whatever their order."""
    columns: Sequence[tuple[float, ...]] = list(zip(*(h.counts for h in histograms), strict=True))
    return Histogram(tuple(map(math.fsum, columns))) if columns else EMPTY


@dataclass(frozen=True, slots=True)
class Decay:
    """Forward decay (Cormode, Shkapenyuk, Srivastava and Xu, 2009): contributions grow with their time
    after a landmark and never change afterwards; only what the sums are worth falls."""

    half_life_s: float
    landmark: float

    @property
    def rate(self) -> float:
        return math.log(2) / self.half_life_s

    def stored(self, outcome: Histogram, at: float) -> Histogram:
        """What to add to (or take out of) the stored sums for an outcome of the time `at`."""
        return outcome.scaled(math.exp(self.rate * (at - self.landmark)))

    def worth(self, stored: Histogram, now: float) -> Histogram:
        """The decayed histogram at `now`; equal to the brute-force sum over all outcomes."""
        return stored.scaled(math.exp(-self.rate * (now - self.landmark)))

    def must_renew(self, now: float) -> bool:
        return self.rate * (now - self.landmark) > RENEWAL_EXPONENT

    def renewed(self, stored: Histogram, landmark: float) -> tuple[Histogram, Decay]:
        """The same sums under a later landmark."""
        return self.worth(stored, landmark), Decay(self.half_life_s, landmark)
