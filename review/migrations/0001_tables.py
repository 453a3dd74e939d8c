import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.contrib.postgres.search
import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import agentloop.ids


class Migration(migrations.Migration):
    # The steps by which these tables grew before they were written down as they are: a database that took them all
    # has the tables.
    replaces = [
        ("review", "0001_initial"),
        ("review", "0003_saved_views_and_bulk_acts"),
        ("review", "0003_what_memories_are_made_of"),
        ("review", "0004_claims_have_one_index"),
        ("review", "0004_counters_without_users"),
        ("review", "0005_memories_are_counted"),
        ("review", "0005_rubrics"),
        ("review", "0005_what_happened_on_a_day"),
        ("review", "0006_double_review"),
        ("review", "0007_gold_turns"),
        ("review", "0008_no_index_twice"),
    ]
    initial = True

    dependencies = [
        ("agentloop", "0001_tables"),
    ]

    operations = [
        migrations.CreateModel(
            name="SettledWith",
            fields=[
                (
                    "project",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="agentloop.project",
                    ),
                ),
                ("ttl_days", models.IntegerField()),
                ("weights", models.JSONField(default=dict)),
            ],
        ),
        migrations.CreateModel(
            name="BulkJob",
            fields=[
                (
                    "id",
                    models.UUIDField(default=agentloop.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("actor", models.TextField()),
                (
                    "act",
                    models.CharField(
                        choices=[("verdict", "Judge"), ("dismiss", "Dismiss"), ("tag", "Tag")], max_length=10
                    ),
                ),
                ("params", models.JSONField(default=dict)),
                (
                    "stage",
                    models.CharField(
                        choices=[("doing", "Doing"), ("done", "Done"), ("undoing", "Undoing"), ("undone", "Undone")],
                        default="doing",
                        max_length=10,
                    ),
                ),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "project",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="agentloop.project",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["project", "-id"], name="bulk_by_time")],
            },
        ),
        migrations.CreateModel(
            name="BulkItem",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("turn_id", models.UUIDField()),
                ("act_id", models.UUIDField(null=True)),
                ("problem", models.TextField(blank=True, default="")),
                ("is_undone", models.BooleanField(default=False)),
                (
                    "project",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="agentloop.project",
                    ),
                ),
                (
                    "job",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="items",
                        to="review.bulkjob",
                    ),
                ),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("job", "turn_id"), name="bulk_turn_once")],
            },
        ),
        migrations.CreateModel(
            name="DayCount",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("day", models.DateField()),
                ("name", models.CharField(max_length=10)),
                ("count", models.BigIntegerField(default=0)),
                (
                    "project",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="agentloop.project",
                    ),
                ),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("project", "day", "name"), name="count_of_a_day")],
            },
        ),
        migrations.CreateModel(
            name="ExpiredCount",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("day", models.DateField()),
                ("goal", models.TextField(blank=True, default="")),
                ("signal", models.TextField(blank=True, default="")),
                ("count", models.BigIntegerField(default=0)),
                (
                    "project",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="agentloop.project",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("project", "day", "goal", "signal"), name="expired_of_a_day")
                ],
            },
        ),
        migrations.CreateModel(
            name="GoldTurn",
            fields=[
                (
                    "id",
                    models.UUIDField(default=agentloop.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("question", models.TextField()),
                ("response", models.TextField()),
                ("content_hash", models.UUIDField()),
                ("body", models.JSONField(default=dict)),
                (
                    "rating",
                    models.CharField(
                        choices=[("correct", "Correct"), ("partial", "Partial"), ("incorrect", "Incorrect")],
                        max_length=10,
                    ),
                ),
                (
                    "root_cause",
                    models.CharField(
                        blank=True,
                        choices=[("context", "Context"), ("prompt", "Prompt"), ("model", "Model"), ("tool", "Tool")],
                        default="",
                        max_length=10,
                    ),
                ),
                (
                    "failure_category",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("timeout", "Timeout"),
                            ("context_exceeded", "Context Exceeded"),
                            ("tool_error", "Tool Error"),
                            ("rate_limited", "Rate Limited"),
                            ("validation_failed", "Validation Failed"),
                            ("hallucination_detected", "Hallucination Detected"),
                            ("user_unsatisfied", "User Unsatisfied"),
                            ("empty_response", "Empty Response"),
                            ("malformed_output", "Malformed Output"),
                            ("auth_error", "Auth Error"),
                            ("provider_error", "Provider Error"),
                            ("unknown", "Unknown"),
                            ("healed", "Healed"),
                        ],
                        default="",
                        max_length=30,
                    ),
                ),
                ("explanation", models.TextField(blank=True, default="")),
                ("source_turn_id", models.UUIDField(null=True)),
                (
                    "judged_by",
                    django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), default=list, size=None),
                ),
                (
                    "asked_by",
                    django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), default=list, size=None),
                ),
                ("author", models.TextField()),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("retired_at", models.DateTimeField(null=True)),
                (
                    "project",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="agentloop.project",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["project", "-id"], name="gold_by_time")],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("retired_at", None)), fields=("project", "content_hash"), name="gold_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="GoldAnswer",
            fields=[
                (
                    "id",
                    models.UUIDField(default=agentloop.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("turn_id", models.UUIDField(default=agentloop.ids.new_id, unique=True)),
                ("actor", models.TextField()),
                ("actor_label", models.TextField(blank=True, default="")),
                (
                    "rating",
                    models.CharField(
                        blank=True,
                        choices=[("correct", "Correct"), ("partial", "Partial"), ("incorrect", "Incorrect")],
                        default="",
                        max_length=10,
                    ),
                ),
                (
                    "known",
                    models.CharField(
                        blank=True,
                        choices=[("correct", "Correct"), ("partial", "Partial"), ("incorrect", "Incorrect")],
                        default="",
                        max_length=10,
                    ),
                ),
                ("answered_at", models.DateTimeField(null=True)),
                (
                    "project",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="agentloop.project",
                    ),
                ),
                (
                    "gold",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="review.goldturn",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["project", "actor", "answered_at"], name="gold_answer_by_actor")],
                "constraints": [models.UniqueConstraint(fields=("gold", "actor"), name="gold_answer_once")],
            },
        ),
        migrations.CreateModel(
            name="Memory",
            fields=[
                (
                    "id",
                    models.UUIDField(default=agentloop.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("fact", models.TextField()),
                ("question", models.TextField()),
                ("user_id", models.TextField(blank=True, default="")),
                (
                    "tags",
                    django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), default=list, size=None),
                ),
                ("source_id", models.UUIDField()),
                ("metadata", models.JSONField(default=dict)),
                ("document", django.contrib.postgres.search.SearchVectorField()),
                ("retrieved", models.BigIntegerField(db_default=0)),
                ("retrieved_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("updated_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "project",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="agentloop.project",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["project", "-updated_at"], name="memory_by_time"),
                    django.contrib.postgres.indexes.GinIndex(fields=["document"], name="memory_document"),
                ],
            },
        ),
        migrations.CreateModel(
            name="QueueAct",
            fields=[
                (
                    "id",
                    models.UUIDField(default=agentloop.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("subject_id", models.UUIDField()),
                ("actor", models.TextField()),
                ("act", models.CharField(max_length=20)),
                ("before", models.JSONField(default=dict)),
                ("details", models.JSONField(default=dict)),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
                ("undone_at", models.DateTimeField(null=True)),
                (
                    "project",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="agentloop.project",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["subject_id", "-id"], name="act_by_subject")],
            },
        ),
        migrations.CreateModel(
            name="Rubric",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("version", models.IntegerField()),
                ("questions", models.JSONField(default=list)),
                ("author", models.TextField()),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "project",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="agentloop.project",
                    ),
                ),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("project", "version"), name="rubric_version_once")],
            },
        ),
        migrations.CreateModel(
            name="SavedView",
            fields=[
                (
                    "id",
                    models.UUIDField(default=agentloop.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("owner", models.TextField()),
                ("name", models.CharField(max_length=60)),
                ("query", models.TextField(blank=True, default="")),
                ("is_shared", models.BooleanField(default=False)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "project",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="agentloop.project",
                    ),
                ),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("project", "owner", "name"), name="view_name_once")],
            },
        ),
        migrations.CreateModel(
            name="StaleTurn",
            fields=[
                ("turn_id", models.UUIDField(primary_key=True, serialize=False)),
                (
                    "project",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="agentloop.project",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Turn",
            fields=[
                (
                    "id",
                    models.UUIDField(default=agentloop.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[("pending", "Pending"), ("reviewed", "Reviewed"), ("dismissed", "Dismissed")],
                        default="pending",
                        max_length=10,
                    ),
                ),
                ("question", models.TextField()),
                ("response", models.TextField()),
                ("content_hash", models.UUIDField(null=True)),
                (
                    "truncated",
                    django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), default=list, size=None),
                ),
                ("signals", models.JSONField(default=dict)),
                ("metadata", models.JSONField(default=dict)),
                (
                    "tags",
                    django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), default=list, size=None),
                ),
                ("user_id", models.TextField(blank=True, default="")),
                ("session_id", models.TextField(blank=True, default="")),
                ("trace_id", models.TextField(blank=True, default="")),
                ("goal", models.TextField(blank=True, default="")),
                ("model", models.TextField(blank=True, default="")),
                ("path_id", models.TextField(blank=True, default="")),
                ("pipeline_id", models.TextField(blank=True, default="")),
                ("sample_rate", models.FloatField(null=True)),
                ("occurrences", models.IntegerField(default=1)),
                ("reasons", models.JSONField(default=dict)),
                ("priority", models.FloatField(default=0)),
                ("rank", models.FloatField(default=0)),
                ("logged_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("occurred_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("last_seen_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("expires_at", models.DateTimeField()),
                ("claimed_by", models.TextField(blank=True, default="")),
                ("claimed_until", models.DateTimeField(null=True)),
                ("claim_token", models.BigIntegerField(null=True)),
                ("draw", models.TextField(blank=True, default="")),
                ("draw_probability", models.FloatField(null=True)),
                ("snoozed_until", models.DateTimeField(null=True)),
                ("escalated_by", models.TextField(blank=True, default="")),
                ("escalation_note", models.TextField(blank=True, default="")),
                ("dismissed_reason", models.TextField(blank=True, default="")),
                ("closed_at", models.DateTimeField(null=True)),
                ("opinions", models.SmallIntegerField(db_default=0, default=0)),
                ("gold_for", models.TextField(blank=True, db_default="", default="")),
                (
                    "project",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="agentloop.project",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["project", "id"], name="turn_by_time"),
                    models.Index(
                        models.F("project"),
                        models.OrderBy(models.F("rank"), descending=True, nulls_last=True),
                        models.OrderBy(models.F("id"), descending=True, nulls_last=True),
                        condition=models.Q(("claimed_by", ""), ("escalated_by", ""), ("status", "pending")),
                        name="turn_queue",
                    ),
                    models.Index(
                        condition=models.Q(("status", "pending")),
                        fields=["project", "-rank", "-id"],
                        name="turn_pending_by_rank",
                    ),
                    models.Index(
                        condition=models.Q(("status", "pending")),
                        fields=["project", "goal", "-rank", "-id"],
                        name="turn_by_goal",
                    ),
                    models.Index(
                        condition=models.Q(("status", "pending")),
                        fields=["project", "expires_at"],
                        name="turn_by_expiry",
                    ),
                    models.Index(
                        condition=models.Q(("status", "pending"), models.Q(("claimed_by", ""), _negated=True)),
                        fields=["project", "claimed_until"],
                        name="turn_held",
                    ),
                    models.Index(
                        condition=models.Q(("status", "pending"), models.Q(("escalated_by", ""), _negated=True)),
                        fields=["project", "-rank", "-id"],
                        name="turn_escalated",
                    ),
                    models.Index(
                        condition=models.Q(("status", "pending"), _negated=True),
                        fields=["project", "closed_at"],
                        name="turn_closed",
                    ),
                    models.Index(
                        condition=models.Q(("session_id", ""), _negated=True),
                        fields=["project", "session_id", "id"],
                        name="turn_session",
                    ),
                    models.Index(
                        condition=models.Q(("user_id", ""), _negated=True),
                        fields=["project", "user_id", "id"],
                        name="turn_user",
                    ),
                    models.Index(
                        condition=models.Q(("trace_id", ""), _negated=True),
                        fields=["project", "trace_id"],
                        name="turn_trace",
                    ),
                    models.Index(
                        condition=models.Q(("gold_for", ""), _negated=True),
                        fields=["project", "gold_for"],
                        name="turn_gold",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("status", "pending")),
                        fields=("project", "content_hash"),
                        name="one_pending_twin",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Skip",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("actor", models.TextField()),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "project",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="agentloop.project",
                    ),
                ),
                (
                    "turn",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="review.turn",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["project", "actor"], name="skips_of_actor")],
                "constraints": [models.UniqueConstraint(fields=("turn", "actor"), name="skip_once")],
            },
        ),
        migrations.CreateModel(
            name="Opinion",
            fields=[
                (
                    "id",
                    models.UUIDField(default=agentloop.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("actor", models.TextField()),
                ("actor_label", models.TextField(blank=True, default="")),
                (
                    "source",
                    models.CharField(
                        choices=[("reviewer", "Reviewer"), ("end_user", "End User"), ("api", "Api")], max_length=10
                    ),
                ),
                (
                    "rating",
                    models.CharField(
                        choices=[("correct", "Correct"), ("partial", "Partial"), ("incorrect", "Incorrect")],
                        max_length=10,
                    ),
                ),
                ("verdict", models.JSONField(default=dict)),
                ("draw", models.TextField(blank=True, default="")),
                ("draw_probability", models.FloatField(null=True)),
                ("annotation_id", models.UUIDField(default=agentloop.ids.new_id)),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
                ("is_settled", models.BooleanField(default=False)),
                (
                    "project",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="agentloop.project",
                    ),
                ),
                (
                    "turn",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="review.turn",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["project", "turn"], name="opinion_of_turn"),
                    models.Index(fields=["turn"], name="opinion_by_turn"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("is_settled", False)), fields=("turn", "actor"), name="opinion_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Occurrence",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("signals", models.JSONField(default=dict)),
                ("user_id", models.TextField(blank=True, default="")),
                ("session_id", models.TextField(blank=True, default="")),
                ("trace_id", models.TextField(blank=True, default="")),
                ("goal", models.TextField(blank=True, default="")),
                ("model", models.TextField(blank=True, default="")),
                ("path_id", models.TextField(blank=True, default="")),
                ("pipeline_id", models.TextField(blank=True, default="")),
                ("sample_rate", models.FloatField(null=True)),
                ("occurred_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "project",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="agentloop.project",
                    ),
                ),
                (
                    "turn",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="review.turn",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["turn", "id"], name="occurrence_of_turn"),
                    models.Index(
                        condition=models.Q(("user_id", ""), _negated=True),
                        fields=["project", "user_id"],
                        name="occurrence_user",
                    ),
                    models.Index(
                        condition=models.Q(("trace_id", ""), _negated=True),
                        fields=["project", "trace_id"],
                        name="occurrence_trace",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Draft",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("actor", models.TextField()),
                ("body", models.JSONField(default=dict)),
                ("saved_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "project",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="agentloop.project",
                    ),
                ),
                (
                    "turn",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="review.turn",
                    ),
                ),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("turn", "actor"), name="one_draft")],
            },
        ),
        migrations.CreateModel(
            name="Annotation",
            fields=[
                (
                    "id",
                    models.UUIDField(default=agentloop.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("question", models.TextField()),
                ("response", models.TextField()),
                ("content_hash", models.UUIDField(null=True)),
                (
                    "source",
                    models.CharField(
                        choices=[("reviewer", "Reviewer"), ("end_user", "End User"), ("api", "Api")], max_length=10
                    ),
                ),
                ("author", models.TextField()),
                ("author_label", models.TextField(blank=True, default="")),
                (
                    "rating",
                    models.CharField(
                        choices=[("correct", "Correct"), ("partial", "Partial"), ("incorrect", "Incorrect")],
                        max_length=10,
                    ),
                ),
                ("correction", models.TextField(blank=True, default="")),
                (
                    "root_cause",
                    models.CharField(
                        blank=True,
                        choices=[("context", "Context"), ("prompt", "Prompt"), ("model", "Model"), ("tool", "Tool")],
                        default="",
                        max_length=10,
                    ),
                ),
                (
                    "failure_category",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("timeout", "Timeout"),
                            ("context_exceeded", "Context Exceeded"),
                            ("tool_error", "Tool Error"),
                            ("rate_limited", "Rate Limited"),
                            ("validation_failed", "Validation Failed"),
                            ("hallucination_detected", "Hallucination Detected"),
                            ("user_unsatisfied", "User Unsatisfied"),
                            ("empty_response", "Empty Response"),
                            ("malformed_output", "Malformed Output"),
                            ("auth_error", "Auth Error"),
                            ("provider_error", "Provider Error"),
                            ("unknown", "Unknown"),
                            ("healed", "Healed"),
                        ],
                        default="",
                        max_length=30,
                    ),
                ),
                (
                    "tags",
                    django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), default=list, size=None),
                ),
                ("comment", models.TextField(blank=True, default="")),
                ("scores", models.JSONField(default=dict)),
                ("rubric", models.JSONField(db_default={}, default=dict)),
                ("metadata", models.JSONField(default=dict)),
                ("user_id", models.TextField(blank=True, default="")),
                ("goal", models.TextField(blank=True, default="")),
                ("model", models.TextField(blank=True, default="")),
                ("path_id", models.TextField(blank=True, default="")),
                ("pipeline_id", models.TextField(blank=True, default="")),
                ("trace_id", models.TextField(blank=True, default="")),
                ("draw", models.TextField(blank=True, default="")),
                ("draw_probability", models.FloatField(null=True)),
                ("version", models.IntegerField(default=1)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("updated_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("retracted_at", models.DateTimeField(null=True)),
                ("outlived_at", models.DateTimeField(null=True)),
                (
                    "asked_by",
                    django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), null=True, size=None),
                ),
                (
                    "project",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="agentloop.project",
                    ),
                ),
                (
                    "memory",
                    models.ForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="review.memory",
                    ),
                ),
                (
                    "turn",
                    models.ForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="review.turn",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["project", "id"], name="annotation_by_time"),
                    models.Index(
                        condition=models.Q(
                            models.Q(("source", "end_user"), _negated=True),
                            ("outlived_at", None),
                            ("retracted_at", None),
                        ),
                        fields=["project", "-id"],
                        name="annotation_of_team",
                    ),
                    models.Index(
                        condition=models.Q(("user_id", ""), _negated=True),
                        fields=["project", "user_id"],
                        name="annotation_user",
                    ),
                    models.Index(fields=["project", "content_hash"], name="annotation_by_content"),
                    models.Index(
                        condition=models.Q(("memory__isnull", False)), fields=["memory"], name="annotation_of_memory"
                    ),
                    django.contrib.postgres.indexes.GinIndex(
                        condition=models.Q(("outlived_at__isnull", False)),
                        fields=["asked_by"],
                        name="annotation_asked_by",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="TurnCounter",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("facet", models.TextField()),
                ("count", models.BigIntegerField(default=0)),
                (
                    "project",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="agentloop.project",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        models.F("project"), models.OrderBy(models.F("count"), descending=True), name="counter_by_count"
                    ),
                    models.Index(
                        models.F("project"),
                        models.OrderBy(models.F("count"), descending=True),
                        condition=models.Q(("facet__startswith", "user_id:"), _negated=True),
                        name="counter_without_users",
                    ),
                ],
                "constraints": [models.UniqueConstraint(fields=("project", "facet"), name="counter_once")],
            },
        ),
        migrations.CreateModel(
            name="TurnIndex",
            fields=[
                ("turn_id", models.UUIDField(primary_key=True, serialize=False)),
                (
                    "facets",
                    django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), default=list, size=None),
                ),
                ("document", django.contrib.postgres.search.SearchVectorField()),
                (
                    "project",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="agentloop.project",
                    ),
                ),
            ],
            options={
                "indexes": [django.contrib.postgres.indexes.GinIndex(fields=["document"], name="turn_document")],
            },
        ),
        migrations.CreateModel(
            name="TurnRedirect",
            fields=[
                ("from_id", models.UUIDField(primary_key=True, serialize=False)),
                (
                    "project",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="agentloop.project",
                    ),
                ),
                (
                    "to_turn",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="review.turn",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="AnnotationVersion",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("version", models.IntegerField()),
                ("body", models.JSONField()),
                ("author", models.TextField()),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "annotation",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="review.annotation",
                    ),
                ),
                (
                    "project",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="agentloop.project",
                    ),
                ),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("annotation", "version"), name="version_once")],
            },
        ),
    ]
