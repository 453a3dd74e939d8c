"""Turns and what is done to them: the queue, verdicts, memories, and the counters that make counting cheap.

References to a project or a turn carry no database constraint: on tables that grow by thousands a second
each check would lock the one row of the project. `review.removal` deletes a turn's rows together instead.
"""

from typing import Any, Self

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Coalesce
from django.utils import timezone

from agentloop.ids import new_id, shown
from agentloop.models import Project

# What stands in `escalated_by` where reviewers disagree.
DISPUTED = "double_review"


def _loose(to: str | type[models.Model], *, db_index: bool = False, null: bool = False) -> models.ForeignKey[Any, Any]:
    """A reference that PostgreSQL doesn't check. Most have no index alone: the tables' own begin with them."""
    return models.ForeignKey(to, models.DO_NOTHING, related_name="+", db_constraint=False, db_index=db_index, null=null)


class Status(models.TextChoices):
    PENDING = "pending"
    REVIEWED = "reviewed"
    DISMISSED = "dismissed"


class TurnQuerySet(models.QuerySet["Turn"]):
    def of(self, project: Project) -> Self:
        """What was logged: without the copies of gold turns that reviewers were given, so that nothing counts them."""
        return self.filter(project=project, gold_for="")

    def seen_by(self, project: Project, ref: str) -> Self:
        """The same with what this reviewer was given; a program sees what the reviewers were given whom it names."""
        mine = Q(gold_for__in=["", ref]) | Q(gold_for__startswith=f"{ref}/")
        return self.filter(mine, project=project)

    def with_gold(self, project: Project) -> Self:
        """All of them: for what names one turn by its id."""
        return self.filter(project=project)

    def visible(self) -> Self:
        """All but the pending turns whose time is up: those are gone, swept or not."""
        return self.exclude(status=Status.PENDING, expires_at__lte=timezone.now())

    def pending(self) -> Self:
        return self.filter(status=Status.PENDING, expires_at__gt=timezone.now())

    def unclaimed(self) -> Self:
        """Held by nobody now: never claimed, released, or claimed by somebody whose lease has lapsed."""
        return self.filter(Q(claimed_by="") | Q(claimed_until__lte=timezone.now()))

    def in_queue(self) -> Self:
        """What `turn_queue` holds, with the time of expiry spelt as there."""
        until = Coalesce("expires_at", "expires_at")
        return self.alias(until=until).filter(claimed_by="", escalated_by="", until__gt=timezone.now())

    def awake(self) -> Self:
        return self.filter(Q(snoozed_until=None) | Q(snoozed_until__lte=timezone.now()))

    def by_priority(self) -> Self:
        return self.order_by("-rank", "-id")


