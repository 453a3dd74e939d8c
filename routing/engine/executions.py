"""From the set of evidence about one trace to the executions it is about: which path each row concerns."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from routing.engine.categories import FAILURE_CATEGORIES
from routing.engine.evidence import LADDER, Evidence, Outcome, Source, outcome
from routing.engine.histogram import EMPTY, Histogram, contribution

P = TypeVar("P", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Said(Generic[P]):
    """A row of the ledger with what places it: its path where it names one, and what its trace's decision took."""

    row: Evidence
    path: P | None = None
    decided_path: P | None = None
    pipeline: str = ""


@dataclass(frozen=True, slots=True)
class First:
    """What a source first said of an execution."""

    value: float
    weight: float
    at: float


@dataclass(frozen=True, slots=True)
class Execution:
    """One execution of a trace, as all that was said amounts to."""

    outcome: Outcome
    pipeline: str
    firsts: Mapping[Source, First]


def executions(said: Iterable[Said[P]], ladder: Sequence[Source] = LADDER) -> dict[P | None, Execution]:
    """Every execution of one goal and trace, by path; None stands for one of no known path.

    Depends on nothing but the set of rows: a row without a path concerns the execution that was the latest
    known at its time, else the decided one, else the first that became known."""
    rows = sorted(set(said), key=lambda one: (one.row.occurred_at, one.row.key))
    withdrawn = {one.row.withdraws for one in rows}
    named = [one for one in rows if one.path is not None and _stands(one, withdrawn)]
    places = {one.row.key: _place(one, named) for one in rows if one.row.withdraws is None}
    groups: dict[P | None, list[Said[P]]] = {}
    for one in rows:
        target = one.row.withdraws
        place = places[one.row.key] if target is None else places.get(target, one.path)
        groups.setdefault(place, []).append(one)
    return {path: _execution(group, ladder) for path, group in groups.items()}


def _stands(one: Said[P], withdrawn: set[str | None]) -> bool:
    return one.row.withdraws is None and one.row.key not in withdrawn


def _place(one: Said[P], named: Sequence[Said[P]]) -> P | None:
    if one.path is not None:
        return one.path
    time = (one.row.occurred_at, one.row.key)
    before = [other for other in named if (other.row.occurred_at, other.row.key) <= time]
    if before:
        return before[-1].path
    if one.decided_path is not None:
        return one.decided_path
    return named[0].path if named else None


def _execution(group: Sequence[Said[P]], ladder: Sequence[Source]) -> Execution:
    rows = [one.row for one in group]
    summed = outcome(rows, ladder)
    assert summed is not None
    pipeline = next((one.pipeline for one in group if one.pipeline), "")
    return Execution(summed, pipeline, _firsts(rows))


def _firsts(rows: Sequence[Evidence]) -> dict[Source, First]:
    """Each source's first word that gives a value and can be compared; the rows come in order of time."""
    found: dict[Source, First] = {}
    for row in rows:
        value = row.score if row.score is not None else None if row.success is None else float(row.success)
        if value is not None and row.withdraws is None and _is_like_the_others(row, found):
            found.setdefault(row.source, First(value, row.confidence, row.occurred_at))
    return found


def _is_like_the_others(row: Evidence, before: Mapping[Source, First]) -> bool:
    """Whether a word is one of an even stream, so that a change of the stream is one of the path.

    Reviewers look where something seems wrong, and more of it when they have time: what they chose says nothing about
    how often it is so. What chance chose does; and where nobody knows, what no other source had spoken of."""
    if row.source is not Source.REVIEW:
        return True
    return not (before.keys() - {Source.REVIEW}) if row.at_random is None else row.at_random


@dataclass(frozen=True, slots=True)
class Tally:
    """What one outcome adds to a bucket of time. A correction takes the old tally out and puts the new one in."""

    samples: int = 0
    successes: float = 0.0
    rated: float = 0.0
    counts: Histogram = EMPTY
    failures: tuple[float, ...] = (0.0,) * len(FAILURE_CATEGORIES)


def tally(of: Outcome, *, once: bool = False) -> Tally:
    """For a path weighed by the outcome's attribution; for a goal's figures `once`, whosever doing it was."""
    if of.value is None or (of.attribution <= 0 and not once):
        return Tally()
    share = 1.0 if once else of.attribution
    failures = [0.0] * len(FAILURE_CATEGORIES)
    if of.success is False:
        failures[FAILURE_CATEGORIES.index(of.failure_category or "unknown")] = share
    return Tally(
        samples=1,
        successes=share if of.success else 0.0,
        rated=share if of.success is not None else 0.0,
        counts=contribution(of.value, 1.0 if once else of.weight),
        failures=tuple(failures),
    )


__all__ = ["Execution", "First", "Said", "Tally", "executions", "tally"]
