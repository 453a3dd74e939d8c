"""A project's rubric: the questions that a verdict answers beside its rating, kept in versions.

An answer keeps the version it was given under, so that it never says anything about a question nobody asked.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from django.db import transaction

from agentloop import audit
from agentloop.actors import Actor
from agentloop.errors import Conflict, Invalid
from agentloop.masking import Mask
from agentloop.models import Project
from review.models import QuestionKind, Rubric

Question = Mapping[str, Any]

MOST_QUESTIONS, MOST_OPTIONS = 30, 30
MAX_QUESTION, MAX_OPTION, MAX_ANSWER = 300, 100, 5_000
# A question that cannot be answered is answered by saying why.
NO_ANSWERS = {"not_applicable": "Not applicable", "cant_tell": "Can't tell"}
# A number question with this key is the turn's score: it takes the place of the one that the rating stands for.
OVERALL = "overall"

_KEY = re.compile(r"[a-z][a-z0-9_]{0,39}\Z")


class BadRubric(Invalid):
    """The rubric has a question that cannot be asked."""

    code = "bad_rubric"


class BadAnswer(Invalid):
    """The rubric has an answer that its question does not take."""

    code = "bad_answer"


class RubricMoved(Conflict):
    """Somebody else has changed the rubric meanwhile: look at theirs and make your change again."""

    code = "rubric_moved"


def current(project: Project) -> Rubric | None:
    """The newest version; None where no question was ever written. One query."""
    return Rubric.objects.filter(project=project).order_by("-version").first()


def asked_in(project: Project, kept: Mapping[str, Any]) -> tuple[Rubric | None, bool]:
    """The version that answers were given under, and whether a newer one is asked by now; the newest where none were.

    One query, and one for an older version.
    """
    newest, version = current(project), kept.get("version")
    if newest is None or version in (None, newest.version):
        return newest, False
    return Rubric.objects.filter(project=project, version=version).first() or newest, True


# --- questions ------------------------------------------------------------------------------------------------


def save(project: Project, actor: Actor, questions: Any, *, after: int | None = None) -> Rubric:
    """Makes the next version, unless nothing is new. `after` is the version that whoever writes has seen."""
    wanted = checked_questions(questions)
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=project.pk)
        newest = current(project)
        version = newest.version if newest else 0
        if after is not None and after != version:
            raise RubricMoved
        if newest is not None and newest.questions == wanted:
            return newest
        audit.note(project, actor, "rubric.change", version=version + 1, questions=len(wanted))
        return Rubric.objects.create(project=project, version=version + 1, questions=wanted, author=actor.ref)


def checked_questions(questions: Any) -> list[dict[str, Any]]:
    """The questions with just the parts that their kind has. Raises BadRubric with a sentence for each wrong one."""
    if not isinstance(questions, list) or len(questions) > MOST_QUESTIONS:
        raise _bad_rubric({"questions": f"takes a list of at most {MOST_QUESTIONS} questions."})
    problems: dict[str, str] = {}
    kept: dict[str, dict[str, Any]] = {}
    for place, question in enumerate(questions):
        try:
            one = _question(question)
            if one["key"] in kept:
                raise ValueError(f"has the key {one['key']}, which an earlier question has: each needs its own.")
            kept[one["key"]] = one
        except ValueError as problem:
            problems[f"questions.{place}"] = str(problem)
    if problems:
        raise _bad_rubric(problems)
    return list(kept.values())


def _bad_rubric(problems: dict[str, str]) -> BadRubric:
    name, problem = next(iter(problems.items()))
    place = name.removeprefix("questions.")
    subject = f"Question {int(place) + 1}" if place.isdigit() else name
    return BadRubric(f"{subject} {problem}", fields=problems)


def _question(given: Any) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise ValueError("takes an object with key, text and kind.")
    key, text, kind = (given.get(name) for name in ("key", "text", "kind"))
    if not isinstance(key, str) or not _KEY.match(key):
        raise ValueError("needs a key of small letters, digits and underscores, such as polite_tone.")
    if not isinstance(text, str) or not 0 < len(text.strip()) <= MAX_QUESTION:
        raise ValueError(f"needs a text of at most {MAX_QUESTION} characters.")
    if kind not in QuestionKind.values:
        raise ValueError(f"has a kind that is none of {', '.join(QuestionKind.values)}.")
    question: dict[str, Any] = {"key": key, "text": text.strip(), "kind": kind}
    if kind in (QuestionKind.CHOICE, QuestionKind.CHOICES):
        question["options"] = _options(given.get("options"))
    if kind == QuestionKind.NUMBER:
        question |= _scale(given)
    return question


def _options(given: Any) -> list[str]:
    fits = isinstance(given, list) and all(isinstance(one, str) for one in given)
    options = list(dict.fromkeys(one.strip() for one in given if one.strip())) if fits else []
    if not 2 <= len(options) <= MOST_OPTIONS or max(map(len, options)) > MAX_OPTION:
        raise ValueError(f"needs 2 to {MOST_OPTIONS} different options of at most {MAX_OPTION} characters.")
    return options


def _scale(given: Mapping[str, Any]) -> dict[str, float]:
    low, high, step = (given.get(name) for name in ("low", "high", "step"))
    if not (_is_number(low) and _is_number(high) and _is_number(step)) or not (low < high and 0 < step <= high - low):  # type: ignore[operator]
        raise ValueError("needs low, high and step: numbers with low below high, and a step that fits between them.")
    return {"low": low, "high": high, "step": step}  # type: ignore[dict-item]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


# --- answers --------------------------------------------------------------------------------------------------


def checked_answers(project: Project, given: Any) -> dict[str, Any]:
    """`{"version": 3, "answers": {…}}` as it is kept. Without a version the answers are to the newest one.

    Raises BadAnswer with a sentence for each answer that does not fit. One query; none without answers.
    """
    if not given:
        return {}
    unknown = sorted(set(given) - {"version", "answers"})
    if unknown or not isinstance(given.get("answers"), Mapping):
        raise BadAnswer("rubric takes an object with answers, and optionally version.", fields={"rubric": "is none."})
    if not given["answers"]:
        return {}
    rubric = _of_version(project, given.get("version"))
    questions = {one["key"]: one for one in rubric.questions}
    problems, kept = {}, {}
    for key, answer in given["answers"].items():
        if key not in questions:
            problems[f"rubric.{key}"] = f"is no question of version {rubric.version} of the rubric."
        elif problem := problem_with(questions[key], answer):
            problems[f"rubric.{key}"] = problem
        else:
            kept[key] = answer
    if problems:
        name, problem = next(iter(problems.items()))
        raise BadAnswer(f"{name} {problem}", fields=problems)
    return {"version": rubric.version, "answers": kept}


def _of_version(project: Project, version: Any) -> Rubric:
    if version is None:
        rubric = current(project)
    elif isinstance(version, int) and not isinstance(version, bool) and 0 < version < 2**31:
        rubric = Rubric.objects.filter(project=project, version=version).first()
    else:
        rubric = None
    if rubric is None:
        problem = "is none that this project's rubric has." if version is not None else "needs a rubric; there is none."
        raise BadAnswer(f"rubric.version {problem}", fields={"rubric.version": problem})
    return rubric


def problem_with(question: Question, answer: Any) -> str | None:
    """What is wrong with an answer, as a sentence's end."""
    if isinstance(answer, Mapping):
        fits = set(answer) == {"no_answer"} and answer["no_answer"] in NO_ANSWERS
        return None if fits else f"takes {_TAKES[question['kind']](question)}, or no_answer: {' or '.join(NO_ANSWERS)}."
    fits = _FITS[question["kind"]](question, answer)
    return None if fits else f"takes {_TAKES[question['kind']](question)}."


