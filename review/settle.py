"""Pending turns follow their project's settings: a changed TTL moves their expiry, changed weights their priority."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import orjson
from django.db import transaction

from agentloop.models import Project
from agentloop.project_settings import SETTINGS
from agentloop.sql import run, with_retries
from review.models import SettledWith
from review.priority import RANK_SQL, signal_reasons, weights_of

BATCH = 2000
_START = UUID(int=0)


def settle(project: Project) -> int:
    """Brings the next batch of pending turns in line with settings that changed; answers how many it touched, and 0
    when all follow.

    How far it came is noted with each batch, in the same transaction: cut off, it goes on from there. A setting that
    changes meanwhile begins again, also one that is changed back.
    """
    return with_retries(lambda: _next_batch(project))


@transaction.atomic
def _next_batch(project: Project) -> int:
    settled, _ = SettledWith.objects.get_or_create(project=project, defaults=_at_first())
    for name, (wanted, apply) in _settings(project).items():
        on_way = settled.on_way.get(name)
        if on_way is None and getattr(settled, name) == wanted:
            continue
        after = UUID(on_way["after"]) if on_way and on_way["to"] == wanted else _START
        touched = apply(project, after)
        if touched:
            settled.on_way[name] = {"to": wanted, "after": max(touched).hex}
        else:
            settled.on_way.pop(name, None)
            setattr(settled, name, wanted)
        settled.save()
        if touched:
            return len(touched)
    return 0


def _settings(project: Project) -> dict[str, tuple[Any, Callable[[Project, UUID], list[UUID]]]]:
    """What turns follow: its value now, and how a batch of turns is brought in line with it."""
    weights = {"named": project.setting("signal_weights"), "default": project.setting("default_signal_weight")}
    return {"ttl_days": (project.setting("ttl_days"), _apply_ttl), "weights": (weights, _weigh_anew)}


def _at_first() -> dict[str, Any]:
    return {
        "ttl_days": SETTINGS["ttl_days"].default,
        "weights": {"named": {}, "default": SETTINGS["default_signal_weight"].default},
    }


def _apply_ttl(project: Project, after: UUID) -> list[UUID]:
    """A turn's clock runs from when it was last logged or came back to the queue.

    Leases, snoozes, fresh drafts, and what waits for others' opinions or for an owner still hold it back.
    """
    rows = run(
        """
        UPDATE review_turn AS turn SET expires_at = greatest(
            greatest(turn.last_seen_at, (
                SELECT max(CASE act WHEN 'reopen' THEN at ELSE undone_at END) FROM review_queueact
                WHERE subject_id = turn.id AND act IN ('reopen', 'dismiss', 'verdict')
            )) + %(days)s * interval '1 day',
            CASE WHEN turn.claimed_by <> '' THEN turn.claimed_until END,
            turn.snoozed_until + interval '1 day',
            (SELECT max(saved_at) + interval '7 days' FROM review_draft WHERE turn_id = turn.id),
            (SELECT max(at) + interval '7 days' FROM review_queueact
                WHERE subject_id = turn.id AND act IN ('opinion', 'dispute') AND undone_at IS NULL))
        WHERE id IN (
            -- An array is made once, whatever the plan: looked at again, the limit would let through as many more.
            SELECT unnest(ARRAY(SELECT id FROM review_turn
            WHERE project_id = %(project)s AND status = 'pending' AND expires_at > now() AND id > %(after)s
            ORDER BY id LIMIT %(limit)s FOR UPDATE))
        ) RETURNING id
        """,
        {"project": project.id, "days": project.setting("ttl_days"), "limit": BATCH, "after": after},
    )
    return [turn_id for (turn_id,) in rows]


def _weigh_anew(project: Project, after: UUID) -> list[UUID]:
    # Locked, so that no logging adds a reason between the reading and the writing.
    rows = run(
        """
        SELECT id, signals::text FROM review_turn
        WHERE project_id = %s AND status = 'pending' AND expires_at > now() AND id > %s
        ORDER BY id LIMIT %s FOR NO KEY UPDATE
        """,
        [project.id, after, BATCH],
    )
    weights, default_weight = weights_of(project), project.setting("default_signal_weight")
    weighed = []
    for turn_id, signals in rows:
        reasons = signal_reasons(orjson.loads(signals), weights, default_weight)
        weighed.append({"id": turn_id, "reasons": reasons, "priority": round(sum(reasons.values()), 3)})
    rank = RANK_SQL.format(priority="given.priority", occurrences="turn.occurrences", logged_at="turn.logged_at")
    run(
        f"""
        UPDATE review_turn AS turn SET reasons = given.reasons, priority = given.priority, rank = {rank}
        FROM json_to_recordset(%s::json) AS given(id uuid, reasons jsonb, priority float8)
        WHERE turn.id = given.id
        """,
        [orjson.dumps(weighed).decode()],
    )
    return [turn_id for turn_id, _ in rows]
