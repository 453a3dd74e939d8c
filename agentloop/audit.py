"""The append-only log of administrative acts and verdicts."""

from collections.abc import Iterable
from typing import Any

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
