"""Small writes that arrive together are committed together: PostgreSQL then waits for the disk once, not for each.

Whoever comes first stores at once; those who come while it writes are stored together by the first of them,
when it is done. Nobody is answered before their row is committed, and an idle server delays nobody.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from uuid import UUID

from django.db import InterfaceError, OperationalError, connection

from agentloop.models import Project

MOST_TOGETHER = 100
Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(eq=False, slots=True)
class _Waiting(Generic[Item, Answer]):
    project: Project
    item: Item
    is_called: threading.Event = field(default_factory=threading.Event)
    leads: bool = False
    answers: list[Answer] = field(default_factory=list)
    error: BaseException | None = None


class Gathering(Generic[Item, Answer]):
    """What waits in this process to be stored by one function. One thread at a time leads: it stores for all that
    wait with it. The function takes one project's items and answers for each, in their order."""

    def __init__(self, store: Callable[[Project, Sequence[Item]], list[Answer]]) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._waiting: list[_Waiting[Item, Answer]] = []
        self._has_leader = False

    def store(self, project: Project, item: Item) -> Answer:
        """Stores one item, together with others that arrive now; alone in a transaction that isn't ours to end."""
        if connection.in_atomic_block:
            return self._store(project, [item])[0]
        mine = _Waiting[Item, Answer](project, item)
        with self._lock:
            self._waiting.append(mine)
            mine.leads, self._has_leader = not self._has_leader, True
        if not mine.leads:
            mine.is_called.wait()
        if mine.leads:
            self._lead()
        if mine.error is not None:
            raise mine.error
        return mine.answers[0]

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

    def _store_together(self, entries: Sequence[_Waiting[Item, Answer]]) -> None:
        try:
            answers = self._store(entries[0].project, [entry.item for entry in entries])
        except (OperationalError, InterfaceError) as error:
            # Whether it was committed is not known, so nothing is tried again here.
            for entry in entries:
                entry.error = error
        except Exception as error:
            self._store_apart(entries, error)
        else:
            for entry, answer in zip(entries, answers, strict=True):
                entry.answers.append(answer)

    def _store_apart(self, entries: Sequence[_Waiting[Item, Answer]], error: Exception) -> None:
        """One item that can't be stored must not spoil the others."""
        if len(entries) == 1:
            entries[0].error = error
            return
        for entry in entries:
            self._store_together([entry])


def _by_project(entries: Sequence[_Waiting[Item, Answer]]) -> Iterable[list[_Waiting[Item, Answer]]]:
    groups: dict[UUID, list[_Waiting[Item, Answer]]] = {}
    for entry in entries:
        groups.setdefault(entry.project.id, []).append(entry)
    return groups.values()
