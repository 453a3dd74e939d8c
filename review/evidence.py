"""Verdicts on their way to routing: what was judged becomes evidence for the executions that made it.

Each function runs inside the verdict's own transaction, so that the routing state has it by the time the answer
is written. Only what the end user said through the widget is the user's word; all else is a review.

One transaction takes a lock for each trace, and there are turns that were logged tens of thousands of times. So it
speaks of a bounded number of executions, the turn's own and the newest; `EvidenceDue` notes, in the same transaction,
that there are more, and the worker goes on with them in transactions of its own.
"""

import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction

from agentloop.models import Project
from agentloop.sql import run, with_retries
from review.models import Annotation, AnnotationSource, EvidenceDue, Occurrence, Turn
from routing import evidence
from routing.engine.evidence import Source
from routing.engine.readings import Reading, read_verdict

EXECUTION = ("trace_id", "goal", "model", "path_id", "pipeline_id")
# As many merged occurrences in one transaction.
BATCH = 500
SECONDS = 10.0
# The place of an execution among all that its turn tells of, the trace that it has if it names none, and its names.
Told = tuple[int, str, dict[str, str]]


def verdict_given(
    project: Project, annotation: Annotation, turn: Turn | None, named: Mapping[str, str] | None = None
) -> None:
    """Records a verdict for the turn's trace and every merged occurrence's, or for the one execution that is named.

    Four queries, and one for traces whose goal the client did not name; none where nothing names an execution. One
    more where the worker has to go on with it.
    """
    if named:
        told, below = [(0, annotation.id.hex, {**dict.fromkeys(EXECUTION, ""), **named})], 0
    elif turn is not None:
        told, below = _told(turn)
    else:
        return
    evidence.record(project, _observations(project, annotation, told, turn))
    if below:
        EvidenceDue.objects.create(annotation_id=annotation.id, project=project, below=below)


def observations(project: Project, annotation: Annotation, turn: Turn) -> list[evidence.Observation]:
    """What a verdict says of the executions that are told of at once. One query, and one for traces without a goal."""
    return _observations(project, annotation, _told(turn)[0], turn)


def verdict_changed(project: Project, annotation: Annotation) -> None:
    """Takes back what the annotation said before and says what it says now, of the same executions.

    Its time is the annotation's, which an undone edit gets back: it must not outrank what others said meanwhile."""
    if evidence.restate(project, ref=_ref(annotation.id), says=_says_now(project, annotation), limit=BATCH) == BATCH:
        EvidenceDue.objects.get_or_create(annotation_id=annotation.id, defaults={"project": project})


def verdict_withdrawn(project: Project, annotation: Annotation) -> None:
    if evidence.withdraw(project, ref=_ref(annotation.id), limit=BATCH) == BATCH:
        defaults = {"project": project, "is_withdrawn": True}
        EvidenceDue.objects.update_or_create(annotation_id=annotation.id, defaults=defaults)


# --- what one transaction is too small for ----------------------------------------------------------------------


def go_on() -> int:
    """The worker's round: goes on with verdicts whose evidence is not all recorded; answers in how many steps."""
    steps, end = 0, time.monotonic() + SECONDS
    for annotation_id in list(EvidenceDue.objects.order_by("annotation_id").values_list("annotation_id", flat=True)):
        while time.monotonic() < end and with_retries(partial(_go_on_with, annotation_id)):
            steps += 1
    return steps


@transaction.atomic
def _go_on_with(annotation_id: UUID) -> bool:
    """One step towards what the annotation says now, from wherever it stands; whether there was anything to do.

    Like whoever changes the annotation, it locks that first. One that is locked is left for the next round.
    """
    annotations = Annotation.objects.filter(id=annotation_id)
    annotation = annotations.select_related("project").select_for_update(skip_locked=True, of=("self",)).first()
    if annotation is None and annotations.exists():
        return False
    owed = EvidenceDue.objects.select_related("project").filter(annotation_id=annotation_id).first()
    if owed is None:
        return False
    if _correct_some(owed, annotation) < BATCH:
        owed.below = _give_some(owed, annotation)
        if not owed.below:
            owed.delete()
            return True
    owed.save(update_fields=["below"])
    return True


def _correct_some(owed: EvidenceDue, annotation: Annotation | None) -> int:
    """Takes back or says anew what was recorded by an earlier word. One that was deleted meanwhile is let stand."""
    ref = _ref(owed.annotation_id)
    if owed.is_withdrawn or (annotation is not None and annotation.retracted_at is not None):
        return evidence.withdraw(owed.project, ref=ref, limit=BATCH)
    if annotation is None:
        return 0
    return evidence.restate(owed.project, ref=ref, says=_says_now(owed.project, annotation), limit=BATCH)


