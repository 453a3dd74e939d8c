"""Bringing a history in: outcomes from a file of JSON lines or a table, with their own times, as evidence.

Every line has a key that follows from the line alone. So an import that was cut off anywhere is run again from the
start, and the ledger finds what it has already: nothing counts twice.
"""

import csv
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import orjson

from agentloop import audit
from agentloop.actors import Actor
from agentloop.errors import AppError, BadJSON
from agentloop.history import LineTooLong, Refuse, only_import, value_of
from agentloop.models import Project
from agentloop.parsing import as_json_text, read_json
from agentloop.sql import run
from routing.engine.evidence import Source
from routing.errors import BadField
from routing.evidence import MAX_BATCH, Observation, record
from routing.reports import flag_of, number_of, read_outcome, seconds_of, snake

# Other systems' names for the time of an outcome, after ours.
TIMES = ("occurred_at", "created_at", "timestamp")
OBJECTS = ("execution_params", "metadata")
# A table knows texts alone: in these columns a cell that is JSON is read as it.
READ_AS_JSON = {*TIMES, *OBJECTS, "success", "score", "confidence"}

# A line's number, with what it says or why that can't be told.
Row = tuple[int, Any]


class NotATable(AppError):
    """The file is not a table of comma-separated values."""

    code = "not_a_table"


class Ragged(AppError):
    """The line has more cells than the header: put cells with a comma in them into quotes."""

    code = "ragged"


@dataclass(slots=True)
class Counts:
    """What became of the lines so far. `known` were here already."""

    lines: int = 0
    stored: int = 0
    known: int = 0
    refused: int = 0


def import_outcomes(
    project: Project, actor: Actor, rows: Iterable[Row], *, refuse: Refuse, progress: Callable[[Counts], None]
) -> Counts:
    """Records a history. `refuse` hears of each bad line, which is passed over; `progress` after each transaction."""
    counts = Counts()
    with only_import(project):
        audit.note(project, actor, "outcomes.import.begin", project.slug)
        batch: list[Observation] = []
        for number, item in rows:
            counts.lines = number
            try:
                batch.append(read_past_outcome(project, item))
            except AppError as error:
                counts.refused += 1
                refuse(number, error.sentence)
            if len(batch) == MAX_BATCH:
                _store(project, batch, counts)
                progress(counts)
                batch = []
        _store(project, batch, counts)
        # PostgreSQL knows at once how many rows there are, rather than when it next looks; plans made before end.
        run("ANALYZE routing_ledgerrow, routing_outcome", [])
        audit.note(project, actor, "outcomes.import.end", project.slug, **asdict(counts))
    return counts


def _store(project: Project, batch: list[Observation], counts: Counts) -> None:
    first = {said.key: said for said in reversed(batch)}
    stored = sum(done.is_new for done in record(project, list(first.values())))
    counts.stored += stored
    counts.known += len(batch) - stored


# --- reading --------------------------------------------------------------------------------------------------


def json_rows(lines: Iterable[bytes | None]) -> Iterator[Row]:
    for number, line in enumerate(lines, 1):
        if line is not None and not line.strip():
            continue
        try:
            yield number, value_of(line)
        except AppError as error:
            yield number, error


def csv_rows(lines: Iterable[bytes | None]) -> Iterator[Row]:
    """The rows of a table whose first line names the columns; an empty cell says nothing."""
    table = csv.DictReader(_texts(lines), restkey="", strict=True)
    try:
        for row in table:
            yield (
                table.line_num,
                Ragged()
                if "" in row
                else {name.strip(): _cell(name.strip(), cell) for name, cell in row.items() if cell},
            )
    except csv.Error as error:
        raise NotATable(f"Line {table.line_num} is not CSV: {error}.") from error


def _texts(lines: Iterable[bytes | None]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if line is None:
            raise LineTooLong(f"Line {number} is longer than 16 MB.")
        yield line.decode("utf-8-sig" if number == 1 else "utf-8", "replace")


def _cell(name: str, cell: str) -> Any:
    try:
        return read_json(cell.encode()) if name in READ_AS_JSON else cell
    except BadJSON:
        return cell


def read_past_outcome(project: Project, item: Any) -> Observation:
    """A line as `report_outcome` reads it, with the source, time and confidence that a past one may have.

    Lenient as reports are, but for what must not be guessed: a verdict, a time, a source or params that can't be read.
    """
    if isinstance(item, AppError):
        raise item
    if not isinstance(item, dict):
        raise BadField("line", "is not an object.")
    given = snake(item)
    said = read_outcome(given)
    _must_be_read(given)
    key = said.key or f"imported:{said.goal}:{_name_of(given)}"
    confidence = number_of(given.get("confidence"))
    return replace(
        said,
        source=_source(given),
        trace_id=said.trace_id if given.get("trace_id") else _lasting_trace(project, key),
        confidence=1.0 if confidence is None else confidence,
        occurred_at=_time(given),
        key=key,
    )


def _must_be_read(given: Mapping[str, Any]) -> None:
    if _is_said(given, "success") and flag_of(given["success"]) is None:
        raise BadField("success", "takes true or false.")
    if _is_said(given, "score") and number_of(given["score"]) is None:
        raise BadField("score", "takes a number from 0 to 1.")
    if not _is_said(given, "success") and not _is_said(given, "score"):
        raise BadField("success", "is missing, and so is score: say one of them.")
    for name in OBJECTS:
        if _is_said(given, name) and not isinstance(given[name], dict):
            raise BadField(name, "takes a JSON object.")


def _is_said(given: Mapping[str, Any], name: str) -> bool:
    return given.get(name) not in (None, "")


def _source(given: Mapping[str, Any]) -> Source:
    name = given.get("source") or Source.PROVIDER
    if name not in list(Source):
        raise BadField("source", f"takes one of {', '.join(Source)}.")
    return Source(name)


def _time(given: Mapping[str, Any]) -> float | None:
    for name in TIMES:
        if _is_said(given, name):
            moment = seconds_of(given[name])
            if moment is None:
                raise BadField(name, "takes a time such as 2026-01-31T09:00:00Z, or Unix seconds.")
            return moment
    return None


def _name_of(given: Mapping[str, Any]) -> str:
    """What names a line: its id elsewhere; else all that it says."""
    if _is_said(given, "id"):
        return as_json_text(given["id"])
    return hashlib.blake2b(orjson.dumps(given, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()


def _lasting_trace(project: Project, key: str) -> str:
    """A trace id of our making that is the same each time."""
    return hashlib.blake2b(key.encode(), digest_size=16, key=project.id.bytes).hexdigest()
