"""Verdicts on their way to routing: what was judged becomes evidence for the executions that made it.

Each function runs inside the verdict's own transaction, so that the routing state has it by the time the answer
is written. Only what the end user said through the widget is the user's word; all else is a review.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from agentloop.models import Project
from agentloop.sql import run
from review.models import Annotation, AnnotationSource, Occurrence, Turn
from routing import evidence
from routing.engine.evidence import Source
from routing.engine.readings import Reading, read_verdict

EXECUTION = ("trace_id", "goal", "model", "path_id", "pipeline_id")


def verdict_given(
    project: Project, annotation: Annotation, turn: Turn | None, named: Mapping[str, str] | None = None
) -> None:
    """Records a verdict for the turn's trace and every merged occurrence's, or for the one execution that is named.

    Four queries, and one for traces whose goal the client did not name; none where nothing names an execution.
    """
    evidence.record(project, observations(project, annotation, turn, named))


def observations(
    project: Project, annotation: Annotation, turn: Turn | None, named: Mapping[str, str] | None = None
) -> list[evidence.Observation]:
    """What a verdict says of each execution. One query, and one for traces without a goal; none without a turn."""
    if named:
        told = [(annotation.id.hex, {**dict.fromkeys(EXECUTION, ""), **named})]
    else:
        told = _told(turn) if turn is not None else []
    executions = _executions(project, told, turn.goal if turn else "")
    said = _reading(project, annotation)
    return [_observation(annotation, said, place, one) for place, one in enumerate(executions)]


def verdict_changed(project: Project, annotation: Annotation) -> None:
    """Takes back what the annotation said before and says what it says now, of the same executions.

    Its time is the annotation's, which an undone edit gets back: it must not outrank what others said meanwhile."""
    says = _observation(annotation, _reading(project, annotation), 0, {})
    evidence.restate(project, ref=_ref(annotation), says=says)


def verdict_withdrawn(project: Project, annotation: Annotation) -> None:
    evidence.withdraw(project, ref=_ref(annotation))


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


def _ref(annotation: Annotation) -> str:
    return f"annotation:{annotation.id.hex}"


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


def _told(turn: Turn) -> list[tuple[str, dict[str, str]]]:
    """What a turn and its merged occurrences tell of executions, each with a trace for one that has none."""
    told = [(turn.id.hex, {name: getattr(turn, name) for name in EXECUTION})]
    for occurrence in Occurrence.objects.filter(turn_id=turn.id).order_by("id"):
        told.append((f"{turn.id.hex}-{occurrence.id}", {name: getattr(occurrence, name) for name in EXECUTION}))
    return told


def _executions(
    project: Project, told: list[tuple[str, dict[str, str]]], default_goal: str
) -> Iterator[dict[str, str]]:
    """The executions that are told of, each once."""
    nameless = [one["trace_id"] for _, one in told if one["trace_id"] and not one["goal"] and not default_goal]
    goals = evidence.goals_of_traces(project, nameless) if nameless else {}
    seen = set()
    for own_trace, one in told:
        names_goal = [one["goal"] or default_goal] if one["goal"] or default_goal else goals.get(one["trace_id"], [])
        if not one["trace_id"] and not (one["model"] or one["path_id"]):
            continue
        for goal in names_goal:
            whole = {**one, "goal": goal, "trace_id": one["trace_id"] or own_trace}
            if tuple(whole.values()) not in seen:
                seen.add(tuple(whole.values()))
                yield whole


def _observation(
    annotation: Annotation,
    said: Reading,
    place: int,
    execution: Mapping[str, str],
) -> evidence.Observation:
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
        key=f"{_ref(annotation)}:{annotation.version}:{place}",
        ref=_ref(annotation),
    )