def _give_some(owed: EvidenceDue, annotation: Annotation | None) -> int:
    """Says it of further occurrences; answers below which the rest are, 0 where all is said."""
    if not owed.below or annotation is None or annotation.turn_id is None or annotation.retracted_at is not None:
        return 0
    turn = Turn.objects.filter(id=annotation.turn_id).first()
    if turn is None:
        return 0
    told, below = _merged(turn, owed.below)
    evidence.record(owed.project, _observations(owed.project, annotation, told, turn))
    return below


def blank_texts_of(project: Project, user_id: str) -> int:
    """Erasure: empties the free texts of the ledger on a user's traces. Run before their turns are deleted."""
    traces = run(
        """
        SELECT trace_id FROM review_turn WHERE project_id = %(project)s AND user_id = %(user)s AND trace_id <> ''
        UNION
        SELECT trace_id FROM review_occurrence
        WHERE project_id = %(project)s AND user_id = %(user)s AND trace_id <> ''
        """,
        {"project": project.id, "user": user_id},
    )
    return evidence.blank_texts(project, [trace for (trace,) in traces])


def _ref(annotation_id: UUID) -> str:
    return f"annotation:{annotation_id.hex}"


def _key(annotation: Annotation) -> str:
    return f"{_ref(annotation.id)}:{annotation.version}"


def _reading(project: Project, annotation: Annotation) -> Reading:
    return read_verdict(
        annotation.rating,
        by_end_user=annotation.source == AnnotationSource.END_USER,
        rubric_score=_overall(annotation.scores),
        root_cause=annotation.root_cause or None,
        failure_category=annotation.failure_category or None,
        blame_table=project.setting("blame"),
    )


def _overall(scores: Mapping[str, Any]) -> float | None:
    """A rubric's overall score, where one was given in 0..1."""
    overall = scores.get("overall")
    fits = isinstance(overall, int | float) and not isinstance(overall, bool) and 0 <= overall <= 1
    return float(overall) if fits else None  # type: ignore[arg-type]


def _told(turn: Turn) -> tuple[list[Told], int]:
    """What a turn and its newest merged occurrences tell of executions; and below which occurrence there may be more,
    0 where there is none."""
    told, below = _merged(turn)
    return [(0, turn.id.hex, {name: getattr(turn, name) for name in EXECUTION}), *told], below


def _merged(turn: Turn, below: int | None = None) -> tuple[list[Told], int]:
    merged = Occurrence.objects.filter(turn_id=turn.id, **({} if below is None else {"id__lt": below}))
    told = [
        (one.id, f"{turn.id.hex}-{one.id}", {name: getattr(one, name) for name in EXECUTION})
        for one in merged.only(*EXECUTION).order_by("-id")[:BATCH]
    ]
    return told, told[-1][0] if len(told) == BATCH else 0


def _observations(
    project: Project, annotation: Annotation, told: list[Told], turn: Turn | None
) -> list[evidence.Observation]:
    """What the verdict says of each execution. One query where a trace names no goal."""
    said = _reading(project, annotation)
    return [
        _observation(annotation, said, f"{_key(annotation)}:{place}:{at}", one)
        for at, (place, one) in enumerate(_executions(project, told, turn.goal if turn else ""))
    ]


def _says_now(project: Project, annotation: Annotation) -> evidence.Observation:
    return _observation(annotation, _reading(project, annotation), _key(annotation), {})


def _executions(project: Project, told: list[Told], default_goal: str) -> Iterator[tuple[int, dict[str, str]]]:
    """The executions that are told of, each once, with the place of who tells."""
    nameless = [one["trace_id"] for *_, one in told if one["trace_id"] and not one["goal"] and not default_goal]
    goals = evidence.goals_of_traces(project, nameless) if nameless else {}
    seen = set()
    for place, own_trace, one in told:
        names_goal = [one["goal"] or default_goal] if one["goal"] or default_goal else goals.get(one["trace_id"], [])
        if not one["trace_id"] and not (one["model"] or one["path_id"]):
            continue
        for goal in names_goal:
            whole = {**one, "goal": goal, "trace_id": one["trace_id"] or own_trace}
            if tuple(whole.values()) not in seen:
                seen.add(tuple(whole.values()))
                yield place, whole


def _observation(annotation: Annotation, said: Reading, key: str, execution: Mapping[str, str]) -> evidence.Observation:
    return evidence.Observation(
        goal=execution.get("goal", ""),
        source=Source(said.source),
        trace_id=execution.get("trace_id", ""),
        model=execution.get("model") or None,
        path_id=execution.get("path_id") or None,
        pipeline_id=execution.get("pipeline_id", ""),
        success=said.success,
        score=said.score,
        confidence=said.confidence,
        failure_category=said.failure_category,
        attribution=said.attribution,
        # Whoever reads the ledger can tell the unbiased sample from what was chosen for its looks. Verdicts that come
        # from elsewhere say neither.
        at_random=annotation.draw == "random" if annotation.draw else None,
        occurred_at=annotation.updated_at.timestamp(),
        key=key,
        ref=_ref(annotation.id),
    )
