"""What nightly samples found to differ from the ledger, until it is mended."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("agentloop", "0003_shared_cache"),
        ("routing", "0002_room_for_updates"),
    ]

    operations = [
        migrations.CreateModel(
            name="LedgerAlarm",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("differences", models.IntegerField()),
                ("first", models.TextField()),
                ("found_at", models.DateTimeField(default=django.utils.timezone.now)),
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
                "constraints": [models.UniqueConstraint(fields=("project",), name="ledger_alarm_once")],
            },
        ),
    ]
