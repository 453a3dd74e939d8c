"""Whether a path does better or worse than it did."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from routing.engine.choice import ENOUGH_OBSERVATIONS
from routing.engine.histogram import Histogram
from routing.engine.posterior import believe, probability_higher

SURE = 0.95


class Direction(StrEnum):
    IMPROVING = "improving"
    STABLE = "stable"
    DEGRADING = "degrading"
    INSUFFICIENT_DATA = "insufficient_data"


@dataclass(frozen=True, slots=True)
class Trend:
    direction: Direction
    probability_higher: float | None
    """That the recent mean is the higher one; None with too little data."""
    recent_mean: float
    earlier_mean: float


def trend(recent: Histogram, earlier: Histogram) -> Trend:
    """The recent window against the one before it, under the two posteriors."""
    if min(recent.weight, earlier.weight) < ENOUGH_OBSERVATIONS:
        return Trend(Direction.INSUFFICIENT_DATA, None, recent.mean, earlier.mean)
    higher = probability_higher(believe(recent), believe(earlier))
    return Trend(_direction(higher), higher, recent.mean, earlier.mean)


def _direction(higher: float) -> Direction:
    if higher > SURE:
        return Direction.IMPROVING
    return Direction.DEGRADING if higher < 1 - SURE else Direction.STABLE
