"""How well reviewers agree beyond chance: Krippendorff's alpha over turns that several judged blind.

The library and numpy are imported where they are needed: nothing else of the site has use for them at its start.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Any
from uuid import UUID

from agentloop.models import Project
from agentloop.sql import run
from review.models import DISPUTED, Opinion, Rating, Status, Turn

# With fewer turns the interval says no more than that nothing is known.
FEWEST = 20
# The newest opinions: what was long ago says little about how one agrees today.
MOST_OPINIONS = 20_000
MOST_GROUPS = 10
RESAMPLES = 200

# From good to bad: that one says correct and the other partial is half a disagreement.
SCALE = [Rating.CORRECT.value, Rating.PARTIAL.value, Rating.INCORRECT.value]
Unit = dict[str, str]
"""What was said of one turn: each reviewer's rating."""
Said = tuple[tuple[tuple[tuple[str, str], ...], tuple[str, ...]], ...]
"""What was said of each turn, and its tags, as a key to what was made of it."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """`alpha` is 1 where all agree and 0 where they agree as often as by chance; None where `problem` says why."""

    turns: int
    alike: float = 0.0
    alpha: float | None = None
    low: float = 0.0
    high: float = 0.0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """All together, by pair of reviewers and by tag, the ones with most turns first."""

    whole: Agreement
    pairs: list[tuple[str, str, Agreement]]
    tags: list[tuple[str, Agreement]]


def of_project(project: Project, only: str | None = None) -> Found:
    """The project's agreement; with `only`, that reviewer's with all others. One query."""
    units, tags = _units(project)
    if only is not None:
        units = {turn: unit for turn, unit in units.items() if only in unit}
    said = tuple((tuple(sorted(unit.items())), tuple(tags[turn])) for turn, unit in units.items())
    return _found(said, with_pairs=only is None)


def waiting(project: Project) -> tuple[int, int]:
    """How many turns wait for a further verdict, and how many for an owner's decision. Two queries."""
    judged = Opinion.objects.filter(project=project, is_settled=False).values("turn_id")
    turns = Turn.objects.of(project).pending()
    return (
        turns.filter(id__in=judged).exclude(escalated_by=DISPUTED).count(),
        turns.filter(status=Status.PENDING, escalated_by=DISPUTED).count(),
    )


def _units(project: Project) -> tuple[dict[UUID, Unit], dict[UUID, list[str]]]:
    """What something has come of, or waits for an owner: others could still be swayed by the rest."""
    rows = run(
        """
        SELECT said.turn_id, said.actor, said.rating, turn.tags FROM (
            SELECT turn_id, actor, rating, is_settled, at FROM review_opinion
            WHERE project_id = %(project)s ORDER BY turn_id DESC LIMIT %(most)s
        ) AS said JOIN review_turn AS turn ON turn.id = said.turn_id
        WHERE said.is_settled OR turn.escalated_by = %(disputed)s
        ORDER BY said.turn_id, said.at
        """,
        {"project": project.id, "most": MOST_OPINIONS, "disputed": DISPUTED},
    )
    units: dict[UUID, Unit] = defaultdict(dict)
    tags = {}
    for turn, actor, rating, its_tags in rows:
        units[turn][actor] = rating
        tags[turn] = list(its_tags)
    return {turn: unit for turn, unit in units.items() if len(unit) > 1}, tags


@lru_cache(maxsize=16)
def _found(said: Said, *, with_pairs: bool) -> Found:
    """Kept for as long as nothing new is said: the intervals take tenths of a second."""
    units = [dict(unit) for unit, _ in said]
    pairs: dict[tuple[str, str], list[Unit]] = defaultdict(list)
    tagged: dict[str, list[Unit]] = defaultdict(list)
    for unit, (_, tags) in zip(units, said, strict=True):
        for one, other in combinations(sorted(unit), 2):
            pairs[one, other].append({one: unit[one], other: unit[other]})
        for tag in tags:
            tagged[tag].append(unit)
    return Found(
        agreement(units),
        [(one, other, agreement(both)) for (one, other), both in _largest(pairs)] if with_pairs else [],
        [(tag, agreement(its)) for tag, its in _largest(tagged)],
    )


def _largest(groups: Mapping[Any, list[Unit]]) -> list[tuple[Any, list[Unit]]]:
    return sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))[:MOST_GROUPS]


def agreement(units: Iterable[Unit]) -> Agreement:
    """Alpha for ordered ratings, with a bootstrap interval of 95 % over turns; the same turns give the same figures."""
    counts = [[list(unit.values()).count(rating) for rating in SCALE] for unit in units]
    if not counts:
        return Agreement(0, problem="No turn was judged by two.")
    alike = sum(max(row) == sum(row) for row in counts) / len(counts)
    if len(counts) < FEWEST:
        return Agreement(len(counts), alike, problem=f"Too few to say: it takes {FEWEST} turns.")
    if sum(any(row[place] for row in counts) for place in range(len(SCALE))) < 2:
        return Agreement(len(counts), alike, problem="Every rating is the same, so chance alone would agree as well.")
    import numpy as np

    table = np.array(counts)
    draws = np.random.default_rng(0).integers(len(table), size=(RESAMPLES, len(table)))
    resampled = [value for draw in draws if (value := _alpha(table[draw])) is not None]
    low, high = np.quantile(resampled, (0.025, 0.975))
    return Agreement(len(counts), alike, _alpha(table), float(low), float(high))


def _alpha(counts: Any) -> float | None:
    """None where a resample holds a single rating: alpha is not defined there."""
    import krippendorff

    if (counts.sum(axis=0) > 0).sum() < 2:
        return None
    return float(krippendorff.alpha(value_counts=counts, value_domain=[0, 1, 2], level_of_measurement="ordinal"))
