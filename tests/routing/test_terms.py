"""A path's terms change beside its writers: landmarks, half-lives, regimes. What is kept stays what the ledger says."""

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentloop.actors import SYSTEM
from agentloop.models import Project
from routing import outcomes, watch
from routing.engine.evidence import Source
from routing.engine.histogram import contribution, merged
from routing.evidence import Observation, record
from routing.models import Goal, LedgerRow, Outcome, Path, PathBucket, PathState
from routing.outcomes import reckon
from routing.paths import NewPath, change_goal, register_path
from routing.rebuild import differences, reckoned
from routing.standings import look
from tests.routing.conftest import api_of

HALF_LIFE_H = 0.1
HALF_LIFE_S = HALF_LIFE_H * 3600
# Beyond 1,024 half-lives a new outcome's weight under the old landmark is more than a float holds.
IDLE = 1100


def said(trace: str, value: float, ago: float, **more: Any) -> Observation:
    more.setdefault("key", trace)
    return Observation("book", Source.PROVIDER, trace, score=value, model="a", occurred_at=time.time() - ago, **more)


def go_idle(project: Project, half_lives: float) -> None:
    """As if the goal's landmark had been set so long ago, and states reckoned by it since."""
    paths = Path.objects.filter(project=project)
    paths.update(landmark=time.time() - half_lives * HALF_LIFE_S)
    reckon(project, sorted(paths.values_list("id", flat=True)))


def a_goal(project: Project) -> Path:
    change_goal(project, "book", {"half_life_hours": HALF_LIFE_H})
    return register_path(project, SYSTEM, "book", NewPath("a"))


@pytest.mark.parametrize("was_used", [True, False])
def test_an_idle_goal_with_a_half_life_takes_its_next_report(project: Project, was_used: bool) -> None:
    a_goal(project)
    if was_used:
        record(project, [said("old", 0.3, IDLE * HALF_LIFE_S)])
    go_idle(project, IDLE)
    api = api_of(project)
    report = {"goal": "book", "model_id": "a", "trace_id": "new", "success": True}
    assert api.post("/api/v1/intelligence/report-outcome", report)["status"] == "accepted"
    [path] = look(project, "book").paths
    assert (path.own.weight, path.own.mean) == (pytest.approx(1.0, rel=1e-3), pytest.approx(1.0))
    assert differences(project) == []


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    before=st.lists(st.tuples(st.sampled_from([0.0, 0.37, 0.7, 1.0]), st.floats(0, 3000)), max_size=4),
    after=st.lists(st.tuples(st.sampled_from([0.0, 0.37, 0.7, 1.0]), st.floats(0, 3)), min_size=1, max_size=4),
    idle=st.floats(0, 5000),
)
def test_however_long_it_was_idle_decay_is_the_sum_over_all_outcomes(
    project: Project, before: Any, after: Any, idle: float
) -> None:
    for model in (LedgerRow, Outcome, PathState, PathBucket):
        model.objects.filter(project=project).delete()
    a_goal(project)
    Path.objects.update(landmark=time.time())
    told = [(value, age * HALF_LIFE_S) for value, age in (*((v, idle + age) for v, age in before), *after)]
    rows = [said(f"t{place}", value, ago, pipeline_id="p") for place, (value, ago) in enumerate(told)]
    record(project, rows[: len(before)])
    go_idle(project, idle)
    for row in rows[len(before) :]:
        record(project, [row])
    [path] = look(project, "book").paths
    brute = merged(contribution(value).scaled(0.5 ** (ago / HALF_LIFE_S)) for value, ago in told)
    pairs = zip(path.own.counts, brute.counts, strict=True)
    assert all(math.isclose(one, other, rel_tol=0.1, abs_tol=1e-9) for one, other in pairs)
    assert differences(project) == []


@pytest.mark.parametrize("was_used", [True, False])
def test_the_watch_renews_the_landmarks_of_idle_goals(project: Project, was_used: bool) -> None:
    path = a_goal(project)
    if was_used:
        record(project, [said("old", 0.3, IDLE * HALF_LIFE_S)])
    go_idle(project, 600)
    PathState.objects.update(updated_at="2020-01-01T00:00:00Z")
    Goal.objects.update(watched_at="2020-01-02T00:00:00Z")
    assert watch.goals_to_watch() == [(project.id, path.goal_id)]
    watch.watch_goals()
    path.refresh_from_db()
    assert path.landmark == pytest.approx(time.time(), abs=60)
    PathState.objects.update(updated_at="2020-01-01T00:00:00Z")
    assert watch.goals_to_watch() == []
    assert differences(project) == []


