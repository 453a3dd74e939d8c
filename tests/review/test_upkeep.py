"""The minute's run over all projects: bounded, one at a time, fair, and ended when the worker stops."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest
from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.db.backends.postgresql.base import DatabaseWrapper

from agentloop import stopping
from agentloop.models import Project
from agentloop.sql import alone, run
from review import bulk, index, settle, upkeep
from review.models import BulkAct, BulkJob, SettledWith, Turn, TurnCounter
from tests.review.support import Caller, assert_counted, in_threads, make_project

LONG_AGO = "2020-01-01T00:00Z"


FORKED = """
import os, time
from agentloop.celery import stopping, worker_shutting_down
process = os.fork()
if process == 0:
    end = time.monotonic() + 20
    while not stopping.is_asked() and time.monotonic() < end:
        time.sleep(0.01)
    os._exit(0 if stopping.is_asked() else 1)
worker_shutting_down.send(sender="worker", sig="SIGTERM", how="Warm", exitcode=0)
raise SystemExit(os.waitpid(process, 0)[1])
"""


@pytest.fixture(autouse=True)
def nobody_stops() -> Iterator[None]:
    yield
    stopping.ask(False)


@contextmanager
def another_connection() -> Iterator[DatabaseWrapper]:
    other = connection.copy()
    try:
        yield other
    finally:
        other.close()


def work(done: list[str], name: str, steps: int = 10**9, rest: float = 0.0) -> upkeep.Steps:
    for _ in range(steps):
        time.sleep(0.002)
        done.append(name)
        yield 1, rest


# --- one project and another ----------------------------------------------------------------------------------


def test_a_project_that_fails_keeps_no_other_from_its_round(
    call: Caller, stranger: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    call.log()
    stranger.log()
    Turn.objects.update(expires_at=LONG_AGO)
    make_project("empty")

    def settle_or_fail(project: Project) -> int:
        if project.slug != "elsewhere":
            raise ValueError("spoiled settings")
        return settle.settle(project)

    monkeypatch.setattr(upkeep, "settle", settle_or_fail)
    assert upkeep.sweep_expired() == 1
    assert [turn.project.slug for turn in Turn.objects.all()] == ["acme"]
    assert "upkeep failed project=acme" in caplog.text
    assert "spoiled settings" in caplog.text
    monkeypatch.undo()
    assert upkeep.sweep_expired() == 1


def test_counters_that_cannot_be_mended_keep_no_others_from_it(
    call: Caller, project: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    call.log()
    index.index_stale_turns()
    TurnCounter.objects.filter(facet="pending").update(count=5)
    # Ids rise by time: the spoiled one must come first.
    Project.objects.create(id=UUID(int=1), slug="spoiled", name="Spoiled")
    mend = index.reconcile_counters

    def mend_or_fail(of: Project) -> dict[str, int]:
        if of != project:
            raise ValueError
        return mend(of)

    monkeypatch.setattr(index, "reconcile_counters", mend_or_fail)
    upkeep.reconcile_counters()
    assert TurnCounter.objects.get(facet="pending").count == 1
    assert "upkeep failed project=spoiled" in caplog.text


def test_one_deadline_holds_for_all_and_each_has_its_turn() -> None:
    done: list[str] = []
    begun = time.monotonic()
    counted = upkeep.take_turns([("a", work(done, "a")), ("b", work(done, "b")), ("c", work(done, "c", 2))], 0.1)
    assert time.monotonic() - begun < 1
    assert done[:8] == ["a", "b", "c", "a", "b", "c", "a", "b"]
    assert abs(done.count("a") - done.count("b")) <= 1
    assert counted == {name: done.count(name) for name in "abc"}
    assert upkeep.take_turns([("d", work(done, "d"))], 0.0) == {}


def test_the_sweeps_time_is_that_of_all_projects(
    call: Caller, stranger: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    call.log()
    stranger.log()
    Turn.objects.update(expires_at=LONG_AGO)
    monkeypatch.setattr(upkeep, "SWEEP_SECONDS", 0.0)
    assert upkeep.sweep_expired() == 0
    assert Turn.objects.count() == 2


def test_no_rest_goes_on_after_the_time_is_up() -> None:
    begun = time.monotonic()
    upkeep.take_turns([("a", work([], "a", rest=10_000.0))], 0.1)
    assert 0.1 <= time.monotonic() - begun < 2


# --- one run and another --------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_one_sweep_runs_at_a_time_and_the_lock_of_a_killed_one_is_gone(call: Caller) -> None:
    call.log()
    Turn.objects.update(expires_at=LONG_AGO)
    with another_connection() as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(hashtextextended('sweep', 0)), pg_backend_pid()")
        is_theirs, process = cursor.fetchone()
        assert is_theirs
        assert upkeep.sweep_expired() == 0
        run("SELECT pg_terminate_backend(%s, 5000)", [process])
        assert upkeep.sweep_expired() == 1


@pytest.mark.django_db(transaction=True)
def test_a_lock_is_free_again_after_a_run_also_one_that_failed() -> None:
    def is_free() -> bool:
        def taken() -> bool:
            with alone("work") as is_ours:
                return is_ours

        [free] = in_threads([taken])
        return bool(free)

    with alone("work") as is_ours:
        assert is_ours
        assert not is_free()
    assert is_free()
    with pytest.raises(ZeroDivisionError), alone("work"):
        raise ZeroDivisionError
    assert is_free()


@pytest.mark.django_db(transaction=True)
def test_a_lost_connection_costs_one_projects_turn_and_not_the_lock(
    call: Caller, stranger: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    call.log()
    stranger.log()
    Turn.objects.update(expires_at=LONG_AGO)
    seen: list[str] = []

    def lose_at_first(project: Project) -> int:
        seen.append(project.slug)
        with another_connection() as other, other.cursor() as cursor:
            if len(seen) == 1:
                cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [connection.connection.info.backend_pid])
            cursor.execute("SELECT pg_try_advisory_lock(hashtextextended('sweep', 0))")
            assert cursor.fetchone() == (False,)
        return settle.settle(project)

    monkeypatch.setattr(upkeep, "settle", lose_at_first)
    assert upkeep.sweep_expired() == 1
    assert caplog.text.count("upkeep failed") == 1
    assert [turn.project.slug for turn in Turn.objects.all()] == [seen[0]]


def test_a_database_that_is_away_ends_the_run(
    call: Caller, stranger: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(project: Project) -> int:
        monkeypatch.setattr(connection, "is_usable", lambda: False)
        raise OperationalError

    monkeypatch.setattr(upkeep, "settle", away)
    with pytest.raises(OperationalError):
        upkeep.sweep_expired()
    assert caplog.text.count("upkeep failed") == 1


# --- a worker that stops --------------------------------------------------------------------------------------


def test_a_round_ends_after_the_step_in_hand_when_the_worker_stops() -> None:
    done: list[str] = []

    def stop_at_once() -> upkeep.Steps:
        stopping.ask()
        yield 1, 10_000.0

    begun = time.monotonic()
    upkeep.take_turns([("a", work(done, "a", 1)), ("b", stop_at_once()), ("c", work(done, "c"))], 30.0)
    assert done == ["a"]

    def step() -> int:
        stopping.ask()
        return 1

    assert upkeep.until_done(step, 30.0, rest=10_000.0) == 1
    assert time.monotonic() - begun < 5


def test_a_bulk_act_ends_between_two_batches_and_goes_on_later(call: Caller, project: Project) -> None:
    for number in range(3):
        call.log(f"q{number}")
    job = BulkJob.objects.create(project=project, actor="system", act=BulkAct.DISMISS, params={"reason": ""})
    bulk.BulkItem.objects.bulk_create(
        [bulk.BulkItem(project=project, job=job, turn_id=turn.id) for turn in Turn.objects.all()]
    )
    stopping.ask()
    assert bulk.go_on() == 0
    stopping.ask(False)
    assert bulk.go_on() == 3


def test_celerys_main_process_tells_the_processes_that_it_forked() -> None:
    """By the signal that Celery sends when it begins to wait for them. In a process of its own, that has no threads."""
    done = subprocess.run([sys.executable, "-c", FORKED], cwd=settings.ROOT, timeout=60, check=False)
    assert done.returncode == 0


# --- following changed settings -------------------------------------------------------------------------------


def days() -> list[int]:
    turns = Turn.objects.order_by("id")
    return [round((turn.expires_at - turn.last_seen_at).total_seconds() / 86_400) for turn in turns]


def test_following_a_changed_ttl_goes_on_where_it_was_cut_off(
    call: Caller, project: Project, with_settings: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        call.log(f"q{number}")
    monkeypatch.setattr(settle, "BATCH", 2)
    with_settings(ttl_days=10)
    assert settle.settle(project) == 2
    assert days() == [10, 10, 30, 30, 30]
    assert settle.settle(Project.objects.get(id=project.id)) == 2
    assert days() == [10, 10, 10, 10, 30]
    assert [settle.settle(project), settle.settle(project), settle.settle(project)] == [1, 0, 0]
    assert days() == [10] * 5
    assert SettledWith.objects.get().on_way == {}


def test_a_setting_that_changes_on_the_way_begins_again_also_one_that_is_changed_back(
    call: Caller, project: Project, with_settings: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        call.log(f"q{number}", signals={"late": True})
    monkeypatch.setattr(settle, "BATCH", 3)
    with_settings(ttl_days=10, signal_weights={"late": 7})
    assert settle.settle(project) == 3
    with_settings(ttl_days=20)
    assert settle.settle(project) == 3
    assert days() == [20, 20, 20, 30]
    with_settings(ttl_days=30)
    assert [settle.settle(project) for _ in range(5)] == [3, 1, 3, 1, 0]
    assert days() == [30] * 4
    assert set(Turn.objects.values_list("priority", flat=True)) == {7.0}
    assert settle.settle(project) == 0


def test_the_sweep_follows_settings_to_their_end(
    call: Caller, with_settings: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        call.log(f"q{number}", signals={"late": True})
    monkeypatch.setattr(settle, "BATCH", 2)
    with_settings(ttl_days=10, signal_weights={"late": 7})
    upkeep.sweep_expired()
    assert days() == [10] * 5
    assert set(Turn.objects.values_list("priority", flat=True)) == {7.0}


@pytest.mark.django_db(transaction=True)
def test_following_settings_is_tried_again_after_a_deadlock(
    call: Caller, project: Project, with_settings: Callable[..., Project]
) -> None:
    first, second = (call.log(question).body["turn_id"].removeprefix("turn_") for question in ("a", "b"))
    with_settings(ttl_days=10)
    lock = "SELECT 1 FROM review_turn WHERE id = %s FOR UPDATE"

    def settle_as_the_victim() -> int:
        run("SET deadlock_timeout = '100ms'", [])
        while not run("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = 77 AND granted", []):
            time.sleep(0.01)
        return settle.settle(project)

    def hold_in_the_other_order() -> None:
        run("SET deadlock_timeout = '30s'", [])
        with transaction.atomic():
            run(lock, [second])
            run("SELECT pg_advisory_xact_lock(77)", [])
            waits = "SELECT 1 FROM pg_locks WHERE NOT granted"
            while not run(waits, []):
                time.sleep(0.005)
            run(lock, [first])

    assert in_threads([settle_as_the_victim, hold_in_the_other_order])[0] == 2
    assert days() == [10, 10]
    assert_counted(project)
