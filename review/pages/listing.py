"""The queue's list: what is asked for, all of it in the address, and what is shown of it."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from django.db.models import QuerySet
from django.db.models.functions import Left
from django.http import QueryDict
from django.utils import timezone

from agentloop.actors import Actor
from agentloop.errors import AppError
from agentloop.models import Project
from agentloop.parsing import as_json_text, clean_text
from review import figures
from review.filters import FILTERS, Page, TurnFilter, page_of, read_filter
from review.markdown import plain
from review.models import SavedView, Status, Turn, TurnQuerySet

ROWS = 40
PREVIEW = 240
COUNTED = 10_000
FACETS_SHOWN = 12
SORT_LABELS = {
    "priority": "Priority",
    "newest": "Newest",
    "oldest": "Oldest",
    "expiring": "Expiring first",
}
SORT_LABELS_CLOSED = {"closed": "Last closed", "newest": "Newest", "oldest": "Oldest"}
# What a filter is called on its chip.
LABELS = {
    "q": "Text",
    "signal": "Signal",
    "goal": "Goal",
    "model": "Model",
    "path_id": "Path",
    "tag": "Tag",
    "user_id": "User",
    "session_id": "Session",
    "older_than": "Waits longer than",
    "newer_than": "Came within",
    "expires_within": "Expires within",
    "escalated": "Flagged",
    "disputed": "Disagreement",
    "claimed": "Claimed",
    "claimed_by": "Claimed by",
    "snoozed": "Snoozed",
    "min_occurrences": "Logged at least",
}
CHOICES: dict[str, tuple[tuple[str, str], ...]] = {
    "older_than": (("1h", "an hour"), ("1d", "a day"), ("7d", "7 days")),
    "expires_within": (("6h", "6 hours"), ("1d", "a day"), ("3d", "3 days")),
    "escalated": (("true", "yes"), ("false", "no")),
    "disputed": (("true", "yes"), ("false", "no")),
    "claimed": (("true", "yes"), ("false", "no")),
    "snoozed": (("true", "yes"), ("false", "no")),
    "min_occurrences": (("2", "twice"), ("5", "5 times")),
}
_COUNTED_FACETS = ("signal", "goal", "model", "path_id", "tag")


@dataclass(frozen=True, slots=True)
class Asked:
    """A list as its address asks for it. Another list is another address: `with_filter`, `without`, `sorted_by`."""

    given: dict[str, list[str]] = field(default_factory=dict)
    sort: str = "priority"
    cursor: str | None = None

    @classmethod
    def of(cls, params: QueryDict) -> "Asked":
        """Reads what it knows; anything else in the address is not the list's."""
        given: dict[str, list[str]] = {}
        for name in FILTERS:
            values = [clean_text(value).strip() for value in params.getlist(name)]
            kept = list(dict.fromkeys(value for value in values if value))
            if kept:
                given[name] = kept
        comparison = _comparison(params)
        if comparison:
            given["signal"] = list(dict.fromkeys([*given.get("signal", []), comparison]))
        status = given.get("status", [Status.PENDING])[0]
        is_pending = status == Status.PENDING
        if is_pending:
            given.pop("status", None)
        labels = SORT_LABELS if is_pending else SORT_LABELS_CLOSED
        sort = params.get("sort", "")
        return cls(given, sort if sort in labels else next(iter(labels)), params.get("cursor") or None)

    @property
    def status(self) -> str:
        return self.given.get("status", [Status.PENDING.value])[0]

    @property
    def sorts(self) -> dict[str, str]:
        return SORT_LABELS if self.status == Status.PENDING else SORT_LABELS_CLOSED

    @property
    def is_plain(self) -> bool:
        """The queue itself: nothing is filtered, and the most urgent comes first."""
        return not self.given and self.sort == "priority"

    @property
    def query(self) -> str:
        """The address's query, without a place in the list; it begins with `?` unless it is empty."""
        pairs = [(name, value) for name, values in self.given.items() for value in values]
        if self.sort != next(iter(self.sorts)):
            pairs.append(("sort", self.sort))
        return f"?{urlencode(pairs)}" if pairs else ""

    @property
    def next_query(self) -> str:
        """The query of what is worked through from here: a list of what is done leads to what waits."""
        return self.query if self.status == Status.PENDING else self.of_status(Status.PENDING).query

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The same as hidden fields of a form, but for the text that the form itself asks for."""
        kept = [(name, value) for name, values in self.given.items() for value in values if name != "q"]
        return kept + ([("sort", self.sort)] if self.sort != next(iter(self.sorts)) else [])

    def toggled(self, name: str, value: str) -> "Asked":
        """With a filter where it was without, and the other way round."""
        values = self.given.get(name, [])
        kept = [one for one in values if one != value] if value in values else [*values, value]
        if value not in values and name in CHOICES:
            kept = [value]
        return replace(self, given=_without_empty({**self.given, name: kept}), cursor=None)

    def sorted_by(self, sort: str) -> "Asked":
        return replace(self, sort=sort, cursor=None)

    @property
    def orders(self) -> list[tuple[str, str, bool]]:
        return [(label, self.sorted_by(sort).query, sort == self.sort) for sort, label in self.sorts.items()]

    def of_status(self, status: str) -> "Asked":
        given = {name: values for name, values in self.given.items() if name != "status"}
        if status != Status.PENDING:
            given["status"] = [status]
        sort = "priority" if status == Status.PENDING else "closed"
        return Asked(given, sort)

    def chips(self, people: dict[str, str]) -> list[tuple[str, str, str]]:
        """Each filter that holds: its name, its value, and the address without it."""
        shown = []
        for name, values in self.given.items():
            for value in values:
                words = people.get(value, value) if name == "claimed_by" else value
                words = dict(CHOICES.get(name, ())).get(value, words)
                if name != "status":
                    shown.append((LABELS.get(name, name), words, self.toggled(name, value).query))
        return shown

    def filter(self, project: Project) -> TurnFilter:
        return read_filter(project.id, self.given)

    def turns(self, project: Project, actor: Actor) -> TurnQuerySet:
        """The turns that match. Raises BadValue for a filter that can't be read."""
        turns = Turn.objects.seen_by(project, actor.ref)
        turns = turns.pending() if self.status == Status.PENDING else turns.visible()
        return self.filter(project).apply(turns)


