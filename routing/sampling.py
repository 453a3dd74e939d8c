"""Whether what is kept of the ledger agrees with it: a bounded sample each night, and its alarm."""

import logging
from collections.abc import Iterator
from functools import partial
from random import sample
from uuid import UUID

from django.utils import timezone

from agentloop.doctor import Finding
from agentloop.metrics import Metric, gauge
from agentloop.models import Project
from agentloop.sql import run
from agentloop.upkeep import apart
from routing.models import LedgerAlarm
from routing.rebuild import count_differences, path_differences, trace_differences

log = logging.getLogger("agentloop.sampling")

# Over all projects together. What was said of traces is held against their outcomes, and the outcomes of paths against
# their states and buckets: seven thousand a second, none of them kept in memory. Of a path with more than these, states
# are held against buckets.
TRACES = 1000
PATHS = 20
MOST_OUTCOMES = 100_000


def check_a_sample() -> int:
    """Answers how many differences it found; each project's are told of by its alarm and in the log."""
    traces, paths = _some_traces(), _some_paths()
    projects = Project.objects.in_bulk(traces.keys() | paths.keys())
    return sum(
        apart(partial(_check, project, traces.get(key, []), paths.get(key, [])), f"checking project={project.slug}")
        for key, project in projects.items()
    )


def _check(project: Project, traces: list[str], paths: list[tuple[UUID, int]]) -> int:
    found = trace_differences(project, traces) if traces else []
    for path, samples in paths:
        found += path_differences(project, path) if samples <= MOST_OUTCOMES else count_differences(project, path)
    if found:
        log.error("routing differs from its ledger project=%s first=%s", project.slug, found[0])
        told = {"differences": len(found), "first": found[0], "found_at": timezone.now()}
        LedgerAlarm.objects.update_or_create(project=project, defaults=told)
    return len(found)


def _some_traces() -> dict[UUID, list[str]]:
    """By project, the traces of rows that chance picks from the whole ledger by their numbers."""
    [(first, last)] = run("SELECT min(id), max(id) FROM routing_ledgerrow", [])
    if first is None:
        return {}
    numbers = sample(range(first, last + 1), min(TRACES, last + 1 - first))
    rows = run("SELECT DISTINCT project_id, trace_id FROM routing_ledgerrow WHERE id = ANY(%s)", [numbers])
    found: dict[UUID, list[str]] = {}
    for project, trace in rows:
        found.setdefault(project, []).append(trace)
    return found


def _some_paths() -> dict[UUID, list[tuple[UUID, int]]]:
    """By project, paths that chance picks, with how many outcomes they have."""
    sql = "SELECT project_id, path_id, samples FROM routing_pathstate WHERE pipeline_id = '' ORDER BY random() LIMIT %s"
    found: dict[UUID, list[tuple[UUID, int]]] = {}
    for project, path, samples in run(sql, [PATHS]):
        found.setdefault(project, []).append((path, samples))
    return found


def gauges() -> Iterator[Metric]:
    [(found,)] = run("SELECT coalesce(sum(differences), 0)::int FROM routing_ledgeralarm", [])
    text = "What nightly samples found to differ between routing's sums and its ledger, until it is mended."
    yield gauge("routing_differences", text, found)


def agrees() -> Finding:
    """Whether a nightly sample found anything that nobody has mended since."""
    alarms = LedgerAlarm.objects.select_related("project").order_by("project__slug")
    if not alarms:
        return Finding("routing", "OK", "no sample differs from its ledger")
    text = "; ".join(f"{one.project.slug}: {one.differences} differences, such as {one.first}" for one in alarms)
    remedy = f"Run `manage.py rebuild_routing --project {alarms[0].project.slug}`; writers wait meanwhile."
    return Finding("routing", "FAIL", f"differs from its ledger: {text}", remedy)
