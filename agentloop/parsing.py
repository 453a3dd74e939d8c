"""JSON in and out. Reading is lenient, as published clients need; what is read can always be stored."""

import json
import math
from datetime import UTC, datetime
from typing import Any

import orjson
from django.http import HttpRequest
from django.utils.dateparse import parse_datetime
from rest_framework.renderers import BaseRenderer

from agentloop.errors import BadJSON, Invalid

# Deeper nesting is kept as text: neither our recursion nor PostgreSQL's JSONB then has a depth to fear.
MAX_DEPTH = 32


def read_json(body: bytes) -> Any:
    """The value of a body, with lone surrogates and U+0000 as U+FFFD, NaN and infinities as null.

    The fast parser refuses exactly the spellings that need mending, but for U+0000, which must be escaped
    to be in JSON at all; so a body that it takes and that holds no such escape is clean as it is.
    """
    try:
        value = orjson.loads(body)
        if b"\\u0000" not in body and not (isinstance(value, dict | list) and _is_deep(value)):
            return value
    except orjson.JSONDecodeError:
        value = _read_leniently(body)
    return clean(value)


def _is_deep(value: Any, room: int = MAX_DEPTH) -> bool:
    """Whether lists and objects nest beyond MAX_DEPTH. Walks those alone: most of a body is text."""
    for part in value.values() if type(value) is dict else value:
        kind = type(part)
        if (kind is dict or kind is list) and (room == 1 or _is_deep(part, room - 1)):
            return True
    return False


def _read_leniently(body: bytes) -> Any:
    try:
        text = body.decode("utf-8-sig", "replace")
        return json.loads(text, strict=False, parse_int=_whole)
    except (ValueError, RecursionError) as error:
        where = f" at line {error.lineno}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise BadJSON(f"The body is not JSON{where}: send one JSON value, in UTF-8.") from error


def _whole(digits: str) -> int | None:
    """Python refuses to read thousands of digits; no number that long is kept."""
    return int(digits) if len(digits) < 400 else None


def read_object(request: HttpRequest) -> dict[str, Any]:
    """The request's body as a JSON object; an empty body is an empty object."""
    body = request.body
    value = read_json(body) if body.strip() else {}
    if not isinstance(value, dict):
        raise Invalid(f"The body is a JSON {_kind(value)}: send an object, such as {{…}}.")
    return value


def _kind(value: Any) -> str:
    names = {list: "list", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")


def clean_text(text: str) -> str:
    """Text that PostgreSQL and every JSON reader take."""
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    try:
        text.encode()
    except UnicodeEncodeError:
        # A pair of surrogates that stand together is one character; a lone one is nothing.
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def clean(value: Any, depth: int = 0) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int) and not isinstance(value, bool):
        # PostgreSQL's numeric would take them, but no JSON reader agrees on integers of that size.
        return value if -(2**63) <= value < 2**64 else float(value) if abs(value) < 10**300 else None
    if isinstance(value, dict | list) and depth >= MAX_DEPTH:
        return "[nested too deep]"
    if isinstance(value, dict):
        return {clean_text(key): clean(part, depth + 1) for key, part in value.items()}
    if isinstance(value, list):
        return [clean(part, depth + 1) for part in value]
    return value


def as_json_text(value: Any) -> str:
    """JSON as text, for a value of an odd type that is kept where text was expected."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def read_time(value: Any) -> datetime | None:
    """ISO 8601 or Unix seconds; a time without a zone is UTC."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return datetime.fromtimestamp(value, UTC)
        moment = parse_datetime(value) if isinstance(value, str) else None
        if moment is None:
            return None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None


class FastJSON(BaseRenderer):
    media_type = "application/json"
    format = "json"
    charset = None

    def render(self, data: Any, media_type: str | None = None, context: Any = None) -> bytes:
        if data is None:
            return b""
        try:
            return orjson.dumps(data, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS, default=str)
        except TypeError:
            # Integers beyond 64 bits: a number such as 1e308 comes back from PostgreSQL as one.
            return json.dumps(
                data, default=lambda value: orjson.loads(orjson.dumps(value, default=str, option=orjson.OPT_UTC_Z))
            ).encode()
