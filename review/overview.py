"""A project's front page: what waits, how it goes, what is lost; and, while it is empty, how to begin."""

from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from agentloop import keys
from agentloop.models import Project, Scope
from agentloop.pages import MemberRequest, bars_of, member_page, memberships_of, render_page, site_address
from review import figures
from review.models import Turn

DAYS = 30


@login_required
def overview(request: HttpRequest) -> HttpResponse:
    """The one project of whoever has one, else the choice."""
    mine = list(memberships_of(request.user))  # type: ignore[arg-type]
    if len(mine) == 1:
        return redirect("project_overview", project=mine[0].project.slug)
    waiting = [(member, figures.pending_count(member.project)) for member in mine]
    return render_page(request, "review/projects.html", {"waiting": waiting})


@member_page(Scope.READ)
def project_overview(request: MemberRequest) -> HttpResponse:
    return _overview(request)


@member_page(Scope.ADMIN)
@require_POST
def first_key(request: MemberRequest) -> HttpResponse:
    """A key for whoever has just begun, in the very lines that log the first turn."""
    key, secret = keys.create_key(project=request.project, actor=request.actor, name="first turn")
    response = _overview(request, made=key, secret=secret)
    response["Cache-Control"] = "no-store"
    return response


def _overview(request: MemberRequest, **more: Any) -> HttpResponse:
    project = request.project
    known: dict[str, Any] = {"base_url": f"{site_address(request)}/p/{project.slug}"}
    if Turn.objects.of(project).exists():
        known |= _figures(project)
    if request.actor.is_owner:
        known["keys"] = project.api_keys.active().order_by("-last_used_at", "-id")[:5]
        known["members"] = project.members.select_related("user").order_by("id")[:8]
    partial = "review/_begin.html" if more else None
    return render_page(request, "review/overview.html", {**known, **more}, partial=partial)


def _about(moment: datetime | None) -> str:
    """How far away a moment is, in one unit: a figure must fit its card."""
    if moment is None:
        return ""
    seconds = abs((moment - timezone.now()).total_seconds())
    for unit, length in (("day", 86_400), ("hour", 3_600)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}s"
    minutes = max(1, round(seconds / 60))
    return f"{minutes} minute{'s' if minutes > 1 else ''}"


def _figures(project: Project) -> dict[str, Any]:
    found = figures.overview(project)
    most = max((row["count"] for row in found["top_signals"]), default=0) or 1
    lost = {row["day"]: row["count"] for row in found["expired_unseen"]}
    today = timezone.now().date()
    days = [today - timedelta(days=ago) for ago in reversed(range(DAYS))]
    return {
        "figures": found,
        "oldest": _about(found["oldest_logged_at"]),
        "next_expiry": _about(found["next_expires_at"]),
        "signals": [{**row, "width": round(100 * row["count"] / most, 1)} for row in found["top_signals"][:6]],
        "lost": bars_of([(f"{day:%-d %B}", lost.get(day, 0)) for day in days], width=600, height=88),
        "lost_total": sum(lost.get(day, 0) for day in days),
        "refused_total": sum(row["count"] for row in found["refused"]),
    }
