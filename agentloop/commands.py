"""What the management commands share: a project by its slug, one person's password, one clear line for an error."""

import sys
from argparse import ArgumentParser
from collections.abc import Callable
from inspect import signature
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from agentloop.errors import AppError
from agentloop.models import Project

Act = Callable[..., None]


class ActsCommand(BaseCommand):
    """`manage.py THING ACT …`: a subclass adds a parser for each act, whose default `act` is a method."""

    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        acts = parser.add_subparsers(required=True, metavar="ACT")
        self.add_acts(acts)

    def add_acts(self, acts: Any) -> None:
        raise NotImplementedError

    def handle(self, *args: Any, act: Act, **options: Any) -> None:
        try:
            act(**{name: options[name] for name in signature(act).parameters})
        except AppError as error:
            raise CommandError(error.sentence) from error

    def say(self, text: str) -> None:
        self.stdout.write(text)


def project_of(slug: str) -> Project:
    found = Project.objects.filter(slug=slug).first() or Project.objects.filter(name=slug).first()
    if found is None:
        raise CommandError(f"There is no project called {slug}: `manage.py project list` names them.")
    return found


def password_from_stdin() -> str:
    """The first line that is piped in, without its line end; an argument would stay in the shell's history."""
    password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise CommandError("No password came in on standard input.")
    return password
