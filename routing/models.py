"""Goals, their paths, the ledger of evidence, and what is kept of it so that choosing is cheap.

No table here has a column for a prompt, a response or what a tool was given or gave: the only free text are the
short fields `reason`, `raw_evidence` and `metadata` of the ledger, masked. References carry no database
constraint: each check would lock the one row of a project or goal that every writer needs.
"""

import hashlib
from typing import Any, Self
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone

from agentloop.ids import new_id, shown
from agentloop.models import Project

# A bucket of the goal as a whole stands under this in the place of a path.
WHOLE_GOAL = UUID(int=0)
NAME_LIMIT = 200
TRACE_LIMIT = 128


def _loose(to: str | type[models.Model], **kwargs: Any) -> models.ForeignKey:
    return models.ForeignKey(to, models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False, **kwargs)


def goal_id(project_id: UUID, name: str) -> UUID:
    """A goal's id follows from its name, so that writers need no look-up and two that make it agree."""
    return UUID(bytes=hashlib.blake2b(name.encode(), digest_size=16, key=project_id.bytes).digest())


def path_key(goal: UUID, identity: str) -> UUID:
    """A path's id follows from its goal and identity, for the same reason."""
    return UUID(bytes=hashlib.blake2b(identity.encode(), digest_size=16, key=goal.bytes).digest())


def _counts() -> Any:
    return ArrayField(models.FloatField(), default=list)


class Mode(models.TextChoices):
    APPLY = "apply"
    OBSERVE = "observe"
    BYPASS = "bypass"


class GoalQuerySet(models.QuerySet["Goal"]):
    def of(self, project: Project) -> Self:
        return self.filter(project=project)

    def shown(self) -> Self:
        """Neither the row of defaults nor what the published client's connection check made."""
        return self.exclude(name="*").exclude(name__startswith="__verify__")


class Goal(models.Model):
    """A task with one success criterion, and its settings. The one named `*` holds the project's defaults."""

    id = models.UUIDField(primary_key=True, editable=False)
    project = _loose(Project)
    name = models.TextField()
    description = models.TextField(blank=True, default="")
    # The six of the config endpoint; null: the project's default row, else the shipped value.
    exploration_rate = models.FloatField(null=True)
    min_samples_before_exploit = models.IntegerField(null=True)
    rollback_threshold = models.FloatField(null=True)
    staleness_days = models.FloatField(null=True)
    exploration_on_high_risk = models.BooleanField(null=True)
    mode = models.CharField(max_length=10, choices=Mode, default=Mode.APPLY)
    pinned_path_id = models.UUIDField(null=True)
    half_life_hours = models.FloatField(null=True)
    # What every decision of the goal must keep, beside what its request asks for: {"max_cost_usd": 0.02}
    constraints = models.JSONField(default=dict, db_default={})
    auto_explore = models.BooleanField(default=False)
    max_untested = models.IntegerField(default=3)
    # {"temperature": {"low": 0, "high": 1, "whole": false}}
    bounds = models.JSONField(default=dict)
    created_at = models.DateTimeField(default=timezone.now)
    watched_at = models.DateTimeField(null=True)
    # The urgent signals that were there at the last look, and so told of.
    told_signals = models.JSONField(default=list)

    objects = GoalQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="goal_once")]

    def __str__(self) -> str:
        return self.name


class PathStatus(models.TextChoices):
    ACTIVE = "active"
    ROLLED_BACK = "rolled_back"
    PROBING = "probing"
    DISABLED = "disabled"


class Origin(models.TextChoices):
    REGISTERED = "registered"
    OUTCOME = "outcome"
    AUTO_EXPLORE = "auto_explore"


class PathQuerySet(models.QuerySet["Path"]):
    def of(self, project: Project) -> Self:
        return self.filter(project=project)

    def enabled(self) -> Self:
        return self.exclude(status=PathStatus.DISABLED)


