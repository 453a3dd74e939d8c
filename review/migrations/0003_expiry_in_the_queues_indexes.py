"""The queue's indexes hold when a turn expires, so that expired turns are passed over without being read.

Each new index stands before the old one goes: nobody waits, and no claim is slow meanwhile.
"""

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models
from django.db.models import F, Q
from django.db.models.functions import Coalesce

PENDING = Q(status="pending")


def _replaced(index: models.Index, name: str) -> list[migrations.operations.base.Operation]:
    return [
        AddIndexConcurrently("turn", index),
        RemoveIndexConcurrently("turn", name),
        migrations.RenameIndex("turn", old_name=index.name, new_name=name),
    ]


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("review", "0002_claim_tokens")]
    operations = [
        *_replaced(
            models.Index(
                F("project"),
                F("rank").desc(nulls_last=True),
                F("id").desc(nulls_last=True),
                Coalesce("expires_at", "expires_at"),
                condition=Q(status="pending", claimed_by="", escalated_by=""),
                name="turn_queue_new",
            ),
            "turn_queue",
        ),
        *_replaced(
            models.Index(fields=["project", "-rank", "-id", "expires_at"], condition=PENDING, name="turn_rank_new"),
            "turn_pending_by_rank",
        ),
        *_replaced(
            models.Index(
                fields=["project", "goal", "-rank", "-id", "expires_at"], condition=PENDING, name="turn_goal_new"
            ),
            "turn_by_goal",
        ),
    ]
