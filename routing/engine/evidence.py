"""From the set of evidence about one execution to its outcome: a pure function, whatever the order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from routing.engine.categories import HEALED
from routing.engine.histogram import EMPTY, Histogram, contribution


class Source(StrEnum):
    """Who says so, weakest first."""

    PROVIDER = "provider"
    INFERRED = "inferred"
    USER = "user"
    ACTION = "action"
    REVIEW = "review"


LADDER: tuple[Source, ...] = tuple(Source)


@dataclass(frozen=True, slots=True)
class Evidence:
    """One row of the ledger. A row that `withdraws` another says nothing itself."""

    key: str
    source: Source
    occurred_at: float
    success: bool | None = None
    score: float | None = None
    confidence: float = 1.0
    failure_category: str | None = None
    reason: str | None = None
    attribution: float | None = None
    decided_at: float | None = None
    withdraws: str | None = None
    at_random: bool | None = None
    """Of a review: whether chance chose what was reviewed, or the reviewer did. None where nobody can tell."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is known of one execution. Everything is None that no standing row states."""

    at: float
    """The decision's time, or the first evidence's where there was no decision."""
    success: bool | None = None
    score: float | None = None
    failure_category: str | None = None
    reason: str | None = None
    confidence: float = 1.0
    attribution: float = 1.0
    source: Source | None = None
    """Whose word the value is."""

    @property
    def value(self) -> float | None:
        if self.score is not None:
            return self.score
        return None if self.success is None else float(self.success)

    @property
    def weight(self) -> float:
        """Zero where the path had no part in it: such an outcome leaves the path's state and rates, and
        still counts once in the goal's figures."""
        return self.attribution * self.confidence

    @property
    def contribution(self) -> Histogram:
        """What the path's state holds of it; a correction subtracts this and adds the new one's."""
        return EMPTY if self.value is None else contribution(self.value, self.weight)


T = TypeVar("T")


def outcome(rows: Iterable[Evidence], ladder: Sequence[Source] = LADDER) -> Outcome | None:
    """The outcome that a set of rows amounts to; None where nothing was ever said. Depends on nothing but
    the set: rows may be doubled and come in any order."""
    ledger = set(rows)
    if not ledger:
        return None
    standing = _by_authority(ledger, ladder)
    success = _first(standing, lambda row: row.success)
    agreeing = [row for row in standing if success is None or row.success in (success, None)]
    score = _first(agreeing, lambda row: row.score)
    category = _first(agreeing, lambda row: _fitting_category(row, success))
    teller = _teller(agreeing, success, score)
    attribution = _first(standing, lambda row: row.attribution)
    return Outcome(
        at=_time_of(ledger),
        success=success,
        score=score,
        failure_category=category,
        reason=_first(agreeing, lambda row: row.reason),
        confidence=teller.confidence if teller else 1.0,
        attribution=1.0 if attribution is None else attribution,
        source=teller.source if teller else None,
    )


def _by_authority(ledger: set[Evidence], ladder: Sequence[Source]) -> list[Evidence]:
    """The rows that stand, strongest source first, the latest first within a source, the larger key first
    at a tie. A withdrawal can't be withdrawn: what was retracted and holds after all is said anew."""
    withdrawn = {row.withdraws for row in ledger}
    rank = {source: place for place, source in enumerate(ladder)}
    standing = [row for row in ledger if row.withdraws is None and row.key not in withdrawn]
    return sorted(standing, key=lambda row: (rank[row.source], row.occurred_at, row.key), reverse=True)


def _first(rows: Iterable[Evidence], said: Callable[[Evidence], T | None]) -> T | None:
    return next((word for row in rows if (word := said(row)) is not None), None)


def _fitting_category(row: Evidence, success: bool | None) -> str | None:
    """A success has no failure category, but that it may have been healed."""
    return row.failure_category if not success or row.failure_category == HEALED else None


def _teller(agreeing: Sequence[Evidence], success: bool | None, score: float | None) -> Evidence | None:
    """The row that gave the value: the score's, else the success's."""
    if score is not None:
        return next(row for row in agreeing if row.score is not None)
    return next((row for row in agreeing if row.success is not None and row.success == success), None)


def _time_of(ledger: set[Evidence]) -> float:
    """Withdrawn rows count here, so that a retraction never moves an outcome to another time."""
    decided = [row.decided_at for row in ledger if row.decided_at is not None]
    return min(decided) if decided else min(row.occurred_at for row in ledger)
