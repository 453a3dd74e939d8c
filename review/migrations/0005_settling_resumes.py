"""How far pending turns follow a changed setting is kept, so that following goes on where it was cut off."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("review", "0004_evidence_due")]
    operations = [
        migrations.AddField(
            model_name="settledwith", name="on_way", field=models.JSONField(db_default={}, default=dict)
        )
    ]
