"""Single turns that arrive together are committed together: PostgreSQL then waits for the disk once, not for each.

Whoever comes first stores at once; those who come while it writes are stored together by the first of them,
when it is done. Nobody is answered before their turn is committed, and an idle server delays nobody.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import InterfaceError, OperationalError, connection
from django.utils import timezone

from agentloop.models import Project
from agentloop.parsing import clean_text
from review.intake import MAX_NAME, IntakeRules, Logged, NewTurn, read_turn, store_and_tell

MOST_TOGETHER = 100
Store = Callable[[Project, Sequence[NewTurn]], list[Logged]]


@dataclass(eq=False, slots=True)
class _Waiting:
    project: Project
    turn: NewTurn
    is_called: threading.Event = field(default_factory=threading.Event)
    leads: bool = False
    logged: Logged | None = None
    error: BaseException | None = None


class Gathering:
    """The turns that wait in this process. One thread at a time leads: it stores for all that wait with it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []
        self._has_leader = False

    def store(self, project: Project, turn: NewTurn) -> Logged:
        mine = _Waiting(project, turn)
        with self._lock:
            self._waiting.append(mine)
            mine.leads, self._has_leader = not self._has_leader, True
        if not mine.leads:
            mine.is_called.wait()
        if mine.leads:
            self._lead()
        if mine.error is not None:
            raise mine.error
        assert mine.logged is not None
        return mine.logged

    def _lead(self) -> None:
        with self._lock:
            together, self._waiting = self._waiting[:MOST_TOGETHER], self._waiting[MOST_TOGETHER:]
        try:
            for entries in _by_project(together):
                self._store_together(entries)
        finally:
            self._pass_on()
            for entry in together:
                entry.is_called.set()

    def _pass_on(self) -> None:
        """Those who came meanwhile are led by the first of them."""
        with self._lock:
            self._has_leader = bool(self._waiting)
            if self._waiting:
                self._waiting[0].leads = True
                self._waiting[0].is_called.set()

    def _store_together(self, entries: Sequence[_Waiting]) -> None:
        try:
            logged = self._store(entries[0].project, [entry.turn for entry in entries])
        except (OperationalError, InterfaceError) as error:
            # Whether it was committed is not known, so nothing is tried again here.
            for entry in entries:
                entry.error = error
        except Exception as error:
            self._store_apart(entries, error)
        else:
            for entry, one in zip(entries, logged, strict=True):
                entry.logged = one

    def _store_apart(self, entries: Sequence[_Waiting], error: Exception) -> None:
        """One turn that can't be stored must not spoil the others."""
        if len(entries) == 1:
            entries[0].error = error
            return
        for entry in entries:
            self._store_together([entry])


def _by_project(entries: Sequence[_Waiting]) -> Iterable[list[_Waiting]]:
    groups: dict[UUID, list[_Waiting]] = {}
    for entry in entries:
        groups.setdefault(entry.project.id, []).append(entry)
    return groups.values()


_gathering = Gathering(store_and_tell)


def store_gathered(project: Project, turn: NewTurn) -> Logged:
    """Stores one turn, together with others that arrive now; alone inside a transaction that isn't ours to end."""
    if connection.in_atomic_block:
        return store_and_tell(project, [turn])[0]
    return _gathering.store(project, turn)


def log_turn(project: Project, item: Any, *, idempotency_key: str = "") -> tuple[Logged, NewTurn]:
    """Stores one turn, or counts it into its pending twin. Raises what `read_turn` refuses."""
    key = clean_text(idempotency_key)[:MAX_NAME]
    turn = read_turn(item, IntakeRules.of(project), timezone.now(), key)
    return store_gathered(project, turn), turn
