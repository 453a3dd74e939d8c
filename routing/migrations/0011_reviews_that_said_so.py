from django.db import migrations


class Migration(migrations.Migration):
    """Until now the ledger's metadata told of a random draw."""

    dependencies = [("routing", "0010_reviews_at_random")]

    operations = [
        migrations.RunSQL(
            "UPDATE routing_ledgerrow SET at_random = coalesce(metadata @> '{\"random_draw\": true}', false) "
            "WHERE source = 'review'",
            migrations.RunSQL.noop,
        )
    ]
