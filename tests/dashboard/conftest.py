"""A project with its cast, each with a browser of their own: alice owns it, bob and carol review, vera reads."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from agentloop.keys import forget_cached
from agentloop.models import Project
from tests.dashboard.support import Reviewer
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
def signed_in(project: Project) -> Callable[[str, str], Client]:
    def client(name: str, role: str) -> Client:
        member(project, name, role)
        opened = Client()
        opened.force_login(User.objects.get(username=f"{name}@example.com"))
        return opened

    return client


@pytest.fixture
def alice(signed_in: Callable[[str, str], Client]) -> Client:
    return signed_in("alice", "owner")


@pytest.fixture
def bob(signed_in: Callable[[str, str], Client]) -> Client:
    return signed_in("bob", "reviewer")


@pytest.fixture
def carol(signed_in: Callable[[str, str], Client]) -> Client:
    return signed_in("carol", "reviewer")


@pytest.fixture
def vera(signed_in: Callable[[str, str], Client]) -> Client:
    return signed_in("vera", "viewer")


@pytest.fixture
def reviewer(browser: Any, live_server: Any, project: Project) -> Iterator[Callable[..., Reviewer]]:
    """Opens a browser of its own for a member of the project."""
    contexts = []

    def open_browser(name: str, role: str = "reviewer", **options: Any) -> Reviewer:
        member(project, name, role)
        client = Client()
        client.force_login(User.objects.get(username=f"{name}@example.com"))
        settings = {"viewport": {"width": 1440, "height": 900}, "base_url": live_server.url, **options}
        context = browser.new_context(**settings)
        context.set_default_timeout(10_000)
        context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}])
        contexts.append(context)
        return Reviewer(context.new_page())

    yield open_browser
    for context in contexts:
        # A page that is left says goodbye; the database is emptied only when that has arrived.
        for page in context.pages:
            page.goto("about:blank")
            page.wait_for_timeout(100)
        context.close()
    wait_until_idle()


def wait_until_idle() -> None:
    """Until no thread of the server is in the database any more."""
    with connection.cursor() as cursor:
        for _ in range(100):
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'"
            )
            if cursor.fetchone() == (0,):
                return
            time.sleep(0.05)