def test_a_report_renews_a_landmark_though_it_says_nothing_new(project: Project) -> None:
    a_goal(project)
    row = said("old", 0.3, IDLE * HALF_LIFE_S)
    record(project, [row])
    go_idle(project, IDLE)
    record(project, [row])
    assert look(project, "book").paths[0].own.weight == pytest.approx(0.0, abs=1e-9)
    assert differences(project) == []


# --- reckoning anew -------------------------------------------------------------------------------------------

START = 1_760_000_000.0
UNIT = st.sampled_from([0.0, 1e-300, 1e-61, 0.05, 0.3, 0.5, 0.95, 1.0])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_reckoned_by_the_database_is_reckoned_from_the_ledger(project: Project, data: st.DataObject) -> None:
    """Regimes, recoveries and decay of any rate, values and weights down to the smallest."""
    for model in (LedgerRow, Outcome, PathState, PathBucket):
        model.objects.filter(project=project).delete()
    one = st.builds(
        Observation,
        goal=st.just("book"),
        source=st.just(Source.PROVIDER),
        trace_id=st.integers(0, 30).map(str),
        model=st.sampled_from("ab"),
        pipeline_id=st.sampled_from(["", "p", "q"]),
        success=st.sampled_from([True, False, None]),
        score=UNIT | st.none() | st.floats(0, 1),
        confidence=UNIT,
        attribution=UNIT | st.none(),
        occurred_at=st.integers(0, 40).map(lambda step: START + 1800 * step),
    )
    record(project, [*data.draw(st.lists(one, max_size=25)), said("first", 0.5, 60)])
    moments = st.sampled_from([None, START + 9000, START + 36_000])
    Path.objects.update(
        terms=data.draw(st.integers(1, 9)),
        since=data.draw(moments),
        forgets_before=data.draw(moments),
        half_life_s=data.draw(st.sampled_from([None, 1.0, 360.0, 86_400.0])),
        landmark=time.time(),
    )
    reckon(project, sorted(Path.objects.values_list("id", flat=True)))
    assert differences(project) == []
    record(project, [said("last", 0.7, 0)])
    assert differences(project) == []


def test_reckoning_reads_sums_however_many_outcomes_there_are(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, read = outcomes.run, []

    def run_and_count(sql: str, params: Any, **more: Any) -> Any:
        rows = run(sql, params, **more)
        read.append(len(rows))
        return rows

    monkeypatch.setattr(outcomes, "run", run_and_count)
    costs = []
    for some in (10, 300):
        record(project, [said(f"{some}-{place}", place % 5 / 5, 60) for place in range(some)])
        read.clear()
        reckon(project, [Path.objects.get().id])
        costs.append((len(read), sum(read)))
    assert costs[0] == costs[1]


def in_other_connection(write: Callable[[], Any]) -> None:
    try:
        write()
    finally:
        connection.close()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("pipeline", ["", "p"])
def test_a_first_outcome_that_comes_while_a_path_is_reckoned_is_not_lost(
    pipeline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project.objects.create(slug="law", name="Law")
    register_path(project, SYSTEM, "book", NewPath("a"))
    run, writers = outcomes.run, []

    def run_and_let_in(sql: str, params: Any, **more: Any) -> Any:
        """Once the outcomes are read another connection reports one, at once or when it may."""
        rows = run(sql, params, **more)
        if "routing_outcome" in sql and not writers:
            write = lambda: record(project, [said("t", 0.7, 0, pipeline_id=pipeline)])  # noqa: E731
            writers.append(pool.submit(in_other_connection, write))
            wait(writers, timeout=0.5)
        return rows

    with ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(outcomes, "run", run_and_let_in)
        change_goal(project, "book", {"half_life_hours": 1})
        writers[0].result()
    assert PathState.objects.get(pipeline_id=pipeline).samples == 1
    assert len(reckoned(project).outcomes) == 1
    assert differences(project) == []


@pytest.mark.django_db(transaction=True)
def test_terms_that_change_beside_writers_lose_nothing() -> None:
    project = Project.objects.create(slug="law", name="Law")
    rows = [
        said(f"t{step % 40}", (step % 11) / 10, step, pipeline_id=("", "p", "q")[step % 3], key=f"k{step}")
        for step in range(120)
    ]

    def write(part: int) -> None:
        for row in rows[part::4]:
            record(project, [row])

    def change() -> None:
        for half_life in (1, None, 2, 0.5, None, 3):
            change_goal(project, "book", {"half_life_hours": half_life})

    with ThreadPoolExecutor(5) as pool:
        writers = [pool.submit(in_other_connection, lambda part=part: write(part)) for part in range(4)]
        writers.append(pool.submit(in_other_connection, change))
    for one in writers:
        one.result()
    assert differences(project) == []
