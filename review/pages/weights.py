"""The settings' page of signal weights, with what they would do to the last turns in view."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse
from django.views.decorators.http import require_http_methods

from agentloop import tenancy
from agentloop.errors import Invalid
from agentloop.models import Project, Scope
from agentloop.pages import MemberRequest, member_page
from agentloop.parsing import clean_text
from agentloop.project_settings import DEFAULT_SIGNAL_WEIGHTS, SETTINGS
from agentloop.settings_pages import REFUSED, done, render_settings
from review import weighing
from review.models import Turn

BLANK_ROWS = 2
# Of signals without a weight, the most frequent ones have a row; the rest can be named.
SEEN_ROWS = 50
DEFAULT = "default_signal_weight"


@dataclass(frozen=True, slots=True)
class Row:
    """A signal in the form: what stands in its field, what was shipped, and how often it was seen."""

    name: str
    said: str
    shipped: float | None
    seen: int
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """What the form says: weights as they were typed, and as numbers those that differ from what was shipped."""

    typed: list[tuple[str, str]]
    default: str
    problems: dict[str, str]

    @property
    def weights(self) -> dict[str, float]:
        numbers = {name: _number(text) for name, text in self.typed if name and text}
        return {
            name: number
            for name, number in numbers.items()
            if number is not None and DEFAULT_SIGNAL_WEIGHTS.get(name) != number
        }

    @property
    def default_weight(self) -> float:
        number = _number(self.default)
        return SETTINGS[DEFAULT].default if number is None else number

    def changes(self) -> dict[str, Any]:
        is_shipped = self.default_weight == SETTINGS[DEFAULT].default
        return {"signal_weights": self.weights or None, DEFAULT: None if is_shipped else self.default_weight}


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _said(post: Any) -> Said:
    names = [clean_text(name).strip() for name in post.getlist("signal")]
    typed = list(zip(names, [text.strip() for text in post.getlist("weight")], strict=False))
    default = post.get("default", "").strip()
    problems = {name: _problem(text) for name, text in [*typed, ("", default)] if text and _problem(text)}
    return Said(typed, default, problems)


def _problem(text: str) -> str:
    number = _number(text)
    return "" if number is not None and -100 <= number <= 100 else "Takes a number from -100 to 100."


@member_page(Scope.ADMIN)
@require_http_methods(["GET", "POST"])
def weights_page(request: MemberRequest) -> HttpResponse:
    """`act=preview` shows the order and keeps nothing; with htmx it comes back alone, at every change."""
    turns = weighing.newest_turns(request.project)
    if request.method == "GET":
        return _page(request, turns, _kept(request.project))
    said = _said(request.POST)
    if said.problems or request.POST.get("act") == "preview":
        return _page(request, turns, said, status=REFUSED if said.problems else 200)
    try:
        tenancy.change_settings(project=request.project, actor=request.actor, changes=said.changes())
    except Invalid as error:
        return _page(request, turns, said, status=REFUSED, problem=error.sentence)
    return done(
        request, "The weights are saved: turns logged from now on get them.", "settings_weights", request.project
    )


def _kept(project: Project) -> Said:
    own: Mapping[str, float] = project.setting("signal_weights")
    typed = [(name, f"{number:g}") for name, number in {**DEFAULT_SIGNAL_WEIGHTS, **own}.items()]
    return Said(typed, f"{project.setting(DEFAULT):g}", {})


def _page(
    request: MemberRequest, turns: Sequence[Turn], said: Said, *, status: int = 200, problem: str = ""
) -> HttpResponse:
    moved = [] if said.problems else weighing.tried(request.project, turns, said.weights, said.default_weight)
    known = {
        "rows": _rows(turns, said),
        "blank": range(BLANK_ROWS),
        "default": said.default,
        "default_problem": said.problems.get("", ""),
        "shipped_default": SETTINGS[DEFAULT].default,
        "problem": problem or ("Look at the weights in red." if said.problems else ""),
        "moved": moved,
        "moves": sum(1 for one in moved if one.up),
    }
    partial = "review/settings/_weights_preview.html"
    return render_settings(request, "review/settings/weights.html", known, partial=partial, status=status)


def _rows(turns: Sequence[Turn], said: Said) -> list[Row]:
    """What has a weight, then what was seen without one."""
    seen, typed = weighing.signals_seen(turns), dict(said.typed)
    unweighed = [name for name, _ in seen.most_common() if name not in typed]
    names = [*filter(None, typed), *unweighed[:SEEN_ROWS]]
    return [
        Row(name, typed.get(name, ""), DEFAULT_SIGNAL_WEIGHTS.get(name), seen[name], said.problems.get(name, ""))
        for name in names
    ]
