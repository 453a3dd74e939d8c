"""Logging turns: what a client sent becomes pending turns, merged with their twins, a batch at a time."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, repeat
from typing import Any
from uuid import UUID

import orjson
from django.db import transaction
from django.utils import timezone

from agentloop.errors import AppError, Invalid
from agentloop.gathering import Gathering
from agentloop.idempotency import KEEP_HOURS, key_of
from agentloop.ids import new_id, shown
from agentloop.masking import Mask, masked, masked_head, masked_id, masker
from agentloop.models import Project
from agentloop.parsing import as_json_text, read_time
from agentloop.sql import run, run_positional, with_retries
from review import notices
from review.priority import PRIORITY_SQL, RANK_SQL, rank_of, signal_reasons, weights_of
from review.words import folded

MAX_BATCH = 500
MAX_SIGNALS, MAX_SIGNAL_BYTES, MAX_METADATA_BYTES = 64, 16 * 1024, 64 * 1024
MAX_NAME, MAX_TAGS, MAX_TAG = 200, 32, 100

# What clients may say inside `metadata` because their `log_turn` has no argument for it, and how else they spell it.
LIFTED: dict[str, tuple[str, ...]] = {
    "trace_id": ("kalibr_trace_id",),
    "goal": (),
    "model": ("model_id",),
    "path_id": (),
    "pipeline_id": (),
    "tags": (),
    "sample_rate": (),
    "occurred_at": (),
    "idempotency_key": (),
    "want_feedback_url": (),
}
_SPELT = {spelling: name for name, spellings in LIFTED.items() for spelling in (name, *spellings)}
NAMES = ("trace_id", "goal", "model", "path_id", "pipeline_id")
_NO_NAMES = dict.fromkeys(NAMES, "")

Row = dict[str, Any]


class MissingText(Invalid):
    """A turn needs `question` and `agent_response`; either may be empty text."""

    code = "missing_text"


class NotATurn(Invalid):
    """A turn is a JSON object with `question` and `agent_response`."""

    code = "not_a_turn"


@dataclass(slots=True)
class NewTurn:
    """A turn as it will be stored: limited, masked, weighed. `row` has the columns that intake's statement names."""

    row: dict[str, Any]
    idempotency_key: str = ""
    want_feedback_url: bool = False


@dataclass(frozen=True, slots=True)
class Logged:
    """What a client is told of its turn."""

    turn_id: UUID
    was_duplicate: bool

    def as_answer(self) -> dict[str, Any]:
        return {
            "turn_id": shown("turn", self.turn_id),
            "status": "pending",
            "was_duplicate": self.was_duplicate,
        }


@dataclass(frozen=True, slots=True)
class IntakeRules:
    """A project's settings as intake needs them, read once for a batch."""

    question_limit: int
    response_limit: int
    weights: Mapping[str, float]
    default_weight: float
    ttl: timedelta
    mask: Mask | None

    @classmethod
    def of(cls, project: Project) -> "IntakeRules":
        return cls(
            question_limit=project.setting("question_limit"),
            response_limit=project.setting("response_limit"),
            weights=weights_of(project),
            default_weight=project.setting("default_signal_weight"),
            ttl=timedelta(days=project.setting("ttl_days")),
            mask=masker(tuple(project.setting("mask")), tuple(project.setting("mask_patterns"))),
        )


