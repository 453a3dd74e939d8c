"""Answers that turned out to be spam, removed together with the evidence made of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from agentloop import audit
from agentloop.actors import Actor
from agentloop.models import Project
from agentloop.sql import run, with_retries
from feedback_widget.models import Submission
from review import end_users
from review.errors import AnnotationNotFound
from review.models import Annotation, AnnotationQuerySet, AnnotationSource

MOST_AT_ONCE = 500
MOST_COUNTED = 1_000


@dataclass(frozen=True, slots=True)
class Which:
    """Which answers: those that meet all that is said. At least one thing must be."""

    annotation_ids: tuple[UUID, ...] = ()
    # Every answer from the address that this one came from.
    same_sender_as: UUID | None = None
    user_id: str = ""
    since: datetime | None = None
    until: datetime | None = None

    @property
    def says_nothing(self) -> bool:
        return self == Which()


def answers(project: Project, which: Which) -> AnnotationQuerySet:
    """What end users said and what stands, as far as it is meant. Raises AnnotationNotFound for an unknown sender."""
    found = Annotation.objects.of(project).standing().filter(source=AnnotationSource.END_USER)
    if which.annotation_ids:
        found = found.filter(id__in=which.annotation_ids)
    if which.user_id:
        found = found.filter(user_id=which.user_id)
    if which.since:
        found = found.filter(created_at__gte=which.since)
    if which.until:
        found = found.filter(created_at__lt=which.until)
    if which.same_sender_as:
        found = found.filter(id__in=_of_same_sender(project, which.same_sender_as))
    return found


def matching(project: Project, which: Which) -> list[UUID]:
    """The answers that stand and are meant, the oldest first. Up to two queries."""
    return list(answers(project, which).order_by("id").values_list("id", flat=True))


def sent_by_senders_of(project: Project, annotation_ids: Iterable[UUID]) -> dict[UUID, int]:
    """How many links each answer's sender has answered, removed ones among them. One query."""
    rows = run(
        """
        SELECT one.annotation_id, (SELECT count(*) FROM (
            SELECT FROM feedback_widget_submission AS other
            WHERE other.project_id = one.project_id AND other.sender = one.sender LIMIT %(most)s) AS counted)
        FROM feedback_widget_submission AS one
        WHERE one.project_id = %(project)s AND one.annotation_id = ANY(%(ids)s)
        """,
        {"project": project.id, "ids": list(annotation_ids), "most": MOST_COUNTED},
    )
    return dict(rows)


def _of_same_sender(project: Project, annotation_id: UUID) -> Any:
    submissions = Submission.objects.of(project)
    sender = submissions.filter(annotation_id=annotation_id).values_list("sender", flat=True).first()
    if sender is None:
        raise AnnotationNotFound
    return submissions.filter(sender=sender).values_list("annotation_id", flat=True)


def remove(project: Project, actor: Actor, which: Which) -> tuple[int, int]:
    """Removes up to MOST_AT_ONCE of the answers that are meant; answers how many it removed and how many are left.

    Each in a transaction of its own: cut off half-way it has done half, and can be run again.
    """
    found = matching(project, which)
    removed = sum(_remove(project, actor, annotation_id) for annotation_id in found[:MOST_AT_ONCE])
    audit.note(project, actor, "feedback.remove", removed=removed)
    return removed, max(0, len(found) - MOST_AT_ONCE)


def _remove(project: Project, actor: Actor, annotation_id: UUID) -> bool:
    def take_back() -> bool:
        with transaction.atomic():
            # As its sender would: their change and this removal happen one after the other.
            list(Submission.objects.of(project).select_for_update().filter(annotation_id=annotation_id))
            try:
                end_users.take_back(project, actor, annotation_id)
            except AnnotationNotFound:
                return False
        return True

    return with_retries(take_back)
