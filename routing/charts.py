"""Geometry of the charts that are drawn on the server: numbers in, attributes of SVG elements out. No database.

Lines and areas are drawn in a box of 1000 by 100, which the page stretches; marks and words stand at percentages.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

WIDE, HIGH = 1000.0, 100.0


def _short(number: float) -> str:
    # Adding nothing turns a minus zero, which rounding leaves, into zero.
    return f"{round(number, 2) + 0.0:.2f}".rstrip("0").rstrip(".")


@dataclass(frozen=True, slots=True)
class Tick:
    at: str
    label: str
    # One in two is left out where there is little room.
    is_minor: bool = False


@dataclass(frozen=True, slots=True)
class Scale:
    """A stretch of 0 to 1 on an axis."""

    low: float
    high: float

    def at(self, value: float) -> str:
        """How far along the axis a value stands, such as `62.5%`."""
        share = (value - self.low) / (self.high - self.low)
        return f"{_short(100 * min(1.0, max(0.0, share)))}%"

    def ticks(self) -> list[Tick]:
        step = 0.1 if self.high - self.low > 0.35 else 0.05
        values = [n * step for n in range(round(self.low / step), round(self.high / step) + 1)]
        return [Tick(self.at(value), f"{value:.0%}", place % 2 == 1) for place, value in enumerate(values)]


def scale_around(values: Iterable[float], least: float = 0.3) -> Scale:
    """Whole tenths that hold all values, and no fewer than `least`: small differences must not look large."""
    known = list(values)
    if not known:
        return Scale(0.0, 1.0)
    low, high = math.floor(min(known) * 10) / 10, math.ceil(max(known) * 10) / 10
    while high - low < least - 1e-9:
        low, high = max(0.0, low - 0.1), min(1.0, high + 0.1)
    return Scale(round(low, 1), round(high, 1))


def _x(place: float, count: int) -> float:
    """Where a step stands: the first at the left edge, the last at the right one."""
    return WIDE * place / max(1, count - 1)


def x_percent(place: float, count: int) -> str:
    return f"{_short(100 * place / max(1, count - 1))}%"


Values = Sequence[float | None]


def line(values: Values) -> str:
    """A path through values of 0 to 1. One step without a value is bridged, a longer gap is a gap."""
    parts = ["L".join(_point(place, value, len(values)) for place, value in run) for run in runs(values)]
    return "".join(f"M{part}" for part in parts if "L" in part)


def band(lows: Values, highs: Values) -> str:
    """The area between two lines, with the same gaps."""
    shapes = []
    for upper, lower in zip(runs(highs), runs(lows), strict=True):
        edge = [*upper, *reversed(lower)]
        if len(upper) > 1:
            shapes.append(f"M{'L'.join(_point(place, value, len(lows)) for place, value in edge)}Z")
    return "".join(shapes)


def runs(values: Values) -> list[list[tuple[int, float]]]:
    """The stretches of values that no gap of two or more steps parts."""
    found: list[list[tuple[int, float]]] = []
    for place, value in enumerate(values):
        if value is None:
            continue
        if found and place - found[-1][-1][0] <= 2:
            found[-1].append((place, value))
        else:
            found.append([(place, value)])
    return found


def stacked(series: Sequence[Sequence[float]]) -> list[str]:
    """Areas on top of each other, each step's parts together filling the height; nothing where all are zero."""
    count = len(series[0]) if series else 0
    totals = [sum(one[place] for one in series) for place in range(count)]
    filled = [place for place in range(count) if totals[place] > 0]
    floor, areas = [0.0] * count, []
    for one in series:
        top = [floor[place] + (one[place] / totals[place] if totals[place] else 0.0) for place in range(count)]
        areas.append(_area(floor, top, filled, count))
        floor = top
    return areas


def _area(floor: Sequence[float], top: Sequence[float], filled: Sequence[int], count: int) -> str:
    """A run of steps is an area; a step that stands alone is widened a little, so that it is seen."""
    shapes = []
    for run in runs([float(place) if place in filled else None for place in range(count)]):
        places = [place for place, _ in run]
        edges = [place + 0.0 for place in places] if len(places) > 1 else [places[0] - 0.4, places[0] + 0.4]
        steps = places if len(places) > 1 else places * 2
        above = [_point(edge, top[place], count) for edge, place in zip(edges, steps, strict=True)]
        below = [_point(edge, floor[place], count) for edge, place in zip(edges, steps, strict=True)]
        shapes.append(f"M{'L'.join(above + below[::-1])}Z")
    return "".join(shapes)


def _point(place: float, height: float, count: int) -> str:
    return f"{_short(min(WIDE, max(0.0, _x(place, count))))} {_short(HIGH * (1 - height))}"


def widest(series: Sequence[Sequence[float]], index: int) -> tuple[int, float, float]:
    """Where an area has room for its name: the step, the middle of its height, and its share there.

    The middle one of the steps where it is all but as wide as anywhere, and not at an edge, which would cut the name.
    """
    totals = [sum(one[place] for one in series) for place in range(len(series[index]))]
    shares = [series[index][place] / total if total else 0.0 for place, total in enumerate(totals)]
    inner = range(1, len(shares) - 1)
    most = max((shares[place] for place in inner), default=0.0)
    if most <= 0:
        return 0, 0.0, 0.0
    roomy = [place for place in inner if shares[place] >= 0.85 * most]
    place = roomy[len(roomy) // 2]
    below = sum(one[place] for one in series[:index]) / totals[place]
    return place, below + shares[place] / 2, shares[place]


def upright(values: Sequence[float]) -> list[tuple[str, str, str, str]]:
    """Bars in the box: x, y, width and height of each. One above zero is never too small to be seen.

    Each stands where a line has its point, so that the first and the last are cut in half.
    """
    most, step = max(values, default=0) or 1, WIDE / max(1, len(values) - 1)
    bars = []
    for place, value in enumerate(values):
        tall = max(4.0, HIGH * value / most) if value else 0.0
        left = _x(place, len(values)) - step * 0.4
        bars.append((_short(left), _short(HIGH - tall), _short(step * 0.8), _short(tall)))
    return bars
