"""`manage.py project create|list`."""

import json
from argparse import ArgumentParser
from typing import Any

from django.conf import settings

from agentloop.actors import SYSTEM
from agentloop.bootstrap import create_project_with_keys
from agentloop.commands import ActsCommand
from agentloop.models import Project


class Command(ActsCommand):
    help = "Make a project with its keys, or list the projects."

    def add_acts(self, acts: Any) -> None:
        create = acts.add_parser("create", help="make a project, an API key and a signing key")
        create.add_argument("name")
        create.add_argument("--slug", help="as in /p/SLUG; from the name if left out")
        _add_json(create)
        create.set_defaults(act=self.create)
        listed = acts.add_parser("list", help="list the projects")
        _add_json(listed)
        listed.set_defaults(act=self.list)

    def create(self, *, name: str, slug: str | None, as_json: bool) -> None:
        made = create_project_with_keys(name=name, slug=slug, actor=SYSTEM)
        shown = {
            "project": made.project.slug,
            "tenant_id": made.project.tenant_id,
            "api_key": made.api_key,
            "signing_secret": made.signing_secret,
            "base_url": settings.BASE_URL,
        }
        if as_json:
            self.say(json.dumps(shown))
            return
        for label, value in shown.items():
            self.say(f"{label:15} {value}")
        self.say("The key and the secret are shown this once: keep them.")

    def list(self, *, as_json: bool) -> None:
        found = [
            {"project": one.slug, "tenant_id": one.tenant_id, "name": one.name}
            for one in Project.objects.order_by("slug")
        ]
        if as_json:
            self.say(json.dumps(found))
            return
        for one in found:
            self.say(f"{one['project']:30} {one['tenant_id']}  {one['name']}")


def _add_json(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", dest="as_json", help="print JSON, on one line")
