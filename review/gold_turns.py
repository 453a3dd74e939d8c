"""Gold turns as owners see them: made of a judged turn or by hand, retired, and how often reviewers are right."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone

from agentloop import audit
from agentloop.actors import Actor
from agentloop.errors import Conflict
from agentloop.ids import shown
from agentloop.masking import masked_text
from agentloop.models import Project
from agentloop.sql import run
from review import errors
from review.gold import COPIED, GoldNotFound
from review.intake import content_hash
from review.models import Annotation, AnnotationSource, GoldAnswer, GoldTurn, Occurrence
from review.queue import find_turn
from review.removal import forget_gold
from review.verdicts import as_stored
from review.worth import Share

# More would be no check any more but a queue of its own; the list shows them all.
MOST = 500


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    """The right verdict on a turn, and what a reviewer is told afterwards. The names are the gold turn's columns."""

    rating: str
    root_cause: str = ""
    failure_category: str = ""
    explanation: str = ""

    def as_columns(self) -> dict[str, str]:
        return {name: getattr(self, name) for name in self.__slots__}


class NoVerdict(Conflict):
    """This turn has no verdict yet: judge it first, and it can become a gold turn."""

    code = "no_verdict"


class IsGold(Conflict):
    """This question and response are a gold turn already."""

    code = "is_gold"


class TooMany(Conflict):
    """A project has 500 gold turns at most: retire some first."""

    code = "too_many_gold_turns"


def make(project: Project, actor: Actor, turn_id: UUID) -> GoldTurn:
    """Makes a gold turn of a judged one: its newest verdict of the team is the known answer."""
    with transaction.atomic():
        turn = find_turn(project, turn_id)
        verdicts = Annotation.objects.of(project).standing().filter(turn_id=turn.id)
        verdicts = verdicts.exclude(source=AnnotationSource.END_USER).order_by("-updated_at", "-id")
        newest = verdicts.first()
        if newest is None:
            raise NoVerdict
        known = KnownAnswer(
            newest.rating, newest.root_cause, newest.failure_category, newest.correction or newest.comment
        )
        users = Occurrence.objects.filter(turn_id=turn.id).values_list("user_id", flat=True)
        return _keep(
            project,
            actor,
            turn.question,
            turn.response,
            known,
            body={name: getattr(turn, name) for name in (*COPIED, "truncated")},
            source_turn_id=turn.id,
            judged_by=sorted(set(verdicts.values_list("author", flat=True))),
            asked_by=sorted({turn.user_id, *users, newest.user_id} - {""}),
        )


def write(
    project: Project, actor: Actor, question: str, response: str, known: KnownAnswer, *, goal: str = ""
) -> GoldTurn:
    """A gold turn by hand. What it doesn't say, its copies have from the turns in whose place they come."""
    question, response = as_stored(project, question, response)
    if not question.strip():
        raise errors.BadValue("question", "says what was asked.")
    explanation = masked_text(project, known.explanation)
    known = KnownAnswer(known.rating, known.root_cause, known.failure_category, explanation)
    with transaction.atomic():
        return _keep(project, actor, question, response, known, body={"goal": goal} if goal else {})


def _keep(
    project: Project,
    actor: Actor,
    question: str,
    response: str,
    known: KnownAnswer,
    **columns: Any,
) -> GoldTurn:
    if GoldTurn.objects.filter(project=project, retired_at=None).count() >= MOST:
        raise TooMany
    try:
        with transaction.atomic():
            gold = GoldTurn.objects.create(
                project=project,
                question=question,
                response=response,
                content_hash=content_hash(question, response),
                author=actor.ref,
                **known.as_columns(),
                **columns,
            )
    except IntegrityError as error:
        raise IsGold from error
    audit.note(project, actor, "gold.make", gold.shown_id, rating=gold.rating)
    return gold


