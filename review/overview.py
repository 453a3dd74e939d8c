"""A project's front page: what waits, how it comes and goes, what is lost, what signals are worth, who waits for what;
and, while it is empty, how to begin."""

from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from agentloop import keys
from agentloop.actors import Actor
from agentloop.models import Project, Scope
from agentloop.pages import MemberRequest, member_page, memberships_of, render_page, site_address
from agentloop.tenancy import names_of_members
from review import figures
from review.end_users import SIGNAL
from review.flow import RATINGS, Day, Pace, days_of, loss_of, pace_of
from review.plots import columns_of, due_bars, forest_of
from review.worth import Share, worths_of

DAYS = 14


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


def _overview(request: MemberRequest, **made: Any) -> HttpResponse:
    """At most twelve queries, the same at any size."""
    project = request.project
    known = {"base_url": f"{site_address(request)}/p/{project.slug}", **_figures(project, request.actor), **made}
    return render_page(request, "review/overview.html", known, partial="review/_begin.html" if made else None)


def _figures(project: Project, actor: Actor) -> dict[str, Any]:
    """Eight queries."""
    now = timezone.now()
    waiting, standing = figures.pending_count(project, actor.ref), figures.standing(project)
    days = days_of(figures.day_counts(project, now.date() - timedelta(days=DAYS - 1)), now.date(), DAYS)
    has_begun = waiting > 0 or any(not day.is_empty for day in days)
    pace, facets = pace_of(days), figures.largest_facets(project, ("signal", "goal"), 8)
    worths, refused = worths_of(figures.recently_judged(project)), figures.refused(project)
    loss, forest = loss_of(standing.due, pace), forest_of(worths)
    return {
        "has_begun": has_begun or worths.random.count > 0 or bool(worths.signals),
        "waiting": waiting,
        "standing": standing,
        "next_expiry": _about(standing.next_expires_at, now),
        "pace": pace,
        "outlook": _outlook(waiting, pace),
        "loss": loss,
        "loss_at": now + timedelta(days=loss.within_days) if loss else None,
        "due": due_bars(standing.due),
        "due_total": sum(standing.due),
        "today": days[-1],
        "days": days,
        "flow": columns_of(days, ("came",), ("judged", "dismissed", "expired")),
        "came_total": sum(day.came for day in days),
        "done_total": sum(day.done for day in days),
        "expired_total": sum(day.expired for day in days),
        "verdicts": columns_of(days, tuple(reversed(RATINGS))),
        "ratings": _ratings(days),
        "worths": worths,
        "worth_rows": list(zip(worths.signals, forest.signals, strict=True)),
        "forest": forest,
        "has_diamonds": any(one.random for one in forest.signals),
        "me": figures.my_day(project, actor),
        "signals": _meters(facets["signal"], waiting),
        "goals": facets["goal"],
        "unhappy": dict(facets["signal"]).get(SIGNAL, 0),
        "holders": _holders(standing, names_of_members(project), actor),
        "refused": refused,
        "refused_total": sum(row["count"] for row in refused),
    }


def _outlook(waiting: int, pace: Pace | None) -> str:
    """What comes of it if things go on like this, in a few words."""
    if waiting == 0:
        return "Nothing waits."
    if pace is None:
        return "How long it will take shows after one whole day."
    left = pace.days_until_empty(waiting)
    if left is None:
        growth = -pace.net
        return f"Grows by {_few(growth)} a day." if growth >= 0.5 else "Neither grows nor shrinks at this pace."
    if left > 90:
        return "More than three months to empty at this pace."
    return f"Empty in about {_days(left)} at this pace."


def _few(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.1f}".removesuffix(".0")


def _days(days: float) -> str:
    if days < 1:
        hours = max(1, round(days * 24))
        return f"{hours} hour{'s' if hours > 1 else ''}"
    return f"{round(days)} day{'s' if round(days) > 1 else ''}"


def _about(moment: datetime | None, now: datetime) -> tuple[str, str]:
    """How far away a moment is, as a number and its unit: one of each, since a figure must fit its card."""
    if moment is None:
        return "", ""
    seconds = abs((moment - now).total_seconds())
    for unit, length in (("days", 86_400), ("hours", 3_600)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f}", unit
    minutes = max(1, round(seconds / 60))
    return str(minutes), "minutes" if minutes > 1 else "minute"


def _ratings(days: list[Day]) -> list[tuple[str, Share]]:
    judged = sum(day.judged for day in days)
    return [(name, Share(sum(getattr(day, name) for day in days), judged)) for name in RATINGS]


def _meters(signals: list[tuple[str, int]], waiting: int) -> list[tuple[str, int, float]]:
    """Each signal with its share of all that waits, which a counter that is seconds behind must not take past all."""
    return [(name, count, min(100.0, round(100 * count / max(1, waiting), 1))) for name, count in signals]


def _holders(standing: figures.Standing, people: dict[str, str], actor: Actor) -> list[tuple[str, figures.Held]]:
    """Who has turns before them. A program that speaks for a reviewer is called by the reviewer's name."""

    def name(ref: str) -> str:
        return "you" if ref == actor.ref else people.get(ref) or ref.rpartition("/")[2]

    return [(name(held.ref), held) for held in standing.held]
