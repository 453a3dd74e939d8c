"""Which path to recommend to someone who asks for a policy rather than for a decision."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from routing.engine.choice import ENOUGH_OBSERVATIONS, Constraints, Contender, Figures, Standing
from routing.engine.posterior import Posterior


class Aim(StrEnum):
    """What a recommendation optimises for; `outcome` is another word for quality."""

    COST = "cost"
    QUALITY = "quality"
    LATENCY = "latency"
    BALANCED = "balanced"
    COST_EFFICIENCY = "cost_efficiency"
    OUTCOME = "outcome"


@dataclass(frozen=True, slots=True)
class Recommendation:
    path_id: str | None
    reason: str
    ranked: tuple[str, ...] = ()
    """All paths that meet the constraints, the recommended one first."""
    blocked_by: str | None = None
    """Where none does: the constraint that rules out the most, or `samples`."""


def risk_score(posterior: Posterior) -> float:
    """1 minus the lower 5 % bound of the mean."""
    return 1 - posterior.quantile(0.05)


def recommend(
    contenders: Iterable[Contender],
    constraints: Constraints,
    aim: Aim = Aim.OUTCOME,
    models: frozenset[str] | None = None,
) -> Recommendation:
    """The best of the active paths that are known to meet every constraint. A path with too little data
    for a constraint, or under five outcomes, is never recommended."""
    active = [c for c in contenders if c.standing is Standing.ACTIVE and (models is None or c.model_id in models)]
    if not active:
        return Recommendation(None, "no path of this goal is active among the candidates")
    fit = [c for c in active if not _obstacles(c, constraints)]
    if not fit:
        return _none_fits(active, constraints)
    ranked = sorted(fit, key=_merit(aim, fit), reverse=True)
    return Recommendation(ranked[0].path_id, _words(ranked[0], aim), tuple(c.path_id for c in ranked))


def _obstacles(contender: Contender, constraints: Constraints) -> list[str]:
    if contender.figures.samples < ENOUGH_OBSERVATIONS:
        return ["samples"]
    return [name for name, met in constraints.verdicts(contender.figures) if not met]


def _none_fits(active: Sequence[Contender], constraints: Constraints) -> Recommendation:
    obstacles = [name for contender in active for name in _obstacles(contender, constraints)]
    most = max(sorted(set(obstacles)), key=obstacles.count)
    if most == "samples":
        return Recommendation(None, f"no path has {ENOUGH_OBSERVATIONS} outcomes in the window yet", blocked_by=most)
    count = obstacles.count(most)
    ruled_out = f"{most} rules out {count} of {len(active)}, known to break it or too little observed"
    return Recommendation(None, f"no path meets the constraints: {ruled_out}", blocked_by=most)


Merit = Callable[[Contender], tuple[float, float, str]]


def _merit(aim: Aim, fit: Sequence[Contender]) -> Merit:
    """A key that sorts upwards: the aim's figure, then the mean, then the id, so that the order is one."""
    figure = _AIMS.get(aim) or _balance(fit)
    return lambda contender: (
        figure(contender.figures, contender.posterior.mean),
        contender.posterior.mean,
        contender.path_id,
    )


Figure = Callable[[Figures, float], float]


def _cheap(seen: Figures, mean: float) -> float:
    return -seen.mean_cost_usd if seen.mean_cost_usd is not None else float("-inf")


def _quick(seen: Figures, mean: float) -> float:
    return -seen.p95_latency_ms if seen.p95_latency_ms is not None else float("-inf")


def _good(seen: Figures, mean: float) -> float:
    return mean


def _worth_its_cost(seen: Figures, mean: float) -> float:
    """Value for each dollar; a path without costs can't be compared and comes last."""
    return mean / max(seen.mean_cost_usd, 1e-9) if seen.mean_cost_usd is not None else float("-inf")


_AIMS: Mapping[Aim, Figure] = MappingProxyType(
    {
        Aim.COST: _cheap,
        Aim.LATENCY: _quick,
        Aim.QUALITY: _good,
        Aim.OUTCOME: _good,
        Aim.COST_EFFICIENCY: _worth_its_cost,
    }
)


def _balance(fit: Sequence[Contender]) -> Figure:
    """Half quality, a quarter each of cost and latency as shares of the dearest and slowest; a figure that
    was not observed counts as the worst."""
    dearest = max((c.figures.mean_cost_usd or 0.0 for c in fit), default=0.0)
    slowest = max((c.figures.p95_latency_ms or 0.0 for c in fit), default=0.0)

    def balance(seen: Figures, mean: float) -> float:
        return mean / 2 - _share(seen.mean_cost_usd, dearest) / 4 - _share(seen.p95_latency_ms, slowest) / 4

    return balance


def _share(figure: float | None, largest: float) -> float:
    if figure is None:
        return 1.0
    return figure / largest if largest > 0 else 0.0


def _words(best: Contender, aim: Aim) -> str:
    seen = best.figures
    cost = f", mean cost ${seen.mean_cost_usd:.4g}" if seen.mean_cost_usd is not None else ""
    latency = f", p95 {seen.p95_latency_ms:.0f} ms" if seen.p95_latency_ms is not None else ""
    return f"best by {aim.value}: mean {best.posterior.mean:.3f} over {seen.samples:.0f} outcomes{cost}{latency}"