class Turn(models.Model):
    """One question and the agent's response, waiting for a judgement or judged."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    project = _loose(Project)
    status = models.CharField(max_length=10, choices=Status, default=Status.PENDING)

    question = models.TextField()
    response = models.TextField()
    # Normalised question and response. Null takes an expired turn out of merging before the sweep has it.
    content_hash = models.UUIDField(null=True)
    # The names of what was cut to its limit: `question`, `response`, `signals`, `metadata`.
    truncated = ArrayField(models.TextField(), default=list)

    signals = models.JSONField(default=dict)
    metadata = models.JSONField(default=dict)
    tags = ArrayField(models.TextField(), default=list)
    user_id = models.TextField(blank=True, default="")
    session_id = models.TextField(blank=True, default="")

    trace_id = models.TextField(blank=True, default="")
    goal = models.TextField(blank=True, default="")
    model = models.TextField(blank=True, default="")
    path_id = models.TextField(blank=True, default="")
    pipeline_id = models.TextField(blank=True, default="")
    sample_rate = models.FloatField(null=True)

    occurrences = models.IntegerField(default=1)
    # What each signal adds to the priority, as the project weighed it when it arrived; see review.priority.
    reasons = models.JSONField(default=dict)
    priority = models.FloatField(default=0)
    # Priority with age and occurrences in a form that does not change as time passes; see review.priority.
    rank = models.FloatField(default=0)

    logged_at = models.DateTimeField(default=timezone.now)
    occurred_at = models.DateTimeField(default=timezone.now)
    last_seen_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()

    claimed_by = models.TextField(blank=True, default="")
    claimed_until = models.DateTimeField(null=True)
    # The fencing token of the newest claim, unique among all claims: an act with an older one is refused.
    claim_token = models.BigIntegerField(null=True)
    # How the newest claim came about: `next`, `random`, `given` or `filter`, and a random one's probability.
    draw = models.TextField(blank=True, default="")
    draw_probability = models.FloatField(null=True)
    snoozed_until = models.DateTimeField(null=True)
    escalated_by = models.TextField(blank=True, default="")
    escalation_note = models.TextField(blank=True, default="")
    dismissed_reason = models.TextField(blank=True, default="")
    closed_at = models.DateTimeField(null=True)
    # How many opinions wait for others; see review.double.
    opinions = models.SmallIntegerField(default=0, db_default=0)
    # For whom alone it waits, where it is a copy of a gold turn; see review.gold.
    gold_for = models.TextField(blank=True, default="", db_default="")

    objects = TurnQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["project", "content_hash"], condition=Q(status="pending"), name="one_pending_twin"
            ),
        ]
        indexes = [
            models.Index(fields=["project", "id"], name="turn_by_time"),
            # Turns that somebody holds leave the queue's index, so that a claim never walks over them. Its order is
            # spelt differently (no rank is null), so that the planner can't take `turn_pending_by_rank` for it
            # while nobody holds anything. The oldest turns stand at the head of all three: with the time of expiry
            # in them many that have expired, and that no sweep has deleted yet, are passed over without being read.
            models.Index(
                F("project"),
                F("rank").desc(nulls_last=True),
                F("id").desc(nulls_last=True),
                Coalesce("expires_at", "expires_at"),
                condition=Q(status="pending", claimed_by="", escalated_by=""),
                name="turn_queue",
            ),
            models.Index(
                fields=["project", "-rank", "-id", "expires_at"],
                condition=Q(status="pending"),
                name="turn_pending_by_rank",
            ),
            models.Index(
                fields=["project", "goal", "-rank", "-id", "expires_at"],
                condition=Q(status="pending"),
                name="turn_by_goal",
            ),
            models.Index(fields=["project", "expires_at"], condition=Q(status="pending"), name="turn_by_expiry"),
            models.Index(
                fields=["project", "claimed_until"],
                condition=Q(status="pending") & ~Q(claimed_by=""),
                name="turn_held",
            ),
            models.Index(
                fields=["project", "-rank", "-id"],
                condition=Q(status="pending") & ~Q(escalated_by=""),
                name="turn_escalated",
            ),
            models.Index(fields=["project", "closed_at"], condition=~Q(status="pending"), name="turn_closed"),
            models.Index(fields=["project", "session_id", "id"], condition=~Q(session_id=""), name="turn_session"),
            models.Index(fields=["project", "user_id", "id"], condition=~Q(user_id=""), name="turn_user"),
            models.Index(fields=["project", "trace_id"], condition=~Q(trace_id=""), name="turn_trace"),
            models.Index(fields=["project", "gold_for"], condition=~Q(gold_for=""), name="turn_gold"),
        ]

    def __str__(self) -> str:
        return self.shown_id

    @property
    def shown_id(self) -> str:
        return shown("turn", self.id)

    @property
    def is_disputed(self) -> bool:
        return self.escalated_by == DISPUTED


class Occurrence(models.Model):
    """One further logging of a pending turn's question and response. A turn logged once has none."""

    id = models.BigAutoField(primary_key=True)
    project = _loose(Project)
    turn = _loose(Turn)
    signals = models.JSONField(default=dict)
    user_id = models.TextField(blank=True, default="")
    session_id = models.TextField(blank=True, default="")
    trace_id = models.TextField(blank=True, default="")
    goal = models.TextField(blank=True, default="")
    model = models.TextField(blank=True, default="")
    path_id = models.TextField(blank=True, default="")
    pipeline_id = models.TextField(blank=True, default="")
    sample_rate = models.FloatField(null=True)
    occurred_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [
            models.Index(fields=["turn", "id"], name="occurrence_of_turn"),
            models.Index(fields=["project", "user_id"], condition=~Q(user_id=""), name="occurrence_user"),
            models.Index(fields=["project", "trace_id"], condition=~Q(trace_id=""), name="occurrence_trace"),
        ]

    def __str__(self) -> str:
        return f"{self.turn_id} at {self.occurred_at}"


