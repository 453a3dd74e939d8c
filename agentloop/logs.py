"""Log lines: an event's word and data, and the id of the request they belong to. Never content, never a secret."""

import logging
import re
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

_request_id: ContextVar[str] = ContextVar("request_id", default="")
_GIVEN = re.compile(r"[A-Za-z0-9._\-]{8,64}\Z")


def request_id() -> str:
    return _request_id.get()


def begin_request(given: str, fresh: str) -> str:
    """The caller's own id where it is plain enough to be logged, else a fresh one."""
    chosen = given if _GIVEN.match(given) else fresh
    _request_id.set(chosen)
    return chosen


class RequestId(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id() or "-"
        return True


class Line(logging.Formatter):
    """`time level logger [request] message`, on one line but for a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        text = record.getMessage().replace("\r", "\\r").replace("\n", "\\n")
        request = getattr(record, "request_id", "-")
        line = f"{at} {record.levelname} {record.name} [{request}] {text}"
        return f"{line}\n{_trace(record.exc_info)}" if record.exc_info else line


def _trace(exc_info: Any) -> str:
    """Where an exception arose and of what kind it is, without its message: that may quote what a user wrote."""
    kind, _, trace = exc_info
    return "".join(traceback.format_tb(trace)) + (kind.__name__ if kind else "")
