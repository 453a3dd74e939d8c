"""The table of Django's cache: what counts failed sign-ins must count them in every process, and without a broker."""

from django.db import migrations

CREATE = """
CREATE UNLOGGED TABLE agentloop_cache (
    cache_key varchar(255) PRIMARY KEY,
    value text NOT NULL,
    expires timestamptz NOT NULL
);
CREATE INDEX agentloop_cache_by_expiry ON agentloop_cache (expires);
"""


class Migration(migrations.Migration):
    dependencies = [("agentloop", "0002_audit_append_only")]
    operations = [migrations.RunSQL(CREATE, "DROP TABLE agentloop_cache;")]
