"""The project's quota of reports: nothing plausible is refused, what comes beyond is set aside and counted."""

from typing import Any

import pytest

from agentloop import ratelimit, refusals
from agentloop.models import Project, RefusalCount
from routing.models import LedgerRow
from tests.review.support import Caller, caller_for, make_project

OUTCOME = {"goal": "g", "model_id": "m", "success": True}
ONE_REPORT: list[tuple[str, Any]] = [
    ("/api/v1/intelligence/report-outcome", OUTCOME | {"trace_id": "b"}),
    ("/api/v1/intelligence/update-outcome", {"goal": "g", "trace_id": "a", "success": False}),
    ("/api/v1/signals", {"trace_id": "a", "goal": "g", "type": "user_rejected"}),
    ("/api/v1/intelligence/outcomes", {"outcomes": [OUTCOME | {"trace_id": "c"}]}),
    ("/api/v1/intelligence/signals/batch", {"signals": [{"trace_id": "a", "signal_type": "user_rejected"}]}),
    ("/api/v1/traces", {"events": [{"trace_id": "a", "span_id": "s", "cost_usd": 0.1}]}),
]
# What clients read of the answer, whatever it says.
COUNTED = {
    "/api/v1/intelligence/outcomes": {"accepted", "rejected", "results"},
    "/api/v1/intelligence/signals/batch": {"accepted", "rejected", "results"},
    "/api/v1/traces": {"accepted", "rejected"},
}


@pytest.fixture
def small(db: None) -> tuple[Project, Caller]:
    ratelimit.forget()
    project = make_project("small")
    project.settings |= {"reports_per_day": 1}
    project.save()
    return project, caller_for(project)


@pytest.mark.parametrize(("path", "body"), ONE_REPORT, ids=[path for path, _ in ONE_REPORT])
def test_what_comes_beyond_is_answered_counted_and_set_aside(
    small: tuple[Project, Caller], path: str, body: dict[str, Any]
) -> None:
    project, call = small
    first = call("POST", "/api/v1/intelligence/report-outcome", OUTCOME | {"trace_id": "a"})
    assert (first.status, first.body["status"]) == (200, "accepted")
    known = LedgerRow.objects.filter(project=project).count()

    beyond = call("POST", path, body)
    assert (beyond.status, beyond.body["status"]) == (200, "set_aside")
    assert "reports_per_day" in beyond.body["reason"]
    assert beyond.body.keys() >= COUNTED.get(path, set())
    assert beyond.body.get("results", []) in ([], [{"status": "set_aside"}])
    assert LedgerRow.objects.filter(project=project).count() == known
    refusals.flush()
    assert RefusalCount.objects.get(project=project).reason == "over_quota"


def test_another_project_has_a_quota_of_its_own(small: tuple[Project, Caller]) -> None:
    _, call = small
    other = caller_for(make_project("other"))
    for trace in "ab":
        call("POST", "/api/v1/intelligence/report-outcome", OUTCOME | {"trace_id": trace})
    answer = other("POST", "/api/v1/intelligence/report-outcome", OUTCOME | {"trace_id": "a"})
    assert answer.body["status"] == "accepted"
