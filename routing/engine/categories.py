"""Why executions fail, and whose doing it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

HEALED = "healed"

FAILURE_CATEGORIES: tuple[str, ...] = (
    "timeout",
    "context_exceeded",
    "tool_error",
    "rate_limited",
    "validation_failed",
    "hallucination_detected",
    "user_unsatisfied",
    "empty_response",
    "malformed_output",
    "auth_error",
    "provider_error",
    "unknown",
    HEALED,
)

# How much of a failure is the path's doing, by its root cause. A project may change the table.
BLAME: Mapping[str, float] = MappingProxyType({"model": 1.0, "tool": 1.0, "prompt": 0.5, "context": 0.0})


class UnknownCategory(ValueError):
    """The failure category is none of those known."""

    def __init__(self, category: str) -> None:
        super().__init__(f"{category!r} is no failure category; they are: {', '.join(FAILURE_CATEGORIES)}")


def checked_category(category: str | None) -> str | None:
    """The category itself, or None; raises UnknownCategory, whose sentence names all of them."""
    if category is not None and category not in FAILURE_CATEGORIES:
        raise UnknownCategory(category)
    return category


# Looked for in this order, so that "RateLimitError: request timed out" is the limit's doing.
_SIGNS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("rate_limited", re.compile(r"rate.?limit|too.?many.?requests|\b429\b|quota|resource.?exhausted", re.I)),
    (
        "context_exceeded",
        re.compile(r"context.{0,8}(len|window|exceed|limit)|max.{0,8}tokens|too.?long", re.I),
    ),
    ("timeout", re.compile(r"time.?d?.?out|deadline", re.I)),
    ("auth_error", re.compile(r"auth|permission.?denied|api.?key|forbidden|\b40[13]\b", re.I)),
)
_PREFIXES: tuple[tuple[str, str], ...] = (
    ("quality_fail", "validation_failed"),
    ("validation", "validation_failed"),
    ("provider_error", "provider_error"),
    ("tool_error", "tool_error"),
    ("empty", "empty_response"),
    ("malformed", "malformed_output"),
    ("hallucination", "hallucination_detected"),
)


def category_of_reason(reason: str | None) -> str | None:
    """The category that a failure's reason gives away, for reports that name none; None without a reason."""
    if not reason or not reason.strip():
        return None
    text = reason.strip().lower()
    if text in FAILURE_CATEGORIES:
        return text
    if text.startswith("quality_fail"):
        return "validation_failed"
    sign = next((category for category, pattern in _SIGNS if pattern.search(text)), None)
    return sign or next((category for prefix, category in _PREFIXES if text.startswith(prefix)), "unknown")


def category_of_root_cause(root_cause: str | None) -> str:
    """The category of a reviewer's `incorrect` that names none."""
    return "tool_error" if root_cause == "tool" else "validation_failed"


def blame(root_cause: str | None, table: Mapping[str, float] = BLAME) -> float:
    """The attribution that a root cause sets; all of it where none is given."""
    return 1.0 if root_cause is None else table.get(root_cause, 1.0)
