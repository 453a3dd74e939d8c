"""Geometry of the overview's plots, which are drawn on the server: numbers in, attributes of SVG elements out."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from review.flow import Day
from review.worth import Share, Worths


def percent(share: float) -> str:
    return f"{100 * share:.2f}".rstrip("0").rstrip(".") + "%"


@dataclass(frozen=True, slots=True)
class Block:
    """One part of a bar."""

    kind: str
    count: int
    y: str
    height: str


@dataclass(frozen=True, slots=True)
class Column:
    """A day's bar: where it stands, what it is made of, and its day."""

    x: str
    middle: str
    width: str
    blocks: Sequence[Block]
    day: Day
    is_labelled: bool


@dataclass(frozen=True, slots=True)
class Columns:
    """Bars above a line, and below it where something leaves. `top` and `bottom` are the counts at the edges."""

    columns: Sequence[Column]
    line: str
    top: int
    bottom: int


def columns_of(days: Sequence[Day], above: Sequence[str], below: Sequence[str] = ()) -> Columns:
    """One column a day, of counts that stand on each other above the line and hang below it."""
    top = _round_up(max((sum(getattr(day, name) for name in above) for day in days), default=0))
    bottom = _round_up(max((sum(getattr(day, name) for name in below) for day in days), default=0)) if below else 0
    whole = top + bottom
    step = 1 / max(1, len(days))
    columns = []
    for place, day in enumerate(days):
        blocks, reach = [], top / whole
        for name in above:
            height = getattr(day, name) / whole
            reach -= height
            blocks.append(Block(name, getattr(day, name), percent(reach), percent(height)))
        reach = top / whole
        for name in below:
            height = getattr(day, name) / whole
            blocks.append(Block(name, getattr(day, name), percent(reach), percent(height)))
            reach += height
        shown = [block for block in blocks if block.count]
        # Every second day has its name, and today always.
        labelled = (len(days) - 1 - place) % 2 == 0
        x, middle = percent((place + 0.14) * step), percent((place + 0.5) * step)
        columns.append(Column(x, middle, percent(0.72 * step), shown, day, labelled))
    return Columns(columns, percent(top / whole), top, bottom)


def _round_up(count: int) -> int:
    """To two figures, of which the second is even: what an axis can say."""
    size = 10 ** max(0, len(str(count)) - 2)
    return max(2, ceil(count / size / 2) * 2 * size)


@dataclass(frozen=True, slots=True)
class DueBar:
    """How many of the waiting expire within a day, and how many the team does in one."""

    days: int
    count: int
    y: str
    height: str
    x: str
    middle: str
    width: str


def due_bars(due: Sequence[int]) -> list[DueBar]:
    most = max(due, default=0) or 1
    step = 1 / max(1, len(due))
    bars = []
    for place, count in enumerate(due):
        height = max(0.02, count / most) if count else 0.0
        at = percent((place + 0.14) * step), percent((place + 0.5) * step), percent(0.72 * step)
        bars.append(DueBar(place + 1, count, percent(1 - height), percent(height), *at))
    return bars


@dataclass(frozen=True, slots=True)
class Whisker:
    low: str
    middle: str
    high: str
    # Among the random draws alone, where there are enough.
    random: str | None = None


@dataclass(frozen=True, slots=True)
class Forest:
    """Shares on one axis from nothing to `end`."""

    end: float
    ticks: Sequence[tuple[str, str]]
    random: Whisker
    signals: Sequence[Whisker]


def forest_of(worths: Worths) -> Forest:
    shares = [one.share for one in worths.signals if not one.share.is_few] + [worths.random]
    end = min(1.0, ceil(max((share.high for share in shares if share.count), default=1.0) * 10) / 10)
    step = 0.1 if end <= 0.5 else 0.2
    ticks = [(percent(place * step / end), f"{place * step:.0%}") for place in range(int(end / step + 1e-9) + 1)]
    signals = [_whisker(one.share, end, None if one.random.is_few else one.random) for one in worths.signals]
    return Forest(end, ticks, _whisker(worths.random, end), signals)


def _whisker(share: Share, end: float, random: Share | None = None) -> Whisker:
    low, middle, high = (percent(min(1.0, value / end)) for value in (share.low, share.rate, share.high))
    return Whisker(low, middle, high, percent(min(1.0, random.rate / end)) if random else None)
