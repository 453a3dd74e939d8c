"""The settings of a project, for its owners: the frame of these pages, and the project itself."""

from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from agentloop import tenancy
from agentloop.errors import Invalid
from agentloop.models import Project, Scope
from agentloop.navigation import sections_of
from agentloop.page_forms import attempt
from agentloop.pages import MemberRequest, member_page, render_page
from agentloop.settings_forms import Group, NameForm, SettingsForm, groups

REFUSED = 422


def render_settings(
    request: MemberRequest, template: str, known: Mapping[str, Any], *, partial: str | None = None, status: int = 200
) -> HttpResponse:
    """A page of the settings with their own navigation. No query beside the page's own."""
    sections = sections_of(request, request.project)
    response = render_page(request, template, {"sections": sections, **known}, partial=partial)
    response.status_code = status
    return response


def done(request: HttpRequest, text: str, view: str, project: Project, anchor: str = "") -> HttpResponse:
    """What was done, told on the page one goes back to."""
    messages.success(request, text)
    address = reverse(view, kwargs={"project": project.slug})
    return HttpResponseRedirect(f"{address}#{anchor}" if anchor else address)


@member_page(Scope.ADMIN)
@require_http_methods(["GET", "POST"])
def project_settings(request: MemberRequest) -> HttpResponse:
    """Each card is a form of its own, named by `group`."""
    if request.method == "GET":
        return _page(request)
    chosen = request.POST.get("group")
    if chosen == "name":
        return _save_name(request)
    group = next((one for one in groups() if one.slug == chosen), None)
    return _save(request, group) if group else redirect("settings", project=request.project.slug)


def _save_name(request: MemberRequest) -> HttpResponse:
    form = NameForm(request.POST)
    changed = attempt(
        form,
        lambda: tenancy.rename_project(project=request.project, actor=request.actor, name=form.cleaned_data["name"]),
    )
    return done(request, "The name is changed.", "settings", changed) if changed else _page(request, name_form=form)


def _save(request: MemberRequest, group: Group) -> HttpResponse:
    form = SettingsForm(group, request.project, request.POST)
    if form.is_valid():
        try:
            tenancy.change_settings(project=request.project, actor=request.actor, changes=form.changes())
            return done(request, f"{group.title}: saved.", "settings", request.project, group.slug)
        except Invalid as error:
            form.show_refused(error)
    return _page(request, refused=form)


def _page(
    request: MemberRequest, *, name_form: NameForm | None = None, refused: SettingsForm | None = None
) -> HttpResponse:
    project = request.project
    forms = [
        refused if refused and refused.group.slug == group.slug else SettingsForm(group, project) for group in groups()
    ]
    known = {"name_form": name_form or NameForm(initial={"name": project.name}), "forms": forms}
    status = REFUSED if name_form or refused else 200
    return render_settings(request, "agentloop/settings/project.html", known, status=status)
