"""Blind double review: for a share of turns several reviewers say what they think, and none of them sees the others'.

What they say is kept as opinions. Only when all agree do these become annotations, with evidence and memories;
where they disagree, an owner who is none of them decides.
"""

from collections.abc import Iterable
from dataclasses import fields
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import UUID

from agentloop.actors import Actor
from agentloop.ids import new_id
from agentloop.models import Project
from review.models import AnnotationSource, Opinion, Turn

if TYPE_CHECKING:
    from review.verdicts import Verdict


def is_drawn(project: Project, turn: Turn) -> bool:
    """Whether several must judge it. The turn's own id decides, so it is the same whoever asks; one that has an
    opinion stays drawn when the share is changed."""
    point = int.from_bytes(sha256(turn.id.bytes).digest()[:8]) / 2**64
    return turn.opinions > 0 or point < project.setting("double_share")


def has_judged(turn: Turn, actor: Actor) -> bool:
    """One query; none where nobody has."""
    return turn.opinions > 0 and standing(turn).filter(actor=actor.ref).exists()


def standing(turn: Turn) -> Any:
    """The opinions on a turn that nothing has come of yet."""
    return Opinion.objects.filter(turn_id=turn.id, is_settled=False)


def keep(turn: Turn, actor: Actor, verdict: "Verdict", source: AnnotationSource) -> Opinion:
    """Keeps an opinion on a locked turn."""
    opinion = Opinion.objects.create(
        project_id=turn.project_id,
        turn_id=turn.id,
        actor=actor.ref,
        actor_label=actor.label,
        source=source,
        rating=verdict.rating,
        verdict={one.name: getattr(verdict, one.name) for one in fields(verdict)},
        draw=turn.draw,
        draw_probability=turn.draw_probability,
    )
    recount(turn)
    return opinion


def settle(turn: Turn) -> list[str]:
    """Something came of a locked turn's opinions: they end with it, and stay for figures. Answers their ids."""
    ids = list(standing(turn).values_list("id", flat=True)) if turn.opinions else []
    if ids:
        Opinion.objects.filter(id__in=ids).update(is_settled=True)
        recount(turn)
    return [one.hex for one in ids]


def unsettle(turn: Turn, ids: Iterable[str], without: str | None = None) -> None:
    """What came of a locked turn's opinions is taken back, with the one that brought it about.

    An annotation that was taken back keeps its id, so what comes of an opinion next gets another one.
    """
    for opinion in Opinion.objects.filter(turn_id=turn.id, id__in=[UUID(hex=one) for one in ids]):
        if opinion.id.hex == without:
            opinion.delete()
        else:
            opinion.is_settled, opinion.annotation_id = False, new_id()
            opinion.save(update_fields=["is_settled", "annotation_id"])
    recount(turn)


def recount(turn: Turn) -> None:
    turn.opinions = standing(turn).count()
    turn.save(update_fields=["opinions"])
