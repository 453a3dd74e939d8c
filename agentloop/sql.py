"""Statements that the ORM has no words for, on Django's own connection."""

import re
import select
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import psycopg
from django.db import OperationalError, connection

Answer = TypeVar("Answer")
RETRIES = 3


def run(sql: str, params: Sequence[Any] | Mapping[str, Any], *, keep_plan: bool = False) -> list[tuple[Any, ...]]:
    """Executes one statement and answers its rows.

    With `keep_plan` PostgreSQL plans it once for a connection, which for a small statement is most of the work.
    That is for hot statements whose plan may not depend on the values, nor on how large the tables are by now.
    """
    if not keep_plan:
        return _execute(psycopg.Cursor, sql, params, keep_plan=False)
    numbered, names = _numbered(sql)
    given: Mapping[Any, Any] = params if isinstance(params, Mapping) else dict(enumerate(params))
    return run_positional(numbered, [given[name] for name in names])


@lru_cache(maxsize=500)
def _numbered(sql: str) -> tuple[str, list[str | int]]:
    """A statement with `$1` for `%(name)s` or `%s`, and what each stands for: psycopg reads through a long one each
    time, which takes half a millisecond."""
    names: list[str | int] = []

    def number(found: re.Match[str]) -> str:
        if found[0] == "%%":
            return "%"
        name = found[1] or len(names)
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    return re.sub(r"%(?:\((\w+)\)s|s|%)", number, sql), names


def run_positional(sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
    """The same for a statement that is written with `$1`, `$2`. Its plan is kept."""
    return _execute(psycopg.RawCursor, sql, params, keep_plan=True)


def _execute(
    cursor_class: type[psycopg.Cursor[Any]], sql: str, params: Sequence[Any] | Mapping[str, Any], keep_plan: bool
) -> list[tuple[Any, ...]]:
    """On Django's connection, with a cursor that binds on the server: Django's own can't prepare."""
    _leave_if_ended()
    connection.ensure_connection()
    if connection.queries_logged:
        # Seen by the tests that count queries.
        connection.queries_log.append({"sql": sql, "time": "0"})
    with connection.wrap_database_errors, cursor_class(connection.connection) as cursor:
        cursor.execute(sql, params, prepare=keep_plan)
        return cursor.fetchall() if cursor.description else []


def _leave_if_ended() -> None:
    """A connection that the server ended while it idled is left for a new one: nothing is lost with it.

    It has something to read though nothing was asked; to look for that costs no round trip, as asking would."""
    held = connection.connection
    if held is None or connection.in_atomic_block:
        return
    if held.closed or not _stands(held):
        connection.close()


def _stands(held: psycopg.Connection[Any]) -> bool:
    """Reads the news; of the last word of a server that ends only the next look tells that it was the last."""
    looking = select.poll()
    looking.register(held.fileno(), select.POLLIN)
    try:
        while looking.poll(0):
            held.pgconn.consume_input()
    except psycopg.OperationalError:
        return False
    return True


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