class TurnRedirect(models.Model):
    """A turn that was merged into an older one when that came back to the queue: its id still answers."""

    from_id = models.UUIDField(primary_key=True)
    project = _loose(Project)
    to_turn = _loose(Turn, db_index=True)

    def __str__(self) -> str:
        return f"{self.from_id} -> {self.to_turn_id}"


class Skip(models.Model):
    """A reviewer's "not now": the turn comes after all others for them alone."""

    id = models.BigAutoField(primary_key=True)
    project = _loose(Project)
    turn = _loose(Turn)
    actor = models.TextField()
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["turn", "actor"], name="skip_once")]
        indexes = [models.Index(fields=["project", "actor"], name="skips_of_actor")]

    def __str__(self) -> str:
        return f"{self.actor} skipped {self.turn_id}"


class Draft(models.Model):
    """What a reviewer has written and not yet submitted."""

    id = models.BigAutoField(primary_key=True)
    project = _loose(Project)
    turn = _loose(Turn)
    actor = models.TextField()
    body = models.JSONField(default=dict)
    saved_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["turn", "actor"], name="one_draft")]

    def __str__(self) -> str:
        return f"{self.actor} on {self.turn_id}"


class QueueAct(models.Model):
    """One act on a turn (or on an annotation without one), with the state before it, so that it can be undone."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    project = _loose(Project)
    subject_id = models.UUIDField()
    actor = models.TextField()
    act = models.CharField(max_length=20)
    before = models.JSONField(default=dict)
    details = models.JSONField(default=dict)
    at = models.DateTimeField(default=timezone.now)
    undone_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["subject_id", "-id"], name="act_by_subject")]

    def __str__(self) -> str:
        return f"{self.actor} {self.act} {self.subject_id}"


class Rating(models.TextChoices):
    CORRECT = "correct"
    PARTIAL = "partial"
    INCORRECT = "incorrect"


class RootCause(models.TextChoices):
    CONTEXT = "context"
    PROMPT = "prompt"
    MODEL = "model"
    TOOL = "tool"


class AnnotationSource(models.TextChoices):
    REVIEWER = "reviewer"
    END_USER = "end_user"
    API = "api"


class FailureCategory(models.TextChoices):
    TIMEOUT = "timeout"
    CONTEXT_EXCEEDED = "context_exceeded"
    TOOL_ERROR = "tool_error"
    RATE_LIMITED = "rate_limited"
    VALIDATION_FAILED = "validation_failed"
    HALLUCINATION_DETECTED = "hallucination_detected"
    USER_UNSATISFIED = "user_unsatisfied"
    EMPTY_RESPONSE = "empty_response"
    MALFORMED_OUTPUT = "malformed_output"
    AUTH_ERROR = "auth_error"
    PROVIDER_ERROR = "provider_error"
    UNKNOWN = "unknown"
    HEALED = "healed"


class AnnotationQuerySet(models.QuerySet["Annotation"]):
    def of(self, project: Project) -> Self:
        return self.filter(project=project)

    def standing(self) -> Self:
        """Not undone, and its time is not up."""
        return self.remembered().filter(outlived_at=None)

    def remembered(self) -> Self:
        """Not undone: what memories are made of, also once the turn's time is up."""
        return self.filter(retracted_at=None)


