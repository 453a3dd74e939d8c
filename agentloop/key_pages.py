"""The pages of API keys and signing keys. A secret is in the answer to the form that made it, and nowhere else."""

from datetime import UTC, datetime, time, timedelta
from typing import Any

from django import forms
from django.http import HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from agentloop import keys
from agentloop.admin_api import MOST_ROWS
from agentloop.errors import Conflict, NotFound
from agentloop.models import ApiKey, Scope
from agentloop.page_forms import attempt, id_of
from agentloop.pages import MemberRequest, member_page, site_address
from agentloop.settings_pages import REFUSED, done, render_settings

ENDED_SHOWN = 50
SCOPE_WORDS = {
    Scope.INGEST: "Log turns and outcomes",
    Scope.ROUTE: "Ask which path to take",
    Scope.READ: "Read turns, verdicts, memories and figures",
    Scope.REVIEW: "Judge turns and change memories",
    Scope.ADMIN: "Administer: settings, keys, members, webhooks",
}


class KeyForm(forms.Form):
    name = forms.CharField(label="What it is for", max_length=100, help_text="Such as “support agent, production”.")
    scopes = forms.MultipleChoiceField(
        label="What it may do",
        choices=[(scope.value, text) for scope, text in SCOPE_WORDS.items()],
        initial=list(keys.DEFAULT_SCOPES),
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose one or more."},
    )
    expires_at = forms.DateField(
        label="Last day it works",
        required=False,
        help_text="In UTC. Leave empty for a key that ends only when it is revoked.",
        widget=forms.DateInput(attrs={"type": "date", "class": "short"}),
    )

    def clean_expires_at(self) -> datetime | None:
        """The whole of its last day counts."""
        last = self.cleaned_data["expires_at"]
        return datetime.combine(last + timedelta(days=1), time(), UTC) if last else None


class SigningForm(forms.Form):
    secret = forms.CharField(
        label="A secret of your own",
        required=False,
        min_length=16,
        max_length=200,
        strip=False,
        help_text="Only if clients hold one already, 16 characters or more. Leave empty for a new one.",
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
    )


# --- API keys -------------------------------------------------------------------------------------------------


@member_page(Scope.ADMIN)
@require_http_methods(["GET", "POST"])
def api_keys(request: MemberRequest) -> HttpResponse:
    if request.method == "GET":
        return _keys_page(request, KeyForm())
    form = KeyForm(request.POST)
    made = attempt(form, lambda: keys.create_key(project=request.project, actor=request.actor, **form.cleaned_data))
    if made is None:
        return _keys_page(request, form, status=REFUSED)
    key, secret = made
    return _unkept(_keys_page(request, KeyForm(), made=key, secret=secret))


def _keys_page(request: MemberRequest, form: KeyForm, *, status: int = 200, **more: Any) -> HttpResponse:
    # One query: whatever has ended is told apart here, as `ApiKey.objects.active()` would.
    every = list(request.project.api_keys.order_by("-id")[:MOST_ROWS])
    known = {
        "form": form,
        "keys": [key for key in every if not _has_ended(key)],
        "ended": [key for key in every if _has_ended(key)][:ENDED_SHOWN],
        "base_url": f"{site_address(request)}/p/{request.project.slug}",
        "soon": timezone.now() + timedelta(days=14),
        **more,
    }
    partial = "agentloop/settings/_keys.html"
    return render_settings(request, "agentloop/settings/keys.html", known, partial=partial, status=status)


def _has_ended(key: ApiKey) -> bool:
    return key.revoked_at is not None or key.is_expired


@member_page(Scope.ADMIN)
@require_POST
def revoke_key(request: MemberRequest, key_id: str) -> HttpResponse:
    key = request.project.api_keys.filter(pk=id_of("key", key_id)).first()
    if key is None:
        raise NotFound
    keys.revoke_key(key=key, actor=request.actor)
    return done(request, f"{key.name} is revoked: it ends within five seconds.", "settings_keys", request.project)


# --- signing keys ---------------------------------------------------------------------------------------------


@member_page(Scope.ADMIN)
@require_http_methods(["GET", "POST"])
def signing_keys(request: MemberRequest) -> HttpResponse:
    if request.method == "GET":
        return _signing_page(request, SigningForm())
    form = SigningForm(request.POST)
    made = attempt(
        form,
        lambda: keys.create_signing_key(
            project=request.project, actor=request.actor, secret=form.cleaned_data["secret"] or None
        ),
    )
    if made is None:
        return _signing_page(request, form, status=REFUSED)
    key, secret = made
    is_new = not form.cleaned_data["secret"]
    return _unkept(_signing_page(request, SigningForm(), made=key, secret=secret if is_new else ""))


def _signing_page(request: MemberRequest, form: SigningForm, *, status: int = 200, **more: Any) -> HttpResponse:
    every = list(request.project.signing_keys.order_by("-id")[:MOST_ROWS])
    known = {
        "form": form,
        "keys": [key for key in every if key.revoked_at is None],
        "ended": [key for key in every if key.revoked_at is not None][:ENDED_SHOWN],
        **more,
    }
    partial = "agentloop/settings/_signing.html"
    return render_settings(request, "agentloop/settings/signing.html", known, partial=partial, status=status)


@member_page(Scope.ADMIN)
@require_POST
def revoke_signing_key(request: MemberRequest, signing_key_id: str) -> HttpResponse:
    key = request.project.signing_keys.filter(key_id=signing_key_id).first()
    if key is None:
        raise NotFound
    try:
        keys.revoke_signing_key(key=key, actor=request.actor)
    except Conflict as error:
        form = SigningForm({})
        form.add_error(None, error.sentence)
        return _signing_page(request, form, status=error.http_status)
    text = f"{key.key_id} is revoked: every link that it signed is refused."
    return done(request, text, "settings_signing", request.project)


def _unkept(response: HttpResponse) -> HttpResponse:
    """A page that shows a secret: neither the browser nor a proxy keeps it."""
    response["Cache-Control"] = "no-store"
    return response
