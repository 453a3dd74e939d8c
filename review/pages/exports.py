"""Downloads: what, in which form, and which rows; the file itself comes from the API, as a stream."""

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.db.models import QuerySet
from django.http import HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_GET

from agentloop import audit
from agentloop.errors import NotAllowed
from agentloop.models import Project, Scope
from agentloop.page_forms import in_a_bar, show_problems
from agentloop.pages import MemberRequest, member_page, render_page
from review import annotations, errors, filters
from review.export import FORMS
from review.models import Rating, Status, Turn

# Beyond this nobody waits for a count: the page says "more".
COUNTED = 10_000
ANY = [("", "Any")]
FORM_WORDS = {
    "jsonl": ("JSONL", "one object a line; turns with their verdicts, and the import takes it back"),
    "csv": ("CSV", "for spreadsheets"),
    "parquet": ("Parquet", "typed columns, for data tools"),
}


class FilterForm(forms.Form):
    """The filters of one kind. `since` and `until` are days, and the last counts whole."""

    since_name: str
    until_name: str

    since = forms.DateField(label="From", required=False, widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(label="To", required=False, widget=forms.DateInput(attrs={"type": "date"}))

    def __init__(self, data: Any) -> None:
        super().__init__(data)
        in_a_bar(self)

    def given(self) -> dict[str, str]:
        """As the API takes them."""
        said = dict(self.cleaned_data)
        since, until = said.pop("since"), said.pop("until")
        said[self.since_name] = f"{since:%Y-%m-%d}T00:00:00Z" if since else ""
        said[self.until_name] = f"{until + timedelta(days=1):%Y-%m-%d}T00:00:00Z" if until else ""
        return {name: value for name, value in said.items() if value}

    def rows(self, project: Project, given: dict[str, str]) -> QuerySet[Any]:
        raise NotImplementedError


class TurnsForm(FilterForm):
    since_name, until_name = "logged_after", "logged_before"
    status = forms.ChoiceField(label="State", required=False, choices=[*ANY, *Status.choices])
    goal = forms.CharField(label="Goal", required=False, max_length=200)
    tag = forms.CharField(label="Tag", required=False, max_length=100)
    signal = forms.CharField(label="Signal", required=False, max_length=200)
    q = forms.CharField(label="Words", required=False, max_length=500)
    field_order = ("status", "goal", "tag", "signal", "q", "since", "until")

    def rows(self, project: Project, given: dict[str, str]) -> QuerySet[Any]:
        wanted = filters.read_filter(project.id, {name: [value] for name, value in given.items()})
        return wanted.apply(Turn.objects.of(project).visible())


class AnnotationsForm(FilterForm):
    since_name, until_name = "created_after", "created_before"
    rating = forms.ChoiceField(label="Rating", required=False, choices=[*ANY, *Rating.choices])
    goal = forms.CharField(label="Goal", required=False, max_length=200)
    tag = forms.CharField(label="Tag", required=False, max_length=100)
    field_order = ("rating", "goal", "tag", "since", "until")

    def rows(self, project: Project, given: dict[str, str]) -> QuerySet[Any]:
        wanted = annotations.conditions({name: [value] for name, value in given.items()})
        return annotations.standing(project, wanted)


class AuditForm(FilterForm):
    since_name, until_name = "since", "until"
    act = forms.CharField(label="Act", required=False, max_length=60)
    field_order = ("act", "since", "until")

    def rows(self, project: Project, given: dict[str, str]) -> QuerySet[Any]:
        since, until = (filters.time_of(name, given[name]) if name in given else None for name in ("since", "until"))
        return audit.entries(project, act=given.get("act", ""), since=since, until=until)


KINDS: dict[str, tuple[str, type[FilterForm], str]] = {
    "turns": ("Turns", TurnsForm, Scope.READ),
    "annotations": ("Annotations", AnnotationsForm, Scope.READ),
    "audit": ("Audit log", AuditForm, Scope.ADMIN),
}


@member_page(Scope.READ)
@require_GET
def exports_page(request: MemberRequest) -> HttpResponse:
    kinds = {name: one for name, one in KINDS.items() if request.actor.may(one[2])}
    kind = request.GET.get("kind", "turns")
    if kind in KINDS and kind not in kinds:
        raise NotAllowed
    kind = kind if kind in kinds else "turns"
    form = kinds[kind][1](request.GET)
    known: dict[str, Any] = {"kinds": [(name, one[0]) for name, one in kinds.items()], "kind": kind, "form": form}
    if form.is_valid():
        given = form.given()
        try:
            known |= {"count": _count(form.rows(request.project, given)), "is_filtered": bool(given)}
            known["files"] = _files(request.project, kind, given)
        except errors.BadValue as error:
            show_problems(form, error)
    return render_page(request, "review/records/exports.html", known, partial="review/records/_export_files.html")


def _count(rows: QuerySet[Any]) -> int:
    return len(rows.order_by().values_list("pk")[: COUNTED + 1])


def _files(project: Project, kind: str, given: dict[str, str]) -> list[dict[str, str]]:
    files = []
    for form in FORMS:
        name, words = FORM_WORDS[form]
        address = reverse(f"export_{kind}", kwargs={"project": project.slug, "form": form})
        files.append({"form": form, "name": name, "words": words, "url": f"{address}?{urlencode(given)}"})
    return files
