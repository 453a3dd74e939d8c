"""What an operator sees of the queue: gauges that agree with it, and checks that fail when no worker works."""

import time
from typing import Any

import pytest
from django.test import Client

from agentloop.models import Project
from review import backlog
from review.index import index_stale_turns
from review.removal import sweep_expired
from tests.review.support import Caller, caller_for, make_project, move_time, settle_index

FIGURES = ("pending_turns", "oldest_pending_seconds", "unswept_turns", "unswept_seconds", "unindexed_turns")

pytestmark = pytest.mark.django_db


def shown() -> dict[str, float]:
    lines = Client().get("/metrics").text.splitlines()
    pairs = [line.removeprefix("agentloop_").split() for line in lines if line.startswith("agentloop_")]
    return {name: float(value) for name, value in pairs if name in FIGURES}


def test_an_empty_site(project: Project) -> None:
    assert shown() == dict.fromkeys(FIGURES, 0)


def test_the_figures_are_those_of_all_projects(call: Caller) -> None:
    other = make_project("other")
    call.log("one")
    call.log("two")
    move_time(logged_at="-1 hour")
    caller_for(other).log("three")
    assert shown()["unindexed_turns"] == 3
    settle_index()
    figures = shown()
    assert (figures["pending_turns"], figures["unindexed_turns"], figures["unswept_turns"]) == (3, 0, 0)
    assert figures["oldest_pending_seconds"] == pytest.approx(3600, abs=60)


def test_expired_turns_are_told_of_until_they_are_swept(project: Project, call: Caller) -> None:
    call.log("one")
    call.log("two")
    move_time(expires_at="-31 days")
    call.log("three")
    figures = shown()
    assert figures["unswept_turns"] == 2
    assert figures["unswept_seconds"] == pytest.approx(86400, abs=60)
    assert figures["oldest_pending_seconds"] < 60
    assert backlog.swept().level == "FAIL"
    assert backlog.swept().text == "2 expired turns lie here, the first for 1,440 minutes"
    sweep_expired(project)
    assert (shown()["unswept_turns"], shown()["unswept_seconds"]) == (0, 0)
    assert backlog.swept().level == "OK"


def test_a_turn_that_has_just_expired_is_not_late(call: Caller) -> None:
    call.log()
    move_time(expires_at="-30 days -1 minute")
    assert shown()["unswept_turns"] == 1
    assert backlog.swept().level == "OK"


def test_counts_of_what_is_owed_are_bounded(call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        call.log(str(number))
    move_time(expires_at="-31 days")
    monkeypatch.setattr(backlog, "MOST", 3)
    assert (backlog.backlog().unswept, backlog.backlog().unindexed) == (3, 3)
    assert backlog.swept().text.startswith("3+ expired turns")


def test_marks_that_nobody_takes_are_a_failure(call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "INDEX_LATE_SECONDS", 0)
    assert backlog.indexed().level == "OK"
    call.log()
    assert backlog.indexed().level == "FAIL"
    assert backlog.indexed().text.startswith("1 changed turns wait")
    index_stale_turns()
    assert backlog.indexed().level == "OK"


@pytest.mark.django_db(transaction=True)
def test_a_mark_that_is_made_again_was_taken(call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under load there is always some mark: what counts is whether this one goes."""
    call.log()

    def meanwhile(seconds: float) -> None:
        index_stale_turns()
        call.log()

    monkeypatch.setattr(time, "sleep", meanwhile)
    assert backlog.indexed().level == "OK"
    assert shown()["unindexed_turns"] == 1


def test_one_query_whatever_there_is(call: Caller, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        backlog.backlog()
    for number in range(5):
        call.log(str(number))
    with django_assert_num_queries(1):
        backlog.backlog()
