"""`manage.py member add|remove|list`."""

import getpass
import sys
from typing import Any

from django.core.management.base import CommandError

from agentloop.actors import SYSTEM
from agentloop.commands import ActsCommand, password_from_stdin, project_of
from agentloop.models import Role
from agentloop.tenancy import add_member, remove_member


class Command(ActsCommand):
    help = "Add a member to a project (again: for another role or a new password), remove one, or list them."

    def add_acts(self, acts: Any) -> None:
        add = acts.add_parser("add", help="add a person, or change their role or password")
        add.add_argument("email")
        add.add_argument("--project", required=True)
        add.add_argument("--role", choices=Role.values, default=Role.REVIEWER.value)
        add.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
        add.set_defaults(act=self.add)
        remove = acts.add_parser("remove", help="take a person out of a project")
        remove.add_argument("email")
        remove.add_argument("--project", required=True)
        remove.set_defaults(act=self.remove)
        listed = acts.add_parser("list", help="list a project's members")
        listed.add_argument("--project", required=True)
        listed.set_defaults(act=self.list)

    def add(self, *, email: str, project: str, role: str, password_stdin: bool) -> None:
        found = project_of(project)
        password = password_from_stdin() if password_stdin else _asked()
        member = add_member(project=found, actor=SYSTEM, email=email, role=role, password=password)
        if not member.user.has_usable_password():
            self.say("No password is set: give one with --password-stdin.")
        self.say(f"{member.user.email} is {member.role} in {found.slug}.")

    def remove(self, *, email: str, project: str) -> None:
        member = project_of(project).members.filter(user__username=email.strip().lower()).first()
        if member is None:
            raise CommandError(f"{email} is no member of {project}.")
        remove_member(member=member, actor=SYSTEM)
        self.say(f"{email} is no longer in {project}.")

    def list(self, *, project: str) -> None:
        for member in project_of(project).members.select_related("user").order_by("id"):
            self.say(f"{member.user.email:40} {member.role}")


def _asked() -> str | None:
    """At a terminal, the password is asked for; in a script without --password-stdin, none is set."""
    return getpass.getpass("Password (empty leaves it as it is): ") or None if sys.stdin.isatty() else None
