"""The outbox tells of turns too, so it moves to the site's own tables. No row is touched."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("routing", "0004_followed_authority")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    "ALTER TABLE routing_webhook RENAME TO agentloop_webhook",
                    "ALTER TABLE agentloop_webhook RENAME TO routing_webhook",
                ),
                migrations.RunSQL(
                    "ALTER TABLE routing_outboxmessage RENAME TO agentloop_outboxmessage",
                    "ALTER TABLE agentloop_outboxmessage RENAME TO routing_outboxmessage",
                ),
            ],
            state_operations=[
                migrations.DeleteModel(name="OutboxMessage"),
                migrations.DeleteModel(name="Webhook"),
            ],
        ),
    ]
