"""`manage.py import turns|outcomes FILE --project SLUG`: brings a team's history in."""

import gzip
import sys
import time
import zlib
from argparse import ArgumentParser
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, BinaryIO, cast

from django.core.management.base import BaseCommand, CommandError

from agentloop.actors import SYSTEM
from agentloop.errors import AppError
from agentloop.history import lines_of
from agentloop.models import Project
from review import importing as turns
from routing import importing as outcomes


class Command(BaseCommand):
    help = (
        "Bring a history in: turns from a file of JSON lines, as GET /v1/export/turns.jsonl writes it, or outcomes "
        "from JSON lines or CSV. May be cut off and run again: nothing comes in twice. Bad lines are told and passed "
        "over. See docs/api.md and docs/routing.md."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("what", choices=["turns", "outcomes"])
        parser.add_argument("file", help="one that ends in .gz is unpacked; - is standard input, as JSON lines")
        parser.add_argument("--project", required=True, metavar="SLUG")

    def handle(self, *args: Any, what: str, file: str, project: str, **options: Any) -> None:
        found = Project.objects.filter(slug=project).first()
        if found is None:
            raise CommandError(f"There is no project called {project}.")
        try:
            with _open(file) as opened:
                self.stdout.write(self._import(found, what, file, opened))
        except (OSError, EOFError, zlib.error) as error:
            raise CommandError(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
        except AppError as error:
            raise CommandError(error.sentence) from error

    def _import(self, project: Project, what: str, file: str, opened: BinaryIO) -> str:
        is_table, lines = file.removesuffix(".gz").endswith(".csv"), lines_of(opened)
        if what == "outcomes":
            rows = outcomes.csv_rows(lines) if is_table else outcomes.json_rows(lines)
            tell = self._progress("outcomes", lambda counts: counts.stored)
            return outcomes_summary(outcomes.import_outcomes(project, SYSTEM, rows, refuse=self._refuse, progress=tell))
        if is_table:
            raise CommandError("Turns are read from JSON lines, not from CSV.")
        tell = self._progress("turns", lambda counts: counts.stored + counts.merged)
        return turns_summary(turns.import_turns(project, SYSTEM, lines, refuse=self._refuse, progress=tell))

    def _refuse(self, number: int, reason: str) -> None:
        self.stderr.write(f"line {number}: {reason}")

    def _progress(self, what: str, done: Callable[[Any], int]) -> Callable[[Any], None]:
        told_at = time.monotonic()

        def tell(counts: Any) -> None:
            nonlocal told_at
            if time.monotonic() - told_at >= 1:
                told_at = time.monotonic()
                self.stderr.write(f"{counts.lines:,} lines read, {done(counts):,} {what} imported …")

        return tell


def _open(file: str) -> AbstractContextManager[BinaryIO]:
    if file == "-":
        return nullcontext(sys.stdin.buffer)
    return cast(AbstractContextManager[BinaryIO], gzip.open(file) if file.endswith(".gz") else open(file, "rb"))


def turns_summary(counts: turns.Counts) -> str:
    parts = [
        f"{counts.lines:,} lines read",
        f"{counts.stored:,} turns stored",
        f"{counts.merged:,} merged into a pending turn that says the same",
        f"{counts.known:,} here already",
        f"{counts.annotations:,} annotations stored",
        f"{counts.expired:,} passed over because their time is up and nobody reviewed them",
        f"{counts.refused:,} refused",
    ]
    return "; ".join(parts) + "."


def outcomes_summary(counts: outcomes.Counts) -> str:
    parts = [
        f"{counts.lines:,} lines read",
        f"{counts.stored:,} outcomes stored",
        f"{counts.known:,} here already",
        f"{counts.refused:,} refused",
    ]
    return "; ".join(parts) + "."
