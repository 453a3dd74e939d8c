"""A decision that a client made for itself, and a report of how it went, whichever is there first."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from agentloop.models import Project
from routing.decisions import Reported, record_decisions
from routing.engine.evidence import Source
from routing.evidence import Observation, record
from routing.models import Decision, LedgerRow, Outcome, Path
from routing.rebuild import differences

TRACE = "t1"


@pytest.fixture
def project(transactional_db: None) -> Project:
    made = Project.objects.create(slug="alice", name="Alice")
    record(made, [Observation("book", Source.PROVIDER, "t0", model=model, success=True) for model in ("a", "b")])
    return made


@pytest.fixture
def beside() -> Iterator[Callable[[Callable[[], Any]], Future[Any]]]:
    """Runs a call on a connection of its own; answers once it is done, or waits for a lock of ours."""
    with ThreadPoolExecutor(1) as pool:

        def begin(call: Callable[[], Any]) -> Future[Any]:
            running = pool.submit(_and_close, call)
            until = time.monotonic() + 10
            while not running.done() and not _somebody_waits():
                assert time.monotonic() < until
                time.sleep(0.01)
            return running

        yield begin


def _and_close(call: Callable[[], Any]) -> Any:
    try:
        return call()
    finally:
        connection.close()


def _somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks JOIN pg_database AS here ON here.oid = database "
            "WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()"
        )
        return bool(cursor.fetchone()[0])


def decided(project: Project, model: str = "a") -> Reported:
    path = Path.objects.get(project=project, model=model)
    return Reported("book", TRACE, path.shown_id, pipeline="p", decided_at=time.time() - 60)


def went_well() -> Observation:
    """As most clients say it: without a model, which their decision knows."""
    return Observation("book", Source.USER, TRACE, success=True)


def stands_for(project: Project, model: str = "a") -> None:
    """The report counts for the path that was decided, at that time and in that pipeline."""
    [outcome] = Outcome.objects.filter(project=project, trace_id=TRACE)
    decision = Decision.objects.get(project=project, trace_id=TRACE)
    assert outcome.path_id == decision.path_id == Path.objects.get(project=project, model=model).id
    assert (outcome.success, outcome.pipeline_id) == (True, "p")
    assert outcome.at == pytest.approx(decision.decided_at.timestamp())
    assert differences(project) == []


def test_a_report_that_is_not_committed_yet_is_found(project: Project, beside: Any) -> None:
    with transaction.atomic():
        record(project, [went_well()])
        recording = beside(lambda: record_decisions(project, [decided(project)]))
    assert recording.result() == [True]
    stands_for(project)


def test_a_decision_that_is_not_committed_yet_is_found(project: Project, beside: Any) -> None:
    with transaction.atomic():
        record_decisions(project, [decided(project)])
        reporting = beside(lambda: record(project, [went_well()]))
    reporting.result()
    stands_for(project)


def test_reporting_a_decision_again_makes_up_for_what_a_crash_left_out(project: Project) -> None:
    """The decision is there, and what was said before it was never told of it."""
    record(project, [went_well()])
    path = Path.objects.get(project=project, model="a")
    at = timezone.now() - timedelta(minutes=1)
    Decision.objects.create(
        project=project, goal_id=path.goal_id, trace_id=TRACE, path=path, pipeline_id="p", decided_at=at
    )
    record_decisions(project, [decided(project)])
    stands_for(project)
    before = LedgerRow.objects.filter(project=project).count()
    record_decisions(project, [decided(project)])
    assert LedgerRow.objects.filter(project=project).count() == before


def test_the_order_of_arrival_changes_nothing(project: Project) -> None:
    """A decision that is told twice, a success, and a user who says no."""
    now = time.time()
    taken = replace(decided(project), decided_at=now - 60)
    said = [
        Observation("book", Source.PROVIDER, success=True, score=0.8, occurred_at=now - 40),
        Observation("book", Source.USER, success=False, occurred_at=now - 20),
    ]
    orders = set(permutations([taken, taken, *range(len(said))]))
    for number, order in enumerate(orders):
        for what in order:
            if isinstance(what, Reported):
                record_decisions(project, [replace(what, trace_id=f"order{number}")])
            else:
                record(project, [replace(said[what], trace_id=f"order{number}")])
    found = Outcome.objects.filter(project=project, trace_id__startswith="order")
    assert found.count() == len(orders) == 12
    same = found.values_list("path_id", "pipeline_id", "success", "score", "source", "at").distinct()
    path = Path.objects.get(project=project, model="a")
    assert [(*row[:-1], round(row[-1], 3)) for row in same] == [(path.id, "p", False, None, "user", round(now - 60, 3))]
    assert differences(project) == []


def test_the_first_decision_stands_whatever_is_said_later(project: Project) -> None:
    record(project, [went_well()])
    record_decisions(project, [decided(project, "b")])
    record_decisions(project, [decided(project, "a")])
    stands_for(project, "b")


def test_a_decision_is_kept_with_its_word_to_the_ledger_or_not_at_all(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(project, [went_well()])

    def broken(*given: Any) -> None:
        raise RuntimeError

    with monkeypatch.context() as patched:
        patched.setattr("routing.decisions.record", broken)
        with pytest.raises(RuntimeError):
            record_decisions(project, [decided(project)])
    assert not Decision.objects.filter(project=project).exists()
    record_decisions(project, [decided(project)])
    stands_for(project)
