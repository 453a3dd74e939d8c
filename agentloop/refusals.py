"""Turns and reports that were refused or set aside, counted by day and reason, where an owner sees them.

A flood of refusals must not become a flood of writes: a process holds its counts and writes them down together, some
seconds after the first and when it ends. So an owner's figures lag by seconds.
"""

import logging
import threading
from collections import Counter
from datetime import date
from multiprocessing.util import Finalize
from uuid import UUID

import orjson
from django.db import DatabaseError, connection
from django.utils import timezone

from agentloop.models import Project
from agentloop.sql import run, with_retries

log = logging.getLogger("agentloop.refusals")

FLUSH_SECONDS = 2.0

_lock = threading.Lock()
# Held while counts are on their way, so that a process that ends waits for them.
_writing = threading.Lock()
_held: Counter[tuple[UUID, date, str]] = Counter()
_timer: threading.Timer | None = None
_at_exit: Finalize | None = None


def count_refusal(project: Project, reason: str) -> None:
    with _lock:
        _held[project.id, timezone.now().date(), reason[:60]] += 1
        _see_to_it()


def _see_to_it() -> None:
    """A timer runs only while something is held."""
    global _timer, _at_exit
    if _timer is None:
        _timer = threading.Timer(FLUSH_SECONDS, _flush_in_time)
        _timer.daemon = True
        _timer.start()
    if _at_exit is None:
        # The web server's processes are forked ones, which pass `atexit` over.
        _at_exit = Finalize(None, _flush_and_close, exitpriority=10)


# In an order, so that two processes never deadlock; and without the rows of a project that has gone.
_ADD_SQL = """
INSERT INTO agentloop_refusalcount (project_id, day, reason, count)
SELECT given.project, given.day, given.reason, given.amount
FROM json_to_recordset(%s::json) AS given(project uuid, day date, reason text, amount bigint)
JOIN agentloop_project AS project ON project.id = given.project
ORDER BY given.project, given.day, given.reason
ON CONFLICT (project_id, day, reason) DO UPDATE SET count = agentloop_refusalcount.count + excluded.count
"""


def flush() -> None:
    """Writes down what is held, in one statement. Raises DatabaseError, and goes on holding it."""
    with _writing:
        with _lock:
            due = dict(_held)
            _held.clear()
        rows = [
            {"project": project_id, "day": day, "reason": reason, "amount": amount}
            for (project_id, day, reason), amount in due.items()
        ]
        try:
            if rows:
                with_retries(lambda: run(_ADD_SQL, [orjson.dumps(rows).decode()]))
        except DatabaseError:
            with _lock:
                _held.update(due)
            raise


def forget() -> None:
    """Drops what is held."""
    global _timer
    with _lock:
        _held.clear()
        if _timer is not None:
            _timer.cancel()
        _timer = None


def _flush_in_time() -> None:
    global _timer
    with _lock:
        _timer = None
    _flush_and_close()
    with _lock:
        # What could not be written is tried again.
        if _held:
            _see_to_it()


def _flush_and_close() -> None:
    """In a thread that has no other use for its connection."""
    try:
        flush()
    except DatabaseError as error:
        log.warning("refusals_not_counted error=%s", type(error).__name__)
    finally:
        connection.close()