def retire(project: Project, actor: Actor, gold_id: UUID) -> GoldTurn:
    """Nobody is given it any more. What was answered counts on; twice is safe."""
    with transaction.atomic():
        gold = _locked(project, gold_id)
        if gold.retired_at is None:
            gold.retired_at = timezone.now()
            gold.save(update_fields=["retired_at"])
            audit.note(project, actor, "gold.retire", gold.shown_id)
    return gold


def remove(project: Project, actor: Actor, gold_id: UUID) -> None:
    """Deletes it with what was answered, which then counts for nobody: for one whose known answer was wrong."""
    with transaction.atomic():
        gold = _locked(project, gold_id)
        forget_gold(project, id=gold.id)
        GoldAnswer.objects.filter(gold_id=gold.id).delete()
        audit.note(project, actor, "gold.remove", gold.shown_id)


def _locked(project: Project, gold_id: UUID) -> GoldTurn:
    gold = GoldTurn.objects.select_for_update().filter(project=project, id=gold_id).first()
    if gold is None:
        raise GoldNotFound
    return gold


# --- figures --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Standing:
    """A gold turn with how many reviewers were given it, and how many of those who answered were right."""

    gold: GoldTurn
    given: int = 0
    answered: Share = field(default_factory=lambda: Share(0, 0))

    @property
    def shown_source_id(self) -> str | None:
        return shown("turn", self.gold.source_turn_id) if self.gold.source_turn_id else None


def listed(project: Project) -> list[Standing]:
    """Those in use first, the newest first. Two queries."""
    found = list(GoldTurn.objects.filter(project=project).order_by("-id")[: 2 * MOST])
    found.sort(key=lambda one: one.retired_at is not None)
    rows = run(
        """
        SELECT gold_id, count(*), count(answered_at), count(*) FILTER (WHERE rating = known AND rating <> '')
        FROM review_goldanswer WHERE project_id = %s AND gold_id = ANY(%s) GROUP BY 1
        """,
        [project.id, [one.id for one in found]],
    )
    counts = {gold_id: (given, Share(right, answered)) for gold_id, given, answered, right in rows}
    return [Standing(one, *counts.get(one.id, ())) for one in found]


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How often a reviewer gave the known answer, and in which direction they err. `left` is what they may yet get."""

    ref: str
    label: str
    share: Share
    too_kind: int
    too_strict: int
    left: int


_ACCURACY_SQL = """
WITH answers AS (
    SELECT actor, actor_label, answered_at, rating = known AS is_right,
        array_position(%(scale)s::text[], rating::text) - array_position(%(scale)s::text[], known::text) AS off
    FROM review_goldanswer WHERE project_id = %(project)s AND answered_at IS NOT NULL
        AND (%(only)s::text IS NULL OR actor = %(only)s OR starts_with(actor, %(only)s || '/'))
)
SELECT actor, (array_agg(actor_label ORDER BY answered_at DESC))[1], count(*), count(*) FILTER (WHERE is_right),
    count(*) FILTER (WHERE off < 0), count(*) FILTER (WHERE off > 0),
    (SELECT count(*) FROM review_goldturn AS gold
        WHERE project_id = %(project)s AND retired_at IS NULL AND NOT actor = ANY(judged_by) AND NOT EXISTS (
            SELECT FROM review_goldanswer AS given
            WHERE given.gold_id = gold.id AND given.actor = answers.actor AND given.rating <> ''))
FROM answers GROUP BY actor ORDER BY count(*) DESC, actor
"""
# From good to bad.
_SCALE = ["correct", "partial", "incorrect"]


def accuracy(project: Project, only: str | None = None) -> Sequence[Accuracy]:
    """Every reviewer's, those with most answers first; or one's own, and a program's those whom it names. One query."""
    rows = run(_ACCURACY_SQL, {"project": project.id, "only": only, "scale": _SCALE})
    return [
        Accuracy(ref, label, Share(right, count), kind, strict, left)
        for ref, label, count, right, kind, strict, left in rows
    ]