class Path(models.Model):
    """One execution configuration of a goal."""

    id = models.UUIDField(primary_key=True, editable=False)
    project = _loose(Project)
    goal = _loose(Goal)
    model = models.TextField()
    tools = ArrayField(models.TextField(), default=list)
    params = models.JSONField(default=dict)
    identity = models.CharField(max_length=32)
    risk_level = models.CharField(max_length=10, default="low")
    status = models.CharField(max_length=12, choices=PathStatus, default=PathStatus.ACTIVE)
    disabled_by = models.CharField(max_length=120, blank=True, default="")
    origin = models.CharField(max_length=12, choices=Origin, default=Origin.REGISTERED)
    probe_at = models.DateTimeField(null=True)
    failures = models.IntegerField(default=0)
    # The window that a rollback was decided on, and the one it was compared with; a probe's begins at `since`.
    rollback_window = models.JSONField(null=True)
    probing_since = models.DateTimeField(null=True)
    # What the path's states are reckoned by: from when on evidence counts for choosing in full (each change is a
    # row of Regime), and forward decay. Writers name the number of the terms that they reckoned by.
    terms = models.IntegerField(default=0)
    since = models.FloatField(null=True)
    # The leader whose fall opened the regime: how far that is doubted decides what earlier evidence counts for.
    shaken_by = models.UUIDField(null=True)
    half_life_s = models.FloatField(null=True)
    landmark = models.FloatField(null=True)
    # When the probe began by which the path recovered: of what came before, nothing counts for choosing or against it.
    forgets_before = models.FloatField(null=True)
    created_at = models.DateTimeField(default=timezone.now)

    objects = PathQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "goal", "identity"], name="path_once")]

    def __str__(self) -> str:
        return f"{self.model} {self.tools} {self.params}"

    @property
    def shown_id(self) -> str:
        return shown("path", self.id)

    @property
    def tool(self) -> str | None:
        return self.tools[0] if self.tools else None


class EvidenceSource(models.TextChoices):
    PROVIDER = "provider"
    INFERRED = "inferred"
    USER = "user"
    ACTION = "action"
    REVIEW = "review"


class LedgerRow(models.Model):
    """One observation about one execution. Rows are appended; only `blank_texts` ever edits any."""

    id = models.BigAutoField(primary_key=True)
    project = _loose(Project)
    goal = _loose(Goal)
    trace_id = models.TextField()
    # Null: the trace's execution at that time, found by `routing.engine.executions`.
    path = _loose(Path, null=True)
    key = models.TextField()
    # What the row was made of, such as an annotation: all rows of one origin are withdrawn together.
    ref = models.TextField(blank=True, default="")
    source = models.CharField(max_length=10, choices=EvidenceSource)
    success = models.BooleanField(null=True)
    score = models.FloatField(null=True)
    confidence = models.FloatField(default=1.0)
    failure_category = models.CharField(max_length=30, null=True)
    attribution = models.FloatField(null=True)
    reason = models.TextField(null=True)
    raw_evidence = models.TextField(null=True)
    metadata = models.JSONField(null=True)
    occurred_at = models.FloatField()
    # Copied from the trace's decision, which retention deletes one day.
    decided_at = models.FloatField(null=True)
    decided_path_id = models.UUIDField(null=True)
    pipeline_id = models.TextField(blank=True, default="")
    withdraws = models.TextField(null=True)
    # Of a review: whether chance chose what was reviewed. Null where nobody can tell.
    at_random = models.BooleanField(null=True)
    recorded_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "key"], name="evidence_once")]
        indexes = [
            models.Index(fields=["project", "trace_id", "goal"], name="evidence_of_trace"),
            models.Index(fields=["project", "ref"], condition=~Q(ref=""), name="evidence_by_ref"),
            models.Index(
                fields=["project", "goal", "occurred_at"], condition=Q(source="review"), name="evidence_of_reviewers"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.source}: {self.success} {self.score} on {self.trace_id}"


class Outcome(models.Model):
    """What an execution's evidence adds up to now, with what the states hold of it."""

    id = models.BigAutoField(primary_key=True)
    project = _loose(Project)
    goal = _loose(Goal)
    trace_id = models.TextField()
    path = _loose(Path, null=True)
    pipeline_id = models.TextField(blank=True, default="")
    success = models.BooleanField(null=True)
    score = models.FloatField(null=True)
    confidence = models.FloatField(default=1.0)
    attribution = models.FloatField(default=1.0)
    failure_category = models.CharField(max_length=30, null=True)
    source = models.CharField(max_length=10, blank=True, default="")
    # Seconds, as the engine reckons; `at` decides on regimes, buckets and decay.
    at = models.FloatField()
    cost_usd = models.FloatField(null=True)
    latency_ms = models.FloatField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["project", "trace_id", "goal", "path"], nulls_distinct=False, name="outcome_once"
            )
        ]
        indexes = [models.Index(fields=["project", "goal", "path", "at"], name="outcome_by_time")]

    def __str__(self) -> str:
        return f"{self.success} {self.score} of {self.trace_id}"


