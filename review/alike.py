"""Turns that were asked nearly the same, whatever became of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from agentloop.ids import shown
from agentloop.models import Project
from agentloop.sql import run
from review.markdown import plain
from review.models import Rating, Status, Turn
from review.words import all_of, words

SHOWN = 5
# The index is asked for the longest words of a question, which are its rarest: all of them must be there.
ASKED_WORDS = 4
# Of what it finds, so many at most are looked at, and the newest of those compared.
LOOKED_AT, COMPARED = 200, 60
TEXT = 500
LEAST = 0.6

# A table of its own, so that the plan is made for all that match, which is the index's: for the first ones alone
# PostgreSQL may think it quicker to read the table. It still stops once the first ones were read.
SQL = """
WITH found AS MATERIALIZED (
    SELECT turn_id, facets FROM review_turnindex WHERE project_id = %(project)s AND document @@ %(query)s::tsquery
), first_ones AS (
    SELECT turn_id, facets FROM found WHERE turn_id <> %(turn)s LIMIT %(looked_at)s
)
SELECT turn.id, left(turn.question, %(text)s), turn.status, turn.occurred_at, first_ones.facets
FROM first_ones JOIN review_turn AS turn ON turn.id = first_ones.turn_id AND turn.project_id = %(project)s
WHERE turn.gold_for = '' AND (turn.status <> 'pending' OR turn.expires_at > now())
ORDER BY turn.id DESC LIMIT %(compared)s
"""


@dataclass(frozen=True, slots=True)
class Alike:
    """A turn with nearly the same question. `likeness` is the share of words that both have, of all that either has."""

    turn_id: str
    question: str
    status: str
    # How its newest verdict rated it; empty where there is none.
    rating: str
    occurred_at: datetime
    likeness: float

    @property
    def outcome(self) -> str:
        if self.rating:
            return Rating(self.rating).label
        return "Waiting" if self.status == Status.PENDING else Status(self.status).label


def alike(project: Project, turn: Turn) -> list[Alike]:
    """The turns most like this one, the newest first among equals. One query, served by the index of words.

    A turn is found once the worker has indexed it, within seconds.
    """
    asked = words(turn.question[:TEXT])
    if not asked:
        return []
    rows = run(SQL, parameters(project, turn.id, asked))
    likened = (
        Alike(shown("turn", key), plain(question), status, _rating(facets), at, _likeness(asked, words(question)))
        for key, question, status, at, facets in rows
    )
    # The original of a gold turn's copy would tell its answer.
    most = 0.99 if turn.gold_for else 1.0
    near = [one for one in likened if LEAST <= one.likeness <= most]
    return sorted(near, key=lambda one: -round(one.likeness, 1))[:SHOWN]


def parameters(project: Project, turn_id: UUID, asked: list[str]) -> dict[str, object]:
    # Numbers are what such questions differ in.
    spoken = [word for word in asked if not any(sign.isdigit() for sign in word)] or asked
    rarest = sorted(spoken, key=len, reverse=True)[:ASKED_WORDS]
    return {
        "project": project.id,
        "turn": turn_id,
        "query": all_of(rarest),
        "looked_at": LOOKED_AT,
        "compared": COMPARED,
        "text": TEXT,
    }


def _likeness(one: list[str], other: list[str]) -> float:
    shared = len(set(one) & set(other))
    return shared / len({*one, *other})


def _rating(facets: Iterable[str]) -> str:
    """The index says of a closed turn on which day it was rated how: see `index.facets_of`."""
    last = [facet.rpartition(":")[2] for facet in facets if facet.startswith("day:")]
    return next((word for word in last if word in Rating.values), "")
