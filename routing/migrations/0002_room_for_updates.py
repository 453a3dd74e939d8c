"""States and buckets are updated far more often than made: room on their pages keeps updates out of the indexes."""

from django.db import migrations

TABLES = ("routing_pathstate", "routing_pathbucket")


class Migration(migrations.Migration):
    dependencies = [("routing", "0001_tables")]
    operations = [
        migrations.RunSQL(
            [f"ALTER TABLE {table} SET (fillfactor = 50)" for table in TABLES],
            [f"ALTER TABLE {table} RESET (fillfactor)" for table in TABLES],
        )
    ]
