"""What was acknowledged is there, once, though processes are killed in the middle of it.

Not a measurement: a few clients on the loopback log at their own pace while web workers, then PostgreSQL, are
killed. A turn that was not acknowledged is sent again with the same idempotency key, as a client would.
"""

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import httpx
import psutil
import pytest

from tests.house.running import Site, until

pytestmark = pytest.mark.slow

CLIENTS = 4
TRIES_SECONDS = 40


@dataclass
class Load:
    """Clients that log distinct turns, each until it is acknowledged, for as long as they are let."""

    url: str
    key: str
    sent: dict[str, str] = field(default_factory=dict)
    retried: int = 0
    odd: Counter[int] = field(default_factory=Counter)
    is_over: bool = False
    threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        self.threads = [threading.Thread(target=self._log, args=(number,)) for number in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        self.is_over = True
        for thread in self.threads:
            thread.join(TRIES_SECONDS + 10)

    def _log(self, number: int) -> None:
        count = 0
        with httpx.Client(timeout=10, headers={"Authorization": f"Bearer {self.key}"}) as client:
            while not self.is_over:
                count += 1
                self._log_until_acknowledged(client, f"client {number} turn {count}")

    def _log_until_acknowledged(self, client: httpx.Client, text: str) -> None:
        deadline = time.monotonic() + TRIES_SECONDS
        turn = {"question": text, "agent_response": "a", "idempotency_key": text, "signals": {"thumbs_down": True}}
        while time.monotonic() < deadline:
            with suppress(httpx.HTTPError):
                response = client.post(f"{self.url}/v1/turns", json=turn)
                if response.status_code in (200, 201):
                    self.sent[text] = response.json()["turn_id"]
                    return
                self.odd[response.status_code] += 1
            self.retried += 1
            time.sleep(0.05)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("durability") / "home").start("--no-demo")
    yield site
    code = site.stop()
    site.kill_everything()
    assert code == 0


@pytest.fixture
def key(site: Site) -> str:
    return re.search(r"API key: +(\S+)", site.output)[1]


def postmaster(site: Site) -> psutil.Process:
    return psutil.Process(int((site.home / "postgres" / "postmaster.pid").read_text().split()[0]))


def stored(site: Site, key: str, word: str) -> dict[str, str]:
    """The turns that begin with a word, by their questions; fails on one that is there twice."""
    found: dict[str, str] = {}
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.stream("GET", f"{site.url}/v1/export/turns.jsonl", headers=headers, timeout=30) as response:
        assert response.status_code == 200
        for line in response.iter_lines():
            turn = json.loads(line)
            assert turn["question"] not in found, f"{turn['question']} is there twice"
            assert turn["occurrences"] == 1, f"{turn['question']} was counted {turn['occurrences']} times"
            found[turn["question"]] = turn["turn_id"]
    return {text: turn_id for text, turn_id in found.items() if text.startswith(word)}


def test_acknowledged_turns_outlive_killed_workers_and_a_killed_database(site: Site, key: str) -> None:
    load = Load(site.url, key)
    load.start()
    try:
        until(lambda: len(load.sent) > 50, "turns are logged")
        for _ in range(2):
            # The workers below the web server's parent, which starts them again.
            victims = site.role("web")[1:]
            assert victims
            before = len(load.sent)
            for victim in victims:
                victim.kill()
            until(lambda before=before: len(load.sent) > before + 50, "new workers take turns")
        server, before = postmaster(site), len(load.sent)
        server.kill()
        until(lambda: len(load.sent) > before + 50, "the database is back")
    finally:
        load.stop()

    assert load.retried > 0
    # Whoever met the missing database was told to come again.
    assert set(load.odd) <= {503}
    found = stored(site, key, "client")
    missing = {text: turn_id for text, turn_id in load.sent.items() if found.get(text) != turn_id}
    assert not missing


def test_a_batch_is_there_whole_or_not_at_all(site: Site, key: str) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    acknowledged: list[int] = []
    is_over = threading.Event()

    def log() -> None:
        batch = 0
        while not is_over.is_set():
            batch += 1
            turns = [{"question": f"batch {batch} turn {n}", "agent_response": "a"} for n in range(100)]
            with suppress(httpx.HTTPError):
                answer = httpx.post(f"{site.url}/v1/turns/batch", json={"turns": turns}, headers=headers, timeout=20)
                if answer.status_code == 200:
                    acknowledged.append(batch)

    thread = threading.Thread(target=log)
    thread.start()
    try:
        until(lambda: len(acknowledged) > 3, "batches are logged")
        postmaster(site).kill()
        for victim in site.role("web")[1:]:
            victim.kill()
        before = len(acknowledged)
        until(lambda: len(acknowledged) > before + 1, "batches are logged again")
    finally:
        is_over.set()
        thread.join(30)

    sizes = Counter(int(question.split()[1]) for question in stored(site, key, "batch"))
    assert set(sizes.values()) == {100}
    assert set(acknowledged) <= set(sizes)