class PathState(models.Model):
    """What choosing goes by: a path's evidence in all pipelines together (`pipeline_id` empty), or in one."""

    id = models.BigAutoField(primary_key=True)
    project = _loose(Project)
    goal = _loose(Goal)
    path = _loose(Path)
    pipeline_id = models.TextField(blank=True, default="")
    # The path's terms that this was reckoned by.
    terms = models.IntegerField(default=0)
    version = models.BigIntegerField(default=0)
    # Outcomes of the path's regime, and those of earlier ones.
    own = _counts()
    earlier = _counts()
    # The same under forward decay; null where the goal has no half-life.
    own_decayed = ArrayField(models.FloatField(), null=True)
    earlier_decayed = ArrayField(models.FloatField(), null=True)
    samples = models.BigIntegerField(default=0)
    # When the latest tries were, the newest first; see `tried` of the engine.
    tries = ArrayField(models.FloatField(), default=list)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            # Without the goal, which the path implies: else the planner looks a goal's states up by the goal alone.
            models.UniqueConstraint(fields=["project", "path", "pipeline_id"], name="path_state_once")
        ]

    def __str__(self) -> str:
        return f"{self.path_id} {self.pipeline_id} v{self.version}"


class PathBucket(models.Model):
    """An hour's or a day's outcomes of a path, or, under `WHOLE_GOAL`, of a goal. Sums, so that they merge."""

    id = models.BigAutoField(primary_key=True)
    project = _loose(Project)
    goal = _loose(Goal)
    path_id = models.UUIDField()
    pipeline_id = models.TextField(blank=True, default="")
    hours = models.SmallIntegerField(default=1)
    # Hours since 1970.
    start = models.IntegerField()
    samples = models.BigIntegerField(default=0)
    successes = models.FloatField(default=0)
    rated = models.FloatField(default=0)
    counts = _counts()
    failures = ArrayField(models.FloatField(), default=list)
    cost_usd = models.FloatField(default=0)
    costs = models.BigIntegerField(default=0)
    latencies = models.JSONField(default=dict)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["project", "goal", "pipeline_id", "path_id", "start", "hours"], name="bucket_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.path_id} {self.start}+{self.hours}"


class FirstReport(models.Model):
    """What a source first said of an execution. The watch compares these, so that like is compared with like."""

    id = models.BigAutoField(primary_key=True)
    project = _loose(Project)
    goal = _loose(Goal)
    path = _loose(Path)
    trace_id = models.TextField()
    source = models.CharField(max_length=10)
    value = models.FloatField()
    weight = models.FloatField()
    at = models.FloatField()
    recorded_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "goal", "path", "source", "trace_id"], name="first_report_once")
        ]
        indexes = [
            models.Index(fields=["project", "goal", "at"], name="first_report_of_goal"),
            models.Index(fields=["project", "goal", "id"], name="first_report_by_id"),
        ]

    def __str__(self) -> str:
        return f"{self.source} {self.value} of {self.trace_id}"


class ChangeDetector(models.Model):
    """The engine's detector for one source's first reports about one path, as far as it has read them."""

    id = models.BigAutoField(primary_key=True)
    project = _loose(Project)
    goal = _loose(Goal)
    path = _loose(Path)
    source = models.CharField(max_length=10)
    read_to = models.BigIntegerField(default=0)
    runs = models.JSONField(default=list)
    seen = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "goal", "path", "source"], name="detector_once")]

    def __str__(self) -> str:
        return f"{self.path_id} {self.source}"


