"""`manage.py import turns FILE.jsonl --project SLUG`: brings a team's history in."""

import gzip
import sys
import time
import zlib
from argparse import ArgumentParser
from contextlib import AbstractContextManager, nullcontext
from typing import Any, BinaryIO, cast

from django.core.management.base import BaseCommand, CommandError

from agentloop.actors import SYSTEM
from agentloop.errors import AppError
from agentloop.models import Project
from review.importing import Counts, import_turns, lines_of


class Command(BaseCommand):
    help = (
        "Bring turns in from a file of JSON lines, as GET /v1/export/turns.jsonl writes it. May be cut off and run "
        "again: nothing comes in twice. Bad lines are told and passed over. See docs/api.md."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("what", choices=["turns"])
        parser.add_argument("file", help="a file of JSON lines; one that ends in .gz is unpacked; - is standard input")
        parser.add_argument("--project", required=True, metavar="SLUG")

    def handle(self, *args: Any, file: str, project: str, **options: Any) -> None:
        found = Project.objects.filter(slug=project).first()
        if found is None:
            raise CommandError(f"There is no project called {project}.")
        try:
            with _open(file) as opened:
                counts = import_turns(found, SYSTEM, lines_of(opened), refuse=self._refuse, progress=self._progress())
        except (OSError, EOFError, zlib.error) as error:
            raise CommandError(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
        except AppError as error:
            raise CommandError(error.sentence) from error
        self.stdout.write(summary(counts))

    def _refuse(self, number: int, reason: str) -> None:
        self.stderr.write(f"line {number}: {reason}")

    def _progress(self) -> Any:
        told_at = time.monotonic()

        def tell(counts: Counts) -> None:
            nonlocal told_at
            if time.monotonic() - told_at >= 1:
                told_at = time.monotonic()
                self.stderr.write(f"{counts.lines:,} lines read, {counts.stored + counts.merged:,} turns imported …")

        return tell


def _open(file: str) -> AbstractContextManager[BinaryIO]:
    if file == "-":
        return nullcontext(sys.stdin.buffer)
    return cast(AbstractContextManager[BinaryIO], gzip.open(file) if file.endswith(".gz") else open(file, "rb"))


def summary(counts: Counts) -> str:
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
