"""A real installation for all the tests here, and a client of it for each."""

import asyncio
import json
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from agentloop_client import AgentLoop

from tests.house.running import Site, manage, until


@dataclass
class Home:
    """A running site with a project of ours."""

    site: Site
    api_key: str
    signing_secret: str
    tenant_id: str

    @property
    def url(self) -> str:
        return self.site.url

    def get(self, path: str, **query: Any) -> Any:
        answer = httpx.get(f"{self.url}{path}", params=query, headers={"Authorization": f"Bearer {self.api_key}"})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def turns(self, session_id: str) -> list[dict[str, Any]]:
        """All of a session's turns, page by page."""
        found: list[dict[str, Any]] = []
        query: dict[str, Any] = {"session_id": session_id, "limit": 200}
        while True:
            page = self.get("/v1/turns", **query)
            found += page["turns"]
            if page["next_cursor"] is None:
                return found
            query["cursor"] = page["next_cursor"]

    def turns_once(self, session_id: str, count: int) -> list[dict[str, Any]]:
        """The session's turns, once there are so many of them."""
        until(lambda: len(self.turns(session_id)) >= count, f"{count} turns are there")
        return self.turns(session_id)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    site = Site(tmp_path_factory.mktemp("client") / "home")
    try:
        site.start("--no-demo")
        made = manage(site.home, "project", "create", "Shop", "--json")
        assert made.returncode == 0, made.stderr
        told = json.loads(made.stdout.splitlines()[-1])
        yield Home(site, told["api_key"], told["signing_secret"], told["tenant_id"])
    finally:
        site.stop()


@pytest.fixture
def session_id() -> str:
    """A session of the test's own, by which it finds its turns again."""
    return f"s_{uuid.uuid4().hex}"


@pytest.fixture
def loop(home: Home) -> Iterator[AgentLoop]:
    with AgentLoop(home.api_key, home.url, home.signing_secret) as client:
        yield client


@pytest.fixture(autouse=True)
def no_threads_left() -> Iterator[None]:
    """A client that was closed leaves no thread behind."""
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("agentloop-courier"):
            thread.join(5)


@pytest.fixture(autouse=True)
def no_foreign_loop() -> Iterator[None]:
    """Where a browser test ran before, Playwright's loop counts as running in this thread, and asyncio refuses ours."""
    foreign = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    yield
    asyncio._set_running_loop(foreign)
