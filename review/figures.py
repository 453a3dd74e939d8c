"""How many turns wait, come, go and are lost: from counters, exact to the moment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Any

import orjson
from django.db.models import Sum
from django.utils import timezone

from agentloop.actors import Actor
from agentloop.ids import first_id_at
from agentloop.models import Project, RefusalCount
from agentloop.parsing import read_time
from agentloop.sql import run
from review.models import ExpiredCount, Status, Turn
from review.worth import Judged

LARGEST_COUNTERS = 500

# The counter holds what the worker has indexed, expired or not. What it hasn't yet, and what has expired since, is
# counted from indexes alone, so the total is exact whenever one looks and costs the same at a million turns.
_PENDING_SQL = """
SELECT
    coalesce((SELECT count FROM review_turncounter WHERE project_id = %(project)s AND facet = 'pending'), 0)
    + (SELECT coalesce(sum(
            (turn.status IS NOT DISTINCT FROM 'pending' AND turn.gold_for = '')::int
            - ('pending' = ANY(coalesce(known.facets, '{}')))::int), 0)
       FROM review_staleturn AS stale
       LEFT JOIN review_turn AS turn ON turn.id = stale.turn_id
       LEFT JOIN review_turnindex AS known ON known.turn_id = stale.turn_id
       WHERE stale.project_id = %(project)s)
    - (SELECT count(*) FROM review_turn
       WHERE project_id = %(project)s AND status = 'pending' AND expires_at <= now())
    + (SELECT count(*) FROM review_turn
       WHERE project_id = %(project)s AND gold_for <> '' AND status = 'pending' AND expires_at <= now())
    + (SELECT count(*) FROM review_turn
       WHERE project_id = %(project)s AND gold_for <> '' AND gold_for = %(reader)s
           AND status = 'pending' AND expires_at > now())
"""


def pending_count(project: Project, reader: str = "") -> int:
    """How many turns wait, to the moment; with what a gold turn's reader was given, as their list has it. One query."""
    [(count,)] = run(_PENDING_SQL, {"project": project.id, "reader": reader})
    return int(count)


def largest_facets(project: Project, kinds: Sequence[str], most: int) -> dict[str, list[tuple[str, int]]]:
    """The most frequent facets of each kind, such as `signal`, among what waits; seconds behind. One query.

    Read from the largest counters alone; there may be a million users, and none of them is listed.
    """
    rows = run(
        """
        SELECT facet, count FROM review_turncounter
        WHERE project_id = %s AND count > 0 AND facet <> 'pending' AND NOT facet LIKE 'user\\_id:%%'
        ORDER BY count DESC LIMIT %s
        """,
        [project.id, LARGEST_COUNTERS],
    )
    found: dict[str, list[tuple[str, int]]] = {kind: [] for kind in kinds}
    for facet, count in sorted(rows, key=lambda row: (-row[1], row[0])):
        kind, _, name = facet.partition(":")
        if kind in found and len(found[kind]) < most:
            found[kind].append((name, count))
    return found


def expired_unseen(project: Project, days: int = 30) -> list[dict[str, Any]]:
    """How many turns expired before anybody judged them, by day. One query."""
    since = timezone.now().date() - timedelta(days=days)
    rows = ExpiredCount.objects.filter(project=project, signal="", day__gte=since)
    return [dict(row) for row in rows.values("day").annotate(count=Sum("count")).order_by("day")]


def refused(project: Project, days: int = 30) -> list[dict[str, Any]]:
    """How many requests to log turns were refused, by reason. One query."""
    since = timezone.now().date() - timedelta(days=days)
    rows = RefusalCount.objects.filter(project=project, day__gte=since)
    return [dict(row) for row in rows.values("reason").annotate(count=Sum("count")).order_by("-count", "reason")]


def overview(project: Project) -> dict[str, Any]:
    """The figures of a project's front page. Ten queries."""
    now = timezone.now()
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    waiting = Turn.objects.of(project).pending()
    closed = Turn.objects.of(project).filter(closed_at__gte=today)
    facets = largest_facets(project, ("signal", "goal"), 10)
    return {
        "pending": pending_count(project),
        "oldest_logged_at": waiting.order_by("id").values_list("logged_at", flat=True).first(),
        "next_expires_at": waiting.order_by("expires_at").values_list("expires_at", flat=True).first(),
        "claimed": waiting.exclude(claimed_by="").filter(claimed_until__gt=now).count(),
        "escalated": waiting.exclude(escalated_by="").count(),
        "reviewed_today": closed.filter(status=Status.REVIEWED).count(),
        "dismissed_today": closed.filter(status=Status.DISMISSED).count(),
        "expired_unseen": expired_unseen(project),
        "refused": refused(project),
        "top_signals": [{"signal": name, "count": count} for name, count in facets["signal"]],
        "goals": [{"goal": name, "count": count} for name, count in facets["goal"]],
    }


# --- what the overview shows beside these: each one query that reads the same at any size ---------------------------

# Counting further would cost more than it tells.
MOST = 10_000
DUE_DAYS = 7
RECENT_VERDICTS = 2_000


def day_counts(project: Project, since: date) -> dict[tuple[date, str], int]:
    """What came, was closed and expired unseen on each day, as the worker counted it. One query."""
    rows = run(
        """
        SELECT day, name, count FROM review_daycount WHERE project_id = %(project)s AND day >= %(since)s
        UNION ALL
        SELECT day, 'expired', sum(count)::bigint FROM review_expiredcount
        WHERE project_id = %(project)s AND day >= %(since)s AND signal = '' GROUP BY day
        """,
        {"project": project.id, "since": since},
    )
    return {(day, name): count for day, name, count in rows}


