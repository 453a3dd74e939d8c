"""Refusals are held in the process and written down together: seconds later, and when the process ends."""

import subprocess
import sys
import threading
from datetime import UTC, date, datetime
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from agentloop import refusals
from agentloop.models import Project, RefusalCount
from agentloop.sql import run
from tests.house.running import until
from tests.review.support import caller_for, make_project

ENDS_AT_ONCE = """
import multiprocessing, django
django.setup()
from django.conf import settings
settings.DATABASES["default"]["NAME"] = {database!r}
from agentloop.models import Project
from agentloop.refusals import count_refusal
def refuse():
    for _ in range(1000):
        count_refusal(Project(id={project!r}), "rate_limited")
process = multiprocessing.get_context("fork").Process(target=refuse)
process.start()
process.join()
refuse()
"""


def counted() -> dict[str, int]:
    return dict(RefusalCount.objects.values_list("reason", "count"))


def timers() -> int:
    return sum(isinstance(thread, threading.Timer) for thread in threading.enumerate())


@pytest.fixture
def project(db: None) -> Project:
    return make_project("acme")


def test_a_bad_batch_is_one_write(project: Project) -> None:
    call = caller_for(project)
    call("POST", "/v1/turns/batch", {"turns": []})
    refusals.flush()
    with CaptureQueriesContext(connection) as queries:
        assert call("POST", "/v1/turns/batch", {"turns": [3, {"question": "q"}] * 250}).body["refused"] == 500
        assert not [query for query in queries if "refusalcount" in query["sql"]]
        refusals.flush()
    assert len([query for query in queries if "refusalcount" in query["sql"]]) == 1
    assert counted() == {"not_a_turn": 250, "missing_text": 250}


@pytest.mark.django_db(transaction=True)
def test_the_last_of_a_flood_is_written_though_nothing_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "FLUSH_SECONDS", 0.1)
    project = make_project("acme")
    for reason in ("rate_limited", "too_large"):
        for _ in range(1000):
            refusals.count_refusal(project, reason)
    assert timers() == 1
    until(lambda: counted() == {"rate_limited": 1000, "too_large": 1000}, "the flood is counted")
    until(lambda: not timers(), "no thread is left")


@pytest.mark.django_db(transaction=True)
def test_a_process_that_ends_writes_down_what_it_holds() -> None:
    """Also a forked one, as the web server's are."""
    project = make_project("acme")
    code = ENDS_AT_ONCE.format(database=connection.settings_dict["NAME"], project=str(project.id))
    subprocess.run([sys.executable, "-c", code], cwd=settings.ROOT, check=True, timeout=60)
    assert counted() == {"rate_limited": 2000}


def test_what_cannot_be_written_is_held_and_tried_again(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise OperationalError

    refusals.count_refusal(project, "too_large")
    monkeypatch.setattr(refusals, "run", away)
    with pytest.raises(OperationalError):
        refusals.flush()
    monkeypatch.undo()
    refusals.count_refusal(project, "too_large")
    refusals.flush()
    refusals.flush()
    assert counted() == {"too_large": 2}


@pytest.mark.django_db(transaction=True)
def test_the_timer_tries_again_until_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "FLUSH_SECONDS", 0.05)
    project, tries = make_project("acme"), []

    def away_at_first(*given: object) -> object:
        tries.append(1)
        if len(tries) < 3:
            raise OperationalError
        return run(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(refusals, "run", away_at_first)
    refusals.count_refusal(project, "too_large")
    until(lambda: counted() == {"too_large": 1}, "it is written")
    until(lambda: not timers(), "no thread is left")


def test_a_refusal_counts_for_the_day_it_came_on(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("django.utils.timezone.now", lambda: datetime(2026, 3, 4, 23, 59, 59, tzinfo=UTC))
        refusals.count_refusal(project, "too_large")
    refusals.count_refusal(project, "too_large")
    refusals.flush()
    assert RefusalCount.objects.earliest("day").day == date(2026, 3, 4)
    assert RefusalCount.objects.count() == 2


def test_a_project_that_has_gone_keeps_no_other_from_its_counts(project: Project) -> None:
    refusals.count_refusal(Project(id=uuid4()), "too_large")
    refusals.count_refusal(project, "too_large")
    refusals.flush()
    assert counted() == {"too_large": 1}