def read_turn(item: Any, rules: IntakeRules, now: datetime, idempotency_key: str = "") -> NewTurn:
    """A client's turn, read leniently: odd types are kept as JSON, what is too long is cut and marked. Its own
    idempotency key goes before that of its request.

    Refuses only what is no turn at all. Expects text that `agentloop.parsing` has cleaned.
    """
    if not isinstance(item, dict):
        raise NotATurn
    if item.get("question") is None or item.get("agent_response") is None:
        raise _missing(item)
    metadata = _as_object("metadata", item.get("metadata"))
    said = _lifted(item, metadata)
    signals = _as_object("signals", item.get("signals"))

    truncated: list[str] = []
    question = masked_head(as_json_text(item["question"]), rules.question_limit, rules.mask)
    question = _cut("question", question, rules.question_limit, truncated)
    response = masked_head(as_json_text(item["agent_response"]), rules.response_limit, rules.mask)
    response = _cut("response", response, rules.response_limit, truncated)
    signals = _fit("signals", signals, MAX_SIGNAL_BYTES, truncated, rules.mask, most=MAX_SIGNALS)
    metadata = _fit("metadata", metadata, MAX_METADATA_BYTES, truncated, rules.mask)
    reasons = signal_reasons(signals, rules.weights, rules.default_weight)
    priority = round(sum(reasons.values()), 3)
    tags = said.get("tags")
    row = {
        "id": new_id(),
        "content_hash": content_hash(question, response),
        "question": question,
        "response": response,
        "truncated": truncated,
        "signals": signals,
        "metadata": metadata,
        "tags": _tags(tags, rules.mask) if tags else [],
        "user_id": masked_id(_name(item.get("user_id")), rules.mask),
        "session_id": masked_id(_name(item.get("session_id")), rules.mask),
        **_NO_NAMES,
        "sample_rate": _share(said.get("sample_rate")),
        "occurrences": 1,
        "reasons": reasons,
        "priority": priority,
        "rank": rank_of(priority, 1, now),
        "logged_at": now,
        "occurred_at": _past_time(said.get("occurred_at"), now),
        "expires_at": now + rules.ttl,
    }
    for name in said.keys() & _NO_NAMES.keys():
        row[name] = _name(said[name])
    own_key = said.get("idempotency_key")
    key = key_of(as_json_text(own_key)) if own_key else idempotency_key
    return NewTurn(row, key, bool(said.get("want_feedback_url")))


def _missing(item: Mapping[str, Any]) -> MissingText:
    names = [name for name in ("question", "agent_response") if item.get(name) is None]
    problem = "is missing: a turn needs `question` and `agent_response`; either may be empty text."
    return MissingText(f"`{names[0]}` {problem}", fields=dict.fromkeys(names, "is missing"))


def content_hash(question: str, response: str) -> UUID:
    """The identity of a turn's content: equal for texts that differ in case, white space or Unicode form alone."""
    text = f"{folded(question)}\x1f{folded(response)}"
    return UUID(bytes=hashlib.blake2b(text.encode(), digest_size=16).digest())


