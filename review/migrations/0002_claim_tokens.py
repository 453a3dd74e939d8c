"""Fencing tokens come from a sequence: each is unique among all claims, whatever is undone or merged."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("review", "0001_tables")]
    operations = [migrations.RunSQL("CREATE SEQUENCE review_claim_token", "DROP SEQUENCE review_claim_token")]
