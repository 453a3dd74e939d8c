"""A goal's settings: everybody reads them, owners change them, after a look at what would follow."""

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_POST

from agentloop.errors import NotAllowed
from agentloop.models import Scope
from agentloop.pages import MemberRequest, member_page, render_page
from routing.errors import BadField
from routing.goal_pages import find_goal, frame_of
from routing.goal_settings import CONSTRAINTS, Preview, SettingsForm, defaults_of, preview_of, save_settings, view_of
from routing.models import Goal

PAGE, PREVIEW = "routing/goal_settings.html", "routing/_preview.html"


@member_page(Scope.READ)
@require_http_methods(["GET", "HEAD", "POST"])
def project_goals_settings(request: MemberRequest, goal_key: str) -> HttpResponse:
    goal = find_goal(request.project, goal_key)
    if request.method != "POST":
        return render_page(request, PAGE, _known(request, goal, None))
    if not request.actor.may(Scope.ADMIN):
        raise NotAllowed
    known = _known(request, goal, request.POST)
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
    known = _known(request, goal, request.POST)
    changes = _changes_of(known["form"])
    preview: Preview | None = None
    if changes is not None:
        preview = preview_of(request.project, goal, known["view"], changes, known["defaults"])
    answer = render_page(request, PAGE, {**known, "preview": preview, "is_preview": True}, partial=PREVIEW)
    answer.status_code = 422 if changes is None else 200
    return answer


def _known(request: MemberRequest, goal: Goal, data: Any) -> dict[str, Any]:
    view = view_of(request.project, goal)
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
