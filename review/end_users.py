"""What end users say of an answer: heard, changed, and taken back as spam.

It becomes an annotation and the user's own evidence. It never closes a turn and never becomes a memory: whoever has
a link could put words before the agent that way, so a reviewer decides. A "no" puts the turn into the queue, or moves
it up where it waits already.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from agentloop.actors import Actor
from agentloop.models import Project
from review import errors, queue, verdicts
from review.intake import IntakeRules, content_hash, read_turn, store
from review.models import Annotation, AnnotationSource, Rating, Status, Turn
from review.priority import rank_of, signal_reasons

SIGNAL = "user_feedback"
MADE_HERE = "feedback_widget"


@dataclass(frozen=True, slots=True)
class About:
    """What somebody speaks of: a turn by its id, or by its texts; and the execution that answered, where known."""

    turn_id: UUID | None = None
    question: str = ""
    response: str = ""
    user_id: str = ""
    session_id: str = ""
    trace_id: str = ""
    goal: str = ""


def hear(project: Project, actor: Actor, about: About, verdict: verdicts.Verdict) -> Annotation:
    """Writes down what an end user says, in the caller's transaction. Raises TurnNotFound for a turn that is gone."""
    with transaction.atomic(savepoint=False):
        question, response = verdicts.as_stored(project, about.question, about.response)
        turn = _turn_of(project, about, question, response)
        if verdict.rating == Rating.INCORRECT:
            turn = _in_queue(project, about, turn)
        annotation = verdicts.annotate_heard(
            project,
            actor,
            replace(verdict, user_id=about.user_id or (turn.user_id if turn else "")),
            turn=turn,
            question=turn.question if turn else question,
            response=turn.response if turn else response,
            execution={"trace_id": about.trace_id, "goal": about.goal} if about.trace_id else {},
        )
        if verdict.rating == Rating.INCORRECT:
            _weigh(project, turn)
    return annotation


def hear_again(
    project: Project, actor: Actor, about: About, annotation_id: UUID, changes: Mapping[str, Any]
) -> Annotation:
    """Writes down that the same user now says something else."""
    with transaction.atomic(savepoint=False):
        turn = _turn_of_annotation(project, verdicts.find_annotation(project, annotation_id))
        annotation = verdicts.edit_annotation(project, actor, annotation_id, changes).annotation
        if annotation.rating == Rating.INCORRECT:
            snapshot = replace(about, question=annotation.question, response=annotation.response)
            turn = _in_queue(project, snapshot, turn)
            annotation.turn = turn
            annotation.save(update_fields=["turn"])
        _weigh(project, turn)
    return annotation


def take_back(project: Project, actor: Actor, annotation_id: UUID) -> None:
    """Takes back what was said, as spam: its evidence is withdrawn, and a turn that waits for its sake alone leaves."""
    with transaction.atomic(savepoint=False):
        turn = _turn_of_annotation(project, verdicts.find_annotation(project, annotation_id))
        verdicts.retract(project, actor, annotation_id)
        _weigh(project, turn)
        if turn is not None and _waits_for_nothing_else(turn):
            with suppress(errors.ClaimedByAnother):
                queue.dismiss(project, actor, turn.id, "Feedback that put it here was removed.")


# --- the turn that is spoken of -------------------------------------------------------------------------------


def _turn_of(project: Project, about: About, question: str, response: str) -> Turn | None:
    """The turn, locked: by its id, else the pending one with these texts, else the last that was judged with them."""
    if about.turn_id is not None:
        return queue.find_turn(project, about.turn_id, lock=True)
    same = content_hash(question, response)
    pending = Turn.objects.of(project).pending().filter(content_hash=same).select_for_update().first()
    return pending or _judged(project, same)


def _judged(project: Project, same: UUID) -> Turn | None:
    of_content = Annotation.objects.of(project).standing().filter(content_hash=same).exclude(turn=None)
    turn_id = of_content.order_by("-id").values_list("turn_id", flat=True).first()
    return Turn.objects.of(project).visible().select_for_update().filter(id=turn_id).first() if turn_id else None


def _turn_of_annotation(project: Project, annotation: Annotation) -> Turn | None:
    if annotation.turn_id is None:
        return None
    return Turn.objects.of(project).visible().select_for_update().filter(id=annotation.turn_id).first()


def _in_queue(project: Project, about: About, turn: Turn | None) -> Turn:
    """The turn that a reviewer will see: as it waits, or a new one that points to the one that is closed."""
    if turn is not None and turn.status == Status.PENDING:
        return turn
    new = read_turn(_item(about, turn), IntakeRules.of(project), timezone.now())
    [logged] = store(project, [new])
    return Turn.objects.of(project).select_for_update().get(id=logged.turn_id)


def _item(about: About, closed: Turn | None) -> dict[str, Any]:
    """A turn as a client would log it."""
    named = {"user_id": about.user_id, "session_id": about.session_id, "trace_id": about.trace_id, "goal": about.goal}
    item: dict[str, Any] = {
        "question": about.question,
        "agent_response": about.response,
        "signals": {SIGNAL: 1},
        "metadata": {"made_by": MADE_HERE},
    }
    if closed is None:
        return {**item, **named}
    item |= {"question": closed.question, "agent_response": closed.response}
    item["metadata"]["follows_turn"] = closed.shown_id
    kept = ("user_id", "session_id", "trace_id", "goal", "model", "path_id", "pipeline_id")
    return {**item, **{name: named.get(name) or getattr(closed, name) for name in kept}}


def _weigh(project: Project, turn: Turn | None) -> None:
    """The signal counts the users who say no now; the priority follows."""
    if turn is None or turn.status != Status.PENDING:
        return
    said = Annotation.objects.of(project).standing().filter(turn=turn, source=AnnotationSource.END_USER)
    unhappy = said.filter(rating=Rating.INCORRECT).count()
    signals = {name: value for name, value in turn.signals.items() if name != SIGNAL or type(value) is not int}
    if unhappy:
        signals[SIGNAL] = unhappy
    if signals == turn.signals:
        return
    rules = IntakeRules.of(project)
    turn.signals = signals
    turn.reasons = signal_reasons(signals, rules.weights, rules.default_weight)
    turn.priority = round(sum(turn.reasons.values()), 3)
    turn.rank = rank_of(turn.priority, turn.occurrences, turn.logged_at)
    turn.save(update_fields=["signals", "reasons", "priority", "rank"])
    queue.mark_stale(turn)


def _waits_for_nothing_else(turn: Turn) -> bool:
    is_ours = turn.metadata.get("made_by") == MADE_HERE and turn.occurrences == 1
    return is_ours and turn.status == Status.PENDING and not turn.signals
