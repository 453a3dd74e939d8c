"""Seeing what a call sends to PostgreSQL."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection

from agentloop import sql

# Sends another statement with the same values, such as the EXPLAIN of the one that is seen, and answers its rows.
Ask = Callable[[str], list[tuple[Any, ...]]]


@contextmanager
def every_statement(look: Callable[[str, Any, Ask], None]) -> Iterator[None]:
    """`look` sees each statement with its values before it is sent, whether by the ORM or by `agentloop.sql`."""
    execute = sql._execute

    def by_hand(cursor_class: Any, statement: str, params: Any, keep_plan: bool) -> Any:
        look(statement, params, _asking(lambda: cursor_class(connection.connection), params))
        return execute(cursor_class, statement, params, keep_plan)

    def by_django(run: Any, statement: str, params: Any, many: bool, context: Any) -> Any:
        look(statement, params, _asking(lambda: connection.connection.cursor(), params))
        return run(statement, params, many, context)

    sql._execute = by_hand
    try:
        with connection.execute_wrapper(by_django):
            yield
    finally:
        sql._execute = execute


def _asking(new_cursor: Callable[[], Any], params: Any) -> Ask:
    def ask(statement: str) -> list[tuple[Any, ...]]:
        with new_cursor() as cursor:
            cursor.execute(statement, params)
            return cursor.fetchall()

    return ask
