"""A project and its cast: alice owns it, bob reviews in it, charlie owns another and is a stranger here."""

from collections.abc import Callable, Iterator

import pytest
from django.contrib.auth.models import User
from django.test import Client

from agentloop import ratelimit, valkey
from agentloop.keys import forget_cached
from agentloop.models import Project
from tests.review.support import Caller, caller_for, make_project, member


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    forget_cached()
    ratelimit.forget()
    valkey.forget()
    yield
    monkeypatch.undo()
    forget_cached()
    ratelimit.forget()
    valkey.forget()


@pytest.fixture
def project(db: None) -> Project:
    return make_project("acme")


@pytest.fixture
def admin(project: Project) -> Caller:
    """A key with every scope."""
    return caller_for(project)


@pytest.fixture
def plain(project: Project) -> Caller:
    """A key with every scope but `admin`."""
    return caller_for(project, "ingest", "route", "read", "review", name="plain")


@pytest.fixture
def stranger(db: None) -> Caller:
    """Every scope, in a project of its own."""
    return caller_for(make_project("elsewhere"))


@pytest.fixture
def signed_in() -> Callable[[str], Client]:
    def client(name: str) -> Client:
        opened = Client()
        opened.force_login(User.objects.get(username=f"{name}@example.com"))
        return opened

    return client


@pytest.fixture
def alice(project: Project, signed_in: Callable[[str], Client]) -> Client:
    member(project, "alice", "owner")
    return signed_in("alice")


@pytest.fixture
def bob(project: Project, signed_in: Callable[[str], Client]) -> Client:
    member(project, "bob", "reviewer")
    return signed_in("bob")


@pytest.fixture
def charlie(db: None, signed_in: Callable[[str], Client]) -> Client:
    member(make_project("charlies"), "charlie", "owner")
    return signed_in("charlie")
