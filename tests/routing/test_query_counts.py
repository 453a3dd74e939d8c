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
        for place in range(4)
    ]
    api.post("/api/v1/intelligence/outcomes", {"outcomes": items})


def test_decide_takes_two_queries(busy: Any) -> None:
    assert cost(lambda: busy.post(DECIDE, {"goal": "g"})) == 2
    grow(busy, 12)
    assert cost(lambda: busy.post(DECIDE, {"goal": "g", "pipeline_id": "p"})) == 2
    constraints = {"min_quality": 0.1, "max_cost_usd": 5}
    assert cost(lambda: busy.post(DECIDE, {"goal": "g", "constraints": constraints})) == 2
    assert cost(lambda: busy.post(DECIDE, {"goal": "g", "dry_run": True})) == 1


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
