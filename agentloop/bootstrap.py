"""The first project, its owner and its keys, made once: an installation that has a project is left alone."""

import secrets
from dataclasses import dataclass

from django.db import connection, transaction

from agentloop.actors import SYSTEM, Actor
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


@dataclass(frozen=True)
class ProjectMade:
    """A new project and the secrets that are shown once."""

    project: Project
    api_key: str
    signing_secret: str


def create_project_with_keys(*, name: str, actor: Actor, slug: str | None = None) -> ProjectMade:
    """Make a project that clients can use at once: with a key for all but administration, and a signing key."""
    with transaction.atomic():
        project = create_project(name=name, slug=slug, actor=actor)
        _, signing_secret = create_signing_key(project=project, actor=actor)
        _, api_key = create_key(project=project, actor=actor, name="first key")
    return ProjectMade(project, api_key, signing_secret)


def first_start() -> FirstStart | None:
    """Make the first project, or None where there is one. Several machines at once make one between them."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [FIRST_START_LOCK])
        if Project.objects.exists():
            return None
        password = secrets.token_urlsafe(12)
        made = create_project_with_keys(name="Default", actor=SYSTEM)
        add_member(project=made.project, actor=SYSTEM, email=OWNER_EMAIL, role=Role.OWNER, password=password)
    return FirstStart(made.project.slug, OWNER_EMAIL, password, made.api_key)
