"""The verdict's form, as the queue and a given verdict's page have it: what stands in its fields, and what was said."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.http import HttpRequest
from rest_framework.serializers import ValidationError

from agentloop.errors import AppError, as_app_error
from agentloop.parsing import clean_text
from review import errors
from review.models import FailureCategory, Rating, RootCause
from review.pages.rubric_form import answers_in
from review.serializers import VerdictIn
from review.verdicts import Verdict

FIELDS = ("rating", "correction", "root_cause", "failure_category", "tags", "comment", "rubric")
ROOT_CAUSES = {
    RootCause.CONTEXT: "Context: what it was given",
    RootCause.PROMPT: "Prompt: what it was told",
    RootCause.MODEL: "Model: what it made of it",
    RootCause.TOOL: "Tool: what it used",
}
# What its template chooses from.
CHOICES: Mapping[str, Any] = {
    "ratings": [(value, label, str(place)) for place, (value, label) in enumerate(Rating.choices, 1)],
    "root_causes": list(ROOT_CAUSES.items()),
    "failure_categories": list(FailureCategory.choices),
}


def form_of(said: Mapping[str, Any], response: str, saved_at: datetime | None = None) -> dict[str, Any]:
    """The fields as a draft or a verdict fills them; the correction begins as the response."""
    tags = said.get("tags")
    return {
        "rating": said.get("rating") or "",
        "correction": said.get("correction") or response,
        "is_corrected": bool(said.get("correction")),
        "root_cause": said.get("root_cause") or "",
        "failure_category": said.get("failure_category") or "",
        "tags": ", ".join(str(tag) for tag in tags) if isinstance(tags, list) else "",
        "comment": said.get("comment") or "",
        "saved_at": saved_at,
    }


def fields_in(request: HttpRequest, response: str) -> dict[str, Any]:
    """The verdict's fields as the form has them. A correction that says what the response says is none."""
    said = {name: clean_text(request.POST.get(name, "")) for name in ("rating", "root_cause", "failure_category")}
    correction, comment = (plain(clean_text(request.POST.get(name, ""))) for name in ("correction", "comment"))
    tags = [tag.strip() for tag in clean_text(",".join(request.POST.getlist("tags"))).split(",")]
    return {
        **said,
        "comment": comment,
        "correction": correction if correction.strip() != plain(response).strip() else "",
        "rubric": answers_in(request),
        "tags": list(dict.fromkeys(tag for tag in tags if tag)),
    }


def plain(text: str) -> str:
    """With line ends as programs write them: forms are sent with others."""
    return text.replace("\r\n", "\n")


def verdict_in(request: HttpRequest, response: str) -> Verdict:
    """Reads the form, and which of its buttons was pressed: a stroke brings its rating along."""
    fields = fields_in(request, response)
    stroke = request.POST.get("stroke", "")
    if stroke == "accept":
        fields["rating"] = Rating.CORRECT.value
    elif stroke == "reject":
        fields["rating"] = Rating.INCORRECT.value
    elif stroke == "fix" and not fields["correction"]:
        raise errors.BadValue("correction", "still says what the response says: change it first, then accept.")
    if fields["correction"] and fields["rating"] in ("", *([Rating.CORRECT.value] if stroke == "fix" else [])):
        fields["rating"] = Rating.PARTIAL.value
    if not fields["rating"]:
        raise errors.BadValue("rating", "is missing: choose correct, partial or incorrect.")
    given = VerdictIn(data=fields)
    try:
        given.is_valid(raise_exception=True)
    except ValidationError as error:
        raise as_app_error(error) or AppError() from error
    return Verdict(**{name: given.validated_data[name] for name in FIELDS})
