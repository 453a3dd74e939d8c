"""Latencies (or any positive figures) in fixed logarithmic buckets: sketches merge by adding, and their
quantiles are off by at most 2.5 % (Masson, Rim and Lee, 2019, without the collapsing)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

RELATIVE_ERROR = 0.025
GROWTH = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_LOG_GROWTH = math.log(GROWTH)

# A hundredth of a millisecond to eleven days: what lies beyond is counted at the edge.
LOWEST, HIGHEST = -230, 415


@dataclass(frozen=True, slots=True)
class Sketch:
    counts: Mapping[int, float] = field(default_factory=dict)

    def __add__(self, other: Sketch) -> Sketch:
        return merged((self, other))

    @property
    def weight(self) -> float:
        return math.fsum(self.counts.values())

    def quantile(self, share: float) -> float | None:
        """The smallest bucket's figure that `share` of the observations don't exceed; None if empty."""
        target, passed, weight = share, 0.0, self.weight
        for bucket in sorted(self.counts):
            passed += self.counts[bucket]
            if passed >= target * weight:
                return 2 * GROWTH**bucket / (GROWTH + 1)
        return None

    @property
    def p50(self) -> float | None:
        return self.quantile(0.50)

    @property
    def p95(self) -> float | None:
        return self.quantile(0.95)

    def to_json(self) -> dict[str, float]:
        return {str(bucket): count for bucket, count in sorted(self.counts.items())}

    @classmethod
    def from_json(cls, stored: Mapping[str, float]) -> Sketch:
        return cls({int(bucket): count for bucket, count in stored.items()})


def bucket_of(figure: float) -> int:
    if not figure > 0:
        return LOWEST
    return max(LOWEST, min(HIGHEST, math.ceil(math.log(figure) / _LOG_GROWTH)))


def sketch(figures: Iterable[float]) -> Sketch:
    counts: dict[int, float] = {}
    for figure in figures:
        bucket = bucket_of(figure)
        counts[bucket] = counts.get(bucket, 0) + 1
    return Sketch(counts)


def merged(sketches: Iterable[Sketch]) -> Sketch:
    counts: dict[int, float] = {}
    for one in sketches:
        for bucket, count in one.counts.items():
            counts[bucket] = counts.get(bucket, 0) + count
    return Sketch(counts)


def summed(stored: Iterable[Mapping[str, float]]) -> Sketch:
    """The sum of sketches as they are stored: hundreds of them a figure, so their places are read once at the end."""
    counts: dict[str, float] = {}
    for one in stored:
        for place, count in one.items():
            counts[place] = counts.get(place, 0) + count
    return Sketch.from_json(counts)