def _lifted(item: Mapping[str, Any], metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What the turn says by these names, at its top level or inside `metadata`; the top level wins."""
    said: dict[str, Any] = {}
    for key, value in metadata.items():
        name = _SPELT.get(key)
        # A name as we spell it wins over another spelling, in whichever order they come.
        if name and value is not None and (key == name or name not in said):
            said[name] = value
    for name in LIFTED.keys() & item.keys():
        if item[name] is not None:
            said[name] = item[name]
    return said


def _as_object(name: str, value: Any) -> dict[str, Any]:
    """An object as it is; a list of names as flags; any other value under the field's own name."""
    if isinstance(value, dict):
        return value
    if value is None or value == "" or value == []:
        return {}
    if name == "signals" and isinstance(value, list) and all(isinstance(part, str) for part in value):
        return dict.fromkeys(value, True)
    return {name: value}


def _cut(name: str, text: str, limit: int, truncated: list[str]) -> str:
    """The text, or as much of it as fits into `limit` bytes of UTF-8, whole characters only."""
    if len(text) * 4 <= limit:
        return text
    encoded = text.encode()
    if len(encoded) <= limit:
        return text
    truncated.append(name)
    return encoded[:limit].decode(errors="ignore")


def _fit(
    name: str, value: dict[str, Any], limit: int, truncated: list[str], mask: Mask | None, most: int = 1000
) -> dict[str, Any]:
    """As many of the first members as fit the limits, masked. Before masking too: a client may send megabytes."""
    kept = _first(value, limit, most)
    is_cut = len(kept) < len(value)
    if mask:
        whole = masked(kept, mask)
        kept = _first(whole, limit, most)
        is_cut = is_cut or len(kept) < len(whole)
    if is_cut:
        truncated.append(name)
    return kept


def _first(value: dict[str, Any], limit: int, most: int) -> dict[str, Any]:
    if len(value) <= most and len(orjson.dumps(value)) <= limit:
        return value
    kept: dict[str, Any] = {}
    size = 2
    for key, part in list(value.items())[:most]:
        size += len(orjson.dumps({key: part}))
        if size > limit:
            break
        kept[key] = part
    return kept


def _name(value: Any, mask: Mask | None = None) -> str:
    if value is None or value == "":
        return ""
    text = as_json_text(value)[:MAX_NAME]
    return mask(text) if mask else text


def _tags(value: Any, mask: Mask | None = None) -> list[str]:
    if not value:
        return []
    parts = value if isinstance(value, list) else [value] if isinstance(value, str) else []
    texts = (_name(part, mask).strip()[:MAX_TAG] for part in parts if part is not None)
    return list(dict.fromkeys(text for text in texts if text))[:MAX_TAGS]


def _share(value: Any) -> float | None:
    fits = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1
    return float(value) if fits else None


def _past_time(value: Any, now: datetime) -> datetime:
    """The client's time where it can be read and is not in the future, else the server's."""
    moment = read_time(value) if value is not None else None
    return moment if moment is not None and moment <= now else now


def log_turns(
    project: Project, items: Sequence[Any], idempotency_key: str = ""
) -> list[tuple[Logged, NewTurn] | AppError]:
    """Stores a batch; each item has its own result. The batch's key holds for each item, by its place."""
    rules, now = IntakeRules.of(project), timezone.now()
    keys = (f"{idempotency_key}:{place}" if idempotency_key else "" for place in range(len(items)))
    read = [_read_or_error(item, rules, now, key) for item, key in zip(items, keys, strict=True)]
    turns = [turn for turn in read if isinstance(turn, NewTurn)]
    logged = iter(store_and_tell(project, turns))
    return [(next(logged), turn) if isinstance(turn, NewTurn) else turn for turn in read]


def _read_or_error(item: Any, rules: IntakeRules, now: datetime, key: str) -> NewTurn | AppError:
    try:
        return read_turn(item, rules, now, key)
    except AppError as error:
        return error


def store_and_tell(project: Project, turns: Sequence[NewTurn]) -> list[Logged]:
    """Stores turns, and tells whoever takes notice of new ones: in one transaction where there is anybody."""
    if not notices.takes_turns(project):
        return store(project, turns)

    def write() -> list[Logged]:
        with transaction.atomic():
            known = notices.signals_of_twins(project, turns)
            logged = store(project, turns)
            notices.turns_logged(project, turns, logged, known)
        return logged

    return with_retries(write)


# Single turns from many requests at once.
_together: Gathering[NewTurn, Logged] = Gathering(store_and_tell)


def log_turn(project: Project, item: Any, idempotency_key: str = "") -> tuple[Logged, NewTurn]:
    """Stores one turn, or counts it into its pending twin. Raises what `read_turn` refuses."""
    turn = read_turn(item, IntakeRules.of(project), timezone.now(), idempotency_key)
    return _together.store(project, turn), turn


def store(project: Project, turns: Sequence[NewTurn]) -> list[Logged]:
    """Stores turns that were read, in their order. One statement; one more for repeats, two for idempotency keys.

    Statements are retried when PostgreSQL breaks a deadlock, which a twin that expires between two batches
    can cause: nothing is stored by then.
    """
    if not turns:
        return []
    if not any(turn.idempotency_key for turn in turns):
        return _merge_or_insert(project, turns)
    return with_retries(lambda: _store_once(project, turns))


def _store_once(project: Project, turns: Sequence[NewTurn]) -> list[Logged]:
    """Stores each idempotency key's first turn alone; repeats get the first one's answer."""
    first_of: dict[str, int] = {}
    for place, turn in enumerate(turns):
        if turn.idempotency_key:
            first_of.setdefault(turn.idempotency_key, place)
    with transaction.atomic():
        earlier = _earlier_answers(project, sorted(first_of))
        fresh = [
            place
            for place, turn in enumerate(turns)
            if not turn.idempotency_key
            or (first_of[turn.idempotency_key] == place and turn.idempotency_key not in earlier)
        ]
        stored = dict(zip(fresh, _merge_or_insert(project, [turns[place] for place in fresh]), strict=True))
        answers = {
            turns[place].idempotency_key: logged for place, logged in stored.items() if turns[place].idempotency_key
        }
        _keep_answers(project, answers)
    answers |= earlier
    return [stored.get(place) or answers[turn.idempotency_key] for place, turn in enumerate(turns)]


def _earlier_answers(project: Project, keys: list[str]) -> dict[str, Logged]:
    """Takes the keys that are new and answers for the others. Waits for a request that holds one of them now.

    Keys are taken in order, so that two batches with the same keys wait for each other and don't deadlock.
    """
    run(
        """
        INSERT INTO agentloop_idempotencykey (project_id, key, created_at)
        SELECT %s, 'turns:' || key, now() FROM unnest(%s::text[]) WITH ORDINALITY AS given(key, place) ORDER BY key
        ON CONFLICT (project_id, key) DO UPDATE SET created_at = now(), answer = NULL
        WHERE agentloop_idempotencykey.created_at < now() - %s * interval '1 hour'
        """,
        [project.id, keys, KEEP_HOURS],
    )
    rows = run(
        """
        SELECT substr(key, 7), (answer->>'id')::uuid, (answer->>'was_duplicate')::boolean
        FROM agentloop_idempotencykey
        WHERE project_id = %s AND key = ANY(SELECT 'turns:' || unnest(%s::text[])) AND answer IS NOT NULL
        """,
        [project.id, keys],
    )
    return {key: Logged(turn_id, was_duplicate) for key, turn_id, was_duplicate in rows}


def _keep_answers(project: Project, answers: Mapping[str, Logged]) -> None:
    if not answers:
        return
    given = [{"key": f"turns:{key}", "id": a.turn_id, "was_duplicate": a.was_duplicate} for key, a in answers.items()]
    run(
        """
        UPDATE agentloop_idempotencykey AS kept
        SET answer = jsonb_build_object('id', given.id, 'was_duplicate', given.was_duplicate)
        FROM jsonb_to_recordset(%s::jsonb) AS given(key text, id uuid, was_duplicate boolean)
        WHERE kept.project_id = %s AND kept.key = given.key
        """,
        [orjson.dumps(given).decode(), project.id],
    )


# Each column's type, and what it holds when it is empty: that is not sent, and is true of half the columns of a turn.
_COLUMNS: dict[str, tuple[str, str]] = {
    "id": ("uuid", ""),
    "content_hash": ("uuid", ""),
    "question": ("text", "''"),
    "response": ("text", "''"),
    "truncated": ("text[]", "'{}'"),
    "signals": ("jsonb", "'{}'"),
    "metadata": ("jsonb", "'{}'"),
    "tags": ("text[]", "'{}'"),
    "user_id": ("text", "''"),
    "session_id": ("text", "''"),
    "trace_id": ("text", "''"),
    "goal": ("text", "''"),
    "model": ("text", "''"),
    "path_id": ("text", "''"),
    "pipeline_id": ("text", "''"),
    "sample_rate": ("float8", ""),
    "occurrences": ("int", ""),
    "reasons": ("jsonb", "'{}'"),
    "priority": ("float8", "0"),
    "rank": ("float8", "0"),
    "logged_at": ("timestamptz", ""),
    "occurred_at": ("timestamptz", ""),
    "expires_at": ("timestamptz", ""),
}
_NAMES = ", ".join(_COLUMNS)
_OF_INPUT = ", ".join(f"input.{name}" for name in _COLUMNS)
_RECORD = ", ".join(f"{name} {kind}" for name, (kind, _) in _COLUMNS.items())
_READ = ", ".join(f"coalesce({name}, {empty}) AS {name}" if empty else name for name, (_, empty) in _COLUMNS.items())
# PostgreSQL reads JSONB half as long as JSON: what it takes out of it is in its own form by then.
_ROWS, _EXTRAS = (
    f"(SELECT {_READ} FROM jsonb_to_recordset({given}::jsonb) AS given({_RECORD}))" for given in ("$2", "$3")
)
_OCCURRENCE = "signals, user_id, session_id, trace_id, goal, model, path_id, pipeline_id, sample_rate, occurred_at"
# What a much-repeated turn gathers is bounded too: past 64 kB it keeps what it has.
_MOST_GATHERED = 65_536
_SIGNALS, _REASONS = (
    f"(twin.{name} || CASE WHEN pg_column_size(twin.{name}) < {_MOST_GATHERED} THEN excluded.{name} ELSE '{{}}' END)"
    for name in ("signals", "reasons")
)
_OCCURRENCES = "(twin.occurrences + excluded.occurrences)"

_STORED_AS = "status, last_seen_at, claimed_by, draw, escalated_by, escalation_note, dismissed_reason"
_AS_NEW = "'pending', input.logged_at, '', '', '', '', ''"

# A mark that is there, which may be that of a turn that had this id before an import brought it back, is locked by an
# update that changes nothing: the worker must not take it, read the turn as it was before this commits, and leave it
# unmarked.
_MARK_SQL = """
    INSERT INTO review_staleturn (turn_id, project_id) SELECT id, $1 FROM stored ORDER BY id
    ON CONFLICT (turn_id) DO UPDATE SET project_id = excluded.project_id"""

# Nearly every turn is new. For one alone this statement costs half of the merging one, whose plan is large.
INSERT_SQL = f"""
WITH stored AS (
    INSERT INTO review_turn ({_NAMES}, project_id, {_STORED_AS})
    SELECT {_OF_INPUT}, $1, {_AS_NEW}
    FROM {_ROWS} AS input
    ORDER BY input.content_hash
    ON CONFLICT (project_id, content_hash) WHERE status = 'pending' DO NOTHING
    RETURNING id
), marked AS (
{_MARK_SQL}
)
SELECT id::text FROM stored
"""

# A twin that has expired and is not yet swept takes no part: its row is passed over, and not answered.
MERGE_SQL = f"""
WITH input AS MATERIALIZED (
    SELECT * FROM {_ROWS} AS given
), /* first */ stored AS (
    INSERT INTO review_turn AS twin ({_NAMES}, project_id, {_STORED_AS})
    SELECT {_OF_INPUT}, $1, {_AS_NEW}
    FROM input /* after first */
    ORDER BY input.content_hash
    ON CONFLICT (project_id, content_hash) WHERE status = 'pending' DO UPDATE SET
        occurrences = {_OCCURRENCES},
        signals = {_SIGNALS},
        reasons = {_REASONS},
        priority = {PRIORITY_SQL.format(reasons=_REASONS)},
        rank = {
    RANK_SQL.format(
        priority=PRIORITY_SQL.format(reasons=_REASONS), occurrences=_OCCURRENCES, logged_at="twin.logged_at"
    )
},
        tags = CASE WHEN excluded.tags <@ twin.tags OR cardinality(twin.tags) >= 256 THEN twin.tags
            ELSE ARRAY(SELECT DISTINCT unnest(twin.tags || excluded.tags) ORDER BY 1) END,
        trace_id = CASE WHEN twin.trace_id = '' THEN excluded.trace_id ELSE twin.trace_id END,
        goal = CASE WHEN twin.goal = '' THEN excluded.goal ELSE twin.goal END,
        model = CASE WHEN twin.model = '' THEN excluded.model ELSE twin.model END,
        last_seen_at = greatest(twin.last_seen_at, excluded.last_seen_at),
        expires_at = greatest(twin.expires_at, excluded.expires_at)
        WHERE twin.expires_at > now()
    RETURNING twin.id, twin.content_hash
), repeated AS (
    INSERT INTO review_occurrence (project_id, turn_id, {_OCCURRENCE})
    SELECT $1, stored.id, {", ".join("input." + name for name in _OCCURRENCE.split(", "))}
    FROM input JOIN stored USING (content_hash) WHERE stored.id <> input.id
    UNION ALL
    SELECT $1, stored.id, {", ".join("extra." + name for name in _OCCURRENCE.split(", "))}
    FROM {_EXTRAS} AS extra JOIN stored USING (content_hash)
), marked AS (
{_MARK_SQL}
)
SELECT id, content_hash FROM stored
"""

# An index's predicate can't know the time, so where an expired, unswept twin stands in the way it leaves the
# merging first, in the same statement: counting the retired makes that update run before the insert looks for
# twins. Kept apart from the statement above, which nearly always does, because the look for the dead costs as
# much as the rest, and much more by a plan that was made while the table was empty.
MERGE_OVER_EXPIRED_SQL = MERGE_SQL.replace(
    "/* first */",
    """
dead AS (
    SELECT id FROM review_turn
    WHERE project_id = $1 AND content_hash IN (SELECT content_hash FROM input)
        AND status = 'pending' AND expires_at <= now()
    ORDER BY content_hash FOR UPDATE
), retired AS (
    UPDATE review_turn SET content_hash = NULL WHERE id IN (SELECT id FROM dead) RETURNING 1
),""",
).replace("/* after first */", ", (SELECT count(*) FROM retired) AS after_retiring")


def _merge_or_insert(project: Project, turns: Sequence[NewTurn]) -> list[Logged]:
    """Inserts what is new, and merges the rest with its pending twins, in as many statements as these are kinds."""
    first, extras = _by_content(turns)
    stored = _insert(project, [row for content, row in first.items() if content not in extras])
    for sql in chain([MERGE_SQL], repeat(MERGE_OVER_EXPIRED_SQL)):
        missing = [row for content, row in first.items() if content not in stored]
        if not missing:
            break
        again = [row for content in extras.keys() - stored.keys() for row in extras[content]]
        stored |= _merge(sql, project, missing, again)
    answers = []
    for turn in turns:
        turn_id = stored[turn.row["content_hash"]]
        answers.append(Logged(turn_id, was_duplicate=turn_id != turn.row["id"]))
    return answers


def _by_content(turns: Sequence[NewTurn]) -> tuple[dict[UUID, Row], dict[UUID, list[Row]]]:
    """The batch's first turn of each content, and the twins it has in the batch, which are put together with it:
    a statement may touch a row only once."""
    first: dict[UUID, Row] = {}
    extras: dict[UUID, list[Row]] = {}
    for turn in turns:
        content = turn.row["content_hash"]
        if content not in first:
            first[content] = turn.row
            continue
        if content not in extras:
            first[content] = dict(first[content])
        extras.setdefault(content, []).append(turn.row)
        _put_together(first[content], turn.row)
    return first, extras


def _insert(project: Project, rows: Sequence[Row]) -> dict[UUID, UUID]:
    """Inserts the turns that have no pending twin, and answers their ids by their content."""
    if not rows:
        return {}
    params = [project.id, _json_rows(rows)]
    found = with_retries(lambda: run_positional(INSERT_SQL, params))
    if len(found) < len(rows):
        inserted = {text for (text,) in found}
        rows = [row for row in rows if str(row["id"]) in inserted]
    return {row["content_hash"]: row["id"] for row in rows}


def _merge(sql: str, project: Project, rows: Sequence[Row], extras: Sequence[Row]) -> dict[UUID, UUID]:
    """The turns' ids by their content."""
    params = [project.id, _json_rows(rows), _json_rows(extras)]
    # Each statement by itself: one that went before may be committed, and would count twice.
    found = with_retries(lambda: run_positional(sql, params))
    return {content: turn_id for turn_id, content in found}


def _put_together(twin: Row, row: Row) -> None:
    twin["occurrences"] += 1
    twin["signals"] = {**twin["signals"], **row["signals"]}
    twin["reasons"] = {**twin["reasons"], **row["reasons"]}
    twin["tags"] = sorted({*twin["tags"], *row["tags"]})
    for name in ("trace_id", "goal", "model"):
        twin[name] = twin[name] or row[name]
    twin["priority"] = round(sum(twin["reasons"].values()), 3)
    twin["rank"] = rank_of(twin["priority"], twin["occurrences"], twin["logged_at"])


def _json_rows(rows: Sequence[Row]) -> str:
    return orjson.dumps([{name: value for name, value in row.items() if value} for row in rows]).decode()