class Memory(models.Model):
    """A correction that an agent can look up: what its annotations that were not undone say, the newest first."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    project = _loose(Project)
    fact = models.TextField()
    question = models.TextField()
    user_id = models.TextField(blank=True, default="")
    tags = ArrayField(models.TextField(), default=list)
    source_id = models.UUIDField()
    metadata = models.JSONField(default=dict)
    document = SearchVectorField()
    # How often agents got it, and when last: see review.memories.search.
    retrieved = models.BigIntegerField(db_default=0)
    retrieved_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [
            models.Index(fields=["project", "-updated_at"], name="memory_by_time"),
            GinIndex(fields=["document"], name="memory_document"),
        ]

    def __str__(self) -> str:
        return self.shown_id

    @property
    def shown_id(self) -> str:
        return shown("mem", self.id)


class Annotation(models.Model):
    """A judgement, with a snapshot of what it judged, so that it stands when the turn is gone."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    project = _loose(Project)
    turn = _loose(Turn, null=True, db_index=True)
    question = models.TextField()
    response = models.TextField()
    content_hash = models.UUIDField(null=True)
    source = models.CharField(max_length=10, choices=AnnotationSource)
    author = models.TextField()
    author_label = models.TextField(blank=True, default="")

    rating = models.CharField(max_length=10, choices=Rating)
    correction = models.TextField(blank=True, default="")
    root_cause = models.CharField(max_length=10, choices=RootCause, blank=True, default="")
    failure_category = models.CharField(max_length=30, choices=FailureCategory, blank=True, default="")
    tags = ArrayField(models.TextField(), default=list)
    comment = models.TextField(blank=True, default="")
    scores = models.JSONField(default=dict)
    # `version` and `answers`, or empty; see review.rubrics.
    rubric = models.JSONField(default=dict, db_default={})
    metadata = models.JSONField(default=dict)
    user_id = models.TextField(blank=True, default="")

    goal = models.TextField(blank=True, default="")
    model = models.TextField(blank=True, default="")
    path_id = models.TextField(blank=True, default="")
    pipeline_id = models.TextField(blank=True, default="")
    trace_id = models.TextField(blank=True, default="")
    # How the judged turn came before its reviewer: the randomly drawn ones are an unbiased sample.
    draw = models.TextField(blank=True, default="")
    draw_probability = models.FloatField(null=True)

    memory = _loose(Memory, null=True, db_index=True)
    version = models.IntegerField(default=1)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    retracted_at = models.DateTimeField(null=True)
    # When its turn's time was up. Then only what its memory is made of is left, and whose words those were.
    outlived_at = models.DateTimeField(null=True)
    asked_by = ArrayField(models.TextField(), null=True)

    objects = AnnotationQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["project", "id"], name="annotation_by_time"),
            # The team's own verdicts that stand, the newest first, past any number of end users' words.
            models.Index(
                fields=["project", "-id"],
                condition=~Q(source="end_user") & Q(retracted_at=None, outlived_at=None),
                name="annotation_of_team",
            ),
            models.Index(fields=["project", "user_id"], condition=~Q(user_id=""), name="annotation_user"),
            models.Index(fields=["project", "content_hash"], name="annotation_by_content"),
            models.Index(fields=["memory"], condition=Q(memory__isnull=False), name="annotation_of_memory"),
            GinIndex(fields=["asked_by"], condition=Q(outlived_at__isnull=False), name="annotation_asked_by"),
        ]

    def __str__(self) -> str:
        return self.shown_id

    @property
    def shown_id(self) -> str:
        return shown("ann", self.id)

    @property
    def shown_turn_id(self) -> str:
        return shown("turn", self.turn_id) if self.turn_id else ""


class AnnotationVersion(models.Model):
    """What an annotation said at one time. Rows are appended: an edit never loses what was said before."""

    id = models.BigAutoField(primary_key=True)
    project = _loose(Project)
    annotation = _loose(Annotation)
    version = models.IntegerField()
    body = models.JSONField()
    author = models.TextField()
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["annotation", "version"], name="version_once")]

    def __str__(self) -> str:
        return f"{self.annotation_id} v{self.version}"


class EvidenceDue(models.Model):
    """An annotation whose evidence is not all recorded as it says now: `review.evidence` goes on with it."""

    annotation_id = models.UUIDField(primary_key=True)
    project = _loose(Project)
    # It has said nothing yet of its turn's occurrences before this one; 0 where it has.
    below = models.BigIntegerField(default=0)
    # Kept here too: its annotation may be deleted before all was taken back.
    is_withdrawn = models.BooleanField(default=False)

    def __str__(self) -> str:
        return str(self.annotation_id)


