"""Makes outcomes, states and buckets anew from the ledger, or with --check only tells whether they differ."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from agentloop.models import Project
from routing.rebuild import differences, rebuild


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--project", help="the slug of one project; all of them without it")
        parser.add_argument("--check", action="store_true", help="change nothing; fail if anything differs")

    def handle(self, *args: Any, **options: Any) -> None:
        projects = Project.objects.order_by("slug")
        if options["project"]:
            projects = projects.filter(slug=options["project"])
            if not projects:
                raise CommandError(f"There is no project called {options['project']}.")
        differing = 0
        for project in projects:
            found = differences(project)
            differing += len(found)
            for line in found[:20]:
                self.stdout.write(f"{project.slug}: {line}")
            if not options["check"]:
                rebuild(project)
            self.stdout.write(f"{project.slug}: {len(found)} differences")
        if options["check"] and differing:
            raise CommandError(f"{differing} differences between the ledger and what is kept of it.")
