"""The whole way over HTTP: decisions, outcomes, corrections; does a goal come to take its best path?"""

from random import Random
from typing import Any

import pytest

from routing import decisions, standings
from routing.models import Decision
from routing.rebuild import differences

DECIDE = "/api/v1/routing/decide"
REPORT = "/api/v1/intelligence/report-outcome"
UPDATE = "/api/v1/intelligence/update-outcome"
RATES = {"weak": 0.3, "fair": 0.5, "best": 0.85}
STEPS = 250


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Random:
    """Draws and outcomes that are the same at each run; probabilities reckoned anew for each decision, since a second
    here holds as many decisions as an agent takes in a day."""
    monkeypatch.setattr(decisions, "_rng", Random(5))
    monkeypatch.setattr(standings, "CHANCES_LAST_S", 0.0)
    return Random(11)


def decide(api: Any) -> dict[str, Any]:
    return dict(api.post(DECIDE, {"goal": "book", "candidate_model_ids": list(RATES)}))


def test_a_goal_comes_to_take_its_best_path(api: Any, world: Random) -> None:
    taken = []
    for _ in range(STEPS):
        decided = decide(api)
        taken.append(decided["model_id"])
        success = world.random() < RATES[decided["model_id"]]
        said = {"goal": "book", "trace_id": decided["trace_id"], "model_id": decided["model_id"], "success": success}
        api.post(REPORT, said)
    late = taken[STEPS // 2 :]
    assert late.count("best") > 0.85 * len(late)
    regret = sum(RATES["best"] - RATES[model] for model in taken)
    uniform = STEPS * (RATES["best"] - sum(RATES.values()) / len(RATES))
    assert regret < uniform / 3
    state = api.get("/api/v1/routing/state?goal=book")["paths"]
    best = next(path for path in state if path["model_id"] == "best")
    away = abs(best["posterior"]["mean"] - RATES["best"]) / best["posterior"]["deviation"]
    assert away < 3
    [goal] = api.get("/api/v1/intelligence/insights")["goals"]
    assert goal["sample_count"] == STEPS
    assert max(goal["paths"], key=lambda path: path["probability_best"])["model_id"] == "best"
    # What was chosen is logged with the probability that it had: enough to reckon another policy from.
    logged = Decision.objects.values_list("path__model", "probability")
    worth = sum(1 / probability for model, probability in logged if model == "best") / STEPS
    assert worth == pytest.approx(1.0, abs=0.25)
    assert differences(api.project) == []


def test_corrections_that_come_late_turn_the_choice_round(api: Any, world: Random) -> None:
    """The best path is reported as failing at first; users say later that it did not."""
    items = [
        {"goal": "book", "trace_id": f"{model}{n}", "model_id": model, "success": success}
        for model, success in (("best", False), ("fair", True))
        for n in range(30)
    ]
    api.post("/api/v1/intelligence/outcomes", {"outcomes": items})
    assert {decide(api)["model_id"] for _ in range(10)} <= {"fair", "weak"}
    for n in range(30):
        api.post(UPDATE, {"goal": "book", "trace_id": f"best{n}", "success": True})
        api.post(UPDATE, {"goal": "book", "trace_id": f"fair{n}", "success": n % 2 == 0})
    taken = [decide(api)["model_id"] for _ in range(30)]
    assert taken.count("best") > 24
    assert differences(api.project) == []
