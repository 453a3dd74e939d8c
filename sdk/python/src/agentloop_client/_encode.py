"""Whatever an agent hands over, as JSON: quickly where it is plain, and with care where it is not."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from typing import Any

MAX_DEPTH = 20
MAX_TEXT = 250_000
"""Characters of a question or a response. The server's own limit is lower, and marks what it cuts."""


def encode(value: Any) -> bytes:
    """Compact JSON in UTF-8. Never raises: what JSON has no words for is told as text."""
    try:
        return _encode(value).encode()
    except Exception:
        # NaN, a key that is no text, a lone surrogate, a circle: seldom, and worth the slower way.
        return _encode(plain(value)).encode()


def plain(value: Any, depth: int = 0) -> Any:
    """The same value in JSON's own types: NaN is null, a lone surrogate U+FFFD, a stranger its text."""
    if isinstance(value, str):
        return well_formed(str(value))
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if depth >= MAX_DEPTH:
        return "[nested too deep]"
    try:
        return _unfolded(value, depth)
    except Exception:
        return f"[unreadable {type(value).__name__}]"


def _unfolded(value: Any, depth: int) -> Any:
    if isinstance(value, Mapping):
        return {well_formed(str(key)): plain(part, depth + 1) for key, part in list(value.items())}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(part, depth + 1) for part in list(value)]
    return plain(_stranger(value), depth + 1)


def _stranger(value: Any) -> Any:
    """A type that JSON doesn't know, in types that it does."""
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (set, frozenset)):
        return list(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode(errors="replace")
    for name in ("model_dump", "tolist"):
        if callable(told := getattr(value, name, None)) and not isinstance(value, type):
            return told()
    return str(value)


def well_formed(text: str) -> str:
    """Lone surrogates become U+FFFD; a pair that stands together is one character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def text_of(value: Any) -> str:
    """A question or a response as text, cut where no request could hold it."""
    text: str = value if isinstance(value, str) else "" if value is None else encode(value).decode()
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT]


_encode: Callable[[Any], str] = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_stranger
).encode
