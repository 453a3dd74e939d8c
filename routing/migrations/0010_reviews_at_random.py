from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("routing", "0009_recovered_paths")]

    operations = [migrations.AddField("ledgerrow", "at_random", models.BooleanField(null=True))]
