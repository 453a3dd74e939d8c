"""Answers that turned out to be spam, removed together with the evidence made of them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from agentloop import audit
from agentloop.actors import Actor
from agentloop.models import Project
from agentloop.sql import with_retries
from feedback_widget.models import Submission
from review import end_users
from review.errors import AnnotationNotFound
from review.models import Annotation, AnnotationSource

MOST_AT_ONCE = 500


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


def matching(project: Project, which: Which) -> list[UUID]:
    """The answers that stand and are meant, the oldest first. Up to two queries."""
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
    return list(found.order_by("id").values_list("id", flat=True))


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
