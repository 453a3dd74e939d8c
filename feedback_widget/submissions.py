"""One answer for one link: given, changed for half an hour, and final from then on."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from agentloop.actors import Actor
from agentloop.addresses import hashed_address
from agentloop.keyring import note_use
from agentloop.models import Project
from agentloop.parsing import clean_text
from agentloop.signing import Link, lifetime
from agentloop.sql import run, with_retries
from feedback_widget.errors import NoRating
from feedback_widget.models import Submission
from review import end_users
from review.errors import TurnNotFound
from review.intake import IntakeRules
from review.models import Annotation, FailureCategory, Rating
from review.queue import find_turn
from review.verdicts import Verdict

EDIT_FOR = timedelta(minutes=30)
MAX_TEXT = 5000


@dataclass(frozen=True, slots=True)
class Choice:
    """A plain reason, with the tag it becomes and, where it says more than "unsatisfied", its failure category."""

    name: str
    tag: str
    category: str = ""


CHOICES = (
    Choice("wrong_facts", "wrong-facts", FailureCategory.HALLUCINATION_DETECTED),
    Choice("missing", "incomplete"),
    Choice("off_topic", "off-topic"),
    Choice("outdated", "outdated"),
    Choice("broken", "malformed", FailureCategory.MALFORMED_OUTPUT),
    Choice("unsuitable", "unsuitable"),
)


@dataclass(frozen=True, slots=True)
class Said:
    """What the form holds. Only the rating is needed; reasons and a correction go with an answer that was lacking."""

    rating: str
    correction: str = ""
    reasons: tuple[str, ...] = ()
    comment: str = ""

    def as_verdict(self) -> dict[str, Any]:
        """The annotation's columns."""
        chosen = [choice for choice in CHOICES if choice.name in self.reasons]
        category = next((choice.category for choice in chosen if choice.category), "")
        return {
            "rating": self.rating,
            "correction": self.correction,
            "tags": [choice.tag for choice in chosen],
            "failure_category": category if self.rating == Rating.INCORRECT else "",
            "comment": self.comment,
        }


def read_said(rating: str, correction: str = "", reasons: Iterable[str] = (), comment: str = "") -> Said:
    """What somebody sent, within limits. Raises NoRating; unknown reasons are left out, long texts cut."""
    if rating not in Rating.values:
        raise NoRating
    lacking = rating != Rating.CORRECT
    known = tuple(choice.name for choice in CHOICES if choice.name in set(reasons))
    return Said(rating, _text(correction) if lacking else "", known if lacking else (), _text(comment))


def _text(text: str) -> str:
    return clean_text(text).replace("\r\n", "\n").strip()[:MAX_TEXT]


def masked(project: Project, said: Said) -> Said:
    """As it will be stored, so that the same sent again is known to be the same."""
    mask = IntakeRules.of(project).mask
    return replace(said, correction=mask(said.correction), comment=mask(said.comment)) if mask else said


def said_in(annotation: Annotation) -> Said:
    """What an annotation of ours says, in the form's words."""
    reasons = tuple(choice.name for choice in CHOICES if choice.tag in annotation.tags)
    return Said(annotation.rating, annotation.correction, reasons, annotation.comment)


@dataclass(frozen=True, slots=True)
class Opened:
    """What a link shows: its question and answer, and what was said of them, if anything was."""

    link: Link
    question: str
    response: str
    said: Said | None = None
    changeable_until: datetime | None = None

    @property
    def is_final(self) -> bool:
        return self.changeable_until is not None and self.changeable_until <= timezone.now()


_LOOK_SQL = """
SELECT
    EXISTS (SELECT FROM feedback_widget_submission
        WHERE project_id = %(project)s AND link = %(link)s AND annotation_id IS NOT NULL),
    turn.question, turn.response
FROM (SELECT) AS nothing LEFT JOIN review_turn AS turn
    ON turn.project_id = %(project)s AND turn.id = %(turn)s AND (turn.status <> 'pending' OR turn.expires_at > now())
"""


def look(link: Link) -> Opened:
    """What an opened link shows; nothing is written. Raises TurnNotFound for a turn that is gone.

    One query, and up to two more where it was answered or its turn was merged into another.
    """
    given = {"project": link.project.id, "link": link.identity, "turn": link.turn_id}
    [(is_answered, question, response)] = run(_LOOK_SQL, given, keep_plan=True)
    if is_answered:
        submission = Submission.objects.of(link.project).get(link=link.identity)
        return _opened(link, submission, _annotation(submission))
    if link.turn_id is None:
        return Opened(link, link.question, link.response)
    if question is None:
        turn = find_turn(link.project, link.turn_id)
        question, response = turn.question, turn.response
    return Opened(link, question, response)


def _annotation(submission: Submission) -> Annotation:
    wanted = [submission.annotation_id] if submission.annotation_id else []
    annotation = Annotation.objects.filter(project_id=submission.project_id, id__in=wanted).first()
    if annotation is None:
        raise TurnNotFound
    return annotation


def _opened(link: Link, submission: Submission, annotation: Annotation) -> Opened:
    # What was removed as spam stays removed: its sender is told nothing, and can't change it back.
    until = submission.created_at if annotation.retracted_at else submission.created_at + EDIT_FOR
    return Opened(link, annotation.question, annotation.response, said_in(annotation), until)


def submit(link: Link, said: Said, address: str) -> Opened:
    """Writes down what somebody says: once for a link, however often and at once it is sent.

    Sent again within half an hour with other words it is changed; later it stays as it is.
    """
    said = masked(link.project, said)
    opened = with_retries(lambda: _submit(link, said, address))
    note_use(link.key)
    return opened


@transaction.atomic
def _submit(link: Link, said: Said, address: str) -> Opened:
    submission = _locked_submission(link, address)
    speaker = Actor(f"link:{submission.id.hex}", "End user", frozenset())
    about = end_users.About(
        link.turn_id, link.question, link.response, link.user_id, link.session_id, link.trace_id, link.goal
    )
    if submission.annotation_id is None:
        annotation = end_users.hear(link.project, speaker, about, Verdict(**said.as_verdict()))
        Submission.objects.filter(id=submission.id).update(annotation_id=annotation.id)
    else:
        annotation = _annotation(submission)
        if said != said_in(annotation) and not _opened(link, submission, annotation).is_final:
            changes = said.as_verdict()
            annotation = end_users.hear_again(link.project, speaker, about, annotation.id, changes)
    return _opened(link, submission, annotation)


def _locked_submission(link: Link, address: str) -> Submission:
    """The link's row, made if need be: whoever else sends the same link now waits here. One query."""
    made = datetime.fromtimestamp(link.signed_at, UTC)
    submission = Submission(
        project=link.project,
        link=link.identity,
        sender=hashed_address(link.project, address),
        expires_at=made + lifetime(link.project),
    )
    # An update that changes nothing locks the row that is there, and answers it.
    [(submission.id, submission.annotation_id, submission.created_at)] = run(
        """
        INSERT INTO feedback_widget_submission (id, project_id, link, sender, created_at, expires_at)
        VALUES (%s, %s, %s, %s, %s, %s)
        ON CONFLICT (project_id, link) DO UPDATE SET link = excluded.link
        RETURNING id, annotation_id, created_at
        """,
        [
            submission.id,
            link.project.id,
            link.identity,
            submission.sender,
            submission.created_at,
            submission.expires_at,
        ],
        keep_plan=True,
    )
    return submission
