"""The rounds that keep the queue in order, over all projects, each bounded in time and resumed by the next."""

import logging
from collections.abc import Iterable
from functools import partial

from agentloop.models import Project
from agentloop.upkeep import REST, RETENTION_SECONDS, until_done
from review import index, removal
from review.notices import tell_of_expiry
from review.queue import free_lapsed
from review.settle import settle

log = logging.getLogger("agentloop.upkeep")

INDEX_SECONDS = 20.0
SWEEP_SECONDS = 50.0


def index_turns() -> int:
    return until_done(index.index_stale_turns, INDEX_SECONDS)


def sweep_expired() -> int:
    """Follows changed settings, frees lapsed claims, deletes expired turns, and warns of those that are next."""
    swept = 0
    for project in _projects():
        settle(project)
        free_lapsed(project)
        count = until_done(partial(removal.sweep_expired, project), SWEEP_SECONDS, REST)
        if count:
            log.info("expired turns swept project=%s count=%d", project.slug, count)
        swept += count
        tell_of_expiry(project)
    return swept


def end_retention() -> int:
    until_done(removal.forget_old_idempotency_keys, SWEEP_SECONDS)
    return sum(until_done(partial(removal.end_retention, project), RETENTION_SECONDS, REST) for project in _projects())


def reconcile_counters() -> None:
    for project in _projects():
        differences = index.reconcile_counters(project)
        if differences:
            log.error("counters differed project=%s facets=%d", project.slug, len(differences))


def _projects() -> Iterable[Project]:
    return Project.objects.order_by("id").iterator()
