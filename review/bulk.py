"""One act on many turns. They are chosen once; each is then acted on as a reviewer would, alone and recorded, so that
what others changed meanwhile is left as it is, and all of it can be taken back.

The first batch is done at once, the rest by the worker; a job that is cut off is gone on with at its next round.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Count, Q

from agentloop import audit, stopping
from agentloop.actors import Actor
from agentloop.errors import AppError, Invalid
from agentloop.ids import shown
from agentloop.models import Project
from agentloop.tenancy import actor_of
from review import queue, verdicts
from review.errors import NotYours
from review.models import AnnotationSource, BulkAct, BulkItem, BulkJob, TurnQuerySet
from review.verdicts import Verdict

MOST = 50_000
BATCH = 50
BATCHES_A_ROUND = 40
GONE = "Whoever began this is no member any more."


class NothingChosen(Invalid):
    """No turn is chosen: select some in the list, or all that match."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is. `problems` are sentences with how many turns each kept as they were."""

    job: BulkJob
    total: int
    done: int
    undone: int
    problems: list[tuple[str, int]] = field(default_factory=list)

    @property
    def is_running(self) -> bool:
        return self.job.stage in (BulkJob.Stage.DOING, BulkJob.Stage.UNDOING)

    @property
    def looked_at(self) -> int:
        if self.job.stage in (BulkJob.Stage.UNDOING, BulkJob.Stage.UNDONE):
            return self.undone
        return self.done + sum(count for _, count in self.problems)


def begin(project: Project, actor: Actor, act: BulkAct, params: dict[str, Any], turns: TurnQuerySet) -> BulkJob:
    """Chooses the turns, records the job, and does the first batch of it. Raises NothingChosen."""
    with transaction.atomic():
        chosen = list(turns.order_by("id").values_list("id", flat=True)[:MOST])
        if not chosen:
            raise NothingChosen
        job = BulkJob.objects.create(project=project, actor=actor.ref, act=act, params=params)
        BulkItem.objects.bulk_create(
            [BulkItem(project=project, job=job, turn_id=turn_id) for turn_id in chosen], batch_size=2_000
        )
        audit.note(project, actor, f"bulk.{act}", shown("bulk", job.id), turns=len(chosen))
    _batch(job)
    _end_if_all_is_done(job)
    return job


def take_back(project: Project, actor: Actor, job: BulkJob) -> None:
    """Begins to undo what a job did. Only whoever began it, or an owner, may; twice is safe."""
    if job.actor != actor.ref and not actor.is_owner:
        raise NotYours
    begun = BulkJob.objects.filter(project=project, id=job.id, stage__in=[BulkJob.Stage.DOING, BulkJob.Stage.DONE])
    if begun.update(stage=BulkJob.Stage.UNDOING):
        audit.note(project, actor, "bulk.undo", shown("bulk", job.id))
    job.refresh_from_db()
    _batch(job)
    _end_if_all_is_done(job)


def go_on() -> int:
    """The worker's round: goes on with every job that is not at its end; answers how many turns it acted on."""
    acted = 0
    running = BulkJob.objects.filter(stage__in=[BulkJob.Stage.DOING, BulkJob.Stage.UNDOING])
    for job in running.select_related("project").order_by("id"):
        for _ in range(BATCHES_A_ROUND):
            if stopping.is_asked():
                return acted
            done = _batch(job)
            acted += done
            if not done:
                break
        _end_if_all_is_done(job)
    return acted


def progress_of(job: BulkJob) -> Progress:
    """Two queries."""
    items = BulkItem.objects.filter(job=job)
    totals = items.aggregate(total=Count("id"), done=Count("act_id"), undone=Count("id", filter=Q(is_undone=True)))
    problems = (
        items.exclude(problem="").values_list("problem").annotate(count=Count("id")).order_by("-count", "problem")
    )
    return Progress(job, totals["total"], totals["done"], totals["undone"], [(text, count) for text, count in problems])


def _waiting(job: BulkJob) -> Any:
    items = BulkItem.objects.filter(job=job)
    if job.stage == BulkJob.Stage.UNDOING:
        return items.filter(act_id__isnull=False, is_undone=False, problem="")
    return items.filter(act_id=None, problem="")


def _batch(job: BulkJob) -> int:
    """Acts on some of the turns that are left, in one transaction; whoever else works on the job takes others."""
    with transaction.atomic():
        items = list(_waiting(job).order_by("id").select_for_update(skip_locked=True)[:BATCH])
        actor = actor_of(job.project, job.actor)
        for item in items:
            if actor is None:
                item.problem = GONE
            elif job.stage == BulkJob.Stage.UNDOING:
                _undo(job, actor, item)
            else:
                _do(job, actor, item)
        BulkItem.objects.bulk_update(items, ["act_id", "problem", "is_undone"])
    return len(items)


def _do(job: BulkJob, actor: Actor, item: BulkItem) -> None:
    try:
        with transaction.atomic():
            item.act_id = _act(job, actor, item.turn_id)
    except AppError as error:
        item.problem = error.sentence


def _act(job: BulkJob, actor: Actor, turn_id: UUID) -> UUID:
    params = job.params
    if job.act == BulkAct.VERDICT:
        verdict = Verdict(**params)
        judged = verdicts.judge_turn(job.project, actor, turn_id, verdict, source=AnnotationSource.REVIEWER)
        return judged.act.id
    if job.act == BulkAct.DISMISS:
        return queue.dismiss(job.project, actor, turn_id, params["reason"]).act.id
    return queue.tag(job.project, actor, turn_id, params["tags"]).act.id


def _undo(job: BulkJob, actor: Actor, item: BulkItem) -> None:
    try:
        with transaction.atomic():
            verdicts.undo(job.project, actor, item.act_id)  # type: ignore[arg-type]
        item.is_undone = True
    except AppError as error:
        item.problem = error.sentence


def _end_if_all_is_done(job: BulkJob) -> None:
    if _waiting(job).exists():
        return
    ends = {BulkJob.Stage.DOING: BulkJob.Stage.DONE, BulkJob.Stage.UNDOING: BulkJob.Stage.UNDONE}
    for stage, end in ends.items():
        if BulkJob.objects.filter(id=job.id, stage=stage).update(stage=end):
            job.stage = end
            return


def chosen_turns(turns: TurnQuerySet, ids: Sequence[UUID]) -> TurnQuerySet:
    return turns.filter(id__in=list(ids)[:MOST])
