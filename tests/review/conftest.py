"""A project, its cast, and keys to call it with."""

from collections.abc import Callable, Iterator

import pytest

from agentloop.actors import SYSTEM, Actor
from agentloop.keys import forget_cached
from agentloop.models import Project
from agentloop.tenancy import change_settings
from tests.review.support import Caller, caller_for, make_project, member


@pytest.fixture(autouse=True)
def fresh_key_cache() -> Iterator[None]:
    forget_cached()
    yield
    forget_cached()


@pytest.fixture
def project(db: None) -> Project:
    return make_project("acme")


@pytest.fixture
def call(project: Project) -> Caller:
    return caller_for(project)


@pytest.fixture
def stranger(db: None) -> Caller:
    """All scopes, in a project of its own."""
    return caller_for(make_project("elsewhere"))


@pytest.fixture
def with_settings(project: Project) -> Callable[..., Project]:
    def change(**settings: object) -> Project:
        changed = change_settings(project=project, actor=SYSTEM, changes=settings)
        project.settings = changed.settings
        return project

    return change


@pytest.fixture
def alice(project: Project) -> Actor:
    """Owns the project."""
    return member(project, "alice", "owner")


@pytest.fixture
def bob(project: Project) -> Actor:
    """Reviews."""
    return member(project, "bob", "reviewer")


@pytest.fixture
def charlie(db: None) -> Actor:
    """Owns another project, and nothing here."""
    return member(make_project("charlies"), "charlie", "owner")
