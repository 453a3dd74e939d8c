"""When a path is taken out of service, when it is tried again, and when it is back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from routing.engine.choice import Standing
from routing.engine.histogram import EMPTY, Histogram
from routing.engine.posterior import Posterior, believe, probability_higher

SURE = 0.95
FIRST_COOL_DOWN_S = 3600.0
LONGEST_COOL_DOWN_S = 7 * 86400.0

# A probe is over after this many outcomes: at a threshold of 0.3 they tell a path that is as good as it was
# from one that is still down in about nine cases of ten.
PROBE_OUTCOMES = 10.0


class Ground(StrEnum):
    OWN_PAST = "below its own earlier mean"
    BEST_PATH = "below the goal's best path"


class Move(StrEnum):
    ROLL_BACK = "roll_back"
    PROBE = "probe"
    RECOVER = "recover"
    FAIL_PROBE = "fail_probe"


@dataclass(frozen=True, slots=True)
class Watched:
    """A path as the watch sees it."""

    path_id: str
    standing: Standing
    recent: Histogram
    """Its recent window; for a path rolled back, the one it was rolled back for, as corrected since."""
    earlier: Histogram
    """The window that `recent` is compared with."""
    probes: Histogram = EMPTY
    """What came of the current probe."""
    probe_at: float | None = None
    failures: int = 0
    """Rollbacks and failed probes in a row."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a path's standing, with the reason and figures to record."""

    path_id: str
    move: Move
    standing: Standing
    reason: str
    probe_at: float | None = None
    failures: int = 0
    probability: float | None = None
    mean: float | None = None
    compared_mean: float | None = None
    begins_anew: bool = False
    """It is not as it was: what speaks for or against the path from here on is its probe, and what follows."""


@dataclass(frozen=True, slots=True)
class _Case:
    """How sure it is that a path lies more than the threshold below something."""

    ground: Ground
    probability: float
    mean: float
    compared_mean: float


def watch(paths: Mapping[str, Watched], *, threshold: float, min_samples: int, now: float) -> list[Change]:
    """What is to change in a goal now. Worst paths first, and never the last one that is active."""
    old = (_after_rollback(path, paths, threshold, min_samples, now) for path in paths.values())
    changes = [change for change in old if change is not None]
    cases = {path.path_id: _case(path, paths, threshold, min_samples) for path in _active(paths)}
    sure = {path: case for path, case in cases.items() if case and case.probability > SURE}
    left = len(cases)
    for path, case in sorted(sure.items(), key=lambda item: (item[1].mean, item[0])):
        if left > 1:
            left -= 1
            changes.append(_rolled_back(paths[path], case, now))
    return changes


def _active(paths: Mapping[str, Watched]) -> list[Watched]:
    return [path for path in paths.values() if path.standing is Standing.ACTIVE]


def _case(path: Watched, paths: Mapping[str, Watched], threshold: float, min_samples: int) -> _Case | None:
    """The surer of the two grounds; None with too few samples for either."""
    if path.recent.weight < min_samples:
        return None
    recent, cases = believe(path.recent), []
    if path.earlier.weight >= min_samples:
        cases.append(_compare(Ground.OWN_PAST, recent, believe(path.earlier), threshold))
    others = [p.recent for p in _active(paths) if p.path_id != path.path_id and p.recent.weight >= min_samples]
    if others:
        best = max(map(believe, others), key=lambda posterior: posterior.mean)
        cases.append(_compare(Ground.BEST_PATH, recent, best, threshold))
    return max(cases, key=lambda case: case.probability, default=None)


def _compare(ground: Ground, recent: Posterior, other: Posterior, threshold: float) -> _Case:
    return _Case(ground, probability_higher(other, recent, by=threshold), recent.mean, other.mean)


def _rolled_back(path: Watched, case: _Case, now: float) -> Change:
    failures = path.failures + 1
    return Change(
        path.path_id,
        Move.ROLL_BACK,
        Standing.ROLLED_BACK,
        f"{case.ground.value}: {case.mean:.3f} against {case.compared_mean:.3f}",
        now + cool_down_s(failures),
        failures,
        case.probability,
        case.mean,
        case.compared_mean,
    )


def cool_down_s(failures: int) -> float:
    """Doubles with each failure in a row, up to a week."""
    return min(LONGEST_COOL_DOWN_S, FIRST_COOL_DOWN_S * 2.0 ** min(failures - 1, 60))


def _after_rollback(
    path: Watched, paths: Mapping[str, Watched], threshold: float, min_samples: int, now: float
) -> Change | None:
    """What becomes of a path that was rolled back: corrections may have removed the grounds, before its probe or
    during it; else it is probed once its cool-down is over, and the probe's outcomes decide."""
    if path.standing is Standing.ROLLED_BACK:
        return _grounds_gone(path, paths, threshold, min_samples) or _probe_begun(path, now)
    if path.standing is Standing.PROBING:
        gone = _grounds_gone(path, paths, threshold, min_samples)
        if gone is not None or path.probes.weight < PROBE_OUTCOMES:
            return gone
        return _probe_judged(path, paths, threshold, min_samples, now)
    return None


def _grounds_gone(path: Watched, paths: Mapping[str, Watched], threshold: float, min_samples: int) -> Change | None:
    """Corrections may take them away, or the best path's fall. Not at once when the case is no longer sure,
    but when it is unlikely, so that a path near the line doesn't come and go."""
    case = _case(path, paths, threshold, min_samples)
    if case is not None and case.probability >= 0.5:
        return None
    return _recovered(path, "the grounds of its rollback are gone", case)


def _probe_begun(path: Watched, now: float) -> Change | None:
    if path.probe_at is None or now < path.probe_at:
        return None
    return Change(path.path_id, Move.PROBE, Standing.PROBING, "its cool-down is over", path.probe_at, path.failures)


def _probe_judged(
    path: Watched, paths: Mapping[str, Watched], threshold: float, min_samples: int, now: float
) -> Change:
    """Recovered if it is likelier than not that the path is no longer below what it fell short of."""
    case = _case(replace(path, recent=path.probes), paths, threshold, min(min_samples, int(PROBE_OUTCOMES)))
    if case is None or case.probability < 0.5:
        return replace(_recovered(path, "its probe went well", case), begins_anew=True)
    failures = path.failures + 1
    reason = f"its probe failed: still {case.ground.value}"
    return Change(
        path.path_id,
        Move.FAIL_PROBE,
        Standing.ROLLED_BACK,
        reason,
        now + cool_down_s(failures),
        failures,
        case.probability,
        case.mean,
        case.compared_mean,
    )


def _recovered(path: Watched, reason: str, case: _Case | None) -> Change:
    figures = (case.probability, case.mean, case.compared_mean) if case else (None, None, None)
    return Change(path.path_id, Move.RECOVER, Standing.ACTIVE, reason, None, 0, *figures)
