"""`manage.py demo`: a project that shows every page alive, filled with two believable weeks, or taken away again."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from agentloop.errors import AppError
from review.demo import DEMO, add_demo, remove_demo


class Command(BaseCommand):
    help = "Fill a project with two weeks of sample turns, verdicts and routing, or take it away again."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--project", default=DEMO, metavar="NAME", help=f"default: {DEMO}, which is made if need be"
        )
        parser.add_argument("--seed", type=int, default=1, help="another number tells another story")
        parser.add_argument("--anyway", action="store_true", help="also where there are turns already")
        parser.add_argument("--remove", action="store_true", help="delete the project that an earlier demo made")

    def handle(self, *args: Any, project: str, seed: int, anyway: bool, remove: bool, **options: Any) -> None:
        try:
            if remove:
                remove_demo(project)
                self.stdout.write(f"The project {project} is gone.")
                return
            made = add_demo(project, seed=seed, anyway=anyway)
        except AppError as error:
            raise CommandError(error.sentence) from error
        self.stdout.write(f"{made.turns:,} turns in the project {made.project.slug}: /p/{made.project.slug}/")
