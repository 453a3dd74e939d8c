"""What waits for reviewers, and what the worker owes, over all projects: figures for /metrics, checks for doctor."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agentloop.doctor import Finding
from agentloop.metrics import Metric, gauge
from agentloop.sql import run

# Counting further would cost more than it tells.
MOST = 10_000
# The sweep comes each minute and stops within the next.
SWEEP_LATE_SECONDS = 300
# The worker takes marks every three seconds, the lowest first.
INDEX_LATE_SECONDS = 10.0
REMEDY = "Run `manage.py up --only worker beat`; if both run, see what the worker's log says."

# Each project's first row of an index, or its first MOST: nothing here grows with the number of turns.
_BACKLOG_SQL = """
SELECT
    (SELECT coalesce(sum(counter.count), 0) FROM agentloop_project AS project
        JOIN review_turncounter AS counter ON counter.project_id = project.id AND counter.facet = 'pending'),
    (SELECT extract(epoch FROM now() - min(first.logged_at)) FROM agentloop_project AS project, LATERAL (
        SELECT logged_at FROM review_turn AS turn
        WHERE turn.project_id = project.id AND status = 'pending' AND expires_at > now() AND gold_for = ''
        ORDER BY expires_at LIMIT 1
    ) AS first),
    (SELECT count(*) FROM (SELECT FROM agentloop_project AS project, LATERAL (
        SELECT FROM review_turn AS turn
        WHERE turn.project_id = project.id AND status = 'pending' AND expires_at <= now()
        ORDER BY expires_at LIMIT %(most)s
    ) AS due LIMIT %(most)s) AS counted),
    (SELECT extract(epoch FROM now() - min(first.expires_at)) FROM agentloop_project AS project, LATERAL (
        SELECT expires_at FROM review_turn AS turn
        WHERE turn.project_id = project.id AND status = 'pending' AND expires_at <= now() ORDER BY expires_at LIMIT 1
    ) AS first),
    (SELECT count(*) FROM (SELECT FROM review_staleturn LIMIT %(most)s) AS counted)
"""


@dataclass(frozen=True, slots=True)
class Backlog:
    """Turns that wait, as last counted, and the age of the one that expires next; what the worker has still to do."""

    pending: int
    oldest_seconds: float
    unswept: int
    unswept_seconds: float
    unindexed: int


def backlog() -> Backlog:
    """One query, as cheap at a million turns as at ten. Counts of what is owed stop at MOST."""
    [(pending, oldest, unswept, overdue, unindexed)] = run(_BACKLOG_SQL, {"most": MOST})
    return Backlog(int(pending), float(oldest or 0), unswept, float(overdue or 0), unindexed)


def gauges() -> Iterator[Metric]:
    now = backlog()
    yield gauge("pending_turns", "Turns that wait, as the worker last counted them.", now.pending)
    yield gauge("oldest_pending_seconds", "Since the turn that expires next was logged.", now.oldest_seconds)
    yield gauge("unswept_turns", f"Expired turns that are not deleted yet, up to {MOST}.", now.unswept)
    yield gauge("unswept_seconds", "Since the first of them expired.", now.unswept_seconds)
    yield gauge("unindexed_turns", f"Changed turns not counted or searchable yet, up to {MOST}.", now.unindexed)


def swept() -> Finding:
    """Expired turns are never served; but only the sweep deletes what they say."""
    now = backlog()
    if now.unswept_seconds <= SWEEP_LATE_SECONDS:
        return Finding("sweep", "OK", "no expired turn is left lying")
    text = f"{_many(now.unswept)} expired turns lie here, the first for {now.unswept_seconds / 60:,.0f} minutes"
    return Finding("sweep", "FAIL", text, REMEDY)


def indexed() -> Finding:
    """Whether the first mark goes away: the worker takes the lowest first."""
    first, end = _first_mark(), time.monotonic() + INDEX_LATE_SECONDS
    while first and _first_mark() == first:
        if time.monotonic() >= end:
            text = f"{_many(backlog().unindexed)} changed turns wait to be counted and searchable"
            return Finding("index", "FAIL", text, REMEDY)
        time.sleep(0.25)
    return Finding("index", "OK", "turns are counted and searchable within seconds")


def _first_mark() -> list[tuple[Any, ...]]:
    """A mark that is taken and made anew is another row, which its xmin tells."""
    return run("SELECT turn_id, xmin::text FROM review_staleturn ORDER BY turn_id LIMIT 1", ())


def _many(count: int) -> str:
    return f"{count:,}{'+' if count == MOST else ''}"
