"""`manage.py backup`: the whole database in one file."""

from argparse import ArgumentParser
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from agentloop import backups, env


class Command(BaseCommand):
    help = "Write the whole database to one file, while everything runs."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", nargs="?", help="default: agentloop-<date>-<time>.dump in this folder")

    def handle(self, *args: Any, file: str | None, **options: Any) -> None:
        path = Path(file or f"agentloop-{datetime.now(UTC):%Y%m%d-%H%M%S}.dump").expanduser().resolve()
        try:
            backups.dump(settings.DATABASE_URL, path)
        except backups.BackupError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{path} ({path.stat().st_size:,} bytes)")
        self.stdout.write(secret_key_reminder())


def secret_key_reminder() -> str:
    """The dump holds signing keys sealed with the secret key, which is kept apart from it on purpose."""
    where = "AGENTLOOP_SECRET_KEY" if env.text("AGENTLOOP_SECRET_KEY") else f"the file {settings.HOME / 'secret_key'}"
    return f"Keep {where} too, in another place: without it the signing keys in a backup are lost."
