"""What the site clears away by itself."""

import time
from datetime import timedelta

import psycopg
import pytest
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.db import OperationalError, connection
from django.utils import timezone

from agentloop.tasks import end_old_rows
from agentloop.upkeep import apart, until_done

pytestmark = pytest.mark.django_db


def cached() -> list[str]:
    """The test's own keys: a page that another test opened may have left one."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT cache_key FROM agentloop_cache WHERE cache_key ~ '(kept|gone)$'")
        return [key.rpartition(":")[2] for (key,) in cursor.fetchall()]


def test_old_sessions_and_counts_go_and_new_ones_stay() -> None:
    now = timezone.now()
    for key, age in (("old", -1), ("new", 1)):
        Session.objects.create(session_key=key, session_data="x", expire_date=now + timedelta(days=age))
    cache.set("kept", 1, 60)
    cache.set("gone", 1, 60)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE agentloop_cache SET expires = now() - interval '1 day' WHERE cache_key LIKE '%gone'")
    end_old_rows()
    end_old_rows()
    assert list(Session.objects.values_list("session_key", flat=True)) == ["new"]
    assert (cached(), cache.get("kept")) == (["kept"], 1)


def test_a_round_stops_when_its_time_is_up() -> None:
    assert until_done(lambda: 1, 0.0) == 1
    steps = iter([3, 2, 0, 9])
    assert until_done(lambda: next(steps), 10.0) == 5


def test_a_round_rests_longer_than_it_works() -> None:
    steps = iter([1, 1, 0])

    def step() -> int:
        time.sleep(0.01)
        return next(steps)

    begun = time.monotonic()
    until_done(step, 10.0, rest=4.0)
    assert time.monotonic() - begun >= 0.01 * 3 + 0.01 * 2 * 4


def test_a_part_of_a_round_that_fails_is_told_and_holds_up_nobody(caplog: pytest.LogCaptureFixture) -> None:
    assert [apart(lambda: 1 // 0, "one"), apart(lambda: 2, "two")] == [0, 2]
    assert [record.getMessage() for record in caplog.records] == ["failed one"]
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_the_victim_of_a_deadlock_is_tried_again() -> None:
    tries: list[int] = []

    def act() -> int:
        tries.append(1)
        if len(tries) == 1:
            raise OperationalError from psycopg.errors.DeadlockDetected()
        return 7

    assert (apart(act, "one"), len(tries)) == (7, 2)
