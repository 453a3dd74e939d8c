"""A goal's figures in the words that a coding agent, a page and an API share.

The shapes are the API's: `goal_insight` gives plain dicts with its keys. A goal's figures count every
outcome once; a path's weigh each by its attribution."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import NormalDist
from typing import Any

from routing.engine.choice import ENOUGH_OBSERVATIONS, Standing, probabilities_best
from routing.engine.histogram import EMPTY, Histogram, merged
from routing.engine.identity import canonical, path_identity
from routing.engine.posterior import Posterior, believe, probability_higher
from routing.engine.sketch import Sketch
from routing.engine.trend import Direction, Trend, trend

HEALTHY_FROM, DEGRADED_FROM = 0.8, 0.5
SURE = 0.95
DOMINANT_SHARE = 0.5
DOMINANT_FROM = 5
DEAR_TIMES = 2.0
SAME_QUALITY = 0.02


class Status(StrEnum):
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    FAILING = "failing"
    INSUFFICIENT_DATA = "insufficient_data"


@dataclass(frozen=True, slots=True)
class Window:
    """Figures over a window of time. `successes` and `rated` count outcomes that state a success; a path's
    are weighed by attribution, a goal's are plain counts."""

    samples: int = 0
    successes: float = 0.0
    rated: float = 0.0
    values: Histogram = EMPTY
    failures: Mapping[str, float] = field(default_factory=dict)

    @property
    def success_rate(self) -> float | None:
        return self.successes / self.rated if self.rated > 0 else None

    @property
    def belief(self) -> Posterior:
        """Of the success rate, as a Bernoulli mean."""
        ends = (self.rated - self.successes, *(0.0,) * 9, self.successes)
        return believe(Histogram(ends))


@dataclass(frozen=True, slots=True)
class PathReport:
    """What is known of one path, for insights."""

    path_id: str
    model_id: str
    tools: tuple[str, ...]
    params: Mapping[str, object]
    standing: Standing
    origin: str
    window: Window
    recent: Histogram = EMPTY
    earlier: Histogram = EMPTY
    current: Histogram = EMPTY
    """The state that choosing goes by: this regime's, decayed where the goal decays."""
    posterior: Posterior | None = None
    """What choosing draws from, where that is more than the current evidence: what backs it is in it too."""
    mean_cost_usd: float | None = None
    latency: Sketch = field(default_factory=Sketch)
    last_outcome_at: float | None = None
    drift: Mapping[str, object] | None = None
    """The figures of a regime that a detected change opened within the window."""


@dataclass(frozen=True, slots=True)
class GoalReport:
    goal: str
    window: Window
    paths: tuple[PathReport, ...]
    pipeline_id: str | None = None
    recent: Histogram = EMPTY
    earlier: Histogram = EMPTY


def goal_insight(report: GoalReport) -> dict[str, Any]:
    """One item of the `goals` list."""
    best = dict(zip((p.path_id for p in report.paths), _best_shares(report.paths), strict=True))
    moved = trend(report.recent, report.earlier)
    status = status_of(report.window, moved)
    sensitivity = param_sensitivity(report.paths)
    return {
        "goal": report.goal,
        "pipeline_id": report.pipeline_id,
        "status": status.value,
        "sample_count": report.window.samples,
        "success_rate": report.window.success_rate,
        "interval": interval_of(report.window),
        "mean_score": _mean_or_none(report.window.values),
        "trend": moved.direction.value,
        "top_failure_modes": failure_modes(report.window.failures),
        "paths": [path_insight(path, best[path.path_id]) for path in report.paths],
        "param_sensitivity": sensitivity,
        "actionable_signals": actionable_signals(report, status, best, sensitivity),
    }


