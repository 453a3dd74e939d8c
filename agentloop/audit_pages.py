"""The audit log for people: who did what, found by act, actor and day, and downloaded as a file."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_GET

from agentloop import audit
from agentloop.ids import read, shown
from agentloop.models import AuditEntry, Project, Scope
from agentloop.page_forms import in_a_bar
from agentloop.pages import MemberRequest, member_page
from agentloop.settings_pages import render_settings

PAGE = 100
FORMS = ("jsonl", "csv", "parquet")


class FilterForm(forms.Form):
    act = forms.CharField(label="Act", required=False, max_length=60)
    actor = forms.CharField(label="Who", required=False, max_length=120)
    since = forms.DateField(label="From", required=False, widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(label="To", required=False, widget=forms.DateInput(attrs={"type": "date"}))

    def __init__(self, data: Any) -> None:
        super().__init__(data)
        self.fields["act"].widget.attrs["placeholder"] = "key, member.add, …"
        self.fields["actor"].widget.attrs["placeholder"] = "name@example.com, key:al_…"
        in_a_bar(self)

    def given(self, project: Project) -> dict[str, Any]:
        """As `audit.entries` takes it. The last day counts whole."""
        said = self.cleaned_data
        until = said["until"] + timedelta(days=1) if said["until"] else None
        return {
            "act": said["act"],
            "actor": _ref_of(project, said["actor"]),
            "since": _midnight(said["since"]),
            "until": _midnight(until),
        }


def _ref_of(project: Project, text: str) -> str:
    """A member is named by their address; in the log, by their number."""
    member = project.members.filter(user__username=text.lower()).first() if "@" in text else None
    return f"user:{member.user_id}" if member else text


def _midnight(day: date | None) -> datetime | None:
    return datetime.combine(day, time(), UTC) if day else None


@member_page(Scope.ADMIN)
@require_GET
def audit_log(request: MemberRequest) -> HttpResponse:
    form = FilterForm(request.GET)
    known: dict[str, Any] = {"form": form, "rows": []}
    if form.is_valid():
        given = form.given(request.project)
        is_filtered = any(given.values())
        known |= {"is_filtered": is_filtered, **_page(request, given), "files": _files(request.project, given)}
    return render_settings(request, "agentloop/settings/audit.html", known, partial="agentloop/settings/_audit.html")


def _page(request: MemberRequest, given: dict[str, Any]) -> dict[str, Any]:
    found, before = audit.entries(request.project, **given), read("audit", request.GET.get("before", ""))
    page = list((found.filter(id__lt=before) if before else found)[: PAGE + 1])
    rows, has_more = page[:PAGE], len(page) > PAGE
    kept = {name: value for name, value in request.GET.items() if name != "before" and value}
    labels = _labels(request.project, rows)
    return {
        "rows": [(entry, labels.get(entry.actor.partition("/")[0], ""), _facts(entry)) for entry in rows],
        "further": urlencode({**kept, "before": shown("audit", rows[-1].id)}) if has_more else "",
        "is_further": before is not None,
        "first": urlencode(kept),
    }


def _facts(entry: AuditEntry) -> list[tuple[str, str]]:
    """An entry's details in words; what is empty says nothing."""
    said = {
        name: ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in entry.details.items()
        if value not in (None, "", [], {})
    }
    return [(name.replace("_", " "), text) for name, text in said.items()]


def _labels(project: Project, rows: Sequence[AuditEntry]) -> dict[str, str]:
    """Who stands behind the log's `user:5` and `key:al_…`. Two queries."""
    refs = {entry.actor.partition("/")[0] for entry in rows}
    people = [ref.removeprefix("user:") for ref in refs if ref.startswith("user:")]
    prefixes = [ref.removeprefix("key:") for ref in refs if ref.startswith("key:")]
    members = User.objects.filter(
        pk__in=[number for number in people if number.isdigit()], memberships__project=project
    )
    labels = {f"user:{user.pk}": user.get_full_name() or user.email for user in members}
    keys = project.api_keys.filter(prefix__in=prefixes).values_list("prefix", "name")
    return {**labels, **{f"key:{prefix}": name for prefix, name in keys}, "system": "AgentLoop"}


def _files(project: Project, given: dict[str, Any]) -> list[tuple[str, str]]:
    said = {
        name: f"{value:%Y-%m-%dT%H:%M:%SZ}" if isinstance(value, datetime) else value for name, value in given.items()
    }
    query = urlencode({name: value for name, value in said.items() if value})
    return [
        (form, f"{reverse('export_audit', kwargs={'project': project.slug, 'form': form})}?{query}") for form in FORMS
    ]
