"""A memory outlives its turns: what it is made of stays, with whose words those were."""

import django.contrib.postgres.fields
import django.contrib.postgres.indexes
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("agentloop", "0003_shared_cache"),
        ("review", "0002_claim_tokens"),
    ]

    operations = [
        migrations.AddField(
            model_name="annotation",
            name="asked_by",
            field=django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), null=True, size=None),
        ),
        migrations.AddField(
            model_name="annotation",
            name="outlived_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddIndex(
            model_name="annotation",
            index=models.Index(
                condition=models.Q(("memory__isnull", False)), fields=["memory"], name="annotation_of_memory"
            ),
        ),
        migrations.AddIndex(
            model_name="annotation",
            index=django.contrib.postgres.indexes.GinIndex(
                condition=models.Q(("outlived_at__isnull", False)), fields=["asked_by"], name="annotation_asked_by"
            ),
        ),
    ]
