"""Statements that the ORM has no words for, on Django's own connection."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import psycopg
from django.db import OperationalError, connection

Answer = TypeVar("Answer")
RETRIES = 3


def run(sql: str, params: Sequence[Any] | Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Executes one statement and answers its rows. PostgreSQL keeps its plan: it is prepared on each connection."""
    connection.ensure_connection()
    with connection.wrap_database_errors, _cursor() as cursor:
        if connection.queries_logged:
            return _run_logged(cursor, sql, params)
        cursor.execute(sql, params, prepare=True)
        return cursor.fetchall() if cursor.description else []


def _cursor() -> psycopg.Cursor[Any]:
    """A cursor that binds on the server, beside Django's own, which can't prepare."""
    return psycopg.Cursor(connection.connection)


def _run_logged(
    cursor: psycopg.Cursor[Any], sql: str, params: Sequence[Any] | Mapping[str, Any]
) -> list[tuple[Any, ...]]:
    """The same, seen by the tests that count queries."""
    connection.queries_log.append({"sql": sql, "time": "0"})
    cursor.execute(sql, params, prepare=True)
    return cursor.fetchall() if cursor.description else []


def with_retries(write: Callable[[], Answer]) -> Answer:
    """Runs a write again when PostgreSQL broke a deadlock by ending it, unless an outer transaction is lost with it."""
    for _ in range(RETRIES):
        try:
            return write()
        except OperationalError as error:
            deadlock = isinstance(error.__cause__, psycopg.errors.DeadlockDetected)
            if not deadlock or connection.in_atomic_block:
                raise
    return write()


def as_json(value: Any) -> str:
    return json.dumps(value, default=str)
