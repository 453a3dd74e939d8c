"""How rounds over all projects are kept bounded and apart, and what the site clears away by itself."""

import logging
import time
from collections.abc import Callable

from django.contrib.sessions.models import Session
from django.db import connection
from django.utils import timezone

from agentloop import stopping
from agentloop.delivery import end_old_messages
from agentloop.sql import with_retries

log = logging.getLogger("agentloop.upkeep")

# Deleting rests four times as long as it works: whoever writes meanwhile must feel little of it.
REST = 4.0


def until_done(step: Callable[[], int], seconds: float, rest: float = 0.0) -> int:
    """Repeats a bounded step until it finds nothing to do, the time is up, or the worker is to stop; rests so many
    times what each took."""
    begun, total = time.monotonic(), 0
    end = begun + seconds
    while (done := step()) > 0:
        total += done
        now = time.monotonic()
        if now >= end or stopping.is_asked():
            break
        stopping.rest((now - begun) * rest)
        begun = time.monotonic()
    return total


def apart(act: Callable[[], int], what: str) -> int:
    """What one part of a round answers. A part that fails is told of in the log and answers 0: the parts after it
    have their turn all the same."""
    try:
        return with_retries(act)
    except Exception:
        log.exception("failed %s", what)
        if not connection.in_atomic_block:
            # One that was lost is opened anew by the next part.
            connection.close_if_unusable_or_obsolete()
        return 0


def end_old_rows() -> None:
    """Deletes what time has made useless: sessions, counts of failed sign-ins, old notifications. Twice is safe."""
    while end_old_messages():
        pass
    Session.objects.filter(expire_date__lt=timezone.now()).delete()
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM agentloop_cache WHERE expires < now()")
