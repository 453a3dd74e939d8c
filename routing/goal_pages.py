"""The goals' pages: each view reads the request, calls one function, and renders."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from agentloop.ids import read, shown
from agentloop.models import Project, Scope
from agentloop.pages import MemberRequest, member_page, render_page, site_address
from agentloop.parsing import read_time
from routing import figures, plots
from routing.errors import GoalNotFound
from routing.figures import DEFAULT_WINDOW, WINDOWS
from routing.models import Decision, Goal, Path, goal_id

ROWS_FIRST = 12
LOG_PAGE = 50
WINDOW_NAMES = {24: "24 hours", 168: "7 days", 336: "14 days"}


def window_asked(request: MemberRequest) -> int:
    asked = request.GET.get("hours", "")
    return int(asked) if asked.isdecimal() and int(asked) in WINDOWS else DEFAULT_WINDOW


def find_goal(project: Project, shown_id: str) -> Goal:
    """By its shown id. The row of defaults and the connection check's goals have no page."""
    key = read("goal", shown_id)
    goal = Goal.objects.of(project).shown().filter(id=key).first() if key else None
    if goal is None:
        raise GoalNotFound
    return goal


def frame_of(goal: Goal) -> dict[str, Any]:
    """What the head of each of a goal's pages shows."""
    return {"goal": goal, "goal_key": shown("goal", goal.id), "windows": WINDOW_NAMES}


@member_page(Scope.READ)
def project_goals(request: MemberRequest) -> HttpResponse:
    """All goals; `?goal=NAME` leads to that one's page."""
    name = request.GET.get("goal", "")
    if name:
        key = shown("goal", goal_id(request.project.id, name))
        return redirect("project_goals_goal", project=request.project.slug, goal_key=key)
    hours = window_asked(request)
    lines = figures.goals_of(request.project, hours)
    known = {
        "lines": [{"line": line, "key": shown("goal", line.id), "spark": plots.spark_of(line.steps)} for line in lines],
        "hours": hours,
        "windows": WINDOW_NAMES,
        "window": WINDOW_NAMES[hours],
        "outcomes": sum(line.insight["sample_count"] for line in lines),
        "pressing": sum(line.insight["status"] in ("failing", "degraded") for line in lines),
        "base_url": f"{site_address(request)}/p/{request.project.slug}",
    }
    return render_page(request, "routing/goals.html", known)


@member_page(Scope.READ)
def project_goals_goal(request: MemberRequest, goal_key: str) -> HttpResponse:
    goal, hours = find_goal(request.project, goal_key), window_asked(request)
    found = figures.figures_of(request.project, goal, hours)
    forest = plots.forest_of(found)
    known = {
        **frame_of(goal),
        "hours": hours,
        "window": WINDOW_NAMES[hours],
        "found": found,
        "insight": found.insight,
        "signals": [signal_in_words(one) for one in found.insight["actionable_signals"]],
        "forest": forest,
        "first_rows": forest.rows[:ROWS_FIRST],
        "further_rows": forest.rows[ROWS_FIRST:],
        "in_service": sum(one.standing.value == "active" for one in found.paths),
        "traffic": plots.traffic_of(found),
        "panels": plots.panels_of(found),
        "failures": plots.failure_meters(found.insight["top_failure_modes"]),
        "sensitivities": plots.sensitivities_of(found.insight),
        "latest": plots.told(found.changes[:5], plots.names_of(found)),
        "base_url": f"{site_address(request)}/p/{request.project.slug}",
    }
    return render_page(request, "routing/goal.html", known)


# What there is to do about a signal, after its own sentence.
ADVICE: Mapping[str, str] = {
    "path_underperforming": "The router gives it little traffic already. Disable it if it is dear to keep trying.",
    "failure_mode_dominant": "One cause behind most failures is the cheapest one to mend.",
    "param_sensitivity_detected": "Prefer the better value, or let auto-explore look between the values.",
    "drift_detected": "Ask what changed then: the model's version, a tool, a prompt. Choosing goes by what came after.",
    "cost_inefficiency": "Decide with a max_cost_usd constraint, and the cheaper path takes over.",
    "low_confidence": "Nothing to do: the router tries on. Reviews at random settle it sooner.",
    "goal_healthy": "Nothing needs doing.",
}


def signal_in_words(signal: Mapping[str, Any]) -> dict[str, Any]:
    """A signal with what it rests on, and what there is to do about it."""
    data, grounds = signal["data"], ""
    if "outcomes_after" in data:
        grounds = (
            f"{data['before']:.0%} over {data['outcomes_before']:,.0f} outcomes, then {data['after']:.0%} over "
            f"{data['outcomes_after']:,.0f}, by reports of {data['source']}."
        )
    elif "count" in data:
        grounds = f"{data['count']:,.0f} of them."
    elif "sample_count" in data:
        grounds = f"{data['sample_count']:,} outcomes."
    return {**signal, "grounds": grounds, "advice": ADVICE[signal["type"]]}


@member_page(Scope.READ)
def project_goals_log(request: MemberRequest, goal_key: str) -> HttpResponse:
    """Changes of paths, and the latest decisions before a moment."""
    goal = find_goal(request.project, goal_key)
    paths = Path.objects.of(request.project).filter(goal=goal).order_by("created_at", "id")
    names = {path.id: plots.PathName.of(place, path) for place, path in enumerate(paths)}
    decisions = Decision.objects.filter(project=request.project, goal=goal)
    before = read_time(request.GET.get("before", ""))
    if before:
        decisions = decisions.filter(decided_at__lt=before)
    page = list(decisions.order_by("-decided_at")[: LOG_PAGE + 1])
    known = {
        **frame_of(goal),
        "changes": plots.told(figures.changes_of(request.project, goal), names),
        "decisions": [{"one": one, "path": names.get(one.path_id)} for one in page[:LOG_PAGE]],
        "next": page[LOG_PAGE - 1].decided_at.isoformat() if len(page) > LOG_PAGE else "",
    }
    return render_page(request, "routing/goal_log.html", known)


def goal_address(project: Project, goal: Goal, view: str = "project_goals_goal") -> str:
    return reverse(view, kwargs={"project": project.slug, "goal_key": shown("goal", goal.id)})
