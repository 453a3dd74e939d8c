"""The rounds that keep the queue in order, over all projects, each bounded in time and resumed by the next."""

import logging
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from uuid import UUID

from django.db import connection

from agentloop import stopping
from agentloop.models import Project
from agentloop.sql import alone
from agentloop.upkeep import REST, until_done
from review import index, removal
from review.notices import tell_of_expiry
from review.queue import free_lapsed
from review.settle import settle

log = logging.getLogger("agentloop.upkeep")

INDEX_SECONDS = 20.0
# For all projects together, within the minute after which the next run begins.
SWEEP_SECONDS = 50.0

# A project's work, a bounded step at a time: how many turns each deleted, and how many times what it took to rest.
Steps = Iterator[tuple[int, float]]


def index_turns() -> int:
    return until_done(index.index_stale_turns, INDEX_SECONDS)


def sweep_expired() -> int:
    """The minute's run, one at a time on all machines: what is left when its time is up, the next one does.

    The projects come in an order by chance, so that none is always the one that there is no time for.
    """
    with alone("sweep") as is_ours:
        if not is_ours:
            return 0
        projects = Project.objects.order_by("?").values_list("id", "slug")
        return sum(take_turns(((slug, _sweep(project_id)) for project_id, slug in projects), SWEEP_SECONDS).values())


def _sweep(project_id: UUID) -> Steps:
    """Frees lapsed claims, follows changed settings, deletes turns whose time is up, warns of those that are next."""
    project = Project.objects.filter(id=project_id).first()
    if project is None:
        return
    free_lapsed(project)
    while settle(project):
        yield 0, 0.0
    while done := removal.sweep_expired(project) + removal.end_retention(project):
        yield done, REST
    tell_of_expiry(project)


def take_turns(rounds: Iterable[tuple[str, Steps]], seconds: float) -> Counter[str]:
    """Goes round the projects, a step for each that has work left, until none has or the time is up; answers how
    many turns each lost. One that fails is left to the next run, and keeps no other from its turn."""
    end = time.monotonic() + seconds
    deleted: Counter[str] = Counter()
    waiting = deque(rounds)
    while waiting and time.monotonic() < end and not stopping.is_asked():
        slug, steps = waiting.popleft()
        begun = time.monotonic()
        with _apart(slug):
            if step := next(steps, None):
                done, rest = step
                deleted[slug] += done
                waiting.append((slug, steps))
                now = time.monotonic()
                stopping.rest(min((now - begun) * rest, end - now))
    for slug, count in (+deleted).items():
        log.info("turns deleted, their time was up project=%s count=%d", slug, count)
    return deleted


def forget_old_keys() -> int:
    return until_done(removal.forget_old_idempotency_keys, SWEEP_SECONDS)


def reconcile_counters() -> None:
    for project in Project.objects.order_by("id").iterator():
        with _apart(project.slug):
            differences = index.reconcile_counters(project)
            if differences:
                log.error("counters differed project=%s facets=%d", project.slug, len(differences))


@contextmanager
def _apart(slug: str) -> Iterator[None]:
    """One project's failure is told and is no other's. A database that is away is everybody's."""
    try:
        yield
    except Exception:
        log.exception("upkeep failed project=%s", slug)
        if not connection.is_usable():
            raise
