"""`manage.py key create|revoke|list`."""

from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from agentloop.actors import SYSTEM
from agentloop.commands import ActsCommand, project_of
from agentloop.keys import DEFAULT_SCOPES, create_key, revoke_key
from agentloop.models import Scope


class Command(ActsCommand):
    help = "Make, revoke or list a project's API keys."

    def add_acts(self, acts: Any) -> None:
        create = acts.add_parser("create", help="make a key, and print it this once")
        create.add_argument("name", nargs="?", default="made on the command line")
        create.add_argument("--project", required=True)
        create.add_argument("--scope", action="append", dest="scopes", choices=Scope.values, help="may be repeated")
        create.add_argument("--days", type=int, help="days until it ends by itself")
        create.set_defaults(act=self.create)
        revoke = acts.add_parser("revoke", help="end a key")
        revoke.add_argument("prefix", help="the beginning of the key, as `key list` shows it")
        revoke.add_argument("--project", required=True)
        revoke.set_defaults(act=self.revoke)
        listed = acts.add_parser("list", help="list the keys")
        listed.add_argument("--project", required=True)
        listed.set_defaults(act=self.list)

    def create(self, *, name: str, project: str, scopes: list[str] | None, days: int | None) -> None:
        found = project_of(project)
        expires_at = timezone.now() + timedelta(days=days) if days is not None else None
        wanted = scopes or DEFAULT_SCOPES
        _, secret = create_key(project=found, actor=SYSTEM, name=name, scopes=wanted, expires_at=expires_at)
        self.say(secret)

    def revoke(self, *, prefix: str, project: str) -> None:
        key = project_of(project).api_keys.filter(prefix=prefix.rstrip("…")[:11]).first()
        if key is None:
            raise CommandError(f"No key of {project} begins with {prefix[:11]}.")
        revoke_key(key=key, actor=SYSTEM)
        self.say(f"{key.prefix}… is revoked. Running servers refuse it within 5 seconds.")

    def list(self, *, project: str) -> None:
        for key in project_of(project).api_keys.order_by("id"):
            state = "revoked" if key.revoked_at else "expired" if key.is_expired else "active"
            self.say(f"{key.prefix}…  {state:8} {','.join(key.scopes):34} {key.name}")
