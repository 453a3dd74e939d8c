"""Bringing a history in: turns from a file, with their own times and ids, and the verdicts they were given.

Every line has an id that follows from the line alone, and each batch is one transaction. So an import that was cut
off anywhere is run again from the start, and finds what it has done already; nothing comes in twice.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from django.db import transaction
from django.utils import timezone

from agentloop import audit
from agentloop.actors import Actor
from agentloop.errors import AppError
from agentloop.history import Refuse, only_import, value_of
from agentloop.ids import read
from agentloop.masking import masked, masked_head
from agentloop.models import Project
from agentloop.parsing import as_json_text, read_time
from agentloop.sql import run, with_retries
from review import intake, memories
from review.errors import BadValue
from review.intake import IntakeRules, NewTurn, read_turn
from review.models import (
    Annotation,
    AnnotationSource,
    AnnotationVersion,
    FailureCategory,
    Rating,
    RootCause,
    Status,
    TurnRedirect,
)
from review.priority import rank_of
from review.queue import MAX_SNOOZE
from review.verdicts import EDITABLE

BATCH_LINES, BATCH_BYTES = 1000, 8 * 1024 * 1024
MAX_OCCURRENCES = 1_000_000_000
MAX_CORRECTION, MAX_COMMENT = 256 * 1024, 20_000
# Other systems' names for the time of a turn, after ours.
TIMES = ("occurred_at", "created_at", "timestamp")


@dataclass(slots=True)
class Counts:
    """What became of the lines so far. `known` were here already, `merged` went into a pending twin."""

    lines: int = 0
    stored: int = 0
    merged: int = 0
    known: int = 0
    expired: int = 0
    refused: int = 0
    annotations: int = 0


@dataclass(frozen=True, slots=True)
class PastTurn:
    """A line as it will be stored. `spare_id` takes the place of an id that another project has."""

    row: dict[str, Any]
    spare_id: UUID
    occurrences: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_pending(self) -> bool:
        return self.row["status"] == Status.PENDING


def import_turns(
    project: Project,
    actor: Actor,
    lines: Iterable[bytes | None],
    *,
    refuse: Refuse,
    progress: Callable[[Counts], None],
) -> Counts:
    """Stores a history. `refuse` hears of each bad line, which is passed over; `progress` after each batch."""
    counts = Counts()
    with only_import(project):
        audit.note(project, actor, "turns.import.begin", project.slug)
        for batch in _batches(lines):
            rules, now = IntakeRules.of(project), timezone.now()
            turns = []
            for number, line in batch:
                counts.lines = number
                try:
                    turn = read_past_turn(value_of(line), project, rules, now)
                except AppError as error:
                    counts.refused += 1
                    refuse(number, error.sentence)
                    continue
                if turn.is_pending and turn.row["expires_at"] <= now:
                    counts.expired += 1
                else:
                    turns.append(turn)
            _store(project, turns, counts)
            progress(counts)
        # PostgreSQL knows at once how many turns there are, rather than when it next looks; plans made before end.
        run("ANALYZE review_turn", [])
        audit.note(project, actor, "turns.import.end", project.slug, **asdict(counts))
    return counts


def _batches(lines: Iterable[bytes | None]) -> Iterator[list[tuple[int, bytes | None]]]:
    batch: list[tuple[int, bytes | None]] = []
    size = 0
    for number, line in enumerate(lines, 1):
        if line is not None and not line.strip():
            continue
        batch.append((number, line))
        size += len(line or b"")
        if len(batch) == BATCH_LINES or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


# --- reading --------------------------------------------------------------------------------------------------


def read_past_turn(item: Any, project: Project, rules: IntakeRules, now: datetime) -> PastTurn:
    """A line as intake would read it, with the times, status and verdicts that intake knows nothing of yet.

    Lenient as intake is, but for what must not be guessed: a time, a status or a rating that can't be read.
    """
    turn = read_turn(item, rules, now)
    times = {name: _time(item, name, now) for name in (*TIMES, "logged_at", "last_seen_at", "closed_at")}
    given = next((times[name] for name in TIMES if times[name]), None) or times["logged_at"]
    occurred_at = given or now
    logged_at = times["logged_at"] or occurred_at
    last_seen_at = max(times["last_seen_at"] or logged_at, logged_at)
    row = turn.row | {"occurred_at": occurred_at, "logged_at": logged_at, "last_seen_at": last_seen_at}
    annotations = [_annotation(one, row, rules, now) for one in _list(item, "annotations")]
    row["status"] = _status(item, annotations)
    row["truncated"] = sorted({*row["truncated"], *_names_of_cut(item)})
    row["occurrences"] = _count(item)
    row["rank"] = rank_of(row["priority"], row["occurrences"], logged_at)
    row |= _state(item, row, rules, now)
    if row["status"] != Status.PENDING:
        row["closed_at"] = times["closed_at"] or max((one["created_at"] for one in annotations), default=last_seen_at)
    name = _name_of(item, turn)
    derived = lasting_id(project, given, name)
    row["id"] = _own_id("turn", name, now) or derived
    return PastTurn(row, derived, _occurrences(item, rules, now), _with_ids(annotations, project, row, now))


def lasting_id(project: Project, moment: datetime | None, name: str) -> UUID:
    """A UUIDv7 that follows from a time and a name: the same line of a history always gets the same one."""
    milliseconds = max(0, int(moment.timestamp() * 1000)) if moment else 0
    digest = hashlib.blake2b(f"{project.id.hex}:{name}".encode(), digest_size=10).digest()
    number = milliseconds << 80 | int.from_bytes(digest)
    number = number & ~(0xF << 76) | 0x7 << 76
    return UUID(int=number & ~(0x3 << 62) | 0x2 << 62)


def _name_of(item: Mapping[str, Any], turn: NewTurn) -> str:
    """What names a line: its id, here or elsewhere, or its idempotency key; else all that it says."""
    for name in ("turn_id", "id"):
        if item.get(name) not in (None, ""):
            return as_json_text(item[name])
    return turn.idempotency_key or orjson.dumps(item, option=orjson.OPT_SORT_KEYS).decode()


def _own_id(prefix: str, name: str, now: datetime) -> UUID | None:
    """The id itself where it is one of ours: a UUIDv7, and not of the future, which would come first for ever."""
    found = read(prefix, name)
    latest = int((now + timedelta(days=1)).timestamp() * 1000)
    return found if found is not None and found.version == 7 and found.int >> 80 <= latest else None


def _time(item: Mapping[str, Any], name: str, now: datetime) -> datetime | None:
    """A time that was given, none of them in the future. One that can't be read is not replaced by a guess."""
    value = item.get(name)
    if value is None or value == "":
        return None
    moment = read_time(value)
    if moment is None:
        raise BadValue(name, "takes a time such as 2026-01-31T09:00:00Z, or Unix seconds.")
    return min(moment, now)


