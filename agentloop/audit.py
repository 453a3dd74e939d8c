"""The append-only log of administrative acts and verdicts."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet

from agentloop.actors import Actor
from agentloop.logs import request_id
from agentloop.models import AuditEntry, Project


def note(project: Project, actor: Actor, act: str, target: str = "", **details: Any) -> None:
    """Appends one entry. Hand in names, ids and figures only: the log must never hold content or a secret."""
    note_all(project, actor, act, [(target, details)])


def note_all(project: Project, actor: Actor, act: str, what: Iterable[tuple[str, dict[str, Any]]]) -> None:
    AuditEntry.objects.bulk_create(
        AuditEntry(
            project=project, actor=actor.ref[:120], act=act, target=target, details=details, request_id=request_id()
        )
        for target, details in what
    )


def entries(
    project: Project, *, act: str = "", actor: str = "", since: datetime | None = None, until: datetime | None = None
) -> QuerySet[AuditEntry]:
    """What was done, the newest first: `act` is a whole one or the words before a dot, such as `key` for all of keys.

    `actor` is as in the log; a program stands for everybody it spoke for.
    """
    found = AuditEntry.objects.filter(project=project).order_by("-id")
    if act:
        found = found.filter(Q(act=act) | Q(act__startswith=f"{act}."))
    if actor:
        found = found.filter(Q(actor=actor) | Q(actor__startswith=f"{actor}/"))
    if since:
        found = found.filter(at__gte=since)
    return found.filter(at__lt=until) if until else found
