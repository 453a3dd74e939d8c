"""Which links were answered. What was said is the annotation; here is nothing of it."""

from typing import Self

from django.db import models
from django.utils import timezone

from agentloop.ids import new_id
from agentloop.models import Project


class SubmissionQuerySet(models.QuerySet["Submission"]):
    def of(self, project: Project) -> Self:
        return self.filter(project=project)

    def answered(self) -> Self:
        return self.exclude(annotation_id=None)


class Submission(models.Model):
    """One answered link. The row is what makes an answer count once, however often and at once it is sent."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    project = models.ForeignKey(Project, models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False)
    # SHA-256 of what was signed.
    link = models.BinaryField(max_length=32)
    annotation_id = models.UUIDField(null=True)
    # A keyed hash: tells which answers came from one address, and not from which.
    sender = models.CharField(max_length=32)
    created_at = models.DateTimeField(default=timezone.now)
    # When the link itself ends; the row is of no use after that.
    expires_at = models.DateTimeField()

    objects = SubmissionQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "link"], name="link_answered_once")]
        indexes = [
            models.Index(fields=["project", "sender", "id"], name="submission_by_sender"),
            models.Index(fields=["project", "annotation_id"], name="submission_of_annotation"),
            models.Index(fields=["expires_at"], name="submission_by_expiry"),
        ]

    def __str__(self) -> str:
        return f"{self.id} in {self.project_id}"
