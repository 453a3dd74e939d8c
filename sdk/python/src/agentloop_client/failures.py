"""Why executions fail, in the words that the server knows."""

from __future__ import annotations

import re

FAILURE_CATEGORIES = (
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
    "healed",
)

# Looked for in this order: a "RateLimitError: request timed out" is the limit's doing.
_SIGNS = (
    ("rate_limited", re.compile(r"rate.?limit|too.?many.?requests|\b429\b|quota|resource.?exhausted", re.IGNORECASE)),
    (
        "context_exceeded",
        re.compile(r"context.{0,8}(len|window|exceed|limit)|max.{0,8}tokens|prompt is too long", re.IGNORECASE),
    ),
    ("timeout", re.compile(r"time.?d?.?out|deadline|\b408\b|\b504\b", re.IGNORECASE)),
    ("auth_error", re.compile(r"authenticat|authoriz|permission.?denied|api.?key|forbidden|\b40[13]\b", re.IGNORECASE)),
    ("malformed_output", re.compile(r"JSONDecodeError|OutputParser", re.IGNORECASE)),
)


def category_of(error: BaseException) -> str:
    """The category of an exception that a provider's library raised."""
    told = f"{type(error).__name__} {getattr(error, 'status_code', '')} {str(error)[:500]}"
    return next((category for category, sign in _SIGNS if sign.search(told)), "provider_error")


def reason_of(error: BaseException) -> str:
    """What may be said of an exception: its kind and status, and nothing of its text, which may quote the prompt."""
    status = getattr(error, "status_code", None)
    return f"{category_of(error)}: {type(error).__name__}" + (f" ({status})" if isinstance(status, int) else "")