def path_insight(path: PathReport, probability_best: float) -> dict[str, Any]:
    values = path.window.values
    return {
        "path_id": path.path_id,
        "model_id": path.model_id,
        "tool_id": path.tools[0] if path.tools else None,
        "tools": list(path.tools),
        "params": dict(path.params),
        "status": path.standing.value,
        "origin": path.origin,
        "sample_count": path.window.samples,
        "success_rate": path.window.success_rate,
        "interval": interval_of(path.window),
        "mean_score": _mean_or_none(values),
        "current_mean": _mean_or_none(path.current),
        "score_quantiles": score_quantiles(values),
        "trend": trend(path.recent, path.earlier).direction.value,
        "probability_best": probability_best,
        "mean_cost_usd": path.mean_cost_usd,
        "p50_latency_ms": path.latency.p50,
        "p95_latency_ms": path.latency.p95,
        "top_failure_modes": failure_modes(path.window.failures),
        "last_outcome_at": path.last_outcome_at,
    }


def _mean_or_none(values: Histogram) -> float | None:
    return values.mean if values.weight > 0 else None


def _best_shares(paths: Sequence[PathReport]) -> list[float]:
    """Among the active paths; the others can't be the best."""
    active = [p for p in paths if p.standing is Standing.ACTIVE]
    shares = iter(probabilities_best([p.posterior or believe(p.current) for p in active]))
    return [next(shares) if p.standing is Standing.ACTIVE else 0.0 for p in paths]


def interval_of(window: Window) -> list[float] | None:
    """The 90 % interval of the success rate, [low, high]; of the mean score where no outcome states a success."""
    if window.rated <= 0 and window.values.weight <= 0:
        return None
    return list((window.belief if window.rated > 0 else believe(window.values)).interval(0.9))


def score_quantiles(values: Histogram) -> dict[str, float] | None:
    if values.weight <= 0:
        return None
    return {f"p{share}": values.quantile(share / 100) for share in (5, 25, 50, 75, 95)}


def failure_modes(failures: Mapping[str, float], limit: int = 5) -> list[dict[str, Any]]:
    """The commonest categories with their share of all failures."""
    total = sum(failures.values())
    ranked = sorted(failures.items(), key=lambda item: (-item[1], item[0]))[:limit]
    return [{"category": name, "count": count, "share": count / total} for name, count in ranked if count > 0]


def status_of(window: Window, moved: Trend) -> Status:
    """By where the success rate most probably lies, or the mean score where few outcomes state a success; a goal that
    gets worse is never healthy."""
    if max(window.rated, window.values.weight) < ENOUGH_OBSERVATIONS:
        return Status.INSUFFICIENT_DATA
    level = (window.belief if window.rated >= ENOUGH_OBSERVATIONS else believe(window.values)).mean
    if level < DEGRADED_FROM:
        return Status.FAILING
    getting_worse = moved.direction is Direction.DEGRADING
    return Status.DEGRADED if level < HEALTHY_FROM or getting_worse else Status.HEALTHY


def param_sensitivity(paths: Sequence[PathReport]) -> list[dict[str, Any]]:
    """For each parameter that took several values in paths that are alike but for it: what each value gave, and how
    sure it is that the best of them is better than the worst."""
    names = sorted({name for path in paths for name in path.params})
    return [_sensitivity(name, families) for name in names if (families := _families(name, paths))]


Family = dict[str, PathReport]


def _families(name: str, paths: Iterable[PathReport]) -> list[Family]:
    """The paths that differ in this parameter alone, by its value; of those with outcomes enough."""
    found: dict[str, Family] = {}
    for path in paths:
        if name in path.params and path.window.values.weight >= ENOUGH_OBSERVATIONS:
            rest = {other: value for other, value in path.params.items() if other != name}
            family = found.setdefault(path_identity(path.model_id, path.tools, rest), {})
            family[canonical(path.params[name])] = path
    return [family for family in found.values() if len(family) > 1]


