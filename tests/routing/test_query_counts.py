"""What the hot paths cost: the same number of queries for one row and for many."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agentloop.models import Project
from tests.routing.conftest import api_of

DECIDE = "/api/v1/routing/decide"
REPORT = "/api/v1/intelligence/report-outcome"
UPDATE = "/api/v1/intelligence/update-outcome"


@pytest.fixture
def busy(transactional_db: None) -> Any:
    """A goal with a path, and the key's look-up done."""
    api = api_of(Project.objects.create(slug="busy", name="Busy"))
    api.post(REPORT, {"goal": "g", "model_id": "m0", "trace_id": "t0", "success": True})
    return api


def cost(call: Callable[[], Any]) -> int:
    """Statements, without the beginning and the end of transactions."""
    with CaptureQueriesContext(connection) as captured:
        call()
    return len([one for one in captured.captured_queries if one["sql"].strip() not in ("BEGIN", "COMMIT")])


def grow(api: Any, paths: int) -> None:
    items = [
        {"goal": goal, "model_id": f"m{path}", "trace_id": f"{goal}{path}-{place}", "success": place % 2 == 0}
        for goal in ("g", "h")
        for path in range(paths)
        for place in range(6)
    ]
    api.post("/api/v1/intelligence/outcomes", {"outcomes": items})


def test_decide_takes_two_queries(busy: Any) -> None:
    assert cost(lambda: busy.post(DECIDE, {"goal": "g"})) == 2
    grow(busy, 12)
    assert cost(lambda: busy.post(DECIDE, {"goal": "g", "pipeline_id": "p"})) == 2
    constraints = {"min_quality": 0.1, "max_cost_usd": 5}
    assert cost(lambda: busy.post(DECIDE, {"goal": "g", "constraints": constraints})) == 2
    assert cost(lambda: busy.post(DECIDE, {"goal": "g", "dry_run": True})) == 1


@pytest.mark.parametrize("pipeline", [None, "p"])
@pytest.mark.parametrize("bounds", [{}, {"min_quality": 0.1, "max_cost_usd": 5}, {"min_confidence": 0.01}])
def test_decide_takes_two_whatever_the_goal_asks_for_and_whoever_is_a_candidate(
    busy: Any, bounds: dict[str, float], pipeline: str | None
) -> None:
    grow(busy, 3)
    ask = {"goal": "g", "pipeline_id": pipeline}
    busy.post("/api/v1/routing/goals", {"goal": "g", "constraints": bounds})
    assert cost(lambda: busy.post(DECIDE, ask)) == 2
    assert cost(lambda: busy.post(DECIDE, ask)) == 2
    assert cost(lambda: busy.post(DECIDE, {**ask, "constraints": {"max_risk": 0.99}})) == 2
    assert cost(lambda: busy.post(DECIDE, {**ask, "candidate_model_ids": ["m0", "new", "newer"]})) == 2
    assert cost(lambda: busy.post(DECIDE, {**ask, "candidate_model_ids": ["another"], "dry_run": True})) == 1
    unheard = {"goal": f"unheard {bounds}", "pipeline_id": pipeline, "candidate_model_ids": ["m0", "m1"]}
    assert cost(lambda: busy.post(DECIDE, unheard)) == 2
    assert cost(lambda: busy.post(DECIDE, {"goal": "unheard, and no candidate"})) == 1
    busy.post("/api/v1/routing/goals", {"goal": "g", "mode": "observe"})
    assert cost(lambda: busy.post(DECIDE, {**ask, "candidate_model_ids": ["m1", "newest"]})) == 2


def test_decide_takes_a_third_query_once_after_a_goal_got_its_first_constraints(busy: Any) -> None:
    """Whether to ask for figures is told by what the process knows of the goal."""
    goals = "/api/v1/routing/goals"
    grow(busy, 3)
    busy.post(DECIDE, {"goal": "g"})
    busy.post(goals, {"goal": "g", "constraints": {"max_risk": 0.999}})
    assert [cost(lambda: busy.post(DECIDE, {"goal": "g"})) for _ in range(3)] == [3, 2, 2]
    busy.post(goals, {"goal": "g", "constraints": {"min_quality": 0.1}})
    assert cost(lambda: busy.post(DECIDE, {"goal": "g"})) == 2
    busy.post(goals, {"goal": "g", "constraints": {}})
    assert cost(lambda: busy.post(DECIDE, {"goal": "g"})) == 2


def test_decide_takes_two_where_the_goal_decays_and_one_where_nothing_may_be_taken(busy: Any) -> None:
    grow(busy, 3)
    busy.post("/api/v1/routing/goals", {"goal": "g", "half_life_hours": 1, "constraints": {"max_risk": 0.999}})
    assert cost(lambda: busy.post(DECIDE, {"goal": "g"})) == 2
    busy.post("/api/v1/routing/goals", {"goal": "g", "constraints": {"min_quality": 1}})
    assert cost(lambda: busy.post(DECIDE, {"goal": "g"})) == 1


def test_report_outcome_takes_three_queries_and_an_update_four(busy: Any) -> None:
    report = {"goal": "g", "model_id": "m0", "success": True}
    assert cost(lambda: busy.post(REPORT, {**report, "trace_id": "a"})) == 3
    assert cost(lambda: busy.post(REPORT, {"goal": "unheard of", "model_id": "new", "success": True})) == 4
    grow(busy, 12)
    assert cost(lambda: busy.post(REPORT, {**report, "trace_id": "b"})) == 3
    assert cost(lambda: busy.post(REPORT, {**report, "trace_id": "b", "success": False})) == 3
    assert cost(lambda: busy.post(UPDATE, {"goal": "g", "trace_id": "b", "success": True})) == 4


def test_insights_take_four_queries_however_many_goals(busy: Any) -> None:
    insights = "/api/v1/intelligence/insights"
    assert cost(lambda: busy.get(insights)) == 4
    grow(busy, 12)
    assert cost(lambda: busy.get(insights)) == 4


@pytest.mark.parametrize("path", ["/api/v1/routing/paths?goal=g", "/api/v1/routing/goals", "/api/v1/routing/changes"])
def test_lists_cost_the_same_with_many_rows(busy: Any, path: str) -> None:
    before = cost(lambda: busy.get(path))
    grow(busy, 12)
    assert cost(lambda: busy.get(path)) == before
