"""`manage.py signing-key rotate|revoke|list`."""

from typing import Any

from django.core.management.base import CommandError

from agentloop.actors import SYSTEM
from agentloop.commands import ActsCommand, password_from_stdin, project_of
from agentloop.keys import create_signing_key, revoke_signing_key


class Command(ActsCommand):
    help = "Rotate, revoke or list the keys that sign a project's feedback links."

    def add_acts(self, acts: Any) -> None:
        rotate = acts.add_parser("rotate", help="make a secret, print it this once, and sign with it from now on")
        rotate.add_argument("--project", required=True)
        rotate.add_argument("--secret-stdin", action="store_true", help="take a secret that clients hold already")
        rotate.set_defaults(act=self.rotate)
        revoke = acts.add_parser("revoke", help="end a signing key and every link that it signed")
        revoke.add_argument("key_id")
        revoke.add_argument("--project", required=True)
        revoke.set_defaults(act=self.revoke)
        listed = acts.add_parser("list", help="list the signing keys")
        listed.add_argument("--project", required=True)
        listed.set_defaults(act=self.list)

    def rotate(self, *, project: str, secret_stdin: bool) -> None:
        given = password_from_stdin() if secret_stdin else None
        _, secret = create_signing_key(project=project_of(project), actor=SYSTEM, secret=given)
        self.say(secret)

    def revoke(self, *, key_id: str, project: str) -> None:
        key = project_of(project).signing_keys.filter(key_id=key_id).first()
        if key is None:
            raise CommandError(f"{project} has no signing key {key_id}.")
        revoke_signing_key(key=key, actor=SYSTEM)
        self.say(f"{key.key_id} is revoked: its links are refused.")

    def list(self, *, project: str) -> None:
        for key in project_of(project).signing_keys.order_by("id"):
            state = "revoked" if key.revoked_at else "current" if key.is_current else "opens links"
            self.say(f"{key.key_id}  {state}")