class Opinion(models.Model):
    """What one of several reviewers says of a turn, unseen by the others until something comes of it."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    project = _loose(Project)
    turn = _loose(Turn)
    actor = models.TextField()
    actor_label = models.TextField(blank=True, default="")
    source = models.CharField(max_length=10, choices=AnnotationSource)
    rating = models.CharField(max_length=10, choices=Rating)
    verdict = models.JSONField(default=dict)
    draw = models.TextField(blank=True, default="")
    draw_probability = models.FloatField(null=True)
    # The annotation that is made of it when all agree.
    annotation_id = models.UUIDField(default=new_id)
    at = models.DateTimeField(default=timezone.now)
    is_settled = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["turn", "actor"], condition=Q(is_settled=False), name="opinion_once")
        ]
        indexes = [
            models.Index(fields=["project", "turn"], name="opinion_of_turn"),
            models.Index(fields=["turn"], name="opinion_by_turn"),
        ]

    def __str__(self) -> str:
        return f"{self.actor} on {self.turn_id}: {self.rating}"


class GoldTurn(models.Model):
    """A turn whose right verdict is known. Reviewers are given copies of it, one of each to each of them."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    project = _loose(Project)
    question = models.TextField()
    response = models.TextField()
    content_hash = models.UUIDField()
    # What its copies have beside the texts; what is not in here they have from the turn in whose place they come.
    body = models.JSONField(default=dict)

    rating = models.CharField(max_length=10, choices=Rating)
    root_cause = models.CharField(max_length=10, choices=RootCause, blank=True, default="")
    failure_category = models.CharField(max_length=30, choices=FailureCategory, blank=True, default="")
    # What a reviewer is told afterwards.
    explanation = models.TextField(blank=True, default="")

    source_turn_id = models.UUIDField(null=True)
    # Who judged it before it was one: they are not given it. And whose words it holds.
    judged_by = ArrayField(models.TextField(), default=list)
    asked_by = ArrayField(models.TextField(), default=list)
    author = models.TextField()
    created_at = models.DateTimeField(default=timezone.now)
    retired_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "content_hash"], condition=Q(retired_at=None), name="gold_once")
        ]
        indexes = [models.Index(fields=["project", "-id"], name="gold_by_time")]

    def __str__(self) -> str:
        return self.shown_id

    @property
    def shown_id(self) -> str:
        return shown("gold", self.id)


class GoldAnswer(models.Model):
    """A gold turn that a reviewer was given, and what they first said of it. It stays when both turns are gone."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    project = _loose(Project)
    gold = _loose(GoldTurn)
    # The copy.
    turn_id = models.UUIDField(default=new_id, unique=True)
    actor = models.TextField()
    actor_label = models.TextField(blank=True, default="")
    # Empty until it is answered, with what was known then.
    rating = models.CharField(max_length=10, choices=Rating, blank=True, default="")
    known = models.CharField(max_length=10, choices=Rating, blank=True, default="")
    answered_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["gold", "actor"], name="gold_answer_once")]
        indexes = [models.Index(fields=["project", "actor", "answered_at"], name="gold_answer_by_actor")]

    def __str__(self) -> str:
        return f"{self.actor} on {self.gold_id}: {self.rating}"

    @property
    def is_right(self) -> bool:
        return self.rating == self.known


class QuestionKind(models.TextChoices):
    BOOLEAN = "boolean", "Yes or no"
    CHOICE = "choice", "One of several"
    CHOICES = "choices", "Any of several"
    NUMBER = "number", "A number"
    TEXT = "text", "Words"


class Rubric(models.Model):
    """One version of the questions that a project's verdicts answer. Rows are appended; the newest one is asked."""

    id = models.BigAutoField(primary_key=True)
    project = _loose(Project)
    version = models.IntegerField()
    questions = models.JSONField(default=list)
    author = models.TextField()
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "version"], name="rubric_version_once")]

    def __str__(self) -> str:
        return f"{self.project_id} v{self.version}"


class StaleTurn(models.Model):
    """A turn that the index and the counters do not yet hold as it is now."""

    turn_id = models.UUIDField(primary_key=True)
    project = _loose(Project, db_index=True)

    def __str__(self) -> str:
        return str(self.turn_id)


class TurnIndex(models.Model):
    """A turn's words for full-text search, and the facets under which the counters hold it.

    Filled by the worker within seconds: on intake it would cost more than all the rest together.
    """

    turn_id = models.UUIDField(primary_key=True)
    project = _loose(Project)
    facets = ArrayField(models.TextField(), default=list)
    document = SearchVectorField()

    class Meta:
        indexes = [GinIndex(fields=["document"], name="turn_document")]

    def __str__(self) -> str:
        return str(self.turn_id)


