"""Exports: turns and annotations as JSONL, CSV and Parquet, made piece by piece and never held as a whole.

Rows are read by keyset, each batch a statement of its own: no transaction stays open behind a slow reader, and one
that goes away leaves nothing behind. An export holds what was logged before it began, so that it ends however
fast new turns come in.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar
from uuid import UUID

import orjson
from django.db.models import BooleanField, Q, QuerySet, Window
from django.db.models.expressions import RawSQL
from django.db.models.functions import RowNumber
from django.utils import timezone

from agentloop import audit
from agentloop.admin_shapes import audit_shape
from agentloop.models import AuditEntry, Project
from review.filters import TurnFilter
from review.models import Annotation, Occurrence, Turn
from review.shapes import annotation_shape, turn_shape

Row = dict[str, Any]
Stored = TypeVar("Stored", Turn, Annotation, AuditEntry)

# A batch is as many rows as were about this much text in the batch before, within these bounds.
BATCH_BYTES = 4 * 1024 * 1024
FIRST_BATCH, MOST_ROWS = 100, 2000
# A turn logged a million times must not make a line of a gigabyte: beyond these, a line holds the first ones.
MAX_OCCURRENCES, MAX_ANNOTATIONS = 1000, 100
# Turns whose occurrences are fetched together.
OCCURRENCES_AT_ONCE = 5000

TEXT, JSON, TIME, WHOLE, NUMBER = "text", "json", "time", "whole", "number"

TURN_FIELDS: dict[str, str] = {
    "turn_id": TEXT,
    "status": TEXT,
    "question": TEXT,
    "agent_response": TEXT,
    "truncated": JSON,
    "signals": JSON,
    "metadata": JSON,
    "tags": JSON,
    "user_id": TEXT,
    "session_id": TEXT,
    "trace_id": TEXT,
    "goal": TEXT,
    "model": TEXT,
    "path_id": TEXT,
    "pipeline_id": TEXT,
    "sample_rate": NUMBER,
    "occurrences": WHOLE,
    "priority": NUMBER,
    "logged_at": TIME,
    "occurred_at": TIME,
    "last_seen_at": TIME,
    "expires_at": TIME,
    "claimed_by": TEXT,
    "claimed_until": TIME,
    "snoozed_until": TIME,
    "escalated_by": TEXT,
    "escalation_note": TEXT,
    "dismissed_reason": TEXT,
    "closed_at": TIME,
}
ANNOTATION_FIELDS: dict[str, str] = {
    "annotation_id": TEXT,
    "turn_id": TEXT,
    "memory_id": TEXT,
    "question": TEXT,
    "agent_response": TEXT,
    "source": TEXT,
    "author": TEXT,
    "author_label": TEXT,
    "rating": TEXT,
    "correction": TEXT,
    "root_cause": TEXT,
    "failure_category": TEXT,
    "tags": JSON,
    "comment": TEXT,
    "scores": JSON,
    "rubric": JSON,
    "metadata": JSON,
    "user_id": TEXT,
    "goal": TEXT,
    "model": TEXT,
    "path_id": TEXT,
    "pipeline_id": TEXT,
    "trace_id": TEXT,
    "draw": TEXT,
    "draw_probability": NUMBER,
    "version": WHOLE,
    "created_at": TIME,
    "updated_at": TIME,
}
AUDIT_FIELDS: dict[str, str] = {
    "id": TEXT,
    "at": TIME,
    "actor": TEXT,
    "act": TEXT,
    "target": TEXT,
    "details": JSON,
    "request_id": TEXT,
}
OCCURRENCE_FIELDS = (
    "occurred_at",
    "trace_id",
    "goal",
    "model",
    "path_id",
    "pipeline_id",
    "user_id",
    "session_id",
    "sample_rate",
    "signals",
)


# --- rows -----------------------------------------------------------------------------------------------------


def turn_rows(project: Project, wanted: TurnFilter, *, with_history: bool = False) -> Iterator[list[Row]]:
    """Batches of a project's turns that a filter lets through, oldest first; expired ones are never among them.

    `with_history` adds `merged_occurrences` and `annotations` to each, as the import takes them back.
    One query a batch; with history two more for each 5,000 occurrences.
    """
    started = timezone.now()

    def after(last: UUID | None) -> QuerySet[Turn]:
        turns = wanted.apply(Turn.objects.of(project).visible()).filter(logged_at__lte=started)
        return turns.filter(id__gt=last) if last else turns

    for batch in _by_keyset(after, lambda turn: len(turn.question) + len(turn.response)):
        if not with_history:
            yield [turn_shape(turn) for turn in batch]
            continue
        for piece in _pieces(batch):
            yield _with_history(project, piece)


def annotation_rows(project: Project, conditions: Q) -> Iterator[list[Row]]:
    """Batches of a project's standing annotations, oldest first. One query a batch."""
    started = timezone.now()

    def after(last: UUID | None) -> QuerySet[Annotation]:
        found = Annotation.objects.of(project).standing().filter(conditions, created_at__lte=started)
        return found.filter(id__gt=last) if last else found

    for batch in _by_keyset(after, lambda one: len(one.question) + len(one.response) + len(one.correction)):
        yield [annotation_shape(one) for one in batch]


