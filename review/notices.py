"""What happens to turns, told to whoever takes notice of it. Each in the transaction of what it tells of.

Ids, names and figures only: what was asked, answered or written stays in the queue.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from agentloop.actors import Actor
from agentloop.idempotency import once
from agentloop.ids import shown
from agentloop.models import Project
from agentloop.outbox import tell
from agentloop.sql import run
from review.models import Annotation, AnnotationSource, Status, Turn

if TYPE_CHECKING:
    from review.intake import Logged, NewTurn

OF_TURNS = {"turn.created", "turn.signal"}
EXPIRING_WITHIN = timedelta(days=1)
VERDICTS = {
    "verdict.give": "verdict.given",
    "verdict.edit": "verdict.changed",
    "verdict.edit.undo": "verdict.changed",
    "verdict.undo": "verdict.undone",
    "verdict.remove": "verdict.undone",
}
Known = dict[UUID, set[str]]


def takes_turns(project: Project) -> bool:
    return not OF_TURNS.isdisjoint(project.told_events)


def signals_of_twins(project: Project, turns: Sequence["NewTurn"]) -> Known:
    """The names of the signals that the pending twins of these turns have by now, by their content. One query."""
    rows = run(
        """
        SELECT content_hash, ARRAY(SELECT jsonb_object_keys(signals)) FROM review_turn
        WHERE project_id = %s AND content_hash = ANY(%s) AND status = 'pending' AND expires_at > now()
        """,
        [project.id, [turn.row["content_hash"] for turn in turns]],
    )
    return {content: set(signals) for content, signals in rows}


def turns_logged(project: Project, turns: Sequence["NewTurn"], logged: Sequence["Logged"], known: Known) -> None:
    """Tells of turns that are new, and of waiting ones that gained a signal."""
    created, gained = [], []
    for turn, answer in zip(turns, logged, strict=True):
        content, is_new = turn.row["content_hash"], answer.turn_id == turn.row["id"]
        if is_new:
            known[content] = set()
        had = known.get(content)
        if had is None:
            # A repeat of a request whose turn no longer waits.
            continue
        fresh = sorted(set(turn.row["signals"]) - had)
        had.update(fresh)
        if is_new:
            created.append(_logged(project, turn.row, answer.turn_id, fresh))
        elif fresh:
            gained.append(_logged(project, turn.row, answer.turn_id, fresh))
    tell(project, "turn.created", created)
    tell(project, "turn.signal", gained)


def _logged(project: Project, row: Mapping[str, Any], turn_id: UUID, signals: list[str]) -> dict[str, Any]:
    why = f": {', '.join(signals[:5])}" if signals else ""
    about = f" of {row['goal']}" if row["goal"] else ""
    return {
        "message": f"A turn{about}{why}.",
        "turn_id": shown("turn", turn_id),
        "goal": row["goal"],
        "signals": signals,
        "priority": row["priority"],
        "trace_id": row["trace_id"],
        "url": _url(project),
    }


def _url(project: Project) -> str:
    return f"{settings.BASE_URL}/p/{project.slug}/"


def turn_escalated(project: Project, actor: Actor, turn: Turn) -> None:
    about = f" of {turn.goal}" if turn.goal else ""
    message = f"{actor.label} escalated a turn{about}."
    body = {"message": message, "turn_id": turn.shown_id, "goal": turn.goal, "actor": actor.ref, "url": _url(project)}
    tell(project, "turn.escalated", [body])


def turn_disputed(project: Project, turn: Turn) -> None:
    """Tells the owners that a turn waits for a decision, and not who said what."""
    about = f" of {turn.goal}" if turn.goal else ""
    message = f"Reviewers disagree on a turn{about}: an owner has to decide."
    body = {"message": message, "turn_id": turn.shown_id, "goal": turn.goal, "actor": "", "url": _url(project)}
    tell(project, "turn.escalated", [body])


def verdict_noted(actor: Actor, act: str, annotation: Annotation) -> None:
    """Tells of a verdict by the audit log's word for what was done."""
    event = VERDICTS[act]
    done = {"verdict.given": "said", "verdict.changed": "now says", "verdict.undone": "took back"}[event]
    about = f" of {annotation.goal}" if annotation.goal else ""
    cause = f", because of the {annotation.root_cause}" if annotation.root_cause else ""
    by_end_user = annotation.source == AnnotationSource.END_USER and act != "verdict.remove"
    who = "An end user" if by_end_user else actor.label
    body = {
        "message": f"{who} {done} {annotation.rating}{about}{cause}.",
        "annotation_id": shown("ann", annotation.id),
        "turn_id": shown("turn", annotation.turn_id) if annotation.turn_id else None,
        "rating": annotation.rating,
        "root_cause": annotation.root_cause,
        "goal": annotation.goal,
        "trace_id": annotation.trace_id,
        "source": annotation.source,
        "actor": actor.ref,
        "url": _url(annotation.project),
    }
    tell(annotation.project, event, [body])


def tell_of_expiry(project: Project) -> None:
    """Tells, once a day at most, how many turns expire within a day before anybody has seen them."""
    if "queue.expiring" not in project.told_events:
        return
    soon = Turn.objects.of(project).filter(status=Status.PENDING, expires_at__lte=timezone.now() + EXPIRING_WITHIN)
    count = soon.filter(expires_at__gt=timezone.now()).count()
    if not count:
        return
    message = f"{count:,} turn{' expires' if count == 1 else 's expire'} within a day."
    body = {"message": message, "count": count, "url": _url(project)}
    once(project, "notices:queue.expiring", lambda: {"told": tell(project, "queue.expiring", [body])})
