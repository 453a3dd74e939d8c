"""The rubric's questions in the verdict's form: what stands in its fields, and what was answered there.

Options go by their place, so that no option can be taken for one of the answers that say why there is none.
"""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from agentloop.parsing import clean_text
from review.models import QuestionKind
from review.rubrics import NO_ANSWERS

BEFORE = "rubric."
_TRUTH = {"yes": True, "no": False}


@dataclass(frozen=True, slots=True)
class Choice:
    value: str
    label: str
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """One question as the form shows it. `choices` are what can be picked; `value` is what was typed."""

    name: str
    text: str
    kind: str
    choices: list[Choice]
    no_answers: list[Choice]
    value: str
    question: dict[str, Any]


def asked_questions(rubric: dict[str, Any] | None, draft: dict[str, Any] | None) -> list[Asked]:
    """The questions with what a draft has answered so far, as far as that still fits the question."""
    said = (draft or {}).get("body", {}).get("rubric")
    answers = said.get("answers") if isinstance(said, dict) else None
    questions = rubric["questions"] if rubric else []
    return [_asked(one, (answers or {}).get(one["key"]) if isinstance(answers, dict) else None) for one in questions]


def _asked(question: dict[str, Any], answer: Any) -> Asked:
    why_not = answer.get("no_answer") if isinstance(answer, dict) else None
    return Asked(
        name=BEFORE + question["key"],
        text=question["text"],
        kind=question["kind"],
        choices=_choices(question, answer),
        no_answers=[Choice(value, label, value == why_not) for value, label in NO_ANSWERS.items()],
        value="" if isinstance(answer, bool | dict | list) or answer is None else str(answer),
        question=question,
    )


def _choices(question: dict[str, Any], answer: Any) -> list[Choice]:
    if question["kind"] == QuestionKind.BOOLEAN:
        return [Choice(value, value.title(), answer is truth) for value, truth in _TRUTH.items()]
    chosen = answer if isinstance(answer, list) else [answer]
    return [Choice(str(place), one, one in chosen) for place, one in enumerate(question.get("options", []))]


def answers_told(said: dict[str, Any]) -> list[tuple[str, str]]:
    """A verdict's answers in words, each with its question as it was asked then."""
    answers = (said.get("rubric") or {}).get("answers") or {}
    asked = {one["key"]: one["text"] for one in said.get("questions") or []}
    in_order = [*(key for key in asked if key in answers), *(key for key in answers if key not in asked)]
    return [(asked.get(key, key), _told(answers[key])) for key in in_order]


def _told(answer: Any) -> str:
    if isinstance(answer, dict):
        return NO_ANSWERS.get(answer.get("no_answer", ""), "")
    if isinstance(answer, bool):
        return "Yes" if answer else "No"
    return ", ".join(answer) if isinstance(answer, list) else str(answer)


def answers_in(request: HttpRequest) -> dict[str, Any]:
    """What the form answered, as the API takes it; what is wrong with an answer is said by its question's rule.

    The form tells each question's kind and options, so that it is read as it was shown: an owner may have
    changed the rubric since.
    """
    version = request.POST.get(BEFORE + "version", "")
    if not (version.isascii() and version.isdigit() and len(version) < 10):
        return {}
    answers = {}
    for field in request.POST:
        if field.startswith(BEFORE) and field.endswith(".kind"):
            key = clean_text(field[len(BEFORE) : -len(".kind")])
            answer = _answer(request, BEFORE + key, request.POST[field])
            if answer is not None:
                answers[key] = answer
    return {"version": int(version), "answers": answers} if answers else {}


def _answer(request: HttpRequest, name: str, kind: str) -> Any:
    """None for a question that was passed over."""
    values = [value for text in request.POST.getlist(name) if (value := clean_text(text).strip())]
    why_not = next((value for value in [request.POST.get(f"{name}.none", ""), *values] if value in NO_ANSWERS), None)
    if why_not and (kind != QuestionKind.TEXT or request.POST.get(f"{name}.none") == why_not):
        return {"no_answer": why_not}
    if not values:
        return None
    if kind == QuestionKind.BOOLEAN:
        return _TRUTH.get(values[0], values[0])
    if kind == QuestionKind.NUMBER:
        return _number(values[0])
    if kind == QuestionKind.TEXT:
        return values[0]
    options = [clean_text(option) for option in request.POST.getlist(f"{name}.option")]
    picked = [options[int(value)] for value in values if value.isdigit() and int(value) < len(options)]
    return (picked[0] if picked else None) if kind == QuestionKind.CHOICE else picked or None


def _number(text: str) -> Any:
    """A number as it was typed; anything else as it is, so that it is refused with the sentence for it."""
    try:
        number = float(text)
    except ValueError:
        return text
    return int(number) if number.is_integer() else number
