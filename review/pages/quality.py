"""The page Quality: how well reviewers agree, and how often they are right where the answer is known. Owners see
everybody, reviewers themselves."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse

from agentloop.models import Scope
from agentloop.pages import MemberRequest, member_page, render_page
from agentloop.tenancy import names_of_members
from review import agreement, gold_turns
from review.agreement import Agreement
from review.gold_turns import Accuracy

WIDTH, HEIGHT = 160.0, 16.0


@dataclass(frozen=True, slots=True)
class Line:
    """One group's agreement, with the places of its interval in a plot from 0 to 1."""

    name: str
    agreement: Agreement
    left: float
    width: float
    dot: float


def _line(name: str, found: Agreement) -> Line:
    low, high, dot = (WIDTH * min(1.0, max(0.0, value)) for value in (found.low, found.high, found.alpha or 0.0))
    return Line(name, found, round(low, 1), round(max(2.0, high - low), 1), round(min(max(dot, 4.0), WIDTH - 4.0), 1))


@dataclass(frozen=True, slots=True)
class RightLine:
    """How often one reviewer gave the known answer, with the places of its interval in the same plot."""

    name: str
    accuracy: Accuracy
    left: float
    width: float
    dot: float


def _right_line(one: Accuracy, people: dict[str, str]) -> RightLine:
    low, high, dot = (WIDTH * value for value in (one.share.low, one.share.high, one.share.rate))
    name = people.get(one.ref) or one.label or _name(one.ref, people)
    return RightLine(name, one, round(low, 1), round(high - low, 1), round(min(max(dot, 4.0), WIDTH - 4.0), 1))


@member_page(Scope.REVIEW)
def quality_page(request: MemberRequest) -> HttpResponse:
    is_owner = request.actor.is_owner
    people = names_of_members(request.project)
    only = None if is_owner else request.actor.ref
    found = agreement.of_project(request.project, only=only)
    right = [_right_line(one, people) for one in gold_turns.accuracy(request.project, only)]
    open_count, disputed = agreement.waiting(request.project)
    pairs = [_line(f"{_name(one, people)} and {_name(other, people)}", both) for one, other, both in found.pairs]
    known: dict[str, Any] = {
        "whole": found.whole,
        "pairs": pairs,
        "tags": [_line(tag, its) for tag, its in found.tags],
        "right": right,
        "gold_share": request.project.setting("gold_share"),
        "open_count": open_count,
        "disputed": disputed,
        "share": request.project.setting("double_share"),
        "needed": request.project.setting("double_verdicts"),
        "plot": {"width": WIDTH, "height": HEIGHT, "marks": [WIDTH * 0.667, WIDTH * 0.8]},
    }
    return render_page(request, "review/quality/quality.html", known)


def _name(ref: str, people: dict[str, str]) -> str:
    """A member's name; a reviewer whom a program names; what is left of somebody who has left."""
    return people.get(ref) or ref.rpartition("/")[2]
