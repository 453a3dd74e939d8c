"""Statements on Django's own connection, and what happens to it while it idles."""

import time

import psycopg
import pytest
from django.db import OperationalError, connection, transaction

from agentloop.sql import run

pytestmark = pytest.mark.django_db(transaction=True)


def own_process() -> int:
    [(number,)] = run("SELECT pg_backend_pid()", [], keep_plan=True)
    return int(number)


def elsewhere(sql: str) -> None:
    with psycopg.connect(**connection.get_connection_params(), autocommit=True) as other:
        other.execute(sql)
    time.sleep(0.05)


def test_a_connection_that_was_ended_while_idle_is_replaced() -> None:
    ended = own_process()
    elsewhere(f"SELECT pg_terminate_backend({ended}, 2000)")
    assert own_process() != ended


def test_news_on_an_idle_connection_are_no_end() -> None:
    run("LISTEN anything", [])
    before = own_process()
    elsewhere("NOTIFY anything")
    assert own_process() == before


def test_within_a_transaction_an_end_is_an_error() -> None:
    def write() -> None:
        with transaction.atomic():
            ended = own_process()
            elsewhere(f"SELECT pg_terminate_backend({ended}, 2000)")
            own_process()

    with pytest.raises(OperationalError):
        write()
    assert own_process()
