"""Gold turns as reviewers get them: a copy that waits for one reviewer alone, and what they first said of it.

A copy is a turn like any other to whoever it is for, and to nobody else: `TurnQuerySet.of` leaves it out, so that
whatever counts, lists, exports or learns does too. Whoever answers is told what was known, so nobody is given the
same one twice, and what they say after an undo counts for nothing.
"""

import random
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils import timezone

from agentloop.actors import Actor
from agentloop.ids import id_at
from agentloop.models import Project
from agentloop.sql import run
from review import errors
from review.models import GoldAnswer, GoldTurn, Status, Turn
from review.priority import DAY_SECONDS, rank_of, signal_reasons, weights_of

# What a copy has from its gold turn, or else from the turn in whose place it comes.
COPIED = (
    *("signals", "metadata", "tags", "user_id", "session_id", "trace_id"),
    *("goal", "model", "path_id", "pipeline_id", "sample_rate"),
)

# Neither one that this reviewer judged before or was given, nor a second one while the first still waits for them.
_CHOOSE_SQL = """
SELECT id FROM review_goldturn AS gold
WHERE project_id = %(project)s AND retired_at IS NULL AND NOT %(actor)s = ANY(judged_by)
    AND NOT EXISTS (
        SELECT FROM review_goldanswer AS given WHERE given.gold_id = gold.id AND given.actor = %(actor)s
            AND (given.rating <> '' OR EXISTS (SELECT FROM review_turn WHERE id = given.turn_id)))
    AND NOT EXISTS (
        SELECT FROM review_turn
        WHERE project_id = %(project)s AND gold_for = %(actor)s AND status = 'pending' AND escalated_by = '')
ORDER BY random() LIMIT 1 FOR UPDATE OF gold SKIP LOCKED
"""


def is_drawn(project: Project, actor: Actor) -> bool:
    """Whether this claim brings a gold turn. Never an owner's: owners know which ones they are."""
    share: float = project.setting("gold_share")
    return share > 0 and not actor.is_owner and random.random() < share  # noqa: S311 - a sample, not a secret


def is_of_another(turn: Turn, actor: Actor) -> bool:
    return turn.gold_for not in ("", actor.ref)


def serve(project: Project, actor: Actor, due: Turn) -> Turn | None:
    """Makes a copy of a gold turn for this reviewer, in the caller's transaction; None where none is left for them.

    It has the age that gives it the rank of the turn in whose place it comes. Four queries.
    """
    rows = run(_CHOOSE_SQL, {"project": project.id, "actor": actor.ref})
    if not rows:
        return None
    gold = GoldTurn.objects.get(id=rows[0][0])
    turn = _copy(project, gold, due)
    turn.gold_for = actor.ref
    turn.save(force_insert=True)
    given = {"project": project, "actor_label": actor.label, "turn_id": turn.id}
    GoldAnswer.objects.update_or_create(gold=gold, actor=actor.ref, defaults=given)
    # Its words are found by a search, as any turn's are.
    run("INSERT INTO review_staleturn (turn_id, project_id) VALUES (%s, %s)", [turn.id, project.id])
    return turn


def _copy(project: Project, gold: GoldTurn, due: Turn) -> Turn:
    has: dict[str, Any] = {name: gold.body.get(name, getattr(due, name)) for name in COPIED}
    # Who looked there would find the original, or the turn that is due. Its own trace shows how it was executed.
    has["session_id"] = _another(has["session_id"])
    has["trace_id"] = gold.body.get("trace_id") or _another(due.trace_id)
    reasons = signal_reasons(has["signals"], weights_of(project), project.setting("default_signal_weight"))
    points = round(sum(reasons.values()), 3)
    logged_at = _logged_at(project, points, due)
    return Turn(
        id=id_at(logged_at),
        project=project,
        question=gold.question,
        response=gold.response,
        truncated=gold.body.get("truncated", []),
        # No content hash: what is logged meanwhile is never merged into it.
        content_hash=None,
        reasons=reasons,
        priority=points,
        rank=rank_of(points, 1, logged_at),
        logged_at=logged_at,
        occurred_at=logged_at,
        last_seen_at=logged_at,
        expires_at=max(logged_at + timedelta(days=project.setting("ttl_days")), timezone.now() + timedelta(days=1)),
        **has,
    )


def _logged_at(project: Project, points: float, due: Turn) -> datetime:
    """When it would have to have come to stand where the turn stands that is due: not later, and not expired yet."""
    wanted = (points - due.rank) * DAY_SECONDS - random.uniform(1, 900)  # noqa: S311 - no secret
    oldest = timezone.now() - timedelta(days=0.9 * project.setting("ttl_days"))
    return datetime.fromtimestamp(min(max(wanted, oldest.timestamp()), due.logged_at.timestamp()), UTC)


def _another(name: str) -> str:
    """A name spelt like this one, which leads nowhere."""
    return re.sub(r"[0-9a-f]*\d[0-9a-f]*", lambda found: "".join(map(_digit, found[0])), name)


def _digit(one: str) -> str:
    return random.choice("0123456789" if one.isdigit() else "abcdef")  # noqa: S311 - no secret


def answer(turn: Turn, actor: Actor, rating: str) -> GoldTurn:
    """Keeps what a reviewer says of a locked copy, unless they have said something before; answers what is known."""
    given = GoldAnswer.objects.select_for_update(of=("self",)).select_related("gold").get(turn_id=turn.id)
    if not given.rating:
        given.rating, given.known, given.answered_at = rating, given.gold.rating, timezone.now()
        given.actor_label = actor.label
        given.save(update_fields=["rating", "known", "answered_at", "actor_label"])
    return given.gold


def told(turn: Turn, actor: Actor) -> GoldAnswer | None:
    """What is known of a copy, for whoever has answered it, and for owners. One query; none for any other turn."""
    if not turn.gold_for or turn.status != Status.REVIEWED or not (actor.is_owner or turn.gold_for == actor.ref):
        return None
    return GoldAnswer.objects.select_related("gold").filter(turn_id=turn.id).first()


def memories_of_original(project: Project, turn: Turn) -> set[Any]:
    """The memories that the judged original made: they would say the answer. One query."""
    rows = run(
        """
        SELECT said.memory_id FROM review_goldanswer AS given
        JOIN review_goldturn AS gold ON gold.id = given.gold_id
        JOIN review_annotation AS said ON said.project_id = gold.project_id AND said.content_hash = gold.content_hash
        WHERE given.turn_id = %s AND given.project_id = %s AND said.memory_id IS NOT NULL
        """,
        [turn.id, project.id],
    )
    return {memory_id for (memory_id,) in rows}


class GoldNotFound(errors.NotFound):
    """There is no such gold turn in this project."""

    code = "gold_not_found"
