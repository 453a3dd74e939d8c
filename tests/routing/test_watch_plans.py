"""How much the watch reads of the tables that grow: no more than there is to do."""

import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from agentloop.models import Project
from routing import watch
from routing.engine.evidence import Source
from routing.evidence import Observation, record
from routing.models import ChangeDetector, FirstReport, Goal, Path, PathState, goal_id
from routing.paths import NewPath

GOALS, PATHS = 100, 10


@pytest.fixture
def many(project: Project) -> list[Goal]:
    """Goals whose paths all have a state, and that were all watched a minute ago: nothing is to be done."""
    goals = [Goal(id=goal_id(project.id, f"g{n}"), project=project, name=f"g{n}") for n in range(GOALS)]
    Goal.objects.bulk_create(goals)
    rows = [NewPath(f"m{n}").row(goal.id) for goal in goals for n in range(PATHS)]
    paths = Path.objects.bulk_create([Path(project=project, **row) for row in rows])
    zeros = [0.0] * 11
    PathState.objects.bulk_create(
        [PathState(project=project, goal_id=path.goal_id, path=path, own=zeros, earlier=zeros) for path in paths]
    )
    PathState.objects.update(updated_at=datetime.now(UTC) - timedelta(minutes=5))
    Goal.objects.update(watched_at=datetime.now(UTC) - timedelta(minutes=1))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE routing_goal, routing_path, routing_pathstate")
    return goals


def test_states_are_read_once_to_find_the_goals_with_news(many: list[Goal], read: Counter[str]) -> None:
    told = PathState.objects.filter(goal=many[7])[:1].get()
    PathState.objects.filter(id=told.id).update(updated_at=datetime.now(UTC))
    Path.objects.filter(goal=many[3], model="m1").update(status="rolled_back")
    due = {(goal.project_id, goal.id) for goal in (many[3], many[7])}
    assert set(watch.goals_to_watch()) == due
    assert read["pathstate"] == GOALS * PATHS


def test_one_goal_is_watched_and_explored_by_its_own_states(
    many: list[Goal], project: Project, read: Counter[str]
) -> None:
    watch.watch_goal(project, many[0].id)
    assert 0 < read["pathstate"] <= PATHS
    read.clear()
    watch.proposals_under(project, many[0], {}, 3)
    assert 0 < read["pathstate"] <= PATHS


def reported(project: Project, begin: int, count: int) -> None:
    now = time.time()
    rows = [
        Observation("g", Source.PROVIDER, f"t{n}", model=f"m{n % 2}", success=n % 3 > 0, occurred_at=now - 1000 + n)
        for n in range(begin, begin + count)
    ]
    record(project, rows)


def test_the_watch_reads_only_reports_that_are_new(project: Project, read: Counter[str]) -> None:
    reported(project, 0, 600)
    goal = Goal.objects.get(name="g")
    FirstReport.objects.update(recorded_at=datetime.now(UTC) - timedelta(minutes=1))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE routing_firstreport")
    watch._detect(project, goal, watch.LAG_S)
    assert read.pop("firstreport") == 600
    # Of one path alone, so that the other's detector stays behind.
    record(project, [Observation("g", Source.PROVIDER, "new", model="m0", success=True)])
    FirstReport.objects.filter(trace_id="new").update(recorded_at=datetime.now(UTC) - timedelta(minutes=1))
    for _ in range(2):
        read.clear()
        watch._detect(project, goal, watch.LAG_S)
    assert read["firstreport"] == 0
    assert sum(ChangeDetector.objects.values_list("seen", flat=True)) == 601


def test_no_report_is_passed_over_by_a_later_one(project: Project) -> None:
    """One that is too young to be read, with a smaller number than one that is old enough."""
    record(project, [Observation("g", Source.PROVIDER, f"t{n}", model="m", success=True) for n in range(3)])
    goal = Goal.objects.get(name="g")
    old = datetime.now(UTC) - timedelta(minutes=1)
    ids = sorted(FirstReport.objects.values_list("id", flat=True))
    FirstReport.objects.exclude(id=ids[1]).update(recorded_at=old)
    watch._detect(project, goal, watch.LAG_S)
    assert [one.seen for one in ChangeDetector.objects.all()] == [1]
    FirstReport.objects.update(recorded_at=old)
    watch._detect(project, goal, watch.LAG_S)
    assert [one.seen for one in ChangeDetector.objects.all()] == [3]


def test_of_very_many_reports_the_newest_are_compared(
    project: Project, read: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reported(project, 0, 500)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE routing_firstreport")
    goal = Goal.objects.get(name="g")
    newest = watch._FIRST_SQL.replace(str(watch.MOST_COMPARED), "20")
    assert newest != watch._FIRST_SQL
    monkeypatch.setattr(watch, "_FIRST_SQL", newest)
    windows = watch._first_windows(project, goal, time.time())
    assert sum(sum(one.weight for one in kept.classes) for kept in windows.values()) == 20
    assert read["firstreport"] == 20