def _is_some(question: Question, answer: Any) -> bool:
    fits = isinstance(answer, list) and len(answer) > 0 and all(isinstance(one, str) for one in answer)
    return fits and len(set(answer)) == len(answer) and set(answer) <= set(question["options"])


def _is_on_scale(question: Question, answer: Any) -> bool:
    if not _is_number(answer) or not question["low"] <= answer <= question["high"]:
        return False
    steps = (answer - question["low"]) / question["step"]
    return abs(steps - round(steps)) < 1e-6


_FITS: dict[str, Callable[[Question, Any], bool]] = {
    QuestionKind.BOOLEAN: lambda question, answer: isinstance(answer, bool),
    QuestionKind.CHOICE: lambda question, answer: isinstance(answer, str) and answer in question["options"],
    QuestionKind.CHOICES: _is_some,
    QuestionKind.NUMBER: _is_on_scale,
    QuestionKind.TEXT: lambda question, answer: isinstance(answer, str) and 0 < len(answer) <= MAX_ANSWER,
}
_TAKES: dict[str, Callable[[Question], str]] = {
    QuestionKind.BOOLEAN: lambda question: "true or false",
    QuestionKind.CHOICE: lambda question: f"one of {', '.join(question['options'])}",
    QuestionKind.CHOICES: lambda question: f"a list of one or more of {', '.join(question['options'])}",
    QuestionKind.NUMBER: lambda question: (
        f"a number from {question['low']:g} to {question['high']:g} in steps of {question['step']:g}"
    ),
    QuestionKind.TEXT: lambda question: f"a text of 1 to {MAX_ANSWER:,} characters",
}


def masked_answers(kept: Mapping[str, Any], mask: Mask) -> dict[str, Any]:
    """The same with what somebody wrote masked. Options are the owner's words and stay as they are."""
    if not kept:
        return {}
    answers = {key: mask(answer) if isinstance(answer, str) else answer for key, answer in kept["answers"].items()}
    return {**kept, "answers": answers}


def overall_score(project: Project, kept: Mapping[str, Any]) -> float | None:
    """The answer to the number question `overall`, from 0 at its lowest to 1. One query where there is one."""
    answer = kept.get("answers", {}).get(OVERALL)
    if not _is_number(answer):
        return None
    [question] = [one for one in _of_version(project, kept["version"]).questions if one["key"] == OVERALL]
    return round((answer - question["low"]) / (question["high"] - question["low"]), 6)
