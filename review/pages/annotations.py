"""All verdicts and end users' feedback, filtered, each with the way to its turn."""

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.db.models.functions import Left
from django.http import HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_GET

from agentloop.ids import read
from agentloop.models import Project, Scope
from agentloop.page_forms import in_a_bar
from agentloop.pages import MemberRequest, member_page, render_page
from review import annotations, verdicts
from review.export import FORMS
from review.models import AnnotationSource, Rating, RootCause

PAGE = 50
# What a row shows of a text: the whole of it can be as long as a book.
QUESTION, RESPONSE, CORRECTION = 600, 2000, 4000
ANY = [("", "Any")]
SOURCES = [
    (AnnotationSource.REVIEWER, "Reviewer"),
    (AnnotationSource.END_USER, "End user"),
    (AnnotationSource.API, "API"),
]


class FilterForm(forms.Form):
    rating = forms.ChoiceField(label="Rating", required=False, choices=[*ANY, *Rating.choices])
    root_cause = forms.ChoiceField(label="Cause", required=False, choices=[*ANY, *RootCause.choices])
    source = forms.ChoiceField(label="Source", required=False, choices=[*ANY, *SOURCES])
    author = forms.ChoiceField(label="Reviewer", required=False)
    tag = forms.CharField(label="Tag", required=False, max_length=100)
    goal = forms.CharField(label="Goal", required=False, max_length=200)
    since = forms.DateField(label="From", required=False, widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(label="To", required=False, widget=forms.DateInput(attrs={"type": "date"}))

    def __init__(self, data: Any, project: Project) -> None:
        super().__init__(data)
        people = project.members.select_related("user").order_by("user__username")
        authors = [(f"user:{one.user_id}", one.user.get_full_name() or one.user.email) for one in people]
        named = (data.get("author") or "")[:200]
        # A program, or somebody who left, is reached from a row.
        others = [(named, named)] if named and named not in dict(authors) else []
        self.fields["author"].choices = [*ANY, *authors, *others]  # type: ignore[attr-defined]
        in_a_bar(self)

    def given(self) -> dict[str, list[str]]:
        """As `review.annotations` takes them. The last day counts whole."""
        said = self.cleaned_data
        since, until = said["since"], said["until"]
        given = {name: said[name] for name in ("rating", "root_cause", "source", "author", "tag", "goal")}
        given["created_after"] = f"{since:%Y-%m-%d}T00:00:00Z" if since else ""
        given["created_before"] = f"{until + timedelta(days=1):%Y-%m-%d}T00:00:00Z" if until else ""
        return {name: [value] for name, value in given.items() if value}


@member_page(Scope.READ)
@require_GET
def annotations_page(request: MemberRequest) -> HttpResponse:
    form = FilterForm(request.GET, request.project)
    known: dict[str, Any] = {"form": form, "rows": []}
    if form.is_valid():
        given = form.given()
        known |= {"is_filtered": bool(given), **_page(request, given), "files": _files(request.project, given)}
    return render_page(request, "review/records/annotations.html", known, partial="review/records/_annotations.html")


def _page(request: MemberRequest, given: dict[str, list[str]]) -> dict[str, Any]:
    found = annotations.standing(request.project, annotations.conditions(given))
    found = found.defer("question", "response", "correction", "metadata", "scores").annotate(
        asked=Left("question", QUESTION), answered=Left("response", RESPONSE), corrected=Left("correction", CORRECTION)
    )
    before = read("ann", request.GET.get("before", ""))
    rows, has_more = annotations.page_of(found, limit=PAGE, before=before)
    kept = {name: value for name, value in request.GET.items() if name != "before" and value}
    further = urlencode({**kept, "before": rows[-1].shown_id}) if has_more else ""
    may_review = request.actor.may(Scope.REVIEW)
    return {
        "rows": [(row, may_review and verdicts.may_change(request.actor, row.author)) for row in rows],
        "back": request.get_full_path(),
        "further": further,
        "is_further": before is not None,
        "first": urlencode(kept),
    }


def _files(project: Project, given: dict[str, list[str]]) -> list[tuple[str, str]]:
    """The same rows as files, from the API."""
    query = urlencode(given, doseq=True)
    return [
        (form, f"{reverse('export_annotations', kwargs={'project': project.slug, 'form': form})}?{query}")
        for form in FORMS
    ]
