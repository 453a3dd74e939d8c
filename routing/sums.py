"""What outcomes add to the states and buckets: plain sums, the same for one report, a batch and a rebuild."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from routing.engine.categories import FAILURE_CATEGORIES
from routing.engine.choice import TRIES_KEPT
from routing.engine.evidence import Outcome, Source
from routing.engine.executions import Tally, tally
from routing.engine.histogram import EMPTY, POINTS, Decay, Histogram
from routing.engine.sketch import bucket_of
from routing.models import WHOLE_GOAL

HOUR = 3600


@dataclass(frozen=True, slots=True)
class Terms:
    """What a path's states are reckoned by."""

    number: int = 0
    since: float | None = None
    half_life_s: float | None = None
    landmark: float | None = None
    forgets_before: float | None = None

    @property
    def decay(self) -> Decay | None:
        if self.half_life_s is None or self.landmark is None:
            return None
        return Decay(self.half_life_s, self.landmark)


@dataclass(frozen=True, slots=True)
class Counted:
    """An outcome as it is counted: what was said, and what its calls cost."""

    outcome: Outcome
    pipeline: str = ""
    cost_usd: float | None = None
    latency_ms: float | None = None


@dataclass(slots=True)
class StateSum:
    terms: Terms
    own: list[float] = field(default_factory=lambda: [0.0] * len(POINTS))
    earlier: list[float] = field(default_factory=lambda: [0.0] * len(POINTS))
    own_decayed: list[float] | None = None
    earlier_decayed: list[float] | None = None
    samples: int = 0
    tries: list[float] = field(default_factory=list)
    # A try that went or moved can't be subtracted from the latest ten: they are looked up anew.
    tries_went: bool = False

    def add(self, one: Counted, sign: int) -> None:
        counted = tally(one.outcome)
        if not counted.samples:
            return
        at = one.outcome.at
        self.samples += sign
        forgotten = self.terms.forgets_before is not None and at < self.terms.forgets_before
        self._count(EMPTY if forgotten else counted.counts, at, sign)
        if sign > 0:
            self.tries.append(at)
        elif at in self.tries:
            self.tries.remove(at)
        else:
            self.tries_went = True

    def _count(self, counts: Histogram, at: float, sign: int) -> None:
        is_own = self.terms.since is None or at >= self.terms.since
        _add(self.own if is_own else self.earlier, counts, sign)
        decay = self.terms.decay
        if decay is not None:
            _add(self._decayed(is_own), decay.stored(counts, at), sign)

    def _decayed(self, is_own: bool) -> list[float]:
        self.own_decayed = self.own_decayed or [0.0] * len(POINTS)
        self.earlier_decayed = self.earlier_decayed or [0.0] * len(POINTS)
        return self.own_decayed if is_own else self.earlier_decayed

    def add_part(self, is_own: bool, below: int, samples: int, *sums: float) -> None:
        """Adds outcomes that were summed up already: all those whose values lie between two points."""
        lower, upper, stored_lower, stored_upper = sums
        self.samples += samples
        counts = self.own if is_own else self.earlier
        counts[below] += lower
        counts[below + 1] += upper
        if self.terms.decay is not None:
            decayed = self._decayed(is_own)
            decayed[below] += stored_lower
            decayed[below + 1] += stored_upper

    @property
    def is_nothing(self) -> bool:
        parts = (self.own, self.earlier, self.own_decayed or (), self.earlier_decayed or (), self.tries)
        return not (self.samples or self.tries_went or any(any(part) for part in parts))

    def settle(self) -> None:
        """A correction that left its outcome's time alone took a try out and put the same one in."""
        self.tries = sorted(self.tries, reverse=True)[:TRIES_KEPT]


