"""What every import of a history does alike: reads its lines, one import of a project at a time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from agentloop.errors import AppError, BadJSON, Conflict
from agentloop.models import Project
from agentloop.parsing import read_json
from agentloop.sql import alone

MAX_LINE_BYTES = 16 * 1024 * 1024

# Hears of each line that is passed over: its number, and why.
Refuse = Callable[[int, str], None]


class ImportRunning(Conflict):
    """Another import into this project is running: wait for its end, then start this one."""

    code = "import_running"


class LineTooLong(AppError):
    """The line is longer than 16 MB."""

    code = "line_too_long"


class NotJSON(AppError):
    """The line is not JSON."""

    code = "not_json"


def lines_of(file: BinaryIO) -> Iterator[bytes | None]:
    """The lines of a file; None stands for one that is too long to be held in memory."""
    while line := file.readline(MAX_LINE_BYTES + 1):
        if len(line) <= MAX_LINE_BYTES:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE_BYTES)
        yield None


def value_of(line: bytes | None) -> Any:
    """What a line of JSON says."""
    if line is None:
        raise LineTooLong
    try:
        return read_json(line)
    except BadJSON as error:
        raise NotJSON from error


@contextmanager
def only_import(project: Project) -> Iterator[None]:
    """One import of a project at a time, on any machine. The lock falls with the connection."""
    with alone(f"import:{project.id}") as is_ours:
        if not is_ours:
            raise ImportRunning
        yield