def _sensitivity(name: str, families: Sequence[Family]) -> dict[str, Any]:
    """Compared are the values of the family with the most outcomes, over it and all that have these values too: each
    value's mean over the same mix of families, so that none gains by the company that it was tried in."""
    sizes = [sum(path.window.values.weight for path in family.values()) for family in families]
    values = families[sizes.index(max(sizes))].keys()
    mix = [(family, size) for family, size in zip(families, sizes, strict=True) if values <= family.keys()]
    total = sum(size for _, size in mix)
    parts = [(family, size / total, _spread(family.values())) for family, size in mix]
    measured = [
        _measured_value(name, [(family[value], share, spread) for family, share, spread in parts]) for value in values
    ]
    measured.sort(key=lambda one: (-one.mean, canonical(one.value)))
    best, worst = measured[0], measured[-1]
    return {
        "param": name,
        "values": [{"value": one.value, "sample_count": one.samples, "mean": one.mean} for one in measured],
        "effect": best.mean - worst.mean,
        "confidence": _sure_of_extremes(best, worst, len(measured)),
    }


@dataclass(frozen=True, slots=True)
class _Measured:
    value: object
    samples: int
    mean: float
    believed: float
    deviation: float


def _spread(paths: Iterable[PathReport]) -> float:
    """The variance of one outcome, were all the family's alike: by their own, those that came out best and worst by
    chance would seem the surest."""
    values = merged(path.window.values for path in paths)
    return believe(values).deviation ** 2 * (values.weight + 2)


def _measured_value(name: str, paths: Sequence[tuple[PathReport, float, float]]) -> _Measured:
    seen = [(path.window.values, share, spread) for path, share, spread in paths]
    return _Measured(
        paths[0][0].params[name],
        sum(path.window.samples for path, _, _ in paths),
        math.fsum(values.mean * share for values, share, _ in seen),
        math.fsum(believe(values).mean * share for values, share, _ in seen),
        math.hypot(*(share * math.sqrt(spread / (values.weight + 2)) for values, share, spread in seen)),
    )


def _sure_of_extremes(best: _Measured, worst: _Measured, count: int) -> float:
    """How seldom so many values that are all alike would lie as far apart by chance: of many, some two always do.
    By the studentized range (Tukey and Kramer)."""
    apart = max(0.0, best.believed - worst.believed) / math.hypot(best.deviation, worst.deviation) * math.sqrt(2)
    steps = [place / 10 for place in range(-80, 81)]
    within = (_NORMAL.pdf(top) * (_NORMAL.cdf(top) - _NORMAL.cdf(top - apart)) ** (count - 1) for top in steps)
    return min(1.0, count * math.fsum(within) / 10)


_NORMAL = NormalDist()


Signal = dict[str, Any]
SIGNALS = (
    "path_underperforming",
    "failure_mode_dominant",
    "param_sensitivity_detected",
    "drift_detected",
    "cost_inefficiency",
    "low_confidence",
    "goal_healthy",
)


def actionable_signals(
    report: GoalReport, status: Status, best: Mapping[str, float], sensitivity: Sequence[Mapping[str, Any]]
) -> list[Signal]:
    """What there is to do about the goal, the most pressing first; each with the data to act on."""
    if status is Status.INSUFFICIENT_DATA:
        return []
    signals = [
        *_underperforming(report.paths),
        *_drifts(report.paths),
        *_dominant_failure(report.window),
        *_sensitive(sensitivity),
        *_dear(report.paths),
        *_unsure(report.paths, best),
    ]
    if status is Status.HEALTHY and not any(s["severity"] == "high" for s in signals):
        figures = {"success_rate": report.window.success_rate, "mean_score": _mean_or_none(report.window.values)}
        signals.append(_signal("goal_healthy", "info", "The goal does well.", **figures))
    return sorted(signals, key=lambda signal: _SEVERITIES.index(signal["severity"]))


_SEVERITIES = ("high", "medium", "low", "info")


def _signal(type_: str, severity: str, message: str, **data: object) -> Signal:
    return {"type": type_, "severity": severity, "message": message, "data": data}


def _measured(paths: Iterable[PathReport]) -> list[PathReport]:
    return [p for p in paths if p.standing is Standing.ACTIVE and p.window.values.weight >= ENOUGH_OBSERVATIONS]


def _leader(paths: Iterable[PathReport]) -> PathReport | None:
    return max(_measured(paths), key=lambda p: p.window.values.mean, default=None)