class TurnCounter(models.Model):
    """How many indexed pending turns have a facet: `pending`, `goal:book_meeting`, `signal:thumbs_down`, …"""

    id = models.BigAutoField(primary_key=True)
    project = _loose(Project)
    facet = models.TextField()
    count = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "facet"], name="counter_once")]
        indexes = [
            models.Index(F("project"), F("count").desc(), name="counter_by_count"),
            # What people filter by: there may be a million users, and none of them is listed.
            models.Index(
                F("project"),
                F("count").desc(),
                condition=~Q(facet__startswith="user_id:"),
                name="counter_without_users",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.facet}: {self.count}"


class ExpiredCount(models.Model):
    """How many turns expired unseen on a day, by goal and signal; an empty signal counts every turn once."""

    id = models.BigAutoField(primary_key=True)
    project = _loose(Project)
    day = models.DateField()
    goal = models.TextField(blank=True, default="")
    signal = models.TextField(blank=True, default="")
    count = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "day", "goal", "signal"], name="expired_of_a_day")]

    def __str__(self) -> str:
        return f"{self.day} {self.goal} {self.signal}: {self.count}"


class DayCount(models.Model):
    """What happened on a day: turns that `came`, and those closed as `correct`, `partial`, `incorrect`, `dismissed`.

    Kept by the worker beside the counters. What happened stays counted when its turn is gone.
    """

    id = models.BigAutoField(primary_key=True)
    project = _loose(Project)
    day = models.DateField()
    name = models.CharField(max_length=10)
    count = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "day", "name"], name="count_of_a_day")]

    def __str__(self) -> str:
        return f"{self.day} {self.name}: {self.count}"


class SettledWith(models.Model):
    """The settings that a project's pending turns were last brought in line with."""

    project = models.OneToOneField(Project, models.CASCADE, primary_key=True, related_name="+")
    ttl_days = models.IntegerField()
    weights = models.JSONField(default=dict)
    # How far the pending turns follow a newer value, by its name: `to`, and `after`, the last turn that does.
    on_way = models.JSONField(default=dict, db_default={})

    def __str__(self) -> str:
        return f"{self.project_id}: {self.ttl_days} days"


class SavedViewQuerySet(models.QuerySet["SavedView"]):
    def of(self, project: Project) -> Self:
        return self.filter(project=project)

    def seen_by(self, owner: str) -> Self:
        """One's own, and those that others share."""
        return self.filter(Q(owner=owner) | Q(is_shared=True))


class SavedView(models.Model):
    """A list of turns that somebody keeps by name: its filters and order as the address spells them."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    project = _loose(Project)
    owner = models.TextField()
    name = models.CharField(max_length=60)
    query = models.TextField(blank=True, default="")
    is_shared = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)

    objects = SavedViewQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "owner", "name"], name="view_name_once")]

    def __str__(self) -> str:
        return self.name


class BulkAct(models.TextChoices):
    VERDICT = "verdict", "Judge"
    DISMISS = "dismiss", "Dismiss"
    TAG = "tag", "Tag"


class BulkJob(models.Model):
    """One act on many turns: chosen once, done in batches, and taken back the same way."""

    class Stage(models.TextChoices):
        DOING = "doing"
        DONE = "done"
        UNDOING = "undoing"
        UNDONE = "undone"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    project = _loose(Project)
    actor = models.TextField()
    act = models.CharField(max_length=10, choices=BulkAct)
    params = models.JSONField(default=dict)
    stage = models.CharField(max_length=10, choices=Stage, default=Stage.DOING)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [models.Index(fields=["project", "-id"], name="bulk_by_time")]

    def __str__(self) -> str:
        return f"{self.act} by {self.actor}"

    @property
    def shown_id(self) -> str:
        return shown("bulk", self.id)


class BulkItem(models.Model):
    """One turn of a bulk act: waiting, done (`act_id`), or left as it was (`problem`)."""

    id = models.BigAutoField(primary_key=True)
    project = _loose(Project)
    job = models.ForeignKey(BulkJob, models.CASCADE, related_name="items", db_index=False)
    turn_id = models.UUIDField()
    act_id = models.UUIDField(null=True)
    problem = models.TextField(blank=True, default="")
    is_undone = models.BooleanField(default=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["job", "turn_id"], name="bulk_turn_once")]

    def __str__(self) -> str:
        return f"{self.turn_id} of {self.job_id}"
