"""The first project, its owner and its keys, made once: an installation that has a project is left alone."""

import secrets
from dataclasses import dataclass

from django.db import connection, transaction

from agentloop.actors import SYSTEM
from agentloop.keys import create_key, create_signing_key
from agentloop.models import Project, Role
from agentloop.tenancy import add_member, create_project

# Any fixed number, other than the migrations' own.
FIRST_START_LOCK = 4_128_003_618
OWNER_EMAIL = "owner@agentloop.local"


@dataclass(frozen=True)
class FirstStart:
    """What is shown once and can't be shown again: only hashes of it are kept."""

    project: str
    email: str
    password: str
    api_key: str


def first_start() -> FirstStart | None:
    """Make the first project, or None where there is one. Several machines at once make one between them."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [FIRST_START_LOCK])
        if Project.objects.exists():
            return None
        password = secrets.token_urlsafe(12)
        project = create_project(name="Default", actor=SYSTEM)
        add_member(project=project, actor=SYSTEM, email=OWNER_EMAIL, role=Role.OWNER, password=password)
        create_signing_key(project=project, actor=SYSTEM)
        _, api_key = create_key(project=project, actor=SYSTEM, name="first key")
    return FirstStart(project.slug, OWNER_EMAIL, password, api_key)
