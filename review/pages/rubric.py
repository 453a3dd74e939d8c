"""The page on which owners write the rubric. Adding, moving and removing questions keeps nothing until it is saved."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods

from agentloop.errors import AppError
from agentloop.models import Scope
from agentloop.pages import MemberRequest, member_page
from agentloop.parsing import clean_text
from agentloop.settings_pages import REFUSED, render_settings
from review import rubrics
from review.models import QuestionKind, Rubric
from review.pages.rubric_form import asked_questions

BLANK = {"key": "", "text": "", "kind": QuestionKind.BOOLEAN.value, "options": [], "low": 1, "high": 5, "step": 1}


@member_page(Scope.ADMIN)
@require_http_methods(["GET", "POST"])
def rubric_page(request: MemberRequest) -> HttpResponse:
    newest = rubrics.current(request.project)
    if request.method == "GET":
        questions = newest.questions if newest else []
        return _page(request, newest, questions, newest.version if newest else 0)
    questions, after = _questions(request.POST), _whole(request.POST.get("after", ""))
    act, _, place = request.POST.get("do", "save").partition(":")
    if act != "save":
        return _page(request, newest, _changed(questions, act, _whole(place)), after)
    try:
        saved = rubrics.save(request.project, request.actor, questions, after=after)
    except AppError as error:
        return _page(request, newest, questions, after, error)
    messages.success(request, f"Saved: version {saved.version} is asked from now on.")
    return redirect("settings_rubric", project=request.project.slug)


def _page(
    request: MemberRequest,
    newest: Rubric | None,
    questions: list[dict[str, Any]],
    after: int,
    error: AppError | None = None,
) -> HttpResponse:
    problems = error.fields if error else {}
    rows = [
        {**BLANK, **question, "problem": problems.get(f"questions.{place}")} for place, question in enumerate(questions)
    ]
    asked = {"version": newest.version, "questions": newest.questions} if newest else None
    known = {
        "rows": rows,
        "after": after,
        "kinds": QuestionKind.choices,
        "problem": error.sentence if error else "",
        "is_full": len(rows) >= rubrics.MOST_QUESTIONS,
        "rubric": asked,
        "questions": asked_questions(asked, None),
    }
    return render_settings(request, "review/quality/rubric.html", known, status=REFUSED if error else 200)


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _questions(posted: Any) -> list[dict[str, Any]]:
    """The form's questions in their order, as the API takes them."""
    questions: list[dict[str, Any]] = []
    for place in posted.getlist("place")[: rubrics.MOST_QUESTIONS + 1]:
        said = {name: clean_text(posted.get(f"{name}.{place}", "")).strip() for name in BLANK}
        options = [line.strip() for line in said["options"].splitlines() if line.strip()]
        numbers = {name: _number(said[name]) for name in ("low", "high", "step")}
        key = said["key"] or _key_of(said["text"], questions)
        questions.append({"key": key, "text": said["text"], "kind": said["kind"], "options": options, **numbers})
    return questions


def _key_of(text: str, others: list[dict[str, Any]]) -> str:
    """A key out of the question's words, for whoever doesn't care what it is called."""
    words = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_").lstrip("0123456789_")
    key = words[:32].strip("_") or (f"question_{len(others) + 1}" if text else "")
    taken = {one["key"] for one in others}
    return next(
        name for name in [key, *(f"{key}_{n}" for n in range(2, len(others) + 3))] if name not in taken or not key
    )


def _number(text: str) -> Any:
    try:
        number = float(text)
    except ValueError:
        return text
    return int(number) if number.is_integer() else number


def _changed(questions: Sequence[Mapping[str, Any]], act: str, place: int) -> list[Any]:
    """The list with one more question, one less, or two that changed places."""
    changed = [*questions]
    if act == "add" and len(changed) < rubrics.MOST_QUESTIONS:
        changed.append(BLANK)
    elif act == "remove" and place < len(changed):
        del changed[place]
    elif act == "up" and 0 < place < len(changed):
        changed[place - 1], changed[place] = changed[place], changed[place - 1]
    return changed
