"""Members and their roles, and invitations: made by owners, opened by whoever was invited."""

from typing import Any

from allauth.account.utils import perform_login
from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from agentloop import invitations, tenancy
from agentloop.admin_api import MOST_ROWS
from agentloop.errors import AppError, NotFound
from agentloop.models import Member, Role, Scope
from agentloop.page_forms import attempt, show_problems
from agentloop.pages import MemberRequest, member_page, site_address
from agentloop.settings_pages import REFUSED, done, render_settings

ROLE_WORDS = {
    Role.OWNER: "Owner: everything, settings and members too",
    Role.REVIEWER: "Reviewer: judges turns and edits memories",
    Role.VIEWER: "Viewer: reads, and changes nothing",
}


class InviteForm(forms.Form):
    email = forms.EmailField(label="E-mail address", max_length=150)
    role = forms.ChoiceField(
        label="Role",
        choices=[(role.value, text) for role, text in ROLE_WORDS.items()],
        initial=Role.REVIEWER.value,
        widget=forms.RadioSelect,
    )


class RoleForm(forms.Form):
    role = forms.ChoiceField(label="Role", choices=Role.choices)


# --- for owners -----------------------------------------------------------------------------------------------


@member_page(Scope.ADMIN)
@require_http_methods(["GET", "POST"])
def members(request: MemberRequest) -> HttpResponse:
    if request.method == "GET":
        return _members_page(request, InviteForm())
    form = InviteForm(request.POST)
    made = attempt(form, lambda: invitations.invite(project=request.project, actor=request.actor, **form.cleaned_data))
    if made is None:
        return _members_page(request, form, status=REFUSED)
    invitation, token = made
    address = site_address(request) + reverse("invitation", kwargs={"token": token})
    was_sent = invitations.send(invitation, token)
    response = _members_page(request, InviteForm(), invitation=invitation, secret=address, was_sent=was_sent)
    response["Cache-Control"] = "no-store"
    return response


def _members_page(request: MemberRequest, form: forms.Form, *, status: int = 200, **more: Any) -> HttpResponse:
    project = request.project
    waiting = project.invitations.filter(accepted_at=None, revoked_at=None).order_by("-id")
    known = {
        "form": form,
        "members": project.members.select_related("user").order_by("id")[:MOST_ROWS],
        "invitations": waiting[:MOST_ROWS],
        "roles": Role.choices,
        **more,
    }
    partial = "agentloop/settings/_members.html"
    return render_settings(request, "agentloop/settings/members.html", known, partial=partial, status=status)


def _member(request: MemberRequest, member_id: int) -> Member:
    found = request.project.members.select_related("user", "project").filter(pk=member_id).first()
    if found is None:
        raise NotFound
    return found


@member_page(Scope.ADMIN)
@require_POST
def change_role(request: MemberRequest, member_id: int) -> HttpResponse:
    member, form = _member(request, member_id), RoleForm(request.POST)
    changed = attempt(
        form, lambda: tenancy.change_role(member=member, actor=request.actor, role=form.cleaned_data["role"])
    )
    if changed is None:
        return _refused(request, form)
    text = f"{member.user.email} is now {changed.get_role_display().lower()}."
    is_still_owner = changed.role == Role.OWNER or changed.user_id != request.user.pk
    return done(request, text, "settings_members" if is_still_owner else "project_overview", request.project)


@member_page(Scope.ADMIN)
@require_POST
def remove_member(request: MemberRequest, member_id: int) -> HttpResponse:
    member = _member(request, member_id)
    form = forms.Form({})
    try:
        tenancy.remove_member(member=member, actor=request.actor)
    except AppError as error:
        show_problems(form, error)
        return _refused(request, form)
    if member.user_id == request.user.pk:
        messages.success(request, f"You have left {request.project.name}.")
        return redirect("overview")
    return done(request, f"{member.user.email} is no longer a member.", "settings_members", request.project)


def _refused(request: MemberRequest, form: forms.Form) -> HttpResponse:
    sentences = [str(sentence) for errors in form.errors.values() for sentence in errors]
    return _members_page(request, InviteForm(), status=REFUSED, problem=" ".join(sentences))


@member_page(Scope.ADMIN)
@require_POST
def revoke_invitation(request: MemberRequest, invitation_id: str) -> HttpResponse:
    invitations.revoke(project=request.project, actor=request.actor, shown_id=invitation_id)
    return done(request, "The invitation is taken back: its link no longer works.", "settings_members", request.project)


# --- for whoever was invited ----------------------------------------------------------------------------------


class JoinForm(forms.Form):
    name = forms.CharField(
        label="Your name",
        required=False,
        max_length=150,
        help_text="Others see it beside your verdicts; without it, your address.",
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
    )
    password = forms.CharField(
        label="Password",
        strip=False,
        max_length=200,
        help_text="At least 10 characters.",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )


@never_cache
@require_http_methods(["GET", "POST"])
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """Opening a link changes nothing: a mail program that looks at links must not use it up."""
    found = invitations.opened(token)
    user = request.user if request.user.is_authenticated else None
    account = invitations.account_of(found)
    form = JoinForm(request.POST or None)
    if request.method == "POST":
        if user is not None:
            member = invitations.accept(token, user)
            return _welcome(request, member)
        joined = attempt(form, lambda: invitations.accept_as_new(token, **form.cleaned_data))
        if joined is not None:
            perform_login(request, joined.user)
            return _welcome(request, joined)
    known = {
        "invitation": found,
        "form": form,
        "is_theirs": user is not None and user.get_username() == found.email,
        "has_account": account is not None,
    }
    response = render(request, "account/invitation.html", known, status=REFUSED if form.errors else 200)
    # The link is a secret: no page that it leads to learns it.
    response["Referrer-Policy"] = "no-referrer"
    return response


def _welcome(request: HttpRequest, member: Member) -> HttpResponse:
    messages.success(request, f"Welcome to {member.project.name}.")
    return redirect("project_overview", project=member.project.slug)
