"""The audit log is appended to and never changed: the database itself refuses anything else.

TRUNCATE stays possible, since emptying a test database needs it and only a table's owner may do it.
"""

from django.db import migrations

REFUSE = """
CREATE FUNCTION agentloop_audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'The audit log is append-only: % is refused.', TG_OP
        USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER audit_is_append_only
    BEFORE UPDATE OR DELETE ON agentloop_auditentry
    FOR EACH ROW EXECUTE FUNCTION agentloop_audit_is_append_only();
"""
ALLOW = """
DROP TRIGGER audit_is_append_only ON agentloop_auditentry;
DROP FUNCTION agentloop_audit_is_append_only();
"""


class Migration(migrations.Migration):
    dependencies = [("agentloop", "0001_tables")]
    operations = [migrations.RunSQL(REFUSE, ALLOW)]
