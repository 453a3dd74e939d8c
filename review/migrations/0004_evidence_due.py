"""Verdicts of turns that were logged thousands of times are recorded in steps; this is how far each came."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("review", "0003_expiry_in_the_queues_indexes")]
    operations = [
        migrations.CreateModel(
            name="EvidenceDue",
            fields=[
                ("annotation_id", models.UUIDField(primary_key=True, serialize=False)),
                ("below", models.BigIntegerField(default=0)),
                ("is_withdrawn", models.BooleanField(default=False)),
                (
                    "project",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.deletion.DO_NOTHING,
                        related_name="+",
                        to="agentloop.project",
                    ),
                ),
            ],
        ),
    ]
