import django.contrib.postgres.fields
import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import agentloop.ids


class Migration(migrations.Migration):
    # The steps by which these tables grew before they were written down as they are: a database that took them all
    # has the tables.
    replaces = [
        ("routing", "0001_initial"),
        ("routing", "0003_states_by_path"),
        ("routing", "0004_followed_authority"),
        ("routing", "0005_outbox_moves"),
        ("routing", "0006_told_signals"),
        ("routing", "0007_reviews_by_goal"),
        ("routing", "0008_goal_constraints"),
        ("routing", "0009_recovered_paths"),
        ("routing", "0010_reviews_at_random"),
        ("routing", "0011_reviews_that_said_so"),
        ("routing", "0012_indexes_by_goal"),
    ]
    initial = True

    dependencies = [
        ("agentloop", "0001_tables"),
    ]

    operations = [
        migrations.CreateModel(
            name="Goal",
            fields=[
                ("id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ("name", models.TextField()),
                ("description", models.TextField(blank=True, default="")),
                ("exploration_rate", models.FloatField(null=True)),
                ("min_samples_before_exploit", models.IntegerField(null=True)),
                ("rollback_threshold", models.FloatField(null=True)),
                ("staleness_days", models.FloatField(null=True)),
                ("exploration_on_high_risk", models.BooleanField(null=True)),
                (
                    "mode",
                    models.CharField(
                        choices=[("apply", "Apply"), ("observe", "Observe"), ("bypass", "Bypass")],
                        default="apply",
                        max_length=10,
                    ),
                ),
                ("pinned_path_id", models.UUIDField(null=True)),
                ("half_life_hours", models.FloatField(null=True)),
                ("constraints", models.JSONField(db_default={}, default=dict)),
                ("auto_explore", models.BooleanField(default=False)),
                ("max_untested", models.IntegerField(default=3)),
                ("bounds", models.JSONField(default=dict)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("watched_at", models.DateTimeField(null=True)),
                ("told_signals", models.JSONField(default=list)),
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
                "constraints": [models.UniqueConstraint(fields=("project", "name"), name="goal_once")],
            },
        ),
        migrations.CreateModel(
            name="ModelPrice",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("model", models.TextField()),
                ("input_usd", models.FloatField()),
                ("output_usd", models.FloatField()),
                ("as_of", models.DateField()),
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
                "constraints": [models.UniqueConstraint(fields=("project", "model"), name="price_once")],
            },
        ),
        migrations.CreateModel(
            name="Path",
            fields=[
                ("id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ("model", models.TextField()),
                (
                    "tools",
                    django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), default=list, size=None),
                ),
                ("params", models.JSONField(default=dict)),
                ("identity", models.CharField(max_length=32)),
                ("risk_level", models.CharField(default="low", max_length=10)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("active", "Active"),
                            ("rolled_back", "Rolled Back"),
                            ("probing", "Probing"),
                            ("disabled", "Disabled"),
                        ],
                        default="active",
                        max_length=12,
                    ),
                ),
                ("disabled_by", models.CharField(blank=True, default="", max_length=120)),
                (
                    "origin",
                    models.CharField(
                        choices=[
                            ("registered", "Registered"),
                            ("outcome", "Outcome"),
                            ("auto_explore", "Auto Explore"),
                        ],
                        default="registered",
                        max_length=12,
                    ),
                ),
                ("probe_at", models.DateTimeField(null=True)),
                ("failures", models.IntegerField(default=0)),
                ("rollback_window", models.JSONField(null=True)),
                ("probing_since", models.DateTimeField(null=True)),
                ("terms", models.IntegerField(default=0)),
                ("since", models.FloatField(null=True)),
                ("shaken_by", models.UUIDField(null=True)),
                ("half_life_s", models.FloatField(null=True)),
                ("landmark", models.FloatField(null=True)),
                ("forgets_before", models.FloatField(null=True)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "goal",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="routing.goal",
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
                "constraints": [models.UniqueConstraint(fields=("project", "goal", "identity"), name="path_once")],
            },
        ),
        migrations.CreateModel(
            name="Outcome",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("trace_id", models.TextField()),
                ("pipeline_id", models.TextField(blank=True, default="")),
                ("success", models.BooleanField(null=True)),
                ("score", models.FloatField(null=True)),
                ("confidence", models.FloatField(default=1.0)),
                ("attribution", models.FloatField(default=1.0)),
                ("failure_category", models.CharField(max_length=30, null=True)),
                ("source", models.CharField(blank=True, default="", max_length=10)),
                ("at", models.FloatField()),
                ("cost_usd", models.FloatField(null=True)),
                ("latency_ms", models.FloatField(null=True)),
                (
                    "goal",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="routing.goal",
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
                (
                    "path",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="routing.path",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["project", "goal", "path", "at"], name="outcome_by_time")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("project", "trace_id", "goal", "path"), name="outcome_once", nulls_distinct=False
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="LedgerRow",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("trace_id", models.TextField()),
                ("key", models.TextField()),
                ("ref", models.TextField(blank=True, default="")),
                (
                    "source",
                    models.CharField(
                        choices=[
                            ("provider", "Provider"),
                            ("inferred", "Inferred"),
                            ("user", "User"),
                            ("action", "Action"),
                            ("review", "Review"),
                        ],
                        max_length=10,
                    ),
                ),
                ("success", models.BooleanField(null=True)),
                ("score", models.FloatField(null=True)),
                ("confidence", models.FloatField(default=1.0)),
                ("failure_category", models.CharField(max_length=30, null=True)),
                ("attribution", models.FloatField(null=True)),
                ("reason", models.TextField(null=True)),
                ("raw_evidence", models.TextField(null=True)),
                ("metadata", models.JSONField(null=True)),
                ("occurred_at", models.FloatField()),
                ("decided_at", models.FloatField(null=True)),
                ("decided_path_id", models.UUIDField(null=True)),
                ("pipeline_id", models.TextField(blank=True, default="")),
                ("withdraws", models.TextField(null=True)),
                ("at_random", models.BooleanField(null=True)),
                ("recorded_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "goal",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="routing.goal",
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
                (
                    "path",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="routing.path",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["project", "trace_id", "goal"], name="evidence_of_trace"),
                    models.Index(
                        condition=models.Q(("ref", ""), _negated=True),
                        fields=["project", "ref"],
                        name="evidence_by_ref",
                    ),
                    models.Index(
                        condition=models.Q(("source", "review")),
                        fields=["project", "goal", "occurred_at"],
                        name="evidence_of_reviewers",
                    ),
                ],
                "constraints": [models.UniqueConstraint(fields=("project", "key"), name="evidence_once")],
            },
        ),
        migrations.CreateModel(
            name="FirstReport",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("trace_id", models.TextField()),
                ("source", models.CharField(max_length=10)),
                ("value", models.FloatField()),
                ("weight", models.FloatField()),
                ("at", models.FloatField()),
                ("recorded_at", models.DateTimeField(default=django.utils.timezone.now)),
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
                    "goal",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="routing.goal",
                    ),
                ),
                (
                    "path",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="routing.path",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["project", "goal", "at"], name="first_report_of_goal"),
                    models.Index(fields=["project", "goal", "id"], name="first_report_by_id"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("project", "goal", "path", "source", "trace_id"), name="first_report_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Decision",
            fields=[
                (
                    "id",
                    models.UUIDField(default=agentloop.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("trace_id", models.TextField()),
                ("would_path_id", models.UUIDField(null=True)),
                ("pipeline_id", models.TextField(blank=True, default="")),
                ("risk", models.CharField(default="medium", max_length=10)),
                (
                    "mode",
                    models.CharField(
                        choices=[("apply", "Apply"), ("observe", "Observe"), ("bypass", "Bypass")],
                        default="apply",
                        max_length=10,
                    ),
                ),
                ("exploration", models.BooleanField(default=False)),
                ("probability", models.FloatField(null=True)),
                ("confidence", models.FloatField(null=True)),
                ("reason", models.TextField(blank=True, default="")),
                ("is_reported", models.BooleanField(default=False)),
                ("decided_at", models.DateTimeField(default=django.utils.timezone.now)),
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
                    "goal",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="routing.goal",
                    ),
                ),
                (
                    "path",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="routing.path",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["project", "goal", "decided_at"], name="decision_of_goal")],
                "constraints": [models.UniqueConstraint(fields=("project", "trace_id", "goal"), name="decision_once")],
            },
        ),
        migrations.CreateModel(
            name="ChangeDetector",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("source", models.CharField(max_length=10)),
                ("read_to", models.BigIntegerField(default=0)),
                ("runs", models.JSONField(default=list)),
                ("seen", models.BigIntegerField(default=0)),
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
                    "goal",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="routing.goal",
                    ),
                ),
                (
                    "path",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="routing.path",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("project", "goal", "path", "source"), name="detector_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="PathBucket",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("path_id", models.UUIDField()),
                ("pipeline_id", models.TextField(blank=True, default="")),
                ("hours", models.SmallIntegerField(default=1)),
                ("start", models.IntegerField()),
                ("samples", models.BigIntegerField(default=0)),
                ("successes", models.FloatField(default=0)),
                ("rated", models.FloatField(default=0)),
                (
                    "counts",
                    django.contrib.postgres.fields.ArrayField(base_field=models.FloatField(), default=list, size=None),
                ),
                (
                    "failures",
                    django.contrib.postgres.fields.ArrayField(base_field=models.FloatField(), default=list, size=None),
                ),
                ("cost_usd", models.FloatField(default=0)),
                ("costs", models.BigIntegerField(default=0)),
                ("latencies", models.JSONField(default=dict)),
                (
                    "goal",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="routing.goal",
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
                "constraints": [
                    models.UniqueConstraint(
                        fields=("project", "goal", "pipeline_id", "path_id", "start", "hours"), name="bucket_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="PathChange",
            fields=[
                (
                    "id",
                    models.UUIDField(default=agentloop.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("change", models.CharField(max_length=20)),
                ("reason", models.TextField(blank=True, default="")),
                ("figures", models.JSONField(default=dict)),
                ("actor", models.CharField(max_length=120)),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "goal",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="routing.goal",
                    ),
                ),
                (
                    "path",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="routing.path",
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
                "indexes": [models.Index(fields=["project", "goal", "-id"], name="path_change_by_time")],
            },
        ),
        migrations.CreateModel(
            name="PathState",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("pipeline_id", models.TextField(blank=True, default="")),
                ("terms", models.IntegerField(default=0)),
                ("version", models.BigIntegerField(default=0)),
                (
                    "own",
                    django.contrib.postgres.fields.ArrayField(base_field=models.FloatField(), default=list, size=None),
                ),
                (
                    "earlier",
                    django.contrib.postgres.fields.ArrayField(base_field=models.FloatField(), default=list, size=None),
                ),
                (
                    "own_decayed",
                    django.contrib.postgres.fields.ArrayField(base_field=models.FloatField(), null=True, size=None),
                ),
                (
                    "earlier_decayed",
                    django.contrib.postgres.fields.ArrayField(base_field=models.FloatField(), null=True, size=None),
                ),
                ("samples", models.BigIntegerField(default=0)),
                (
                    "tries",
                    django.contrib.postgres.fields.ArrayField(base_field=models.FloatField(), default=list, size=None),
                ),
                ("updated_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "goal",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="routing.goal",
                    ),
                ),
                (
                    "path",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="routing.path",
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
                "constraints": [
                    models.UniqueConstraint(fields=("project", "path", "pipeline_id"), name="path_state_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="Regime",
            fields=[
                (
                    "id",
                    models.UUIDField(default=agentloop.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("since", models.FloatField()),
                (
                    "cause",
                    models.CharField(
                        choices=[
                            ("changed", "its own outcomes changed"),
                            ("shaken", "the goal's leader fell"),
                            ("recovered", "it recovered: its evidence begins with the probe"),
                        ],
                        max_length=10,
                    ),
                ),
                ("figures", models.JSONField(default=dict)),
                ("opened_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "goal",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="routing.goal",
                    ),
                ),
                (
                    "path",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="routing.path",
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
                "indexes": [models.Index(fields=["project", "goal", "path", "-id"], name="regime_by_time")],
            },
        ),
        migrations.CreateModel(
            name="EventSpan",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("span_id", models.TextField()),
                ("trace_id", models.TextField()),
                ("parent_id", models.TextField(blank=True, default="")),
                ("goal_name", models.TextField(blank=True, default="")),
                ("provider", models.TextField(blank=True, default="")),
                ("model", models.TextField(blank=True, default="")),
                ("operation", models.TextField(blank=True, default="")),
                ("status", models.TextField(blank=True, default="")),
                ("error_type", models.TextField(blank=True, default="")),
                ("input_tokens", models.BigIntegerField(null=True)),
                ("output_tokens", models.BigIntegerField(null=True)),
                ("cost_usd", models.FloatField(null=True)),
                ("latency_ms", models.FloatField(null=True)),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
                ("received_at", models.DateTimeField(default=django.utils.timezone.now)),
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
                    models.Index(fields=["project", "trace_id"], name="span_of_trace"),
                    models.Index(fields=["project", "received_at"], name="span_by_time"),
                ],
                "constraints": [models.UniqueConstraint(fields=("project", "span_id"), name="span_once")],
            },
        ),
        migrations.CreateModel(
            name="FollowedAuthority",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("authority", django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), size=None)),
                ("begun_at", models.DateTimeField(null=True)),
                ("reached", models.TextField(blank=True, default="")),
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
                "constraints": [models.UniqueConstraint(fields=("project",), name="authority_once")],
            },
        ),
    ]
