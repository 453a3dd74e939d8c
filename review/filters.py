"""What a client or reviewer may ask of a list of turns, and the order and pages in which it comes."""

import base64
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import reduce
from operator import or_
from typing import Any
from uuid import UUID

from django.db.models import BooleanField, Q
from django.db.models.expressions import RawSQL
from django.utils import timezone

from agentloop.parsing import read_time
from review.errors import BadValue
from review.models import DISPUTED, Status, Turn, TurnQuerySet
from review.words import all_of, words

_COMPARISON = re.compile(r"(?P<name>.+?)(?P<sign><=|>=|!=|=|<|>)(?P<value>.*)", re.DOTALL)
_EQUAL = ("goal", "model", "path_id", "pipeline_id", "user_id", "session_id", "trace_id", "claimed_by")
_TIMES = {
    "logged_after": "logged_at__gte",
    "logged_before": "logged_at__lt",
    "occurred_after": "occurred_at__gte",
    "occurred_before": "occurred_at__lt",
    "expires_before": "expires_at__lt",
}
# Spans from now, such as 12h or 7d: unlike a time they still say the same when a filter is kept.
_SPANS = {
    "older_than": ("logged_at__lte", -1),
    "newer_than": ("logged_at__gt", -1),
    "expires_within": ("expires_at__lte", 1),
}
_SPAN = re.compile(r"([1-9][0-9]{0,3})([hd])")
SORTS = ("priority", "newest", "oldest", "expiring")
_FLAGS = ("escalated", "disputed", "truncated", "claimed", "snoozed")
FILTERS = ("status", *_EQUAL, "tag", "signal", "q", *_TIMES, *_SPANS, *_FLAGS, "min_occurrences")


