"""Takes over the outbox's two tables from the routing side, as they are."""

import django.contrib.postgres.fields
import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import agentloop.ids


class Migration(migrations.Migration):
    dependencies = [
        ("agentloop", "0003_shared_cache"),
        ("routing", "0005_outbox_moves"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.CreateModel(
                    name="Webhook",
                    fields=[
                        (
                            "id",
                            models.UUIDField(
                                default=agentloop.ids.new_id, editable=False, primary_key=True, serialize=False
                            ),
                        ),
                        ("url", models.TextField()),
                        ("encrypted_secret", models.BinaryField()),
                        (
                            "events",
                            django.contrib.postgres.fields.ArrayField(
                                base_field=models.TextField(), blank=True, default=list, size=None
                            ),
                        ),
                        ("is_active", models.BooleanField(default=True)),
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
                ),
                migrations.CreateModel(
                    name="OutboxMessage",
                    fields=[
                        (
                            "id",
                            models.UUIDField(
                                default=agentloop.ids.new_id, editable=False, primary_key=True, serialize=False
                            ),
                        ),
                        ("event", models.CharField(max_length=40)),
                        ("body", models.JSONField()),
                        ("tries", models.IntegerField(default=0)),
                        ("next_try_at", models.DateTimeField(default=django.utils.timezone.now)),
                        ("delivered_at", models.DateTimeField(null=True)),
                        ("parked_at", models.DateTimeField(null=True)),
                        ("last_error", models.TextField(blank=True, default="")),
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
                        (
                            "webhook",
                            models.ForeignKey(
                                db_constraint=False,
                                db_index=False,
                                on_delete=django.db.models.deletion.DO_NOTHING,
                                related_name="+",
                                to="agentloop.webhook",
                            ),
                        ),
                    ],
                ),
                migrations.AddIndex(
                    model_name="webhook",
                    index=models.Index(fields=["project", "id"], name="webhook_of_project"),
                ),
                migrations.AddIndex(
                    model_name="outboxmessage",
                    index=models.Index(
                        condition=models.Q(("delivered_at", None), ("parked_at", None)),
                        fields=["next_try_at"],
                        name="outbox_waiting",
                    ),
                ),
                migrations.AddIndex(
                    model_name="outboxmessage",
                    index=models.Index(fields=["project", "-id"], name="outbox_by_time"),
                ),
            ]
        ),
    ]
