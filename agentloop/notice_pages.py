"""Webhooks with their deliveries, and what members hear of by e-mail."""

import json
import secrets
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from agentloop import outbox
from agentloop.admin_api import MOST_ROWS
from agentloop.ids import read, shown
from agentloop.models import Member, MemberNotices, Scope
from agentloop.page_forms import attempt
from agentloop.pages import MemberRequest, member_page, render_page
from agentloop.settings_pages import REFUSED, done, render_settings

EVENT_WORDS = {
    "rollback": "A path was rolled back",
    "drift": "A path got worse",
    "recovery": "A path recovered",
    "goal.signal": "A goal needs attention",
    "queue.expiring": "Turns are about to expire unseen",
    "turn.escalated": "A turn was escalated to owners",
    "verdict.given": "A verdict was given",
    "verdict.changed": "A verdict was changed",
    "verdict.undone": "A verdict was taken back",
    "turn.created": "A turn was logged",
    "turn.signal": "A turn got a new signal",
}
EVENTS = [(event, EVENT_WORDS.get(event, words[0].capitalize())) for event, words in outbox.EVENTS.items()]
HOW_OFTEN = [(5, "5 minutes"), (60, "hour"), (240, "4 hours"), (1440, "day"), (10_080, "week")]


class WebhookForm(forms.Form):
    url = forms.CharField(
        label="Address",
        max_length=2000,
        help_text="https://… Loopback and private addresses are refused unless the operator allows the host.",
        widget=forms.URLInput,
    )
    events = forms.MultipleChoiceField(
        label="Events",
        choices=EVENTS,
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="None chosen: all of them, those that come later too.",
    )
    secret = forms.CharField(
        label="A secret of your own",
        required=False,
        min_length=16,
        max_length=200,
        strip=False,
        help_text="Signs each delivery. Leave empty for a new one, which is shown once.",
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
    )


class NoticesForm(forms.Form):
    events = forms.MultipleChoiceField(
        label="Write to me when", choices=EVENTS, required=False, widget=forms.CheckboxSelectMultiple
    )
    every_minutes = forms.TypedChoiceField(
        label="At most one letter every",
        coerce=int,
        choices=HOW_OFTEN,
        help_text="It tells of all that came since the last.",
    )

    def __init__(self, data: Any, notices: MemberNotices) -> None:
        super().__init__(data, initial={"events": notices.events, "every_minutes": notices.every_minutes})
        kept = notices.every_minutes
        if kept not in dict(HOW_OFTEN):
            self.fields["every_minutes"].choices = [*HOW_OFTEN, (kept, f"{kept} minutes")]  # type: ignore[attr-defined]


# --- webhooks -------------------------------------------------------------------------------------------------


@member_page(Scope.ADMIN)
@require_http_methods(["GET", "POST"])
def webhooks(request: MemberRequest) -> HttpResponse:
    if request.method == "GET":
        return _webhooks_page(request, WebhookForm())
    form = WebhookForm(request.POST)
    own = request.POST.get("secret", "")
    secret = own or secrets.token_urlsafe(32)
    made = attempt(
        form,
        lambda: outbox.add_webhook(
            request.project,
            request.actor,
            url=form.cleaned_data["url"],
            secret=secret,
            events=form.cleaned_data["events"],
        ),
    )
    if made is None:
        return _webhooks_page(request, form, status=REFUSED)
    response = _webhooks_page(request, WebhookForm(), made=made, secret="" if own else secret)
    response["Cache-Control"] = "no-store"
    return response


def _webhooks_page(request: MemberRequest, form: WebhookForm, *, status: int = 200, **more: Any) -> HttpResponse:
    known = {"form": form, "hooks": outbox.webhooks_of(request.project), **more}
    partial = "agentloop/settings/_webhooks.html"
    return render_settings(request, "agentloop/settings/webhooks.html", known, partial=partial, status=status)


@member_page(Scope.ADMIN)
@require_POST
def remove_webhook(request: MemberRequest, webhook_id: str) -> HttpResponse:
    outbox.remove_webhook(request.project, request.actor, webhook_id)
    return done(request, "The webhook has ended, with what still waited for it.", "settings_webhooks", request.project)


@member_page(Scope.ADMIN)
@require_GET
def deliveries(request: MemberRequest, webhook_id: str) -> HttpResponse:
    hook = outbox.find_webhook(request.project, webhook_id)
    before = read("delivery", request.GET.get("before", ""))
    found = outbox.deliveries_of(request.project, webhook_id, before)
    further = shown("delivery", found[-1].id) if len(found) == outbox.DELIVERIES_SHOWN else ""
    known = {
        "hook": outbox.webhook_shape(hook),
        "deliveries": [(outbox.delivery_shape(one), json.dumps(one.body, indent=2)) for one in found],
        "further": f"before={further}" if further else "",
        "is_further": before is not None,
    }
    return render_settings(request, "agentloop/settings/deliveries.html", known)


@member_page(Scope.ADMIN)
@require_POST
def send_again(request: MemberRequest, delivery_id: str) -> HttpResponse:
    message = outbox.send_again(request.project, request.actor, delivery_id)
    messages.success(request, "It is sent again, and tried for a day.")
    hook = message.webhook_id
    if hook is None:
        return redirect("settings_webhooks", project=request.project.slug)
    return redirect("settings_webhooks_deliveries", project=request.project.slug, webhook_id=shown("hook", hook))


# --- letters --------------------------------------------------------------------------------------------------


@member_page(Scope.READ)
@require_http_methods(["GET", "POST"])
def own_notices(request: MemberRequest) -> HttpResponse:
    """What one hears of oneself: for every member."""
    member = next(one for one in request.memberships if one.project_id == request.project.pk)
    form = NoticesForm(request.POST or None, outbox.notices_of(member))
    if request.method == "POST":
        saved = attempt(form, lambda: outbox.set_notices(member, request.actor, **form.cleaned_data))
        if saved is not None:
            return done(request, _told(saved), "own_notices", request.project)
    known = {"form": form, "sends_mail": settings.SENDS_MAIL}
    response = render_page(request, "agentloop/notices.html", known)
    response.status_code = REFUSED if form.errors else 200
    return response


def _told(notices: MemberNotices) -> str:
    return "Saved: letters come by e-mail." if notices.events else "Saved: no letters come."


@member_page(Scope.ADMIN)
@require_GET
def everyones_notices(request: MemberRequest) -> HttpResponse:
    """Who hears of what. Two queries: members, and what they chose."""
    members: list[Member] = list(request.project.members.select_related("user").order_by("id")[:MOST_ROWS])
    chosen = {one.member_id: one for one in MemberNotices.objects.filter(project=request.project)}
    words = dict(EVENTS)
    rows = [
        (member, chosen.get(member.pk), [words.get(event, event) for event in _events(chosen.get(member.pk))])
        for member in members
    ]
    known = {"rows": rows, "sends_mail": settings.SENDS_MAIL}
    return render_settings(request, "agentloop/settings/notices.html", known)


def _events(notices: MemberNotices | None) -> list[str]:
    return notices.events if notices else []
