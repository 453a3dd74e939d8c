"""Outcome reports and signals as clients send them, read leniently: nothing plausible is refused."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agentloop.errors import AppError
from agentloop.gathering import Gathering
from agentloop.idempotency import key_of
from agentloop.models import Project
from agentloop.parsing import as_json_text, clean_text, read_time
from agentloop.sql import run
from routing.engine.categories import FAILURE_CATEGORIES, category_of_reason
from routing.engine.evidence import Source
from routing.engine.readings import ANCHOR, read_signal
from routing.errors import BadField, OutcomeNotFound, UnknownFailureCategory
from routing.evidence import Observation, Recorded, goals_of_traces, own_trace, record
from routing.models import NAME_LIMIT, TRACE_LIMIT, goal_id

_HUMP = re.compile(r"(?<=[a-z0-9])([A-Z])")
UPDATABLE = ("success", "score", "failure_reason", "failure_category", "metadata")


def snake(given: Mapping[str, Any]) -> dict[str, Any]:
    """The same object with `traceId` as `trace_id`; a name that is there in both forms counts as it is in ours."""
    renamed = {_HUMP.sub(lambda hump: "_" + hump[1].lower(), name): value for name, value in given.items()}
    return {**renamed, **given}


def text_of(value: Any, limit: int = NAME_LIMIT) -> str:
    """A name, whatever type it came in; nothing for null."""
    return "" if value is None else clean_text(as_json_text(value)).strip()[:limit]


def key_in(given: Mapping[str, Any]) -> str:
    key = given.get("idempotency_key")
    return "" if key is None else key_of(as_json_text(key).strip())


def goal_of(given: Mapping[str, Any], field: str = "goal") -> str:
    goal = text_of(given.get(field))
    if not goal:
        raise BadField(field, "is missing: name the task that this is about.")
    return goal


def flag_of(value: Any) -> bool | None:
    """true and false in the spellings that clients use; anything else says nothing."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    return {"true": True, "false": False}.get(value.strip().lower()) if isinstance(value, str) else None


