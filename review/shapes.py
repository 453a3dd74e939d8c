"""Rows as the API answers them."""

from typing import Any

from django.utils import timezone

from agentloop.ids import shown
from review.gold_turns import Accuracy, Standing
from review.models import Annotation, GoldTurn, Occurrence, Status, Turn
from review.priority import explain
from review.verdicts import Judged, status_of

_AS_THEY_ARE = (
    "status",
    "question",
    "truncated",
    "signals",
    "metadata",
    "tags",
    "user_id",
    "session_id",
    "trace_id",
    "goal",
    "model",
    "path_id",
    "pipeline_id",
    "sample_rate",
    "occurrences",
    "logged_at",
    "occurred_at",
    "last_seen_at",
    "snoozed_until",
    "escalation_note",
    "dismissed_reason",
    "closed_at",
)


def turn_shape(turn: Turn) -> dict[str, Any]:
    now = timezone.now()
    is_held = bool(turn.claimed_by) and turn.claimed_until is not None and turn.claimed_until > now
    points = explain(turn.reasons, turn.occurrences, turn.logged_at, now)
    return {
        "turn_id": turn.shown_id,
        "agent_response": turn.response,
        **{name: getattr(turn, name) for name in _AS_THEY_ARE},
        "priority": round(sum(amount for _, amount in points), 3),
        "expires_at": turn.expires_at if turn.status == Status.PENDING else None,
        "claimed_by": turn.claimed_by if is_held else None,
        "claimed_until": turn.claimed_until if is_held else None,
        "escalated_by": turn.escalated_by or None,
    }


def reasons_shape(turn: Turn) -> list[dict[str, Any]]:
    points = explain(turn.reasons, turn.occurrences, turn.logged_at, timezone.now())
    return [{"reason": reason, "points": amount} for reason, amount in points]


def occurrence_shape(occurrence: Occurrence) -> dict[str, Any]:
    names = ("occurred_at", "trace_id", "goal", "model", "user_id", "session_id", "signals")
    return {name: getattr(occurrence, name) for name in names}


_OF_ANNOTATION = (
    "question",
    "source",
    "author",
    "author_label",
    "rating",
    "correction",
    "root_cause",
    "failure_category",
    "tags",
    "comment",
    "scores",
    "rubric",
    "metadata",
    "user_id",
    "goal",
    "model",
    "path_id",
    "pipeline_id",
    "trace_id",
    "draw",
    "draw_probability",
    "version",
    "created_at",
    "updated_at",
)


def annotation_shape(annotation: Annotation) -> dict[str, Any]:
    return {
        "annotation_id": shown("ann", annotation.id),
        "turn_id": shown("turn", annotation.turn_id) if annotation.turn_id else None,
        "memory_id": shown("mem", annotation.memory_id) if annotation.memory_id else None,
        "agent_response": annotation.response,
        **{name: getattr(annotation, name) for name in _OF_ANNOTATION},
    }


def judged_shape(judged: Judged) -> dict[str, Any]:
    memory = judged.memory
    shape: dict[str, Any] = {
        "annotation_id": None if judged.gold else shown("ann", judged.annotation.id),
        "memory_id": shown("mem", memory.memory_id) if memory else None,
        "status": status_of(judged),
        "duplicate_score": memory.likeness if memory and not memory.is_new else None,
        "turn_id": shown("turn", judged.annotation.turn_id) if judged.annotation.turn_id else None,
        "act_id": shown("act", judged.act.id),
    }
    if judged.gold:
        shape["gold"] = known_shape(judged.gold, judged.annotation.rating)
    return shape


_KNOWN = ("rating", "root_cause", "failure_category", "explanation")


def known_shape(gold: GoldTurn, said: str) -> dict[str, Any]:
    """What a reviewer is told once they have answered."""
    return {"is_right": said == gold.rating, **{name: getattr(gold, name) for name in _KNOWN}}


def gold_shape(one: Standing) -> dict[str, Any]:
    return {
        "gold_id": one.gold.shown_id,
        "question": one.gold.question,
        "agent_response": one.gold.response,
        "goal": one.gold.body.get("goal", ""),
        **{name: getattr(one.gold, name) for name in _KNOWN},
        "source_turn_id": one.shown_source_id,
        "given": one.given,
        "answered": one.answered.count,
        "right": one.answered.hits,
        "created_at": one.gold.created_at,
        "retired_at": one.gold.retired_at,
    }


def accuracy_shape(one: Accuracy) -> dict[str, Any]:
    share = one.share
    return {
        "reviewer": one.ref,
        "label": one.label,
        "answered": share.count,
        "right": share.hits,
        "share": share.rate,
        "interval": [share.low, share.high],
        "is_few": share.is_few,
        "too_kind": one.too_kind,
        "too_strict": one.too_strict,
        "left": one.left,
    }
