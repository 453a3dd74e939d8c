"""The page of gold turns, for owners: made, given, answered, retired."""

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_POST

from agentloop.models import Scope
from agentloop.page_forms import attempt, id_of
from agentloop.pages import MemberRequest, member_page, render_page
from agentloop.settings_pages import REFUSED, done
from review import gold_turns
from review.gold_turns import KnownAnswer
from review.models import FailureCategory, GoldTurn, Rating
from review.pages.verdict_form import ROOT_CAUSES
from review.serializers import TEXT_LIMIT

_NOT_SAID = ("", "not said")


class WriteForm(forms.Form):
    question = forms.CharField(max_length=TEXT_LIMIT, widget=forms.Textarea(attrs={"rows": 2, "dir": "auto"}))
    response = forms.CharField(max_length=TEXT_LIMIT, widget=forms.Textarea(attrs={"rows": 4, "dir": "auto"}))
    rating = forms.ChoiceField(label="Right verdict", choices=Rating.choices)
    root_cause = forms.ChoiceField(choices=[_NOT_SAID, *ROOT_CAUSES.items()], required=False)
    failure_category = forms.ChoiceField(
        label="Failure", choices=[("", "none"), *FailureCategory.choices], required=False
    )
    explanation = forms.CharField(
        required=False,
        max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 2, "dir": "auto"}),
        help_text="What a reviewer is told once they have judged it.",
    )
    goal = forms.CharField(
        required=False,
        max_length=200,
        help_text="What is not said here, such as its signals and model, it has from the turns among which it comes.",
    )


@member_page(Scope.ADMIN)
@require_http_methods(["GET", "POST"])
def gold_page(request: MemberRequest) -> HttpResponse:
    form = WriteForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and attempt(form, lambda: _write(request, form.cleaned_data)) is not None:
        return done(request, "The gold turn is written.", "quality_gold", request.project)
    rows = gold_turns.listed(request.project)
    known = {
        "form": form,
        "in_use": [row for row in rows if row.gold.retired_at is None],
        "retired": [row for row in rows if row.gold.retired_at is not None],
        "share": request.project.setting("gold_share"),
    }
    response = render_page(request, "review/quality/gold.html", known)
    response.status_code = REFUSED if form.errors else 200
    return response


def _write(request: MemberRequest, said: dict[str, str]) -> GoldTurn:
    known = KnownAnswer(**{name: said[name] for name in KnownAnswer.__slots__})
    texts = (said["question"], said["response"])
    return gold_turns.write(request.project, request.actor, *texts, known, goal=said["goal"])


@member_page(Scope.ADMIN)
@require_POST
def gold_make(request: MemberRequest, turn_id: str) -> HttpResponse:
    gold_turns.make(request.project, request.actor, id_of("turn", turn_id))
    return done(request, "Its verdict is the known answer now: it is a gold turn.", "quality_gold", request.project)


@member_page(Scope.ADMIN)
@require_POST
def gold_retire(request: MemberRequest, gold_id: str) -> HttpResponse:
    gold_turns.retire(request.project, request.actor, id_of("gold", gold_id))
    messages.success(request, "Nobody is given it any more. What was answered counts on.")
    return redirect("quality_gold", project=request.project.slug)


@member_page(Scope.ADMIN)
@require_POST
def gold_remove(request: MemberRequest, gold_id: str) -> HttpResponse:
    gold_turns.remove(request.project, request.actor, id_of("gold", gold_id))
    messages.success(request, "It is removed, and its answers count for nobody.")
    return redirect("quality_gold", project=request.project.slug)
