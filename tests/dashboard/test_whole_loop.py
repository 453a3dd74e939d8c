"""The loop, closed: a turn is logged, a reviewer rejects it, routing shifts; undone, all is as it was before."""

from typing import Any

import pytest

from agentloop.models import Project
from review.models import Annotation
from routing.standings import look
from tests.dashboard.support import Reviewer
from tests.dashboard.test_queue_browser import eventually
from tests.review.support import Caller, settle_index, turn_of

pytestmark = pytest.mark.usefixtures("transactional_db")


def means(project: Project) -> dict[str, float]:
    return {path.model: path.contender.posterior.mean for path in look(project, "book_meeting").paths}


def chosen(call: Caller, count: int = 60) -> int:
    """How often the first of two paths is decided for."""
    asked = {"goal": "book_meeting", "task_risk_level": "medium"}
    answers = [call("POST", "/api/v1/routing/decide", asked).body["model_id"] for _ in range(count)]
    return answers.count("first")


def test_a_verdict_in_the_browser_moves_the_next_decision(call: Caller, project: Project, reviewer: Any) -> None:
    traces = {"first": [], "second": []}  # type: ignore[var-annotated]
    for model in traces:
        call("POST", "/api/v1/routing/paths", {"goal": "book_meeting", "model_id": model, "risk_level": "low"})
        for number in range(12):
            trace = f"{model}-{number}"
            traces[model].append(trace)
            said = {"trace_id": trace, "goal": "book_meeting", "model_id": model, "success": model == "first"}
            call("POST", "/api/v1/intelligence/report-outcome", said)
    turns = [
        turn_of(call.log(f"Book {n}", "Done.", goal="book_meeting", model="first", trace_id=trace))
        for n, trace in enumerate(traces["first"])
    ]
    settle_index()
    before, often = means(project), chosen(call)
    assert often > 50

    bob: Reviewer = reviewer("bob")
    page = bob.opens()
    bob.presses("Enter")
    page.wait_for_function("() => document.getElementById('work').dataset.turn")
    for _ in turns[:-1]:
        here = bob.turn
        bob.presses("n")
        bob.leaves(here)
    bob.presses("n")
    assert eventually(lambda: Annotation.objects.standing().count() == len(turns))
    page.locator("[data-notice]", has_text="book_meeting: first").last.wait_for()
    after = means(project)
    assert after["first"] < 0.3 < before["first"]
    assert after["second"] == pytest.approx(before["second"], abs=0.05)
    assert chosen(call) < often

    for left in range(len(turns) - 1, -1, -1):
        bob.presses("u")
        assert eventually(lambda left=left: Annotation.objects.standing().count() == left)
    assert means(project)["first"] == pytest.approx(before["first"])
