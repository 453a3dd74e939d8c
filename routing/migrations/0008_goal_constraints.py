from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("routing", "0007_reviews_by_goal")]

    operations = [migrations.AddField("goal", "constraints", models.JSONField(default=dict, db_default={}))]
