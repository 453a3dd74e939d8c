"""Tenants: projects, their members, keys and signing keys, and the log of what was done to them.

No foreign key to a project has an index of its own: a composite one that begins with the project serves it.
"""

from typing import Any, Self

from django.contrib.auth.models import User
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone

from agentloop.ids import new_id, shown
from agentloop.project_settings import setting


class Project(models.Model):
    """The tenant: it owns its turns, goals, keys, members and settings."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    slug = models.SlugField(max_length=60, unique=True)
    name = models.CharField(max_length=100)
    settings = models.JSONField(default=dict, blank=True)
    # The events that a webhook or a member takes. Kept here, and so with a key, intake need not look it up.
    told_events = ArrayField(models.TextField(), default=list, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.slug

    @property
    def tenant_id(self) -> str:
        return str(self.id)

    def setting(self, name: str) -> Any:
        return setting(self.settings, name)


class Role(models.TextChoices):
    OWNER = "owner"
    REVIEWER = "reviewer"
    VIEWER = "viewer"


class Member(models.Model):
    """A person in a project, and what they may do there."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="members", db_index=False)
    user = models.ForeignKey(User, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "user"], name="member_once")]

    def __str__(self) -> str:
        return f"{self.user} ({self.role}) in {self.project}"


class Invitation(models.Model):
    """A link by which one person, known by their e-mail address, joins a project once. Only its signature is secret."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    project = models.ForeignKey(Project, models.CASCADE, related_name="invitations", db_index=False)
    email = models.CharField(max_length=150)
    role = models.CharField(max_length=10, choices=Role)
    invited_by = models.CharField(max_length=120)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["project", "-id"], name="invitation_by_time")]

    def __str__(self) -> str:
        return f"{self.email} ({self.role}) to {self.project}"

    @property
    def shown_id(self) -> str:
        return shown("invite", self.id)

    @property
    def is_open(self) -> bool:
        return self.accepted_at is None and self.revoked_at is None and self.expires_at > timezone.now()


class Scope(models.TextChoices):
    INGEST = "ingest"
    ROUTE = "route"
    READ = "read"
    REVIEW = "review"
    ADMIN = "admin"


class KeyQuerySet(models.QuerySet["ApiKey"]):
    def active(self) -> Self:
        """Neither revoked nor expired."""
        now = timezone.now()
        return self.filter(revoked_at=None).filter(models.Q(expires_at=None) | models.Q(expires_at__gt=now))


class ApiKey(models.Model):
    """A credential of a program. The secret is random and long, so one round of SHA-256 keeps it."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    project = models.ForeignKey(Project, models.CASCADE, related_name="api_keys", db_index=False)
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=20)
    secret_hash = models.BinaryField(max_length=32, unique=True)
    scopes = models.JSONField(default=list)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    objects = KeyQuerySet.as_manager()

    class Meta:
        # The prefix names the key in claims, limits and the audit log, so it must name one key only.
        constraints = [models.UniqueConstraint(fields=["project", "prefix"], name="api_key_prefix_once")]

    def __str__(self) -> str:
        return f"{self.prefix}… of {self.project}"

    @property
    def shown_id(self) -> str:
        return shown("key", self.id)

    @property
    def is_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()


class SigningKey(models.Model):
    """A secret that signs feedback links. Several may be active; one is current and signs new links."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    project = models.ForeignKey(Project, models.CASCADE, related_name="signing_keys", db_index=False)
    key_id = models.CharField(max_length=12)
    encrypted_secret = models.BinaryField()
    is_current = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "key_id"], name="signing_key_once"),
            models.UniqueConstraint(
                fields=["project"], condition=models.Q(is_current=True), name="one_current_signing_key"
            ),
            models.CheckConstraint(
                condition=models.Q(is_current=False) | models.Q(revoked_at=None), name="current_is_not_revoked"
            ),
        ]
        indexes = [models.Index(fields=["key_id"], name="signing_key_by_key_id")]

    def __str__(self) -> str:
        return f"{self.key_id} of {self.project}"


class AuditEntry(models.Model):
    """One administrative act or verdict. Rows are appended, never changed: the database refuses it.

    Holds no content: names, ids and settings, never a question, a response or a secret.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    # No constraint: the log outlives its project, and intake-rate verdicts need no lock on the project's row.
    project = models.ForeignKey(Project, models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False)
    actor = models.CharField(max_length=120)
    act = models.CharField(max_length=60)
    target = models.CharField(max_length=200, blank=True)
    details = models.JSONField(default=dict, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [models.Index(fields=["project", "-id"], name="audit_by_time")]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M} {self.actor} {self.act} {self.target}"


