"""Writes down which events the webhooks take that were there before projects knew it."""

from django.db import migrations

FILL_SQL = """
UPDATE agentloop_project AS project SET told_events = taken.events FROM (
    SELECT project_id, array_agg(DISTINCT event ORDER BY event) AS events FROM agentloop_webhook,
        unnest(CASE WHEN cardinality(events) = 0 THEN ARRAY['drift', 'recovery', 'rollback'] ELSE events END) AS event
    WHERE is_active GROUP BY project_id
) AS taken WHERE taken.project_id = project.id
"""


class Migration(migrations.Migration):
    dependencies = [("agentloop", "0005_notices")]

    operations = [migrations.RunSQL(FILL_SQL, migrations.RunSQL.noop)]
