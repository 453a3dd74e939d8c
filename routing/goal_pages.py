"""The goals' pages: each view reads the request, calls one function, and renders."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_POST

from agentloop.errors import NotAllowed
from agentloop.ids import read, shown
from agentloop.models import Project, Scope
from agentloop.page_forms import in_a_bar
from agentloop.pages import MemberRequest, member_page, render_page, site_address
from agentloop.parsing import read_time
from routing import figures, plots
from routing import paths as registry
from routing.engine.choice import Standing
from routing.errors import BadField, GoalNotFound, PathNotFound
from routing.figures import DEFAULT_WINDOW, WINDOWS
from routing.goal_settings import (
    CONSTRAINTS,
    Preview,
    SettingsForm,
    defaults_of,
    preview_of,
    save_settings,
    shares_between,
)
from routing.models import Decision, Goal, Path, PathStatus, goal_id
from routing.standings import WINDOW_HOURS, look

ROWS_FIRST = 12
LOG_PAGE = 50
# So many are found by looking.
FEW_GOALS = 10
STATUSES = (
    ("failing", "Failing"),
    ("degraded", "Degraded"),
    ("healthy", "Healthy"),
    ("insufficient_data", "Too little data"),
)
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
    pipelines = figures.pipelines_of(request.project)
    form = GoalFilter(request.GET, pipelines)
    wanted = form.wanted()
    page = figures.goals_of(request.project, hours, wanted)
    given = form.given()
    known = {
        "lines": [
            {"line": line, "key": shown("goal", line.id), "spark": plots.spark_of(line.steps)} for line in page.lines
        ],
        "page": page,
        "form": form,
        "is_filtered": bool(given),
        "has_filters": bool(given or pipelines) or page.goals > FEW_GOALS,
        "hours": hours,
        "windows": WINDOW_NAMES,
        "window": WINDOW_NAMES[hours],
        # Each link keeps what is chosen beside it.
        "kept": _query(given),
        "kept_here": _query({**given, "hours": hours}),
        "kept_there": _query({"pipeline": wanted.pipeline, "hours": hours if hours != DEFAULT_WINDOW else ""})[:-1],
        "base_url": f"{site_address(request)}/p/{request.project.slug}",
    }
    return render_page(request, "routing/goals.html", known, partial="routing/_goals.html")


class GoalFilter(forms.Form):
    """The bar above the list. Pipelines are asked for only where there are any."""

    q = forms.CharField(label="Name", required=False, max_length=200)
    status = forms.ChoiceField(label="Status", required=False, choices=[("", "Any"), *STATUSES])
    pipeline = forms.ChoiceField(label="Pipeline", required=False)

    def __init__(self, data: Any, pipelines: list[str]) -> None:
        super().__init__(data)
        self.fields["pipeline"].choices = [("", "All together"), *((one, one) for one in pipelines)]  # type: ignore[attr-defined]
        if not pipelines:
            del self.fields["pipeline"]
        in_a_bar(self)
        self.full_clean()

    def given(self) -> dict[str, str]:
        return {name: value for name, value in self.cleaned_data.items() if value}

    def wanted(self) -> figures.Wanted:
        said = self.given()
        page = str(self.data.get("page", ""))
        number = int(page) if page.isascii() and page.isdecimal() and len(page) < 6 else 1
        return figures.Wanted(said.get("q", ""), said.get("status", ""), said.get("pipeline", ""), number)


def _query(given: Mapping[str, Any]) -> str:
    """The beginning of a link's query: what is given, and room for one more."""
    said = urlencode({name: value for name, value in given.items() if value})
    return f"{said}&" if said else ""