def number_of(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        number = float(value) if isinstance(value, int | float | str) else None
    except ValueError:
        return None
    return None if number is None or number != number else number


def object_of(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def seconds_of(value: Any) -> float | None:
    moment = moment_of(value)
    return moment.timestamp() if moment else None


def moment_of(value: Any) -> datetime | None:
    """Times as clients write them, also in the broken form that has an offset and a Z."""
    if isinstance(value, str) and value.endswith("+00:00Z"):
        value = value[:-1]
    return read_time(value)


def category_of(given: Mapping[str, Any]) -> str | None:
    """The category that was given, which must be a known one; none for an empty word."""
    said = given.get("failure_category")
    if said is None or said == "":
        return None
    if said not in FAILURE_CATEGORIES:
        raise UnknownFailureCategory
    return str(said)


def read_outcome(given: Mapping[str, Any], header_key: str = "") -> Observation:
    """An outcome report as evidence. A failure that names no category is read from its reason."""
    given = snake(given)
    goal, success = goal_of(given), flag_of(given.get("success"))
    reason = text_of(given.get("failure_reason"), 2000) or None
    category = category_of(given)
    if category is None and success is False:
        category = category_of_reason(reason)
    key = key_in(given) or header_key
    tool = text_of(given.get("tool_id"))
    return Observation(
        goal=goal,
        source=Source.PROVIDER,
        trace_id=text_of(given.get("trace_id"), TRACE_LIMIT) or own_trace(),
        model=text_of(given.get("model_id")) or None,
        tools=(tool,) if tool else (),
        params=object_of(given.get("execution_params")),
        path_id=text_of(given.get("path_id")) or None,
        pipeline_id=text_of(given.get("pipeline_id")),
        success=success,
        score=number_of(given.get("score")),
        failure_category=category,
        reason=reason,
        metadata=object_of(given.get("metadata")),
        occurred_at=seconds_of(given.get("occurred_at") or given.get("timestamp")),
        key=f"outcome:{goal}:{key}" if key else "",
    )


# Single reports from many requests at once: on a busy path they would wait for each other's commit.
_together: Gathering[Observation, Recorded] = Gathering(record)


def report_outcome(project: Project, given: Mapping[str, Any], header_key: str = "") -> dict[str, Any]:
    """Records one report. Three statements; one more where its goal or path is new."""
    said = read_outcome(given, header_key)
    done = _together.store(project, said)
    return {"status": "accepted", "trace_id": done.trace_id, "goal": said.goal}


def report_outcomes(project: Project, items: Sequence[Any]) -> list[dict[str, Any]]:
    """A batch in one transaction; each item has its own result, and a bad one spoils no other."""
    read = [_or_error(read_outcome, item) for item in items]
    done = iter(record(project, [one for one in read if isinstance(one, Observation)]))
    return [_batch_result(one, done) for one in read]


def _or_error(reader: Any, item: Any) -> Any:
    try:
        if not isinstance(item, dict):
            raise BadField("item", "is not an object.")
        return reader(item)
    except AppError as error:
        return error


def _batch_result(one: Any, done: Any) -> dict[str, Any]:
    if isinstance(one, AppError):
        return {"status": "refused", "error": one.sentence, "code": one.code}
    if one is None:
        return {"status": "ignored"}
    recorded = next(done)
    return {"status": "accepted" if recorded.is_new else "duplicate", "trace_id": recorded.trace_id, "goal": one.goal}


def update_outcome(project: Project, given: Mapping[str, Any], header_key: str = "") -> dict[str, Any]:
    """A later word of the user's about a trace's latest outcome. What is null stays as it is. Four statements."""
    given = snake(given)
    goal, trace = goal_of(given), text_of(given.get("trace_id"), TRACE_LIMIT)
    fields = [name for name in UPDATABLE if given.get(name) is not None]
    category = category_of(given)
    success, reason = flag_of(given.get("success")), text_of(given.get("failure_reason"), 2000) or None
    if not _has_outcome(project, goal, trace):
        raise OutcomeNotFound
    if category is None and success is False:
        category = category_of_reason(reason)
    key = key_in(given) or header_key
    said = Observation(
        goal,
        Source.USER,
        trace,
        success=success,
        score=number_of(given.get("score")),
        failure_category=category,
        reason=reason,
        metadata=object_of(given.get("metadata")),
        key=f"update:{goal}:{trace}:{key}" if key else "",
    )
    if fields:
        record(project, [said])
    return {"status": "updated", "trace_id": trace, "goal": goal, "fields_updated": fields}


def _has_outcome(project: Project, goal: str, trace: str) -> bool:
    return bool(
        run(
            "SELECT 1 FROM routing_outcome WHERE project_id = %s AND trace_id = %s AND goal_id = %s LIMIT 1",
            [project.id, trace, goal_id(project.id, goal)],
            keep_plan=True,
        )
    )


# --- signals --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal as it was read. `said` is None where it says nothing, or no goal can be told."""

    trace_id: str
    kind: str
    said: Observation | None


def read_a_signal(project: Project, given: Mapping[str, Any], header_key: str = "") -> Signal:
    given = snake(given)
    trace = text_of(given.get("trace_id"), TRACE_LIMIT) or text_of(given.get("session_id"), TRACE_LIMIT) or own_trace()
    kind = text_of(given.get("signal_type"))
    goal = text_of(given.get("goal")) or _only_goal(project, trace)
    if not goal:
        return Signal(trace, kind, None)
    raw = text_of(given.get("raw_evidence"), 2000) or None
    key = key_in(given) or header_key
    about = Observation(
        goal,
        Source.PROVIDER,
        trace,
        pipeline_id=text_of(given.get("pipeline_id")),
        raw_evidence=raw,
        metadata=_details(given),
        occurred_at=seconds_of(given.get("occurred_at") or given.get("timestamp")),
        key=f"signal:{goal}:{key}" if key else "",
    )
    return Signal(trace, kind, _said(about, kind, given, raw))


def _only_goal(project: Project, trace: str) -> str:
    goals = goals_of_traces(project, [trace]).get(trace, [])
    return goals[0] if len(goals) == 1 else ""


def _details(given: Mapping[str, Any]) -> dict[str, Any]:
    """What a signal tells beside its verdict, for whoever reads the trace."""
    names = (
        "signal_type", "signal_source", "strength", "session_id", "meta_prompt_id", "momentum", "dimension",
        "pipeline_step",
    )  # fmt: skip
    return {
        **{name: given[name] for name in names if given.get(name) is not None},
        **{f"dimension.{name}": value for name, value in object_of(given.get("dimensions")).items()},
    }


def _said(about: Observation, kind: str, given: Mapping[str, Any], raw: str | None) -> Observation | None:
    if kind == ANCHOR:
        return _with(about, model=text_of(given.get("model")) or None)
    reading = read_signal(
        kind,
        signal_source=text_of(given.get("signal_source")) or None,
        strength=number_of(given.get("strength")),
        confidence=number_of(given.get("confidence")),
        raw_evidence=raw,
    )
    if reading is None:
        return None
    return _with(
        about,
        source=Source(reading.source),
        success=reading.success,
        score=reading.score,
        confidence=reading.confidence,
        failure_category=reading.failure_category,
    )


def _with(about: Observation, **changes: Any) -> Observation:
    values = {name: getattr(about, name) for name in Observation.__slots__}
    return Observation(**{**values, **changes})


def report_signal(project: Project, given: Mapping[str, Any], header_key: str = "") -> dict[str, Any]:
    """Records what a signal says. One that says nothing, or of no known goal, is accepted and leaves no row."""
    signal = read_a_signal(project, given, header_key)
    if signal.said is not None:
        record(project, [signal.said])
    return {
        "status": "accepted",
        "trace_id": signal.trace_id,
        "signal_type": signal.kind,
        "recorded": signal.said is not None,
    }


def report_signals(project: Project, items: Sequence[Any]) -> list[dict[str, Any]]:
    read = [_or_error(lambda item: read_a_signal(project, item).said, item) for item in items]
    done = iter(record(project, [one for one in read if isinstance(one, Observation)]))
    return [_batch_result(one, done) for one in read]
