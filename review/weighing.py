"""Other weights, tried before they hold: in which order the newest turns would have come."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.db.models.functions import Left

from agentloop.models import Project
from agentloop.project_settings import DEFAULT_SIGNAL_WEIGHTS
from review.models import Turn
from review.priority import rank_of, signal_reasons, weights_of

TURNS = 100


@dataclass(frozen=True, slots=True)
class Moved:
    """A turn with its place among the newest, as it is now and as it would be; 1 is the top."""

    turn: Turn
    before: int
    after: int
    points_before: float
    points_after: float

    @property
    def up(self) -> int:
        return self.before - self.after


def newest_turns(project: Project) -> list[Turn]:
    """The last ones logged, whatever became of them. One query."""
    turns = Turn.objects.of(project).visible().order_by("-id")
    return list(turns.only("id", "signals", "occurrences", "logged_at").annotate(asked=Left("question", 200))[:TURNS])


def tried(project: Project, turns: Sequence[Turn], weights: Mapping[str, float], default: float) -> list[Moved]:
    """The turns in their new order. `weights` are the project's own, over the shipped ones."""
    now = _points(turns, weights_of(project), project.setting("default_signal_weight"))
    then = _points(turns, {**DEFAULT_SIGNAL_WEIGHTS, **weights}, default)
    before, after = _places(turns, now), _places(turns, then)
    moved = [Moved(turn, before[index], after[index], now[index], then[index]) for index, turn in enumerate(turns)]
    return sorted(moved, key=lambda one: one.after)


def _points(turns: Sequence[Turn], weights: Mapping[str, float], default: float) -> list[float]:
    return [round(sum(signal_reasons(turn.signals, weights, default).values()), 3) for turn in turns]


def _places(turns: Sequence[Turn], points: Sequence[float]) -> dict[int, int]:
    def rank(index: int) -> tuple[float, int]:
        turn = turns[index]
        return rank_of(points[index], turn.occurrences, turn.logged_at), turn.id.int

    order = sorted(range(len(turns)), key=rank, reverse=True)
    return {index: place for place, index in enumerate(order, 1)}


def signals_seen(turns: Sequence[Turn]) -> Counter[str]:
    """How many of the turns have each signal."""
    return Counter(name for turn in turns for name in turn.signals)