@dataclass(slots=True)
class BucketSum:
    samples: int = 0
    successes: float = 0.0
    rated: float = 0.0
    counts: list[float] = field(default_factory=lambda: [0.0] * len(POINTS))
    failures: list[float] = field(default_factory=lambda: [0.0] * len(FAILURE_CATEGORIES))
    cost_usd: float = 0.0
    costs: int = 0
    latencies: dict[str, int] = field(default_factory=dict)

    def add(self, what: Tally, one: Counted, sign: int) -> None:
        self.samples += sign * what.samples
        self.successes += sign * what.successes
        self.rated += sign * what.rated
        _add(self.counts, what.counts, sign)
        for place, share in enumerate(what.failures):
            if share:
                self.failures[place] += sign * share
        if one.cost_usd is not None:
            self.cost_usd += sign * one.cost_usd
            self.costs += sign
        if one.latency_ms is not None:
            place_of = str(bucket_of(one.latency_ms))
            self.latencies[place_of] = self.latencies.get(place_of, 0) + sign

    @property
    def is_nothing(self) -> bool:
        return not (
            self.samples
            or self.costs
            or self.cost_usd
            or any(self.counts)
            or any(self.failures)
            or any(self.latencies.values())
            or self.successes
            or self.rated
        )


def _add(total: list[float], counts: Histogram, sign: int) -> None:
    for place, count in enumerate(counts.counts):
        if count:
            total[place] += sign * count


StateKey = tuple[UUID, UUID, str]
BucketKey = tuple[UUID, UUID, str, int]


@dataclass(slots=True)
class Sums:
    """By (goal, path, pipeline), and for buckets also the hour."""

    states: dict[StateKey, StateSum] = field(default_factory=dict)
    buckets: dict[BucketKey, BucketSum] = field(default_factory=dict)

    def correct(self, goal: UUID, path: UUID | None, terms: Terms, old: Counted | None, new: Counted | None) -> None:
        """Takes the old counting of one outcome out and puts the new one in. New first: see `tries`."""
        if old == new:
            return
        if new is not None:
            self._add(goal, path, terms, new, +1)
        if old is not None:
            self._add(goal, path, terms, old, -1)

    def _add(self, goal: UUID, path: UUID | None, terms: Terms, one: Counted, sign: int) -> None:
        hour = math.floor(one.outcome.at / HOUR)
        whole, own = tally(one.outcome, once=True), tally(one.outcome)
        for pipeline in {"", one.pipeline}:
            self.buckets.setdefault((goal, WHOLE_GOAL, pipeline, hour), BucketSum()).add(whole, one, sign)
            if path is not None:
                self.states.setdefault((goal, path, pipeline), StateSum(terms)).add(one, sign)
                self.buckets.setdefault((goal, path, pipeline, hour), BucketSum()).add(own, one, sign)

    def drop_nothings(self) -> None:
        """A correction that left every sum as it was is no new version of a state."""
        self.states = {key: total for key, total in self.states.items() if not total.is_nothing}

    def state_rows(self) -> list[dict[str, Any]]:
        rows = []
        for key in sorted(self.states):
            goal, path, pipeline = key
            total = self.states[key]
            total.settle()
            rows.append(
                {
                    "goal_id": goal,
                    "path_id": path,
                    "pipeline_id": pipeline,
                    "terms": total.terms.number,
                    "own": total.own,
                    "earlier": total.earlier,
                    "own_decayed": total.own_decayed,
                    "earlier_decayed": total.earlier_decayed,
                    "samples": total.samples,
                    "tries": total.tries,
                }
            )
        return rows

    def bucket_rows(self) -> list[dict[str, Any]]:
        return [
            {
                "goal_id": goal,
                "path_id": path,
                "pipeline_id": pipeline,
                "start": hour,
                "samples": total.samples,
                "successes": total.successes,
                "rated": total.rated,
                "counts": total.counts,
                "failures": total.failures,
                "cost_usd": total.cost_usd,
                "costs": total.costs,
                "latencies": {place: count for place, count in total.latencies.items() if count},
            }
            for (goal, path, pipeline, hour), total in sorted(self.buckets.items(), key=lambda item: item[0])
            if not total.is_nothing
        ]


def outcome_of(row: Mapping[str, Any]) -> Counted:
    """A stored outcome as it is counted."""
    summed = Outcome(
        at=row["at"],
        success=row["success"],
        score=row["score"],
        failure_category=row["failure_category"],
        confidence=row["confidence"],
        attribution=row["attribution"],
        source=Source(row["source"]) if row["source"] else None,
    )
    return Counted(summed, row["pipeline_id"], row["cost_usd"], row["latency_ms"])