def audit_rows(project: Project, **given: Any) -> Iterator[list[Row]]:
    """Batches of the audit log, oldest first; `given` is as `audit.entries` takes it. One query a batch."""
    started = timezone.now()

    def after(last: UUID | None) -> QuerySet[AuditEntry]:
        found = audit.entries(project, **given).filter(at__lte=started)
        return found.filter(id__gt=last) if last else found

    for batch in _by_keyset(after, lambda entry: 200):
        yield [audit_shape(entry) for entry in batch]


def _by_keyset(
    after: Callable[[UUID | None], QuerySet[Stored]], weigh: Callable[[Stored], int]
) -> Iterator[list[Stored]]:
    """All rows in the order of their ids, in batches of about BATCH_BYTES however long their texts are."""
    size, last = FIRST_BATCH, None
    while True:
        batch = list(after(last).order_by("id")[:size])
        if batch:
            yield batch
        if len(batch) < size:
            return
        last = batch[-1].id
        weight = max(1, sum(map(weigh, batch)))
        size = min(MOST_ROWS, max(1, size * BATCH_BYTES // weight))


def _pieces(turns: Sequence[Turn]) -> Iterator[list[Turn]]:
    """The turns of a batch, as many at once as have OCCURRENCES_AT_ONCE together."""
    piece: list[Turn] = []
    weight = 0
    for turn in turns:
        own = min(turn.occurrences, MAX_OCCURRENCES)
        if piece and weight + own > OCCURRENCES_AT_ONCE:
            yield piece
            piece, weight = [], 0
        piece.append(turn)
        weight += own
    yield piece


def _with_history(project: Project, turns: Sequence[Turn]) -> list[Row]:
    repeated = [turn.id for turn in turns if turn.occurrences > 1]
    occurrences = _first_of(Occurrence.objects.filter(project=project), repeated, MAX_OCCURRENCES)
    ids = [turn.id for turn in turns]
    annotations = _first_of(Annotation.objects.of(project).standing(), ids, MAX_ANNOTATIONS)
    return [
        {
            **turn_shape(turn),
            "merged_occurrences": [
                {name: getattr(one, name) for name in OCCURRENCE_FIELDS} for one in occurrences.get(turn.id, ())
            ],
            "annotations": [_nested(turn, annotation) for annotation in annotations.get(turn.id, ())],
        }
        for turn in turns
    ]


def _first_of(rows: QuerySet[Any], turn_ids: list[UUID], most: int) -> dict[UUID, list[Any]]:
    """The first rows of each turn. One query; the ids go as one array, not as thousands of parameters."""
    found: dict[UUID, list[Any]] = {}
    if not turn_ids:
        return found
    table = rows.model._meta.db_table
    among = f"{table}.turn_id = ANY(%s)"
    theirs = Q(RawSQL(among, [turn_ids], output_field=BooleanField()))  # noqa: S611 - our own table
    numbered = rows.filter(theirs).annotate(place=Window(RowNumber(), partition_by="turn_id", order_by="id"))
    for row in numbered.filter(place__lte=most).order_by("turn_id", "id"):
        found.setdefault(row.turn_id, []).append(row)
    return found


def _nested(turn: Turn, annotation: Annotation) -> Row:
    """An annotation inside its turn's line, which does not say the same texts again."""
    shape = annotation_shape(annotation)
    del shape["turn_id"]
    if (annotation.question, annotation.response) == (turn.question, turn.response):
        del shape["question"], shape["agent_response"]
    return shape


# --- forms ----------------------------------------------------------------------------------------------------


class Form(Protocol):
    def __call__(self, batches: Iterable[list[Row]], fields: Mapping[str, str]) -> Iterator[bytes]: ...


def as_jsonl(batches: Iterable[list[Row]], fields: Mapping[str, str]) -> Iterator[bytes]:
    """One object a line, whole: `fields` is for the forms that have columns."""
    for batch in batches:
        yield b"".join(_json(row) + b"\n" for row in batch)


def _json(value: Any) -> bytes:
    try:
        return orjson.dumps(value, option=orjson.OPT_UTC_Z)
    except TypeError:
        # PostgreSQL gives 1e300 back as a whole number of 301 digits, which the fast writer refuses.
        return json.dumps(value, default=_iso).encode()


def _iso(value: datetime) -> str:
    return value.isoformat().replace("+00:00", "Z")


def as_csv(batches: Iterable[list[Row]], fields: Mapping[str, str]) -> Iterator[bytes]:
    """RFC 4180 with a header, in UTF-8. A cell that a spreadsheet would take for a formula gets an apostrophe."""
    sink = io.StringIO(newline="")
    writer = csv.writer(sink)
    writer.writerow(fields)
    for batch in batches:
        writer.writerows([_cell(row[name], kind) for name, kind in fields.items()] for row in batch)
        yield _taken(sink)
    yield _taken(sink)


def _taken(sink: io.StringIO) -> bytes:
    text = sink.getvalue()
    sink.seek(0)
    sink.truncate()
    return text.encode()


# The full-width forms count too: some spreadsheets fold them.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def _cell(value: Any, kind: str) -> Any:
    if value is None or kind in (WHOLE, NUMBER):
        return "" if value is None else value
    text = _plain(value, kind)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _plain(value: Any, kind: str) -> str:
    if kind == JSON:
        return _json(value).decode()
    if kind == TIME:
        return _iso(value)
    return str(value)


def as_parquet(batches: Iterable[list[Row]], fields: Mapping[str, str]) -> Iterator[bytes]:
    """A typed file whose row groups leave as they are made. Nested values are JSON text, times are UTC."""
    # Imported where it is needed: it brings NumPy along, and the site starts sooner without both.
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {TEXT: pa.string(), JSON: pa.string(), WHOLE: pa.int64(), NUMBER: pa.float64()}
    types[TIME] = pa.timestamp("us", tz="UTC")
    schema = pa.schema([pa.field(name, types[kind]) for name, kind in fields.items()])
    sink = _Outlet()
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for batch in batches:
            columns = [[_value(row[name], kind) for row in batch] for name, kind in fields.items()]
            arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            yield sink.taken()
    yield sink.taken()


def _value(value: Any, kind: str) -> Any:
    if value is None or isinstance(value, datetime) or kind in (WHOLE, NUMBER):
        return value
    return _plain(value, kind)


class _Outlet(io.RawIOBase):
    """What the Parquet writer writes into: it is handed on at once, and only its length is remembered."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        self._length += len(part)
        return len(part)

    def tell(self) -> int:
        return self._length

    def taken(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


FORMS: dict[str, tuple[str, Form]] = {
    "jsonl": ("application/x-ndjson", as_jsonl),
    "csv": ("text/csv; charset=utf-8", as_csv),
    "parquet": ("application/vnd.apache.parquet", as_parquet),
}
