"""What a verdict did to routing, in figures: each path of the turn's goal as it stood before and as it stands now."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from agentloop.models import Project
from routing.standings import GoalView, PathView, look

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Shift:
    """One path's mean and how many outcomes it rests on. `before` is None where this was its first evidence."""

    goal: str
    path: str
    before: float | None
    after: float | None
    samples: int

    def __str__(self) -> str:
        if self.after is None:
            return f"{self.goal}: {self.path} has no evidence any more"
        if self.before is None:
            return f"{self.goal}: {self.path} begins at {self.after:.2f}, n = {self.samples:,}"
        return f"{self.goal}: {self.path} {self.before:.2f} → {self.after:.2f}, n = {self.samples:,}"


def watching(project: Project, goal: str, act: Callable[[], Answer]) -> tuple[Answer, list[Shift]]:
    """Does something and answers what it changed in a goal. Two queries beside the act's own; none without a goal."""
    if not goal:
        return act(), []
    before = look(project, goal)
    done = act()
    return done, _shifts(before, look(project, goal))


def _shifts(before: GoalView, after: GoalView) -> list[Shift]:
    known = {path.id: path for path in before.paths}
    shifts = []
    for path in after.paths:
        old = known.get(path.id)
        if _mean(path) != (_mean(old) if old else None) or path.samples != (old.samples if old else 0):
            shifts.append(Shift(after.name, name_of(path), _mean(old) if old else None, _mean(path), path.samples))
    return shifts


def _mean(path: PathView) -> float | None:
    return path.own.mean if path.own.weight > 0 else None


def name_of(path: PathView) -> str:
    """A path as people call it: `gpt-4o + calendar_api`."""
    return " + ".join([path.model, *path.tools])
