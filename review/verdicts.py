"""Judging: an annotation, the turn it closes, the memory it makes; edited, and taken back."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import models, transaction
from django.utils import timezone

from agentloop import audit
from agentloop.actors import Actor
from agentloop.errors import Conflict, Invalid
from agentloop.ids import shown
from agentloop.masking import mask_of, masked, masked_head, masked_id
from agentloop.models import Project
from review import double, errors, evidence, gold, memories, notices, rubrics
from review.intake import IntakeRules, content_hash
from review.models import (
    Annotation,
    AnnotationSource,
    AnnotationVersion,
    Draft,
    GoldTurn,
    Memory,
    Opinion,
    QueueAct,
    Skip,
    Turn,
)
from review.queue import (
    against_new_twins,
    await_others,
    check_hold,
    close_reviewed,
    dispute,
    find_turn,
    mark_stale_id,
    restore,
    save_draft,
    untag,
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What somebody says of a turn. The names are the annotation's columns."""

    rating: str
    correction: str = ""
    root_cause: str = ""
    failure_category: str = ""
    tags: list[str] = field(default_factory=list)
    comment: str = ""
    scores: dict[str, Any] = field(default_factory=dict)
    rubric: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    user_id: str = ""

    def as_columns(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


EDITABLE = ("rating", "correction", "root_cause", "failure_category", "tags", "comment", "scores", "rubric", "metadata")


@dataclass(frozen=True, slots=True)
class Judged:
    """An annotation with what it did: the turn it closed, the act to undo, and the memory it made or updated.

    One that is waiting is none yet: it will be when all who must judge the turn agree. One on a gold turn never
    becomes one: `gold` is what was known.
    """

    annotation: Annotation
    act: QueueAct
    turn: Turn | None = None
    memory: memories.Remembered | None = None
    is_waiting: bool = False
    gold: GoldTurn | None = None


def judge_turn(
    project: Project,
    actor: Actor,
    turn_id: UUID,
    verdict: Verdict,
    *,
    source: AnnotationSource,
    token: int | None = None,
) -> Judged:
    """A verdict on a pending turn, which it closes; under double review it does so once all verdicts agree."""
    with transaction.atomic():
        turn = find_turn(project, turn_id, lock=True)
        check_hold(turn, actor, token)
        ready = _ready(project, verdict)
        if turn.gold_for:
            return _answer_gold(project, actor, ready, turn)
        return _judge(project, actor, ready, source, turn, turn.question, turn.response)


@contextmanager
def keeping_text(project: Project, actor: Actor, turn_id: UUID, verdict: Verdict) -> Iterator[None]:
    """Keeps what a reviewer wrote as their draft when their claim turns out to be lost.

    Stands outside of the verdict's transaction, which is undone whole.
    """
    try:
        yield
    except (errors.ClaimLost, errors.ClaimedByAnother, errors.NotPending) as lost:
        save_draft(project, actor, turn_id, verdict.as_columns())
        lost.extra["draft_saved"] = True
        raise


def annotate(
    project: Project,
    actor: Actor,
    question: str,
    response: str,
    verdict: Verdict,
    *,
    source: AnnotationSource,
) -> Judged:
    """A verdict on a question and response. It closes the pending turn that has both, if there is one."""
    question, response = as_stored(project, question, response)
    with transaction.atomic():
        same = Turn.objects.of(project).pending().filter(content_hash=content_hash(question, response))
        turn = same.select_for_update().first()
        if turn is not None and double.has_judged(turn, actor):
            raise errors.AlreadyJudged
        closes = source != AnnotationSource.END_USER
        if turn is not None and closes and turn.escalated_by and not actor.is_owner:
            raise errors.OnlyOwners
        return _judge(project, actor, _ready(project, verdict), source, turn, question, response)


def annotate_heard(
    project: Project,
    actor: Actor,
    verdict: Verdict,
    *,
    turn: Turn | None,
    question: str,
    response: str,
    execution: Mapping[str, str],
) -> Annotation:
    """An end user's word, in the caller's transaction, of a turn that is locked or of texts that nobody logged.

    `execution` names the trace and goal where the user's link did: what they say is then of that one alone.
    """
    said = _mask(project, verdict)
    source = AnnotationSource.END_USER
    return _annotate(project, actor, said, source, turn, question, response, execution).annotation


def retract(project: Project, actor: Actor, annotation_id: UUID) -> None:
    """Takes an annotation back with the evidence and the memory made of it, whoever gave it."""
    with transaction.atomic():
        annotation = _locked_annotation(project, annotation_id)
        _retract(project, annotation)
        _note(annotation, actor, "verdict.remove")


def as_stored(project: Project, question: str, response: str) -> tuple[str, str]:
    """Texts as intake would have stored them, so that they are found again: masked, then cut."""
    rules = IntakeRules.of(project)

    def stored(text: str, limit: int) -> str:
        text = masked_head(text, limit, rules.mask)
        return text.encode()[:limit].decode(errors="ignore")

    return stored(question, rules.question_limit), stored(response, rules.response_limit)


def _ready(project: Project, verdict: Verdict) -> Verdict:
    """The verdict as it is kept: its answers fit the rubric, its score is the one they give, its texts are masked."""
    kept = rubrics.checked_answers(project, verdict.rubric)
    score = rubrics.overall_score(project, kept)
    scores = verdict.scores if score is None else {rubrics.OVERALL: score, **verdict.scores}
    return _mask(project, replace(verdict, rubric=kept, scores=scores))


def _mask(project: Project, verdict: Verdict) -> Verdict:
    mask = mask_of(project)
    if mask is None:
        return verdict
    return replace(
        verdict,
        correction=mask(verdict.correction),
        comment=mask(verdict.comment),
        tags=[mask(tag) for tag in verdict.tags],
        scores=masked(verdict.scores, mask),
        rubric=rubrics.masked_answers(verdict.rubric, mask),
        metadata=masked(verdict.metadata, mask),
        user_id=masked_id(verdict.user_id, mask),
    )


def _judge(
    project: Project,
    actor: Actor,
    verdict: Verdict,
    source: AnnotationSource,
    turn: Turn | None,
    question: str,
    response: str,
) -> Judged:
    """A verdict that counts, or an opinion where several must judge. What is before the owners, one of them decides."""
    decides = turn is None or (turn.escalated_by and actor.is_owner)
    if turn is None or decides or not double.is_drawn(project, turn):
        return _annotate(project, actor, verdict, source, turn, question, response)
    return _give_opinion(project, actor, verdict, source, turn)


def _answer_gold(project: Project, actor: Actor, verdict: Verdict, turn: Turn) -> Judged:
    """Closes a copy of a gold turn. Nothing is learnt from it: it makes no annotation, memory, evidence or notice."""
    known = gold.answer(turn, actor, verdict.rating)
    audit.note(project, actor, "gold.answer", known.shown_id, rating=verdict.rating, known=known.rating)
    said = Annotation(project=project, turn_id=turn.id, rating=verdict.rating)
    return Judged(said, close_reviewed(turn, actor, {"gold": known.id.hex}).act, turn, gold=known)


def _give_opinion(project: Project, actor: Actor, verdict: Verdict, source: AnnotationSource, turn: Turn) -> Judged:
    """Keeps an opinion. The last one that is needed closes the turn, or brings it before the owners."""
    opinion = double.keep(turn, actor, verdict, source)
    will_be = Annotation(id=opinion.annotation_id, project=project, turn_id=turn.id, rating=verdict.rating)
    if turn.opinions < project.setting("double_verdicts"):
        audit.note(project, actor, "verdict.blind", turn.shown_id)
        return Judged(will_be, await_others(turn, actor, opinion).act, is_waiting=True)
    opinions = list(double.standing(turn).order_by("actor"))
    of_all = {"opinion": opinion.id.hex, "opinions": [one.id.hex for one in opinions]}
    if any(one.rating != verdict.rating for one in opinions):
        audit.note(project, actor, "verdict.blind", turn.shown_id)
        notices.turn_disputed(project, turn)
        return Judged(will_be, dispute(turn, actor, of_all).act, is_waiting=True)
    return _agree(project, actor, turn, opinions, of_all)


def _agree(project: Project, actor: Actor, turn: Turn, opinions: Sequence[Opinion], of_all: dict[str, Any]) -> Judged:
    """Makes annotations of opinions that agree. Where they differ beside the rating, the last one speaks for the
    turn: in the order of their authors, so that it is the same in whichever order they came."""
    now = timezone.now()
    made = {}
    for place, one in enumerate(opinions):
        columns = {
            "id": one.annotation_id,
            "created_at": one.at,
            "updated_at": now + timedelta(microseconds=place),
            "draw": one.draw,
            "draw_probability": one.draw_probability,
        }
        author = actor if one.actor == actor.ref else Actor(one.actor, one.actor_label, frozenset())
        source = AnnotationSource(one.source)
        said = Verdict(**one.verdict)
        made[one.actor] = _write(project, author, said, source, turn, turn.question, turn.response, columns=columns)
    double.settle(turn)
    ids = [annotation.id.hex for annotation, _ in made.values()]
    act = close_reviewed(turn, actor, {**of_all, "annotations": ids}).act
    annotation, memory = made[actor.ref]
    return Judged(annotation, act, turn, memory)


def _annotate(
    project: Project,
    actor: Actor,
    verdict: Verdict,
    source: AnnotationSource,
    turn: Turn | None,
    question: str,
    response: str,
    execution: Mapping[str, str] | None = None,
) -> Judged:
    """Writes the annotation in the caller's transaction. An end user's word never closes a turn."""
    annotation, memory = _write(project, actor, verdict, source, turn, question, response, execution)
    if turn is None or source == AnnotationSource.END_USER:
        return Judged(annotation, _act_on_annotation(annotation, actor, "annotate"), None, memory)
    details: dict[str, Any] = {"annotation": annotation.id.hex}
    if opinions := double.settle(turn):
        details["opinions"] = opinions
    return Judged(annotation, close_reviewed(turn, actor, details).act, turn, memory)


def _write(
    project: Project,
    actor: Actor,
    verdict: Verdict,
    source: AnnotationSource,
    turn: Turn | None,
    question: str,
    response: str,
    execution: Mapping[str, str] | None = None,
    columns: Mapping[str, Any] | None = None,
) -> tuple[Annotation, memories.Remembered | None]:
    """The annotation with its first version, its memory and its evidence."""
    of_turn: dict[str, Any] = {}
    if turn is not None:
        names = ("goal", "model", "path_id", "pipeline_id", "trace_id", "draw", "draw_probability")
        of_turn = {"turn_id": turn.id, **{name: getattr(turn, name) for name in names}}
    if execution:
        of_turn |= {"model": "", "path_id": "", "pipeline_id": "", **execution}
    annotation = Annotation.objects.create(
        project=project,
        question=question,
        response=response,
        content_hash=turn.content_hash if turn else content_hash(question, response),
        source=source,
        author=actor.ref,
        author_label=actor.label,
        **verdict.as_columns(),
        **{**of_turn, **(columns or {})},
    )
    _keep_version(annotation, actor)
    memory = memories.remember(project, annotation)
    evidence.verdict_given(project, annotation, turn, execution)
    _note(annotation, actor, "verdict.give", turn=turn.shown_id if turn else "")
    return annotation, memory


def _act_on_annotation(annotation: Annotation, actor: Actor, act: str, **details: Any) -> QueueAct:
    """Recorded on the turn where there is one, so that its acts are undone in order."""
    return QueueAct.objects.create(
        project_id=annotation.project_id,
        subject_id=annotation.turn_id or annotation.id,
        actor=actor.ref,
        act=act,
        details={"annotation": annotation.id.hex, **details},
    )


def _keep_version(annotation: Annotation, actor: Actor) -> None:
    body = {name: getattr(annotation, name) for name in EDITABLE}
    AnnotationVersion.objects.create(
        project_id=annotation.project_id,
        annotation_id=annotation.id,
        version=annotation.version,
        body=body,
        author=actor.ref,
    )


def _note(annotation: Annotation, actor: Actor, act: str, **details: Any) -> None:
    notices.verdict_noted(actor, act, annotation)
    audit.note(
        annotation.project,
        actor,
        act,
        shown("ann", annotation.id),
        rating=annotation.rating,
        root_cause=annotation.root_cause,
        version=annotation.version,
        **details,
    )


def find_annotation(project: Project, annotation_id: UUID) -> Annotation:
    annotation = Annotation.objects.of(project).standing().filter(id=annotation_id).first()
    if annotation is None:
        raise errors.AnnotationNotFound
    return annotation


def _locked_annotation(project: Project, annotation_id: UUID) -> Annotation:
    """The annotation with its turn locked first, as every act does."""
    found = find_annotation(project, annotation_id)
    if found.turn_id is not None:
        Turn.objects.of(project).select_for_update().filter(id=found.turn_id).first()
    locked = Annotation.objects.of(project).standing().select_for_update().filter(id=annotation_id).first()
    if locked is None:
        raise errors.AnnotationNotFound
    return locked


def may_change(actor: Actor, author: str) -> bool:
    """Whoever gave a verdict, and owners. What is not decided yet under double review nobody finds to change."""
    return actor.is_owner or author == actor.ref


def edit_annotation(
    project: Project, actor: Actor, annotation_id: UUID, changes: Mapping[str, Any], *, after: int | None = None
) -> Judged:
    """Says something else of the same; what was said before stays as a version. See `may_change`.

    `after` is the version that whoever writes has seen: refused where there is a newer one.
    """
    with transaction.atomic():
        annotation = _locked_annotation(project, annotation_id)
        if not may_change(actor, annotation.author):
            raise errors.NotYourVerdict
        if after is not None and after != annotation.version:
            raise errors.VerdictMoved
        if "rubric" in changes:
            # The score that the earlier answers gave goes with them.
            others = {name: score for name, score in annotation.scores.items() if name != rubrics.OVERALL}
            changes = {"scores": others, **changes}
        verdict = _ready(project, Verdict(**{"rating": annotation.rating, **changes}))
        before = {"version": annotation.version, "updated_at": annotation.updated_at.isoformat()}
        annotation.updated_at = timezone.now()
        memory = _rewrite(annotation, actor, {name: getattr(verdict, name) for name in changes})
        evidence.verdict_changed(project, annotation)
        act = _act_on_annotation(annotation, actor, "edit", **before)
        _note(annotation, actor, "verdict.edit")
    return Judged(annotation, act, None, memory)


def edit_memory(project: Project, actor: Actor, memory_id: UUID, fact: str) -> Judged:
    """A memory says what its newest annotation says: changing one is changing the other."""
    memory = Memory.objects.filter(project=project, id=memory_id).first()
    if memory is None:
        raise errors.MemoryNotFound
    if not fact.strip():
        sentence = "A memory says something: revoke it instead."
        raise Invalid(sentence, fields={"fact": sentence})
    if not Annotation.objects.of(project).standing().filter(id=memory.source_id).exists():
        raise Conflict("Its turn's time is up, so nobody can edit it: revoke it instead.")
    return edit_annotation(project, actor, memory.source_id, {"correction": fact})


def _rewrite(annotation: Annotation, actor: Actor, columns: Mapping[str, Any]) -> memories.Remembered | None:
    for name, value in columns.items():
        setattr(annotation, name, value)
    # Versions are numbered by what was kept, not by what stands: an undone edit keeps its number.
    annotation.version = AnnotationVersion.objects.filter(annotation_id=annotation.id).count() + 1
    annotation.save()
    _keep_version(annotation, actor)
    if annotation.turn_id is not None:
        # Its day counts the rating that stands.
        mark_stale_id(annotation.project_id, annotation.turn_id)
    vanished = memories.forget(annotation)
    return memories.remember(annotation.project, annotation, vanished)


# --- undo -----------------------------------------------------------------------------------------------------


def undo(project: Project, actor: Actor, act_id: UUID) -> QueueAct:
    """Takes back the latest act on a turn or annotation: state, priority, counts, memory and draft as before.

    Only whoever did it, or an owner, may. An act that something was done after is undone after that.
    """
    return against_new_twins(lambda: _undo(project, actor, act_id))


def _undo(project: Project, actor: Actor, act_id: UUID) -> QueueAct:
    found = QueueAct.objects.filter(project=project, id=act_id).first()
    if found is None:
        raise errors.ActNotFound
    turn = Turn.objects.with_gold(project).visible().select_for_update().filter(id=found.subject_id).first()
    act = QueueAct.objects.select_for_update().get(id=act_id)
    if act.undone_at is not None:
        raise errors.AlreadyUndone
    if act.actor != actor.ref and not actor.is_owner:
        raise errors.NotYours
    if _later_acts(act).exists():
        raise errors.NotLatest
    if act.act == "reopen" and act.details["absorbed"]:
        raise errors.TwinMerged
    if act.before and turn is None:
        raise errors.ActNotFound
    _take_back(project, actor, act, turn)
    act.undone_at = timezone.now()
    act.save(update_fields=["undone_at", "details"])
    return act


def _later_acts(act: QueueAct) -> models.QuerySet[QueueAct]:
    """What builds on an act: later changes of the same turn, and of the same annotation.

    What an end user says of a turn changes nothing of it, so it stands in nobody's way.
    """
    same = models.Q()
    if act.before:
        same |= ~models.Q(before={}) | models.Q(act="opinion")
    if act.act == "opinion":
        # Only what came of it stands in its way: others may go on with the turn meanwhile.
        same |= models.Q(details__opinions__contains=[act.details["opinion"]])
    for made in act.details.get("annotations", ()):
        same |= models.Q(details__annotation=made)
    if "annotation" in act.details:
        same |= models.Q(details__annotation=act.details["annotation"])
    return QueueAct.objects.filter(same, subject_id=act.subject_id, undone_at=None, id__gt=act.id)


def _take_back(project: Project, actor: Actor, act: QueueAct, turn: Turn | None) -> None:
    if "annotation" in act.details:
        _take_back_annotation(project, actor, act)
    for made in act.details.get("annotations", ()):
        annotation = _locked_annotation(project, UUID(hex=made))
        _retract(project, annotation)
        _note(annotation, actor, "verdict.undo")
    if turn is not None and "opinion" in act.details:
        double.unsettle(turn, act.details.get("opinions", [act.details["opinion"]]), without=act.details["opinion"])
    elif turn is not None and "opinions" in act.details:
        double.unsettle(turn, act.details["opinions"])
    if turn is not None and act.act == "opinion":
        _give_draft_back(project, act, turn)
    if turn is not None and act.act == "tag":
        untag(turn, act.details["tags_added"])
    if turn is not None and act.before:
        act.details |= restore(turn, act.before, project)
        _take_back_extras(project, act, turn)


def _take_back_annotation(project: Project, actor: Actor, act: QueueAct) -> None:
    annotation = _locked_annotation(project, UUID(hex=act.details["annotation"]))
    if act.act == "edit":
        version = AnnotationVersion.objects.get(annotation_id=annotation.id, version=act.details["version"])
        # Among the annotations of one memory the newest speaks: this one takes its earlier place again.
        annotation.updated_at = datetime.fromisoformat(act.details["updated_at"])
        _rewrite(annotation, actor, version.body)
        evidence.verdict_changed(project, annotation)
        _note(annotation, actor, "verdict.edit.undo")
        return
    _retract(project, annotation)
    _note(annotation, actor, "verdict.undo")


def _retract(project: Project, annotation: Annotation) -> None:
    annotation.retracted_at = timezone.now()
    annotation.save(update_fields=["retracted_at"])
    memories.forget(annotation)
    evidence.verdict_withdrawn(project, annotation)


def _take_back_extras(project: Project, act: QueueAct, turn: Turn) -> None:
    """What an act did beside the turn's own row."""
    if act.act == "skip":
        before = act.details["skipped_before"]
        skips = Skip.objects.filter(turn_id=turn.id, actor=act.actor)
        if before:
            skips.update(at=before)
        else:
            skips.delete()
    _give_draft_back(project, act, turn)


def _give_draft_back(project: Project, act: QueueAct, turn: Turn) -> None:
    if "draft" in act.details:
        Draft.objects.get_or_create(
            turn_id=turn.id, actor=act.actor, defaults={"project": project, "body": act.details["draft"]}
        )


def status_of(judged: Judged) -> str:
    """`waiting` for others' verdicts; `updated_existing` where the correction went into a memory that was there;
    `gold` where the right verdict was known."""
    if judged.gold:
        return "gold"
    if judged.is_waiting:
        return "waiting"
    return "updated_existing" if judged.memory is not None and not judged.memory.is_new else "active"
