from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("routing", "0008_goal_constraints")]

    operations = [
        migrations.AddField("path", "forgets_before", models.FloatField(null=True)),
        migrations.AlterField(
            "regime",
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
    ]