def _status(item: Mapping[str, Any], annotations: Sequence[Mapping[str, Any]]) -> str:
    """The status that is given; without one, whoever judged the turn has closed it."""
    judged = any(one["source"] != AnnotationSource.END_USER for one in annotations)
    return _choice("status", item, Status.values, Status.REVIEWED if judged else Status.PENDING)


def _choice(name: str, item: Mapping[str, Any], choices: Sequence[str], default: str | None) -> str:
    value = item.get(name)
    if value is None or value == "":
        value = default
    if value not in choices and value != "":
        raise BadValue(name, f"takes one of {', '.join(choices)}.")
    return str(value)


def _names_of_cut(item: Mapping[str, Any]) -> list[str]:
    given = item.get("truncated")
    known = ("question", "response", "signals", "metadata")
    return [name for name in known if name in given] if isinstance(given, list) else []


def _count(item: Mapping[str, Any]) -> int:
    value = item.get("occurrences")
    fits = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_OCCURRENCES
    return value if fits and value is not None else 1 + len(_list(item, "merged_occurrences"))


def _list(item: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    value = item.get(name)
    return [part for part in value if isinstance(part, dict)] if isinstance(value, list) else []


def _state(item: Mapping[str, Any], row: Mapping[str, Any], rules: IntakeRules, now: datetime) -> dict[str, Any]:
    """Where the turn stood in the queue. Its clock runs from when it was last seen, as that of every turn here;
    what held it longer holds it on, but never longer than a fresh turn would live."""
    snoozed_until = read_time(item.get("snoozed_until"))
    is_snoozed = row["status"] == Status.PENDING and snoozed_until is not None and snoozed_until > now
    snoozed_until = min(snoozed_until, now + MAX_SNOOZE) if is_snoozed and snoozed_until else None
    ends = [row["last_seen_at"] + rules.ttl]
    if given := read_time(item.get("expires_at")):
        ends.append(min(given, now + rules.ttl))
    if snoozed_until:
        ends.append(snoozed_until + timedelta(days=1))
    return {
        "expires_at": max(ends),
        "snoozed_until": snoozed_until,
        "escalated_by": _foreign_actor(item.get("escalated_by")),
        "escalation_note": _text(item.get("escalation_note"), 2000, rules),
        "dismissed_reason": _text(item.get("dismissed_reason"), 500, rules),
        "closed_at": None,
        "claimed_by": "",
        "draw": "",
    }


def _foreign_actor(value: Any) -> str:
    """Who did it there, marked so that nobody here is taken for them: `user:5` is another person elsewhere."""
    text = as_json_text(value).strip()[:100] if value else ""
    return text if not text or text.startswith("imported:") else f"imported:{text}"


def _text(value: Any, most: int, rules: IntakeRules) -> str:
    text = as_json_text(value) if value is not None else ""
    return masked_head(text, most, rules.mask)[:most]


def _occurrences(item: Mapping[str, Any], rules: IntakeRules, now: datetime) -> list[dict[str, Any]]:
    """The further times it was logged, read by intake's own rules."""
    blank = {"question": "", "agent_response": ""}
    return [read_turn({**one, **blank}, rules, now).row for one in _list(item, "merged_occurrences")]


def _annotation(item: Mapping[str, Any], turn: Mapping[str, Any], rules: IntakeRules, now: datetime) -> dict[str, Any]:
    """An annotation's columns. What it doesn't say of its turn, the turn says."""
    texts = {name: item.get(name) or "" for name in ("question", "agent_response")}
    said = read_turn({**item, **texts, "sample_rate": item.get("draw_probability")}, rules, now).row
    created_at = _time(item, "created_at", now) or turn["last_seen_at"]
    scores, rubric = (item[name] if isinstance(item.get(name), dict) else {} for name in ("scores", "rubric"))
    return {
        "name": as_json_text(item.get("annotation_id") or item.get("id") or ""),
        "question": said["question"] if item.get("question") is not None else turn["question"],
        "response": said["response"] if item.get("agent_response") is not None else turn["response"],
        "source": _choice("source", item, AnnotationSource.values, AnnotationSource.REVIEWER),
        "author": _foreign_actor(item.get("author") or item.get("reviewer") or "unknown"),
        "author_label": _text(item.get("author_label") or item.get("reviewer"), 100, rules),
        "rating": _choice("rating", item, Rating.values, None),
        "correction": _text(item.get("correction"), MAX_CORRECTION, rules),
        "root_cause": _choice("root_cause", item, RootCause.values, ""),
        "failure_category": _choice("failure_category", item, FailureCategory.values, ""),
        "tags": said["tags"],
        "comment": _text(item.get("comment"), MAX_COMMENT, rules),
        "scores": masked(scores, rules.mask) if rules.mask else scores,
        # Answers keep the version of the rubric that they were given under, also where that one is not known.
        "rubric": masked(rubric, rules.mask) if rules.mask else rubric,
        "metadata": said["metadata"],
        "user_id": said["user_id"],
        **{name: said[name] or turn[name] for name in intake.NAMES},
        "draw": item["draw"] if item.get("draw") in ("next", "random", "filter", "given") else "",
        "draw_probability": said["sample_rate"] if item.get("draw_probability") is not None else None,
        "created_at": created_at,
        "updated_at": max(_time(item, "updated_at", now) or created_at, created_at),
    }


def _with_ids(
    annotations: list[dict[str, Any]], project: Project, row: Mapping[str, Any], now: datetime
) -> list[dict[str, Any]]:
    """The annotations with ids that follow from their own and their turn's."""
    for one in annotations:
        name = one.pop("name")
        said = name or f"{one['created_at']}:{one['rating']}:{one['correction']}"
        one["spare_id"] = lasting_id(project, one["created_at"], f"{row['id'].hex}:{said}")
        one["id"] = _own_id("ann", name, now) or one["spare_id"]
    return annotations


# --- storing --------------------------------------------------------------------------------------------------


def _store(project: Project, turns: Sequence[PastTurn], counts: Counts) -> None:
    """One batch: its turns in one transaction, then the annotations that are not here yet."""
    placed = with_retries(lambda: _store_turns(project, turns, counts))
    counts.annotations += _store_annotations(project, placed)


def _store_turns(project: Project, turns: Sequence[PastTurn], counts: Counts) -> list[tuple[UUID, PastTurn]]:
    """Stores what is not here yet; answers where each turn is now."""
    found = _found(project, turns)
    fresh: dict[UUID, PastTurn] = {}
    for turn in turns:
        if turn.row["id"] in found.taken:
            turn.row["id"] = turn.spare_id
        if turn.row["id"] not in found.mine and turn.spare_id not in found.mine:
            fresh.setdefault(turn.row["id"], turn)
    with transaction.atomic():
        _store_closed(project, [turn for turn in fresh.values() if not turn.is_pending])
        places = _store_pending(project, [turn for turn in fresh.values() if turn.is_pending])
        _store_occurrences(project, fresh, places)
    counts.stored += len(fresh) - len(places)
    counts.merged += len(places)
    counts.known += len(turns) - len(fresh)
    known = {**found.mine, **places}
    return [(known.get(turn.row["id"]) or known.get(turn.spare_id) or turn.row["id"], turn) for turn in turns]


@dataclass(frozen=True, slots=True)
class _Found:
    """Which ids are here: of this project with the turns they name now, and of others."""

    mine: dict[UUID, UUID]
    taken: set[UUID]


def _found(project: Project, turns: Sequence[PastTurn]) -> _Found:
    ids = [each for turn in turns for each in (turn.row["id"], turn.spare_id)]
    rows = run(
        """
        SELECT id, id, project_id FROM review_turn WHERE id = ANY(%(ids)s)
        UNION ALL SELECT from_id, to_turn_id, project_id FROM review_turnredirect WHERE from_id = ANY(%(ids)s)
        """,
        {"ids": ids},
    )
    return _Found(
        {given: place for given, place, owner in rows if owner == project.id},
        {given for given, _, owner in rows if owner != project.id},
    )


_COLUMNS = (
    *("id", "status", "content_hash", "question", "response", "truncated", "signals", "metadata", "tags"),
    *("user_id", "session_id", *intake.NAMES, "sample_rate", "occurrences", "reasons", "priority", "rank"),
    *("logged_at", "occurred_at", "last_seen_at", "expires_at", "claimed_by", "draw", "snoozed_until"),
    *("escalated_by", "escalation_note", "dismissed_reason", "closed_at"),
)
_NAMES = ", ".join(_COLUMNS)


def _store_closed(project: Project, turns: Sequence[PastTurn]) -> None:
    if not turns:
        return
    run(
        f"""
        WITH stored AS (
            INSERT INTO review_turn (project_id, {_NAMES})
            SELECT %s, {_NAMES} FROM json_populate_recordset(NULL::review_turn, %s::json) RETURNING id
        )
        INSERT INTO review_staleturn (turn_id, project_id) SELECT id, %s FROM stored ON CONFLICT DO NOTHING
        """,
        [project.id, _json([turn.row for turn in turns]), project.id],
    )


def _store_pending(project: Project, turns: Sequence[PastTurn]) -> dict[UUID, UUID]:
    """Stores pending turns, or counts them into their pending twins; answers which were merged, and into which."""
    merged = {}
    for some in _without_twins(turns):
        logged = intake.store(project, [NewTurn(turn.row) for turn in some])
        for turn, answer in zip(some, logged, strict=True):
            if answer.was_duplicate:
                merged[turn.row["id"]] = answer.turn_id
        _keep_state(turns=some, merged=merged)
    TurnRedirect.objects.bulk_create(
        TurnRedirect(from_id=from_id, project=project, to_turn_id=to_id) for from_id, to_id in merged.items()
    )
    return merged


def _without_twins(turns: Sequence[PastTurn]) -> Iterator[list[PastTurn]]:
    """Rounds in which no content comes twice: intake would count a twin inside a round as one occurrence."""
    rest = list(turns)
    while rest:
        first: dict[UUID, PastTurn] = {}
        later = [turn for turn in rest if first.setdefault(turn.row["content_hash"], turn) is not turn]
        yield list(first.values())
        rest = later


def _keep_state(turns: Sequence[PastTurn], merged: Mapping[UUID, UUID]) -> None:
    """What intake's statement does not set: when it was last seen, and for turns of their own where they stood."""
    given = [{**turn.row, "id": merged.get(turn.row["id"], turn.row["id"])} for turn in turns]
    for one, turn in zip(given, turns, strict=True):
        one["is_own"] = turn.row["id"] not in merged
    names = ("id", "last_seen_at", "snoozed_until", "escalated_by", "escalation_note", "is_own")
    run(
        """
        UPDATE review_turn AS turn SET
            last_seen_at = CASE WHEN is_own THEN given.last_seen_at
                ELSE greatest(turn.last_seen_at, given.last_seen_at) END,
            snoozed_until = CASE WHEN is_own THEN given.snoozed_until ELSE turn.snoozed_until END,
            escalated_by = CASE WHEN is_own THEN given.escalated_by ELSE turn.escalated_by END,
            escalation_note = CASE WHEN is_own THEN given.escalation_note ELSE turn.escalation_note END
        FROM json_to_recordset(%s::json) AS given(
            id uuid, last_seen_at timestamptz, snoozed_until timestamptz,
            escalated_by text, escalation_note text, is_own boolean)
        WHERE turn.id = given.id
        """,
        [_json([{name: one[name] for name in names} for one in given])],
    )


def _store_occurrences(project: Project, turns: Mapping[UUID, PastTurn], places: Mapping[UUID, UUID]) -> None:
    rows = [
        {**occurrence, "turn_id": places.get(turn_id, turn_id)}
        for turn_id, turn in turns.items()
        for occurrence in turn.occurrences
    ]
    if rows:
        names = "turn_id, signals, user_id, session_id, sample_rate, occurred_at, " + ", ".join(intake.NAMES)
        run(
            f"""
            INSERT INTO review_occurrence (project_id, {names})
            SELECT %s, {names} FROM json_populate_recordset(NULL::review_occurrence, %s::json)
            """,
            [project.id, _json([{name: row[name] for name in names.split(", ")} for row in rows])],
        )


def _json(rows: Sequence[Mapping[str, Any]]) -> str:
    return orjson.dumps(rows).decode()


def _store_annotations(project: Project, placed: Sequence[tuple[UUID, PastTurn]]) -> int:
    """Stores the annotations that are not here yet, each correction with its memory in a transaction of its own."""
    given = [{**one, "turn_id": turn_id} for turn_id, turn in placed for one in turn.annotations]
    rows = run(
        "SELECT id, project_id FROM review_annotation WHERE id = ANY(%s)",
        [[each for one in given for each in (one["id"], one["spare_id"])]],
    )
    owners = dict(rows)
    fresh: dict[UUID, Annotation] = {}
    for one in given:
        spare_id = one.pop("spare_id")
        if owners.get(one["id"], project.id) != project.id:
            one["id"] = spare_id
        if one["id"] not in owners and spare_id not in owners and one["id"] not in fresh:
            content = intake.content_hash(one["question"], one["response"])
            fresh[one["id"]] = Annotation(project=project, content_hash=content, **one)
    plain = [annotation for annotation in fresh.values() if not annotation.correction.strip()]
    with transaction.atomic():
        Annotation.objects.bulk_create(plain)
        AnnotationVersion.objects.bulk_create(map(_first_version, plain))
    for annotation in fresh.values():
        if annotation.correction.strip():
            with transaction.atomic():
                annotation.save(force_insert=True)
                _first_version(annotation).save(force_insert=True)
                memories.remember(project, annotation)
    return len(fresh)


def _first_version(annotation: Annotation) -> AnnotationVersion:
    return AnnotationVersion(
        project_id=annotation.project_id,
        annotation_id=annotation.id,
        version=1,
        body={name: getattr(annotation, name) for name in EDITABLE},
        author=annotation.author,
        at=annotation.updated_at,
    )