@dataclass(frozen=True, slots=True)
class Held:
    """Turns that a reviewer has before them."""

    ref: str
    count: int
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Standing:
    """How the queue stands now. `due` counts what expires within each of the next days, MOST turns at most."""

    next_expires_at: datetime | None
    next_logged_at: datetime | None
    escalated: int
    held: Sequence[Held]
    due: Sequence[int]

    @property
    def due_is_cut(self) -> bool:
        return sum(self.due) >= MOST


_STANDING_SQL = """
WITH soon AS MATERIALIZED (
    SELECT 1 AS amount, expires_at FROM (
        SELECT expires_at FROM review_turn
        WHERE project_id = %(project)s AND status = 'pending' AND expires_at > now()
            AND expires_at <= now() + %(days)s * interval '1 day'
        ORDER BY expires_at LIMIT %(most)s
    ) AS all_of_them
    -- The few copies of gold turns are taken off again, so that the many are read from their index alone.
    UNION ALL SELECT -1, expires_at FROM review_turn
    WHERE project_id = %(project)s AND gold_for <> '' AND status = 'pending' AND expires_at > now()
        AND expires_at <= now() + %(days)s * interval '1 day'
), first AS MATERIALIZED (
    SELECT expires_at, logged_at FROM review_turn
    WHERE project_id = %(project)s AND status = 'pending' AND expires_at > now() AND gold_for = ''
    ORDER BY expires_at LIMIT 1
)
SELECT (SELECT expires_at FROM first), (SELECT logged_at FROM first),
    (SELECT count(*) FROM (
        SELECT FROM review_turn
        WHERE project_id = %(project)s AND status = 'pending' AND escalated_by <> '' AND expires_at > now()
            AND gold_for = ''
        LIMIT %(most)s
    ) AS escalated),
    (SELECT coalesce(json_agg(json_build_array(claimed_by, count, until)), '[]') FROM (
        SELECT claimed_by, count(*), min(claimed_until) AS until FROM (
            SELECT claimed_by, claimed_until FROM review_turn
            WHERE project_id = %(project)s AND status = 'pending' AND claimed_by <> '' AND claimed_until > now()
            ORDER BY claimed_until LIMIT 1000
        ) AS held GROUP BY 1 ORDER BY 3
    ) AS of_one),
    ARRAY(SELECT greatest(0, coalesce(sum(amount), 0)) FROM generate_series(1, %(days)s) AS day LEFT JOIN soon
        ON ceil(extract(epoch FROM expires_at - now()) / 86400) = day GROUP BY day ORDER BY day)
"""


def standing(project: Project) -> Standing:
    """One query, over a few rows of four indexes."""
    given = {"project": project.id, "days": DUE_DAYS, "most": MOST}
    [(expires_at, logged_at, escalated, held, due)] = run(_STANDING_SQL, given)
    holders = [Held(ref, count, read_time(until)) for ref, count, until in held]
    return Standing(expires_at, logged_at, escalated, holders, due)


# The team's own verdicts that stand, as one index holds them.
_TEAM = "source <> 'end_user' AND retracted_at IS NULL AND outlived_at IS NULL"


def recently_judged(project: Project) -> list[Judged]:
    """The turns of the last verdicts, each once as its newest verdict has it. One query."""
    rows = run(
        f"""
        SELECT said.turn_id, said.rating, said.draw, turn.signals::text
        FROM (
            SELECT id, turn_id, rating, draw FROM review_annotation
            WHERE project_id = %(project)s AND {_TEAM} ORDER BY id DESC LIMIT %(most)s
        ) AS said JOIN review_turn AS turn ON turn.id = said.turn_id ORDER BY said.id
        """,
        {"project": project.id, "most": RECENT_VERDICTS},
    )
    newest = {turn_id: (rating, draw, signals) for turn_id, rating, draw, signals in rows}
    return [
        Judged(rating == "incorrect", draw == "random", orjson.loads(signals))
        for rating, draw, signals in newest.values()
    ]


@dataclass(frozen=True, slots=True)
class MyDay:
    """What one person has judged since midnight in UTC."""

    ratings: Mapping[str, int]
    corrections: int
    # Between one verdict and the next, where no pause came between; the middle one.
    seconds_each: float | None

    @property
    def judged(self) -> int:
        return sum(self.ratings.values())


PAUSE_SECONDS = 600


def my_day(project: Project, actor: Actor) -> MyDay:
    """One query, over today's verdicts alone: gold turns are work too."""
    today = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    rows = run(
        f"""
        SELECT rating, memory_id IS NOT NULL, extract(epoch FROM created_at)::float8 AS at FROM (
            SELECT id, author, rating, memory_id, created_at FROM review_annotation
            WHERE project_id = %(project)s AND {_TEAM} AND id >= %(since)s ORDER BY id DESC LIMIT %(most)s
        ) AS said WHERE author = %(me)s
        UNION ALL
        SELECT rating, false, extract(epoch FROM answered_at)::float8 FROM review_goldanswer
        WHERE project_id = %(project)s AND actor = %(me)s AND answered_at >= %(today)s
        ORDER BY at
        """,
        {"project": project.id, "since": first_id_at(today), "today": today, "me": actor.ref, "most": MOST},
    )
    ratings: dict[str, int] = {}
    for rating, _, _ in rows:
        ratings[rating] = ratings.get(rating, 0) + 1
    times = [at for *_, at in rows]
    gaps = sorted(after - before for before, after in pairwise(times))
    gaps = [gap for gap in gaps if gap <= PAUSE_SECONDS]
    return MyDay(ratings, sum(kept for _, kept, _ in rows), gaps[len(gaps) // 2] if gaps else None)
