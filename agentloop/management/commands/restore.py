"""`manage.py restore`: what `backup` wrote, into this or any other database."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from agentloop import backups


class Command(BaseCommand):
    help = "Bring a backup back into the database of DATABASE_URL, or the embedded one: all of it or nothing."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file")
        parser.add_argument("--force", action="store_true", help="replace everything that the database holds now")

    def handle(self, *args: Any, file: str, force: bool, **options: Any) -> None:
        connections.close_all()
        path = Path(file).expanduser().resolve()
        try:
            backups.load(settings.DATABASE_URL, path, replace=force)
        except backups.BackupError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"Restored {path}. `manage.py up` brings its tables up to date. Links and signing keys work again "
            "only with the secret key of that installation: AGENTLOOP_SECRET_KEY or the file secret_key."
        )
