"""One hash for what makes a path: its model, its set of tools, and its parameters."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping


def path_identity(model: str, tools: Iterable[str] = (), params: Mapping[str, object] | None = None) -> str:
    """32 hex digits: the beginning of SHA-256 over the canonical text. Fit for a URL as it is."""
    return hashlib.sha256(canonical_path(model, tools, params).encode()).hexdigest()[:32]


def canonical_path(model: str, tools: Iterable[str] = (), params: Mapping[str, object] | None = None) -> str:
    """JSON without spaces, ASCII only: [model, [each tool once, sorted], {params}]. No params, None and {}
    are one."""
    return canonical([model, sorted(set(tools)), dict(params or {})])


def canonical(value: object) -> str:
    """JSON with sorted keys and every number in one form: 1, 1.0 and 1e0 are `1`, 0.0 and -0.0 are `0`.

    True is not 1. Whole numbers are written out in full whatever their size, so that 1e22 and 10**22 are
    one and 2**53 + 1 stays apart from 2**53. NaN and the infinities, which JSON lacks but some senders
    write, are names of their own, apart from the strings of the same letters."""
    if value is None or isinstance(value, bool | str):
        return json.dumps(value)
    if isinstance(value, int | float):
        return _number(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{json.dumps(str(key))}:{canonical(value[key])}" for key in sorted(value, key=str)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(canonical, value)) + "]"
    raise TypeError(f"{type(value).__name__} is no JSON value")


def _number(value: int | float) -> str:
    if isinstance(value, int):
        return int.__repr__(value)
    if not math.isfinite(value):
        return "NaN" if value != value else ("Infinity" if value > 0 else "-Infinity")
    return str(int(value)) if value.is_integer() else float.__repr__(value)