def _underperforming(paths: Sequence[PathReport]) -> list[Signal]:
    """Paths that are surely a tenth or more below the best one."""
    leader = _leader(paths)
    if leader is None:
        return []
    found = []
    for path in _measured(paths):
        sure = probability_higher(believe(leader.window.values), believe(path.window.values), by=0.1)
        if path is not leader and sure > SURE:
            found.append(_underperformer(path, leader, sure))
    return found


def _underperformer(path: PathReport, leader: PathReport, sure: float) -> Signal:
    mean, best = path.window.values.mean, leader.window.values.mean
    return _signal(
        "path_underperforming",
        "medium",
        f"{path.model_id} averages {mean:.2f}, {best - mean:.2f} below {leader.model_id}.",
        path_id=path.path_id,
        model_id=path.model_id,
        mean=mean,
        sample_count=path.window.samples,
        best_path_id=leader.path_id,
        best_mean=best,
        probability=sure,
    )


def _drifts(paths: Sequence[PathReport]) -> list[Signal]:
    return [
        _signal(
            "drift_detected",
            "high",
            f"{path.model_id} no longer does what it did.",
            path_id=path.path_id,
            model_id=path.model_id,
            **path.drift,
        )
        for path in paths
        if path.drift is not None
    ]


def _dominant_failure(window: Window) -> list[Signal]:
    modes = failure_modes(window.failures, limit=1)
    if not modes or modes[0]["count"] < DOMINANT_FROM or modes[0]["share"] < DOMINANT_SHARE:
        return []
    message = f"{modes[0]['share']:.0%} of the failures are {modes[0]['category']}."
    return [_signal("failure_mode_dominant", "medium", message, **modes[0])]


def _sensitive(sensitivity: Sequence[Mapping[str, Any]]) -> list[Signal]:
    return [
        _signal(
            "param_sensitivity_detected",
            "low",
            f"{one['param']}: {one['values'][0]['value']} does {one['effect']:.2f} better than "
            f"{one['values'][-1]['value']}, all else alike.",
            **one,
        )
        for one in sensitivity
        if one["confidence"] > SURE and one["effect"] >= 0.05
    ]


def _dear(paths: Sequence[PathReport]) -> list[Signal]:
    """The best path costs a multiple of one that is about as good."""
    leader = _leader(paths)
    if leader is None or leader.mean_cost_usd is None:
        return []
    enough = leader.window.values.mean - SAME_QUALITY
    rivals = [
        p
        for p in _measured(paths)
        if p.mean_cost_usd is not None
        and p.mean_cost_usd * DEAR_TIMES <= leader.mean_cost_usd
        and p.window.values.mean >= enough
    ]
    if not rivals:
        return []
    cheapest = min(rivals, key=lambda p: p.mean_cost_usd or math.inf)
    message = f"{cheapest.model_id} does about as well as {leader.model_id} for less than half the cost."
    data = {"path_id": leader.path_id, "cheaper_path_id": cheapest.path_id}
    costs = {"mean_cost_usd": leader.mean_cost_usd, "cheaper_mean_cost_usd": cheapest.mean_cost_usd}
    return [_signal("cost_inefficiency", "medium", message, **data, **costs)]


def _unsure(paths: Sequence[PathReport], best: Mapping[str, float]) -> list[Signal]:
    """No path stands out yet, among several."""
    active = [p for p in paths if p.standing is Standing.ACTIVE]
    if len(active) < 2:
        return []
    leading = max(active, key=lambda p: best[p.path_id])
    share = best[leading.path_id]
    if share >= 0.8:
        return []
    message = f"{leading.model_id} leads, but is the best path with a probability of only {share:.0%}."
    data = {"path_id": leading.path_id, "probability_best": share, "paths": len(active)}
    return [_signal("low_confidence", "low", message, **data)]


def cross_goal_summary(insights: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How many goals stand how, and which need looking at."""
    statuses = [one["status"] for one in insights]
    return {
        "goal_count": len(insights),
        "sample_count": sum(one["sample_count"] for one in insights),
        "by_status": {status.value: statuses.count(status.value) for status in Status},
        "needs_attention": [one["goal"] for one in insights if one["status"] in ("failing", "degraded")],
    }