class Decision(models.Model):
    """One answer of the router, with the probability of having been given."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    project = _loose(Project)
    goal = _loose(Goal)
    trace_id = models.TextField()
    path = _loose(Path)
    # What would have been chosen, in a goal that only observes.
    would_path_id = models.UUIDField(null=True)
    pipeline_id = models.TextField(blank=True, default="")
    risk = models.CharField(max_length=10, default="medium")
    mode = models.CharField(max_length=10, choices=Mode, default=Mode.APPLY)
    exploration = models.BooleanField(default=False)
    probability = models.FloatField(null=True)
    confidence = models.FloatField(null=True)
    reason = models.TextField(blank=True, default="")
    is_reported = models.BooleanField(default=False)
    decided_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "trace_id", "goal"], name="decision_once")]
        # One for the goal's log and for retention, which goes goal by goal: each decision pays for every index.
        indexes = [models.Index(fields=["project", "goal", "decided_at"], name="decision_of_goal")]

    def __str__(self) -> str:
        return f"{self.trace_id}: {self.path_id}"


class PathChange(models.Model):
    """A change of a path's standing or settings, with its reason and figures."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    project = _loose(Project)
    goal = _loose(Goal)
    path = _loose(Path)
    change = models.CharField(max_length=20)
    reason = models.TextField(blank=True, default="")
    figures = models.JSONField(default=dict)
    actor = models.CharField(max_length=120)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [models.Index(fields=["project", "goal", "-id"], name="path_change_by_time")]

    def __str__(self) -> str:
        return f"{self.change} {self.path_id}"


class Cause(models.TextChoices):
    """What opened a regime, and the reason in words."""

    CHANGED = "changed", "its own outcomes changed"
    SHAKEN = "shaken", "the goal's leader fell"
    RECOVERED = "recovered", "it recovered: its evidence begins with the probe"


class Regime(models.Model):
    """From when on a path's evidence counts for choosing, and the figures that opened it."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    project = _loose(Project)
    goal = _loose(Goal)
    path = _loose(Path)
    since = models.FloatField()
    cause = models.CharField(max_length=10, choices=Cause)
    figures = models.JSONField(default=dict)
    opened_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [models.Index(fields=["project", "goal", "path", "-id"], name="regime_by_time")]

    def __str__(self) -> str:
        return f"{self.path_id} since {self.since}"


class FollowedAuthority(models.Model):
    """The order of sources that a project's outcomes go by, and how far those from before were summed up anew."""

    id = models.BigAutoField(primary_key=True)
    project = _loose(Project)
    authority = ArrayField(models.TextField())
    # Null: all of them were.
    begun_at = models.DateTimeField(null=True)
    reached = models.TextField(blank=True, default="")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project"], name="authority_once")]

    def __str__(self) -> str:
        return f"{self.project_id}: {self.authority}"


class LedgerAlarm(models.Model):
    """What a nightly sample of a project found to differ from its ledger. It stands until all is made anew."""

    id = models.BigAutoField(primary_key=True)
    project = _loose(Project)
    differences = models.IntegerField()
    first = models.TextField()
    found_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project"], name="ledger_alarm_once")]

    def __str__(self) -> str:
        return f"{self.project_id}: {self.differences} differences, {self.first}"


class ModelPrice(models.Model):
    """A project's own price of a model, in dollars for a million tokens; `routing.prices` has the shipped ones."""

    id = models.BigAutoField(primary_key=True)
    project = _loose(Project)
    model = models.TextField()
    input_usd = models.FloatField()
    output_usd = models.FloatField()
    as_of = models.DateField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "model"], name="price_once")]

    def __str__(self) -> str:
        return self.model


class EventSpan(models.Model):
    """What one call cost and how long it took: figures and names, never what was said in it."""

    id = models.BigAutoField(primary_key=True)
    project = _loose(Project)
    span_id = models.TextField()
    trace_id = models.TextField()
    parent_id = models.TextField(blank=True, default="")
    goal_name = models.TextField(blank=True, default="")
    provider = models.TextField(blank=True, default="")
    model = models.TextField(blank=True, default="")
    operation = models.TextField(blank=True, default="")
    status = models.TextField(blank=True, default="")
    error_type = models.TextField(blank=True, default="")
    input_tokens = models.BigIntegerField(null=True)
    output_tokens = models.BigIntegerField(null=True)
    cost_usd = models.FloatField(null=True)
    latency_ms = models.FloatField(null=True)
    at = models.DateTimeField(default=timezone.now)
    received_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "span_id"], name="span_once")]
        indexes = [
            models.Index(fields=["project", "trace_id"], name="span_of_trace"),
            models.Index(fields=["project", "received_at"], name="span_by_time"),
        ]

    def __str__(self) -> str:
        return self.span_id
