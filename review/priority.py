"""How urgent a turn is, and why: a pure function of its signals and the project's weights.

The priority is a sum of points that explains itself. When the queue is ordered, a turn gains one point a day
of waiting and one for each doubling of its occurrences, so a weight of 5 lets a signal overtake five days.

Age adds the same to every turn, so the order never changes by the clock alone: `rank` is the priority with
the time of logging subtracted, in days, and an index on it serves the queue at any size.
"""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from agentloop.models import Project
from agentloop.project_settings import DEFAULT_SIGNAL_WEIGHTS

DAY_SECONDS = 86_400
NUMBER_CAP = 5.0

# The same rank in SQL, for a turn that gains occurrences or reasons where it stands.
RANK_SQL = "{priority} + ln({occurrences}) / ln(2) - extract(epoch FROM {logged_at})::float8 / 86400"
PRIORITY_SQL = "(SELECT coalesce(sum(value::float8), 0) FROM jsonb_each_text({reasons}))"


def weights_of(project: Project) -> dict[str, float]:
    """The shipped weights, and the project's own over them."""
    return {**DEFAULT_SIGNAL_WEIGHTS, **project.setting("signal_weights")}


def signal_reasons(signals: Mapping[str, Any], weights: Mapping[str, float], default_weight: float) -> dict[str, float]:
    """Each signal's points: `{"thumbs_down": 5.0, "confidence": 1.77}`. Signals that add nothing are left out."""
    reasons = {}
    for name, value in signals.items():
        if points := round(weights.get(name, default_weight) * strength(name, value), 3):
            reasons[name] = points
    return reasons


def strength(name: str, value: Any) -> float:
    """How much of its weight a signal's value counts: true is 1, a number scales it, up to a cap."""
    if value is True or value is False:
        return float(value)
    if isinstance(value, (int, float)):
        if name == "confidence":
            # Confidence is a reason to look when it is low. Some agents speak of percent.
            share = min(value, 100) / 100 if value > 1 else value
            return 1.0 - float(max(share, 0.0))
        return float(min(max(value, -NUMBER_CAP), NUMBER_CAP))
    return 1.0 if value else 0.0


def rank_of(priority: float, occurrences: int, logged_at: datetime) -> float:
    return priority + math.log2(occurrences) - logged_at.timestamp() / DAY_SECONDS


def explain(
    reasons: Mapping[str, float], occurrences: int, logged_at: datetime, now: datetime
) -> list[tuple[str, float]]:
    """Why a turn stands where it stands now: (reason, points), the largest first; they add up to its priority."""
    points = [(f"signal {name}", amount) for name, amount in reasons.items()]
    points.append(("days waiting", round(max(0.0, (now - logged_at).total_seconds() / DAY_SECONDS), 3)))
    if occurrences > 1:
        points.append((f"logged {occurrences} times", round(math.log2(occurrences), 3)))
    return sorted(points, key=lambda point: -abs(point[1]))
