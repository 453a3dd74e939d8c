"""A project with a signing key, links to its turns, and a browser's way of opening and answering them."""

from collections.abc import Callable, Iterator

import pytest

from agentloop import keyring, ratelimit, valkey
from agentloop.actors import SYSTEM, Actor
from agentloop.keys import create_signing_key, forget_cached
from agentloop.models import Project
from agentloop.tenancy import change_settings
from feedback_widget import views
from tests.feedback_widget.support import SECRET, Widget
from tests.review.support import Caller, caller_for, make_project, member


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a process remembers, forgotten; and forms that may come back at once, but where a test is about that."""
    monkeypatch.setattr(views, "QUICKEST_SECONDS", 0)
    for module in (keyring, ratelimit, valkey):
        module.forget()
    forget_cached()
    yield
    for module in (keyring, ratelimit, valkey):
        module.forget()
    forget_cached()


@pytest.fixture
def project(db: None) -> Project:
    project = make_project("acme")
    create_signing_key(project=project, actor=SYSTEM, secret=SECRET)
    return project


@pytest.fixture
def call(project: Project) -> Caller:
    return caller_for(project)


@pytest.fixture
def bob(project: Project) -> Actor:
    return member(project, "bob", "reviewer")


@pytest.fixture
def with_settings(project: Project) -> Callable[..., Project]:
    def change(**settings: object) -> Project:
        changed = change_settings(project=project, actor=SYSTEM, changes=settings)
        project.settings = changed.settings
        return project

    return change


@pytest.fixture
def widget(project: Project) -> Widget:
    return Widget(project)
