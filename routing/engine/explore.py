"""Which parameter value to try next, where a goal lets the engine propose paths."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from routing.engine.histogram import Histogram, merged
from routing.engine.identity import path_identity
from routing.engine.posterior import believe

Number = int | float

# A value is tested once it has as many outcomes as it takes to hold a path to a constraint.
TESTED_WEIGHT = 5.0


@dataclass(frozen=True, slots=True)
class Bounds:
    low: float
    high: float
    whole: bool = False
    """Only whole numbers are proposed."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A path of the goal, as far as its parameters tell."""

    model: str
    tools: tuple[str, ...]
    params: Mapping[str, object]
    evidence: Histogram


@dataclass(frozen=True, slots=True)
class Proposal:
    model: str
    tools: tuple[str, ...]
    params: Mapping[str, object]
    param: str
    reason: str


def propose(trials: Iterable[Trial], bounds: Mapping[str, Bounds], *, max_untested: int) -> list[Proposal]:
    """One new value for each declared parameter of the goal's best path, as far as untested paths leave
    room for it. Never a duplicate of a path there is, never out of bounds."""
    known = list(trials)
    tested = [trial for trial in known if trial.evidence.weight >= TESTED_WEIGHT]
    room = max_untested - (len(known) - len(tested))
    if not tested:
        return []
    best = max(tested, key=lambda trial: believe(trial.evidence).mean)
    there = {path_identity(trial.model, trial.tools, trial.params) for trial in known}
    found = [_next_value(best, param, bounds[param], tested) for param in sorted(bounds)]
    fresh = [p for p in found if p and path_identity(p.model, p.tools, p.params) not in there]
    return fresh[: max(0, room)]


def _next_value(best: Trial, param: str, within: Bounds, tested: Sequence[Trial]) -> Proposal | None:
    """The midpoint towards the better neighbour, or one step beyond when the best value is at an edge."""
    centre = _number(best.params.get(param))
    if centre is None or not within.low <= centre <= within.high:
        return None
    means = _means_by_value(best, param, tested)
    values = sorted(means)
    place = values.index(centre)
    if len(values) == 1:
        value, reason = _first_step(centre, within), "the first step from its only value"
    elif place in (0, len(values) - 1) and (stepped := _beyond(values, place, within)) != centre:
        value, reason = stepped, "one step beyond the best value, which is at the edge"
    else:
        neighbour = max((values[i] for i in (place - 1, place + 1) if 0 <= i < len(values)), key=lambda v: means[v])
        value, reason = (
            (centre + neighbour) / 2,
            f"between the best value and its better neighbour {neighbour:g}",
        )
    fitted = _fitted(value, within)
    if fitted is None or fitted in means:
        return None
    return Proposal(best.model, best.tools, MappingProxyType({**best.params, param: fitted}), param, reason)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _means_by_value(best: Trial, param: str, tested: Sequence[Trial]) -> dict[float, float]:
    """What each value of the parameter gave, all else being as in the best path."""
    found: dict[float, list[Histogram]] = {}
    for trial in tested:
        value = _number(trial.params.get(param))
        if value is not None and _without(trial, param) == _without(best, param):
            found.setdefault(value, []).append(trial.evidence)
    return {value: believe(merged(histograms)).mean for value, histograms in found.items()}


def _without(trial: Trial, param: str) -> tuple[str, tuple[str, ...], dict[str, object]]:
    rest = {name: value for name, value in trial.params.items() if name != param}
    return trial.model, tuple(sorted(set(trial.tools))), rest


def _first_step(centre: float, within: Bounds) -> float:
    """Half-way towards the bound that is further off."""
    far = within.high if within.high - centre >= centre - within.low else within.low
    return (centre + far) / 2


def _beyond(values: Sequence[float], place: int, within: Bounds) -> float:
    """As far past the edge as the neighbour lies before it, and no further than the bound."""
    neighbour = values[1] if place == 0 else values[-2]
    return min(within.high, max(within.low, 2 * values[place] - neighbour))


def _fitted(value: float, within: Bounds) -> Number | None:
    """Six significant digits, or a whole number; None where that leaves the bounds."""
    fitted: Number = round(value) if within.whole else float(f"{value:.6g}")
    return fitted if within.low <= fitted <= within.high else None
