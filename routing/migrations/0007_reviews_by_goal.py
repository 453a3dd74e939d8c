from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("routing", "0006_told_signals")]

    operations = [
        migrations.AddIndex(
            model_name="ledgerrow",
            index=models.Index(
                fields=["project", "goal", "occurred_at"],
                condition=models.Q(source="review"),
                name="evidence_of_reviewers",
            ),
        ),
    ]