def _comparison(params: QueryDict) -> str:
    """The filter form's three fields for a signal, put together as one filter."""
    name, sign, value = (
        clean_text(params.get(part, "")).strip() for part in ("signal_name", "signal_sign", "signal_value")
    )
    if not name:
        return ""
    return f"{name}{sign}{value}" if sign in ("<", "<=", "=", "!=", ">=", ">") and value else name


def _without_empty(given: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: values for name, values in given.items() if values}


@dataclass(frozen=True, slots=True)
class Row:
    """A turn as the list shows it."""

    turn: Turn
    preview: str
    signals: list[tuple[str, str, float]]
    holder: str
    is_mine: bool
    is_expiring: bool
    is_snoozed: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """A page of the list. `problem` says what is wrong with a filter, in which case nothing is shown."""

    rows: list[Row]
    count: int = 0
    is_more_than_count: bool = False
    next_cursor: str | None = None
    problem: str = ""


EXPIRES_SOON_S = 48 * 3600


def shown(project: Project, actor: Actor, asked: Asked, people: dict[str, str]) -> Shown:
    """A page of the list and how many match: exact, up to COUNTED where something is filtered. Two queries."""
    try:
        turns = asked.turns(project, actor)
        page = _page(turns, asked)
        count = figures.pending_count(project, actor.ref) if not asked.given else turns[: COUNTED + 1].count()
    except AppError as error:
        return Shown([], problem=error.sentence)
    rows = [_row(turn, actor, people) for turn in page.turns]
    return Shown(
        rows, min(count, COUNTED) if asked.given else count, bool(asked.given) and count > COUNTED, page.next_cursor
    )


def _page(turns: TurnQuerySet, asked: Asked) -> Page:
    light: Any = turns.defer("question", "response", "metadata").annotate(preview=Left("question", PREVIEW))
    return page_of(light, sort=asked.sort, limit=ROWS, cursor=asked.cursor)


def _row(turn: Any, actor: Actor, people: dict[str, str]) -> Row:
    now = timezone.now()
    is_held = bool(turn.claimed_by) and turn.claimed_until is not None and turn.claimed_until > now
    return Row(
        turn=turn,
        preview=plain(turn.preview),
        signals=signal_chips(turn)[:3],
        holder=people.get(turn.claimed_by, turn.claimed_by) if is_held else "",
        is_mine=is_held and turn.claimed_by == actor.ref,
        is_expiring=turn.status == Status.PENDING and (turn.expires_at - now).total_seconds() < EXPIRES_SOON_S,
        is_snoozed=turn.snoozed_until is not None and turn.snoozed_until > now,
    )


def signal_chips(turn: Turn) -> list[tuple[str, str, float]]:
    """Signals with their values as words and their points, the weightiest first; false ones are none."""
    chips = [
        (name, _short(value), turn.reasons.get(name, 0.0)) for name, value in turn.signals.items() if value is not False
    ]
    return sorted(chips, key=lambda chip: -abs(chip[2]))


def _short(value: Any) -> str:
    if value is True:
        return ""
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    text = as_json_text(value)
    return text if len(text) <= 24 else f"{text[:23]}…"


@dataclass(frozen=True, slots=True)
class Facet:
    name: str
    label: str
    values: list[tuple[str, str, bool, int | None]]

    @property
    def is_long(self) -> bool:
        return self.name in (*_COUNTED_FACETS, "claimed_by")


def facets(project: Project, asked: Asked, people: dict[str, str]) -> list[Facet]:
    """What one can filter by: (value, address, holds, how many of all that wait). From counters; one query."""
    largest = figures.largest_facets(project, _COUNTED_FACETS, figures.LARGEST_COUNTERS)
    counted = {name: dict(values) for name, values in largest.items()}
    found = []
    for name, values in counted.items():
        chosen = asked.given.get(name, [])
        shown = dict.fromkeys([*chosen, *list(values)[:FACETS_SHOWN]])
        if shown:
            found.append(_facet(name, asked, [(value, value, values.get(value)) for value in shown]))
    holders = [(ref, label, None) for ref, label in list(people.items())[:FACETS_SHOWN]]
    found.append(_facet("claimed_by", asked, holders))
    for name, choices in CHOICES.items():
        found.append(_facet(name, asked, [(value, words, None) for value, words in choices]))
    return found


def _facet(name: str, asked: Asked, values: Iterable[tuple[str, str, int | None]]) -> Facet:
    chosen = asked.given.get(name, [])
    return Facet(
        name,
        LABELS[name],
        [(words, asked.toggled(name, value).query, value in chosen, count) for value, words, count in values],
    )


def saved_views(project: Project, actor: Actor) -> QuerySet[SavedView]:
    """One's own and those that others share. One query."""
    return SavedView.objects.of(project).seen_by(actor.ref).order_by("name", "id")
