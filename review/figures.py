"""How many turns wait, come, go and are lost: from counters, exact to the moment."""

from datetime import timedelta
from typing import Any

from django.db.models import Sum
from django.utils import timezone

from agentloop.models import Project, RefusalCount
from agentloop.sql import run
from review.models import ExpiredCount, Status, Turn

# The counter holds what the worker has indexed. What it hasn't yet, and what has expired since, is counted
# from two small indexes, so the total is exact whenever one looks and costs the same at a million turns.
_PENDING_SQL = """
SELECT
    coalesce((SELECT count FROM review_turncounter WHERE project_id = %(project)s AND facet = 'pending'), 0)
    + (SELECT coalesce(sum(
            (turn.status IS NOT DISTINCT FROM 'pending' AND turn.expires_at > now())::int
            - ('pending' = ANY(coalesce(known.facets, '{}')))::int), 0)
       FROM review_staleturn AS stale
       LEFT JOIN review_turn AS turn ON turn.id = stale.turn_id
       LEFT JOIN review_turnindex AS known ON known.turn_id = stale.turn_id
       WHERE stale.project_id = %(project)s)
    - (SELECT count(*) FROM review_turn AS turn
       JOIN review_turnindex AS known ON known.turn_id = turn.id AND 'pending' = ANY(known.facets)
       WHERE turn.project_id = %(project)s AND turn.status = 'pending' AND turn.expires_at <= now()
           AND NOT EXISTS (SELECT FROM review_staleturn WHERE turn_id = turn.id))
"""


def pending_count(project: Project) -> int:
    """How many turns wait, to the moment. One query."""
    [(count,)] = run(_PENDING_SQL, {"project": project.id})
    return int(count)


def facet_counts(project: Project, prefix: str, most: int = 50) -> list[tuple[str, int]]:
    """The most frequent facets of a kind among pending turns, such as `signal:`; seconds behind. One query."""
    rows = run(
        """
        SELECT substr(facet, length(%(prefix)s::text) + 1), count FROM review_turncounter
        WHERE project_id = %(project)s AND count > 0 AND starts_with(facet, %(prefix)s)
        ORDER BY count DESC, facet LIMIT %(most)s
        """,
        {"project": project.id, "prefix": prefix, "most": most},
    )
    return [(name, count) for name, count in rows]


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
    """The figures of a project's front page. Eight queries."""
    now = timezone.now()
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    waiting = Turn.objects.of(project).pending()
    closed = Turn.objects.of(project).filter(closed_at__gte=today)
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
        "top_signals": [{"signal": name, "count": count} for name, count in facet_counts(project, "signal:", 10)],
        "goals": [{"goal": name, "count": count} for name, count in facet_counts(project, "goal:", 10)],
    }
