"""Pending turns follow their project's settings: a changed TTL moves their expiry, changed weights their priority."""

from typing import Any
from uuid import UUID

import orjson
from django.db import transaction

from agentloop.models import Project
from agentloop.project_settings import SETTINGS
from agentloop.sql import run
from review.models import SettledWith
from review.priority import RANK_SQL, signal_reasons, weights_of

BATCH = 2000
_START = UUID(int=0)


def settle(project: Project) -> int:
    """Brings pending turns in line with settings that changed since last time; answers how many it touched.

    Works in batches of its own transactions, and notes what it did only at the end: cut off half-way it
    starts again, and doing it twice changes nothing.
    """
    wanted = {"ttl_days": project.setting("ttl_days"), "weights": _weights(project)}
    settled = SettledWith.objects.filter(project=project).first()
    had = (
        {"ttl_days": settled.ttl_days, "weights": settled.weights}
        if settled
        else {
            "ttl_days": SETTINGS["ttl_days"].default,
            "weights": {"named": {}, "default": SETTINGS["default_signal_weight"].default},
        }
    )
    touched = 0
    if had["ttl_days"] != wanted["ttl_days"]:
        touched += _each_batch(project, lambda after: _apply_ttl(project, after))
    if had["weights"] != wanted["weights"]:
        touched += _each_batch(project, lambda after: _weigh_anew(project, after))
    if settled is None or had != wanted:
        SettledWith.objects.update_or_create(project=project, defaults=wanted)
    return touched


def _weights(project: Project) -> dict[str, Any]:
    return {"named": project.setting("signal_weights"), "default": project.setting("default_signal_weight")}


def _each_batch(project: Project, apply: Any) -> int:
    touched, after = 0, _START
    while ids := apply(after):
        touched += len(ids)
        after = max(ids)
    return touched


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
            SELECT id FROM review_turn
            WHERE project_id = %(project)s AND status = 'pending' AND expires_at > now() AND id > %(after)s
            ORDER BY id LIMIT %(limit)s FOR UPDATE
        ) RETURNING id
        """,
        {"project": project.id, "days": project.setting("ttl_days"), "limit": BATCH, "after": after},
    )
    return [turn_id for (turn_id,) in rows]


@transaction.atomic
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
