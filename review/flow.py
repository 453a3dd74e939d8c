"""How turns come to the queue and leave it, and what follows if that goes on. Plain numbers; no database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

WINDOW = 7
RATINGS = ("correct", "partial", "incorrect")


@dataclass(frozen=True, slots=True)
class Day:
    """What happened on one day, in UTC. `expired` turns left without anybody having judged them."""

    date: date
    came: int = 0
    correct: int = 0
    partial: int = 0
    incorrect: int = 0
    dismissed: int = 0
    expired: int = 0

    @property
    def judged(self) -> int:
        return self.correct + self.partial + self.incorrect

    @property
    def done(self) -> int:
        return self.judged + self.dismissed

    @property
    def is_empty(self) -> bool:
        return not (self.came or self.done or self.expired)


def days_of(counts: Mapping[tuple[date, str], int], today: date, length: int) -> list[Day]:
    """The last days, today the last; each name of `counts` is a field of Day."""
    names = ("came", *RATINGS, "dismissed", "expired")
    dates = [today - timedelta(days=ago) for ago in reversed(range(length))]
    return [Day(day, **{name: max(0, counts.get((day, name), 0)) for name in names}) for day in dates]


@dataclass(frozen=True, slots=True)
class Pace:
    """How many turns come and are done in a day, over the last whole days."""

    come: float
    done: float
    days: int

    @property
    def net(self) -> float:
        """By how much the queue shrinks in a day."""
        return self.done - self.come

    def days_until_empty(self, waiting: int) -> float | None:
        """None where the queue does not shrink."""
        if waiting == 0:
            return 0.0
        return waiting / self.net if self.net > 0 else None


def pace_of(days: Sequence[Day]) -> Pace | None:
    """Over at most the last seven whole days; today is none yet. None before the first of them is over."""
    whole = list(days[:-1][-WINDOW:])
    while whole and whole[0].is_empty:
        whole.pop(0)
    if not whole:
        return None
    return Pace(sum(day.came for day in whole) / len(whole), sum(day.done for day in whole) / len(whole), len(whole))


@dataclass(frozen=True, slots=True)
class Loss:
    """How many turns will expire unseen at the least, and within how many days the first of them does."""

    turns: int
    within_days: int


def loss_of(due: Sequence[int], pace: Pace | None) -> Loss | None:
    """What nobody can save at this pace, even if whatever expires first is always judged first.

    `due` is how many of the waiting expire within each of the next days. None where nothing need be lost.
    """
    if pace is None:
        return None
    most, first, total = 0, 0, 0
    for place, count in enumerate(due, 1):
        total += count
        lost = round(total - pace.done * place)
        if lost > 0 and not first:
            first = place
        most = max(most, lost)
    return Loss(most, first) if most else None