class IdempotencyKey(models.Model):
    """The first answer to a request that named a key, so that a repeat within a day gets the same one."""

    id = models.BigAutoField(primary_key=True)
    project = models.ForeignKey(Project, models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False)
    key = models.CharField(max_length=300)
    answer = models.JSONField(null=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "key"], name="idempotency_key_once")]
        indexes = [models.Index(fields=["created_at"], name="idempotency_by_age")]

    def __str__(self) -> str:
        return self.key


class RefusalCount(models.Model):
    """How many requests were refused on a day and why: a client that swallows errors is seen here."""

    id = models.BigAutoField(primary_key=True)
    project = models.ForeignKey(Project, models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False)
    day = models.DateField()
    reason = models.CharField(max_length=60)
    count = models.BigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "day", "reason"], name="refusals_of_a_day")]

    def __str__(self) -> str:
        return f"{self.day} {self.reason}: {self.count}"


class Webhook(models.Model):
    """An address that a project's notifications are sent to."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    project = models.ForeignKey(Project, models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False)
    url = models.TextField()
    encrypted_secret = models.BinaryField()
    # Empty: all of them.
    events = ArrayField(models.TextField(), default=list, blank=True)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [models.Index(fields=["project", "id"], name="webhook_of_project")]

    def __str__(self) -> str:
        return self.url


class MemberNotices(models.Model):
    """What a member hears of by e-mail, and how often at most: one letter tells of all that came since the last."""

    id = models.BigAutoField(primary_key=True)
    project = models.ForeignKey(Project, models.CASCADE, related_name="+", db_index=False)
    member = models.OneToOneField(Member, models.CASCADE, related_name="notices")
    events = ArrayField(models.TextField(), default=list)
    every_minutes = models.IntegerField(default=60)
    sent_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["project", "id"], name="notices_of_project")]

    def __str__(self) -> str:
        return f"{self.member_id}: {', '.join(self.events)}"


class OutboxMessage(models.Model):
    """A notification on its way to one webhook or into one member's next letter, committed with what it tells of.

    Holds names, ids and figures, never a question, a response or what somebody wrote.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    project = models.ForeignKey(Project, models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False)
    webhook = models.ForeignKey(
        Webhook, models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False, null=True
    )
    notices = models.ForeignKey(
        MemberNotices, models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False, null=True
    )
    event = models.CharField(max_length=40)
    body = models.JSONField()
    tries = models.IntegerField(default=0)
    # When somebody last asked for it: it is tried for a day from then.
    wanted_at = models.DateTimeField(default=timezone.now)
    next_try_at = models.DateTimeField(default=timezone.now)
    delivered_at = models.DateTimeField(null=True)
    parked_at = models.DateTimeField(null=True)
    last_error = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [
            models.Index(
                fields=["next_try_at"],
                condition=models.Q(delivered_at=None, parked_at=None) & ~models.Q(webhook=None),
                name="outbox_waiting",
            ),
            models.Index(
                fields=["notices", "id"],
                condition=models.Q(delivered_at=None, parked_at=None) & ~models.Q(notices=None),
                name="outbox_for_letters",
            ),
            models.Index(fields=["project", "webhook", "-id"], name="outbox_by_webhook"),
            models.Index(fields=["created_at"], name="outbox_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.event} to {self.webhook_id or self.notices_id}"
