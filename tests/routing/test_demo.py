"""The demo's goals: believable, of the real engine, and in line with their ledger."""

import pytest

from agentloop.models import Project
from routing.advice import insights
from routing.demo import demo_goals
from routing.models import EventSpan, Path, PathChange
from routing.rebuild import differences


@pytest.mark.slow
def test_two_weeks_in_which_one_path_falls_and_one_recovers(project: Project) -> None:
    executions = demo_goals(project, seed=1)
    assert 3000 < len(executions) < 9000
    assert [one.at for one in executions] == sorted(one.at for one in executions)
    assert EventSpan.objects.filter(project=project).count() == len(executions)
    fallen = Path.objects.of(project).get(goal__name="book_meeting", model="gpt-4o")
    assert fallen.status in ("rolled_back", "probing")
    recovered = PathChange.objects.filter(project=project, goal__name="answer_refund_question", change="recover")
    assert recovered.exists()
    found = {one["goal"]: one["status"] for one in insights(project)["goals"]}
    assert found["summarize_call"] == "healthy"
    assert found["translate_listing"] == "insufficient_data"
    assert set(found.values()) >= {"healthy", "degraded", "insufficient_data"}
    assert differences(project) == []
