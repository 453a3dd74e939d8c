"""What each signal is worth: how often a turn that had it turned out incorrect, beside turns drawn at random.

Plain numbers; no database. Every share has its interval and its number of turns, and few are said to be few.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import sqrt
from typing import Any

from review.priority import strength

# The two-sided 95 % point of the normal distribution.
Z = 1.959964
FEW = 20
MOST_SIGNALS = 12
LOUD = 0.5


@dataclass(frozen=True, slots=True)
class Share:
    """How many of how many, with the interval that holds the true share in 95 of 100 cases (Wilson's)."""

    hits: int
    count: int

    @property
    def rate(self) -> float:
        return self.hits / self.count if self.count else 0.0

    @property
    def low(self) -> float:
        return self._interval[0]

    @property
    def high(self) -> float:
        return self._interval[1]

    @property
    def is_few(self) -> bool:
        return self.count < FEW

    @property
    def _interval(self) -> tuple[float, float]:
        if not self.count:
            return 0.0, 1.0
        n, z2 = self.count, Z * Z
        middle = (self.rate + z2 / (2 * n)) / (1 + z2 / n)
        reach = Z * sqrt(self.rate * (1 - self.rate) / n + z2 / (4 * n * n)) / (1 + z2 / n)
        return (0.0 if self.hits == 0 else middle - reach), (1.0 if self.hits == n else middle + reach)


class Finding(StrEnum):
    """What a signal's share says against the random one."""

    MORE = "more often wrong"
    LESS = "less often wrong"
    UNCLEAR = "no clear difference"
    FEW = "too few to tell"


@dataclass(frozen=True, slots=True)
class Worth:
    """One signal's share of incorrect turns, and the same among the random draws alone.

    What is urgent is judged first, so a signal that comes along with louder ones looks worse by the former than it
    is: where there are enough random draws, they decide.
    """

    signal: str
    share: Share
    random: Share
    finding: Finding


@dataclass(frozen=True, slots=True)
class Judged:
    """A judged turn: what it was, whether it was drawn at random, and its signals."""

    is_incorrect: bool
    is_random: bool
    signals: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Worths:
    """Every signal beside the random share, which is an unbiased sample of all that waits."""

    random: Share
    signals: Sequence[Worth]


def worths_of(turns: Iterable[Judged]) -> Worths:
    """The signals that most turns had, those that tell most first and those with few turns last.

    A turn has a signal that speaks at least half as loud as a plain yes: a confidence of 0.5 or less, for one.
    """
    drawn, seen, seen_at_random = [0, 0], dict[str, list[int]](), dict[str, list[int]]()
    for turn in turns:
        if turn.is_random:
            _count(drawn, turn)
        for name, value in turn.signals.items():
            if strength(name, value) >= LOUD:
                _count(seen.setdefault(name, [0, 0]), turn)
                if turn.is_random:
                    _count(seen_at_random.setdefault(name, [0, 0]), turn)
    base, found = Share(*drawn), []
    for name, of in sorted(seen.items(), key=lambda one: -one[1][1])[:MOST_SIGNALS]:
        share, random = Share(*of), Share(*seen_at_random.get(name, (0, 0)))
        found.append(Worth(name, share, random, _finding(share if random.is_few else random, base)))
    found.sort(key=lambda one: (one.share.is_few, -one.share.rate, one.signal))
    return Worths(base, found)


def _count(of: list[int], turn: Judged) -> None:
    of[0] += turn.is_incorrect
    of[1] += 1


def _finding(share: Share, base: Share) -> Finding:
    """By the interval of the difference of two shares (Newcombe's)."""
    if share.is_few or base.is_few:
        return Finding.FEW
    difference = share.rate - base.rate
    if difference - sqrt((share.rate - share.low) ** 2 + (base.high - base.rate) ** 2) > 0:
        return Finding.MORE
    if difference + sqrt((share.high - share.rate) ** 2 + (base.rate - base.low) ** 2) < 0:
        return Finding.LESS
    return Finding.UNCLEAR
