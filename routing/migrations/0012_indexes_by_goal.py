from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    """A goal's log reads its decisions by time, and the watch its first reports."""

    atomic = False
    dependencies = [("routing", "0011_reviews_that_said_so")]

    operations = [
        AddIndexConcurrently(
            "decision", models.Index(fields=["project", "goal", "decided_at"], name="decision_of_goal")
        ),
        RemoveIndexConcurrently("decision", "decision_by_time"),
        AddIndexConcurrently(
            "firstreport", models.Index(fields=["project", "goal", "at"], name="first_report_of_goal")
        ),
        RemoveIndexConcurrently("firstreport", "first_report_by_time"),
    ]