@dataclass(frozen=True, slots=True)
class TurnFilter:
    """Conditions that all hold. `sort` and `status` decide which index serves the list."""

    conditions: tuple[Any, ...] = ()
    status: str | None = None
    given: Mapping[str, list[str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.given)

    def apply(self, turns: TurnQuerySet) -> TurnQuerySet:
        return turns.filter(*self.conditions) if self.conditions else turns


def read_filter(project_id: UUID, given: Mapping[str, list[str]]) -> TurnFilter:
    """Filters from a query string or a JSON object of lists. An unknown one is named, not passed over."""
    unknown = [name for name in given if name not in FILTERS]
    if unknown:
        raise BadValue(unknown[0], f"is not a filter; there are {', '.join(FILTERS)}.")
    conditions: list[Any] = []
    for name, values in given.items():
        found = [_condition(project_id, name, value) for value in values]
        # A turn has one goal: who names two means either.
        conditions += [reduce(or_, found)] if found and name in _EQUAL else found
    status = next(iter(given.get("status", ())), None)
    return TurnFilter(tuple(conditions), status, given)


def _condition(project_id: UUID, name: str, value: str) -> Any:
    if name == "status":
        if value not in Status.values:
            raise BadValue("status", f"takes one of {', '.join(Status.values)}.")
        return Q(status=value)
    if name == "claimed_by":
        # As the API shows it: a claim that has lapsed is none.
        return Q(claimed_by=value, claimed_until__gt=timezone.now())
    if name == "trace_id" and value:
        return _of_trace(project_id, value)
    if name in _EQUAL:
        return Q(**{name: value})
    if name == "tag":
        return Q(tags__contains=[value])
    if name == "signal":
        return _signal(value)
    if name == "q":
        return _text(project_id, value)
    if name in _TIMES:
        return Q(**{_TIMES[name]: time_of(name, value)})
    if name in _SPANS:
        return _span(name, value)
    if name == "min_occurrences":
        return Q(occurrences__gte=_whole(name, value))
    now = timezone.now()
    holds = {
        "escalated": ~Q(escalated_by=""),
        "disputed": Q(escalated_by=DISPUTED),
        "truncated": ~Q(truncated=[]),
        "claimed": ~Q(claimed_by="") & Q(claimed_until__gt=now),
        "snoozed": Q(snoozed_until__isnull=False, snoozed_until__gt=now),
    }[name]
    return holds if _flag(name, value) else ~holds


def _of_trace(project_id: UUID, value: str) -> Any:
    """A turn is found by each of its merged occurrences' traces. By two indexes, whose turns are put together: a plain
    OR would read all turns in the list's order. A user may have a million turns; those are found by their own alone."""
    sql = """review_turn.id IN (
        SELECT id FROM review_turn AS own WHERE own.project_id = %s AND own.trace_id = %s AND own.trace_id <> ''
        UNION ALL SELECT turn_id FROM review_occurrence AS merged
        WHERE merged.project_id = %s AND merged.trace_id = %s AND merged.trace_id <> ''
    )"""
    given = [project_id, value, project_id, value]
    return Q(RawSQL(sql, given, output_field=BooleanField()))  # noqa: S611


def _span(name: str, value: str) -> Any:
    match = _SPAN.fullmatch(value)
    if match is None:
        raise BadValue(name, "takes hours or days, such as 12h or 7d.")
    column, sign = _SPANS[name]
    span = timedelta(hours=int(match[1])) if match[2] == "h" else timedelta(days=int(match[1]))
    return Q(**{column: timezone.now() + sign * span})


def time_of(name: str, value: str) -> datetime:
    moment = read_time(value)
    if moment is None:
        raise BadValue(name, "takes a time such as 2026-01-31T09:00:00Z.")
    return moment


def _whole(name: str, value: str) -> int:
    if not value.isascii() or not value.isdigit() or len(value) > 9:
        raise BadValue(name, "takes a whole number.")
    return int(value)


def _flag(name: str, value: str) -> bool:
    if value not in ("true", "false"):
        raise BadValue(name, "takes true or false.")
    return value == "true"


def _signal(text: str) -> Any:
    """`thumbs_down`: is there, and not false. `confidence<0.5`, `kind=refund`, `kind!=refund`: compared."""
    match = _COMPARISON.fullmatch(text)
    if match is None:
        if not text:
            raise BadValue("signal", "takes a signal's name, or a comparison such as confidence<0.5.")
        return Q(signals__has_key=text) & ~Q(signals__contains={text: False})
    name, sign, value = match["name"], match["sign"], match["value"]
    if sign in ("=", "!="):
        same = Q(signals__contains={name: _scalar(value)}) | Q(signals__contains={name: value})
        return same if sign == "=" else Q(signals__has_key=name) & ~same
    number = _scalar(value)
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise BadValue("signal", f"{text!r} compares with {sign}, which takes a number.")
    # CASE keeps PostgreSQL from casting a text before it knows that it is none.
    sql = (
        "CASE WHEN jsonb_typeof(review_turn.signals -> %s) = 'number' "
        f"THEN (review_turn.signals ->> %s)::numeric {sign} %s ELSE false END"
    )
    return Q(signals__has_key=name) & Q(RawSQL(sql, [name, name, number], output_field=BooleanField()))  # noqa: S611


def _scalar(text: str) -> Any:
    try:
        value = json.loads(text, parse_constant=lambda name: name)
    except (ValueError, RecursionError):
        return text
    is_scalar = not isinstance(value, dict | list | float) or (isinstance(value, float) and math.isfinite(value))
    return value if is_scalar else text


def text_query(text: str) -> str | None:
    """All the words of a search, as PostgreSQL takes them; None where there is no word to look for."""
    found = words(text)[:32]
    return all_of(found) or None


def _text(project_id: UUID, text: str) -> Any:
    query = text_query(text)
    if query is None:
        raise BadValue("q", "has no word to look for.")
    sql = """review_turn.id IN (
        SELECT turn_id FROM review_turnindex WHERE project_id = %s AND document @@ %s::tsquery
    )"""
    return Q(RawSQL(sql, [project_id, query], output_field=BooleanField()))  # noqa: S611


# --- order and pages ------------------------------------------------------------------------------------------

_ORDERS: dict[str, tuple[str, ...]] = {
    "priority": ("-rank", "-id"),
    "newest": ("-id",),
    "oldest": ("id",),
    "expiring": ("expires_at", "id"),
    # For the dashboard's lists of what is done; the API sorts by the four above.
    "closed": ("-closed_at", "-id"),
}


@dataclass(frozen=True, slots=True)
class Page:
    turns: list[Turn]
    next_cursor: str | None


def page_of(turns: TurnQuerySet, *, sort: str, limit: int, cursor: str | None) -> Page:
    """One page by keyset: as fast far down as at the top, and steady while turns come and go. One query."""
    if sort not in _ORDERS:
        raise BadValue("sort", f"takes one of {', '.join(SORTS)}.")
    order = _ORDERS[sort]
    if sort == "closed":
        turns = turns.exclude(status=Status.PENDING)
    if cursor:
        turns = turns.filter(_after(order, _read_cursor(cursor, sort)))
    found = list(turns.order_by(*order)[: limit + 1])
    more = len(found) > limit
    return Page(found[:limit], _cursor(sort, order, found[limit - 1]) if more else None)


def in_order(turns: TurnQuerySet, sort: str) -> TurnQuerySet:
    return turns.order_by(*_ORDERS[sort])


def _after(order: tuple[str, ...], values: list[Any]) -> Any:
    sign = "<" if order[0].startswith("-") else ">"
    names = [name.lstrip("-") for name in order]
    row = f"({', '.join(f'review_turn.{name}' for name in names)}) {sign} ({', '.join(['%s'] * len(names))})"
    return Q(RawSQL(row, values, output_field=BooleanField()))  # noqa: S611


def _cursor(sort: str, order: Iterable[str], last: Turn) -> str:
    values = [getattr(last, name.lstrip("-")) for name in order]
    text = json.dumps([sort, *values], default=lambda v: v.isoformat() if isinstance(v, datetime) else v.hex)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_cursor(cursor: str, sort: str) -> list[Any]:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        made_for, *values = json.loads(base64.urlsafe_b64decode(padded))
        time = datetime.fromisoformat
        readers: dict[str, Any] = {"rank": float, "expires_at": time, "closed_at": time, "id": UUID}
        names = [name.lstrip("-") for name in _ORDERS[sort]]
        if made_for == sort and len(values) == len(names):
            return [readers[name](value) for name, value in zip(names, values, strict=True)]
    except (ValueError, TypeError, RecursionError, AttributeError, OverflowError):
        pass
    raise BadValue("cursor", "is not one that this list gave: take `next_cursor` of the page before, as it is.")