@member_page(Scope.READ)
def project_goals_goal(request: MemberRequest, goal_key: str) -> HttpResponse:
    goal, hours = find_goal(request.project, goal_key), window_asked(request)
    pipelines = figures.pipelines_of(request.project, goal)
    pipeline = request.GET.get("pipeline", "")
    pipeline = pipeline if pipeline in pipelines else ""
    found = figures.figures_of(request.project, goal, hours, pipeline)
    forest = plots.forest_of(found)
    known = {
        **frame_of(goal),
        "pipelines": pipelines,
        "pipeline": pipeline,
        "kept": _query({"pipeline": pipeline}),
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


# --- one path in and out of service ---------------------------------------------------------------------------


@member_page(Scope.ADMIN)
@require_http_methods(["GET", "HEAD", "POST"])
def project_goals_path(request: MemberRequest, goal_key: str, path_id: str) -> HttpResponse:
    """What disabling or enabling a path would do to the next decisions, and the act itself."""
    goal, path = find_goal(request.project, goal_key), registry.find_path(request.project, path_id)
    if path.goal_id != goal.id:
        raise PathNotFound
    if request.method != "POST":
        known = {**frame_of(goal), **outlook_of(request.project, goal, path)}
        return render_page(request, "routing/path.html", known)
    if request.POST.get("act") == "disable":
        registry.disable_path(request.project, request.actor, path_id)
        messages.success(request, f"{path.model} is disabled: no decision takes it from now on.")
    elif request.POST.get("act") == "enable":
        registry.enable_path(request.project, request.actor, path_id)
        messages.success(request, f"{path.model} is enabled.")
    return redirect("project_goals_goal", project=request.project.slug, goal_key=goal_key)


def outlook_of(project: Project, goal: Goal, path: Path) -> dict[str, Any]:
    """The shares of all paths now, and were this one's standing the other. One query."""
    view = look(project, goal.name)
    is_disabled = path.status == PathStatus.DISABLED
    back = Standing.ROLLED_BACK if path.rollback_window else Standing.ACTIVE
    standing = back if is_disabled else Standing.DISABLED
    place = next(number for number, one in enumerate(view.paths) if one.id == path.id)
    changed = replace(view.paths[place], contender=replace(view.paths[place].contender, standing=standing))
    paths = (*view.paths[:place], changed, *view.paths[place + 1 :])
    then = replace(view, paths=paths)
    return {
        "path": view.paths[place],
        "letter": figures.letter_of(place),
        "is_disabled": is_disabled,
        "returns_rolled_back": is_disabled and bool(path.rollback_window),
        "is_pinned": goal.pinned_path_id == path.id,
        "is_last": all(one.contender.standing is Standing.DISABLED for one in paths),
        "shares": shares_between(view, then, [one.contender for one in paths]),
    }


# --- settings -------------------------------------------------------------------------------------------------

PAGE, PREVIEW = "routing/goal_settings.html", "routing/_preview.html"


@member_page(Scope.READ)
@require_http_methods(["GET", "HEAD", "POST"])
def project_goals_settings(request: MemberRequest, goal_key: str) -> HttpResponse:
    """Everybody reads them, owners change them, after a look at what would follow."""
    goal = find_goal(request.project, goal_key)
    if request.method != "POST":
        return render_page(request, PAGE, _settings_known(request, goal, None))
    if not request.actor.may(Scope.ADMIN):
        raise NotAllowed
    known = _settings_known(request, goal, request.POST)
    changes = _changes_of(known["form"])
    if changes is None:
        answer = render_page(request, PAGE, known)
        answer.status_code = 422
        return answer
    save_settings(request.project, request.actor, goal, changes)
    messages.success(request, f"The settings of {goal.name} are saved.")
    return redirect("project_goals_settings", project=request.project.slug, goal_key=goal_key)


@member_page(Scope.ADMIN)
@require_POST
def project_goals_preview(request: MemberRequest, goal_key: str) -> HttpResponse:
    """What saving would change. Changes nothing."""
    goal = find_goal(request.project, goal_key)
    known = _settings_known(request, goal, request.POST)
    changes = _changes_of(known["form"])
    preview: Preview | None = None
    if changes is not None:
        preview = preview_of(request.project, goal, known["view"], changes, known["defaults"])
    answer = render_page(request, PAGE, {**known, "preview": preview, "is_preview": True}, partial=PREVIEW)
    answer.status_code = 422 if changes is None else 200
    return answer


def _settings_known(request: MemberRequest, goal: Goal, data: Any) -> dict[str, Any]:
    view = look(request.project, goal.name, window_hours=WINDOW_HOURS)
    defaults = defaults_of(request.project)
    form = SettingsForm(data, goal=goal, view=view, defaults=defaults)
    fields = {name: form[name] for name in form.fields}
    watching = ("min_samples_before_exploit", "rollback_threshold", "half_life_hours", "staleness_days")
    return {
        **frame_of(goal),
        "form": form,
        "view": view,
        "defaults": defaults,
        "watching": [fields[name] for name in watching],
        "exploring": [fields[name] for name in ("exploration_rate", "exploration_on_high_risk")],
        "constraints": [fields[name] for name in CONSTRAINTS],
        "may_change": request.actor.may(Scope.ADMIN),
    }


def _changes_of(form: SettingsForm) -> dict[str, Any] | None:
    """None where the form says what is wrong."""
    if not form.is_valid():
        return None
    try:
        return form.changes()
    except BadField as error:
        form.add_error(None, error.sentence)
        return None
