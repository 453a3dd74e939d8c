"""The nightly sample: what it finds, how little it reads, and how it is told until somebody mends it."""

from collections import Counter
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.test import Client

from agentloop.models import Project
from routing import rebuild, sampling
from routing.engine.evidence import Source
from routing.events import ingest
from routing.evidence import Observation, record
from routing.models import LedgerRow, Outcome, PathBucket, PathState
from routing.tasks import check_a_sample as check_task


def reported(project: Project, count: int = 3, goal: str = "book") -> None:
    traces = [f"{goal}{n}" for n in range(count)]
    record(project, [Observation(goal, Source.PROVIDER, trace, model="a", success=True) for trace in traces])
    spans = [{"span_id": trace, "trace_id": trace, "model_id": "a", "cost_usd": 1} for trace in traces]
    ingest(project, spans)


@pytest.fixture
def other() -> Project:
    return Project.objects.create(slug="bob", name="Bob")


def metric() -> float:
    [figure] = sampling.gauges()
    return figure.samples[0].value


def test_what_agrees_raises_no_alarm(project: Project, other: Project) -> None:
    for one in (project, other):
        reported(one)
    assert sampling.check_a_sample() == 0
    assert metric() == 0
    assert sampling.agrees().level == "OK"


def test_an_empty_site_is_sound(db: None) -> None:
    assert sampling.check_a_sample() == 0
    assert "\nagentloop_routing_differences 0.0\n" in Client().get("/metrics").text


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda: PathState.objects.update(samples=7), "state of path "),
        (lambda: Outcome.objects.filter(trace_id="book1").update(failure_category="timeout"), "outcome of trace book1"),
        (lambda: Outcome.objects.filter(trace_id="book1").delete(), "outcome of trace book1"),
        (lambda: PathBucket.objects.update(cost_usd=F("cost_usd") + 1), "bucket of "),
    ],
    ids=["a state", "an outcome", "no outcome", "a bucket"],
)
def test_a_difference_is_told_until_it_is_mended(
    project: Project, other: Project, caplog: pytest.LogCaptureFixture, spoil: Any, found: str
) -> None:
    reported(project)
    spoil()
    reported(other)
    count = sampling.check_a_sample()
    assert count > 0
    assert "routing differs from its ledger project=alice" in caplog.text
    assert metric() == count
    finding = sampling.agrees()
    assert finding.level == "FAIL"
    assert f"alice: {count} differences, such as {found}" in finding.text
    assert "rebuild_routing --project alice" in finding.remedy
    rebuild.rebuild(project)
    assert (metric(), sampling.agrees().level, sampling.check_a_sample()) == (0, "OK", 0)


def test_an_alarm_stands_though_the_next_sample_finds_nothing(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported(project)
    PathState.objects.update(samples=7)
    check_task()
    monkeypatch.setattr(sampling, "PATHS", 0)
    check_task()
    assert sampling.agrees().level == "FAIL"


def test_a_project_that_cannot_be_checked_holds_up_no_other(
    project: Project, other: Project, caplog: pytest.LogCaptureFixture
) -> None:
    for one in (project, other):
        reported(one)
    PathState.objects.update(samples=7)
    Project.objects.filter(id=min(project.id, other.id)).update(settings={"authority": ["nobody"]})
    assert sampling.check_a_sample() > 0
    assert "failed checking project=" in caplog.text


def test_of_many_traces_only_the_sample_is_read(
    project: Project, read: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reported(project, 400)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE routing_outcome, routing_eventspan, routing_ledgerrow")
    monkeypatch.setattr(sampling, "TRACES", 5)
    monkeypatch.setattr(sampling, "PATHS", 0)
    assert sampling.check_a_sample() == 0
    assert read["eventspan"] == 5
    # Once for their costs, once to compare.
    assert read["outcome"] == 10


def test_of_a_path_with_very_many_outcomes_states_are_held_against_buckets(
    project: Project, read: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reported(project, 30)
    monkeypatch.setattr(sampling, "TRACES", 0)
    monkeypatch.setattr(sampling, "MOST_OUTCOMES", 29)
    assert sampling.check_a_sample() == 0
    PathState.objects.update(samples=31)
    assert sampling.check_a_sample() == 1
    assert "outcome" not in read


def test_the_ledger_stays_with_the_server_until_it_is_read(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    reported(project, 5)
    monkeypatch.setattr(rebuild, "BATCH", 2)
    rows = rebuild._ledger(project, None)
    next(rows)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_cursors WHERE statement LIKE '%routing_ledgerrow%'")
        assert cursor.fetchone() == (1,)
    assert len(list(rows)) == LedgerRow.objects.count() - 1
