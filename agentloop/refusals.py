"""Turns and reports that were refused or set aside, counted by day and reason, where an owner sees them."""

import threading
import time
from collections import Counter
from uuid import UUID

from django.utils import timezone

from agentloop.models import Project
from agentloop.sql import run

_lock = threading.Lock()
_held: Counter[tuple[UUID, str]] = Counter()
_last_flush = 0.0
# A flood of refusals must not become a flood of writes: a process writes them down once a second.
FLUSH_SECONDS = 1.0
FLOODS = {"rate_limited", "over_quota"}


def count_refusal(project: Project, reason: str) -> None:
    global _last_flush
    with _lock:
        _held[project.id, reason[:60]] += 1
        if time.monotonic() - _last_flush < FLUSH_SECONDS and reason in FLOODS:
            return
        _last_flush = time.monotonic()
        due = dict(_held)
        _held.clear()
    for (project_id, why), amount in sorted(due.items()):
        run(
            """
            INSERT INTO agentloop_refusalcount (project_id, day, reason, count) VALUES (%s, %s, %s, %s)
            ON CONFLICT (project_id, day, reason)
            DO UPDATE SET count = agentloop_refusalcount.count + excluded.count
            """,
            [project_id, timezone.now().date(), why, amount],
        )
