"""What `log_turn` returned for outlives the process, and arrives exactly once in the end."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from agentloop_client import AgentLoop, AsyncAgentLoop, _courier, _http, _spool

from tests.house.running import Site
from tests.sdk_python import unkind as u
from tests.sdk_python.conftest import Home

AGENT = """
import sys
from agentloop_client import AgentLoop

url, key, spool, session, start = sys.argv[1:]
loop = AgentLoop(key, url, spool_dir=spool)
number = int(start)
print("ready", flush=True)
while True:
    loop.log_turn(f"question {number}", f"answer of {session}", session_id=session)
    # Told only when log_turn has returned.
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
    number += 1
"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_http, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(_courier, "LINGER_SECONDS", 0.01)


def agent(url: str, key: str, spool: Path, session: str, start: int) -> subprocess.Popen[str]:
    path = os.pathsep.join(sys.path)
    return subprocess.Popen(
        [sys.executable, "-c", AGENT, url, key, str(spool), session, str(start)],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    )


def killed_agents(url: str, key: str, spool: Path, session: str, rounds: int) -> set[str]:
    """Agents that are killed at random moments, one after another; what their `log_turn` returned for."""
    chance, promised, start = random.Random(session), set(), 0
    for _ in range(rounds):
        process = agent(url, key, spool, session, start)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(chance.uniform(0.01, 0.3))
        process.send_signal(signal.SIGKILL)
        told = [line for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        process.stdout.close()
        process.wait()
        promised |= {f"question {int(line)}" for line in told}
        # A turn may be spooled of which the agent could not say so any more.
        start += len(told) + 1
    return promised


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def test_turns_survive_kill_9(home: Home, session_id: str, spool: Path) -> None:
    promised = killed_agents(home.url, home.api_key, spool, session_id, rounds=4)
    with AgentLoop(home.api_key, home.url, spool_dir=str(spool)) as loop:
        assert loop.flush(60)
    arrived = {turn["question"]: turn["occurrences"] for turn in home.turns(session_id)}
    assert len(promised) > 100
    assert promised <= arrived.keys()
    assert len(arrived) <= len(promised) + 4
    assert set(arrived.values()) == {1}
    assert list(spool.glob("*.spool")) == []


def test_turns_survive_kill_9_beside_a_server_that_breaks(spool: Path) -> None:
    """Each answer is lost, halved or refused before it comes through."""
    tricks = [u.stored_then_reset, u.half, u.status(500), u.reset, u.kind] * 40
    with u.unkind(*tricks) as server:
        promised = killed_agents(server.url, "al_key", spool, "s", rounds=5)
        with AgentLoop("al_key", server.url, spool_dir=str(spool)) as loop:
            assert loop.flush(30)
        assert promised <= server.stored.keys()
        assert set(server.stored.values()) == {1}


@pytest.mark.slow
def test_a_server_that_is_killed_loses_nothing(session_id: str, spool: Path, tmp_path: Path) -> None:
    """The real one, killed while turns come in, started again: each turn is there once."""
    site = Site(tmp_path / "home")
    try:
        site.start()
        key = site.output.split("API key:")[1].split()[0]
        home = Home(site, key, "", "")
        with AgentLoop(key, site.url, spool_dir=str(spool), timeout=2) as loop:
            for number in range(300):
                loop.log_turn(f"question {number}", "a", session_id=session_id)
            site.kill_everything()
            for number in range(300, 600):
                loop.log_turn(f"question {number}", "a", session_id=session_id)
            site.start()
            assert loop.flush(30)
        turns = home.turns(session_id)
        assert len({turn["question"] for turn in turns}) == len(turns) == 600
        assert {turn["occurrences"] for turn in turns} == {1}
    finally:
        site.stop()


def test_what_could_not_be_sent_stays_for_the_next(spool: Path, caplog: pytest.LogCaptureFixture) -> None:
    with u.unkind(always=u.status(503)) as server:
        first = AgentLoop("al_key", server.url, spool_dir=str(spool), exit_timeout=0.2)
        for number in range(20):
            first.log_turn(f"question {number}", "a")
        assert first.close() is False
        assert "stay in the spool" in caplog.text
        server.always = None
        with AgentLoop("al_key", server.url, spool_dir=str(spool)) as second:
            assert second.flush(5)
        assert server.stored == {f"question {number}": 1 for number in range(20)}
    assert list(spool.iterdir()) == []


def test_the_async_client_has_a_spool_too(spool: Path) -> None:
    async def log(url: str, text: str) -> bool:
        loop = AsyncAgentLoop("al_key", url, spool_dir=str(spool), exit_timeout=0.2)
        await loop.log_turn(text, "a")
        return await loop.aclose()

    with u.unkind(always=u.status(503)) as server:
        assert asyncio.run(log(server.url, "first")) is False
        server.always = None
        assert asyncio.run(log(server.url, "second")) is True
        assert server.stored == {"first": 1, "second": 1}
    assert list(spool.glob("*.spool")) == []


def test_a_living_processs_segments_are_left_to_it(spool: Path) -> None:
    with u.unkind(always=u.status(503)) as server:
        first = AgentLoop("al_key", server.url, spool_dir=str(spool), exit_timeout=0.1)
        first.log_turn("first's", "a")
        with AgentLoop("al_key", server.url, spool_dir=str(spool), exit_timeout=0.1) as second:
            assert second.flush(1)
        server.always = None
        assert first.flush(5)
        assert server.stored == {"first's": 1}
        first.close()


def test_a_torn_line_is_passed_over(spool: Path) -> None:
    with u.unkind() as server:
        first = AgentLoop("al_key", server.url, spool_dir=str(spool), exit_timeout=0.0)
        store = first._courier.outbox.store
        store.put("turns", b'{"question":"whole","idempotency_key":"k"}')
        store.close()
        [segment] = spool.glob("*.spool")
        with segment.open("ab") as file:
            file.write(b'turns {"question":"torn","idempo')
        with AgentLoop("al_key", server.url, spool_dir=str(spool)) as second:
            assert second.flush(5)
        assert server.stored == {"whole": 1}
        assert list(spool.glob("*.spool")) == []
        first.close()


def test_a_full_spool_drops_its_oldest_segment(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_spool, "SEGMENT_BYTES", 10_000)
    monkeypatch.setattr(_spool, "LOADED_BYTES", 20_000)
    with u.unkind(always=u.status(503)) as server:
        loop = AgentLoop("al_key", server.url, spool_dir=str(spool), spool_bytes=100_000, exit_timeout=0.1)
        for number in range(1000):
            loop.log_turn(f"question {number}", "x" * 500)
        assert sum(path.stat().st_size for path in spool.glob("*.spool")) < 130_000
        stats = loop.stats
        assert stats.dropped + stats.waiting == stats.queued == 1000
        server.always = None
        assert loop.flush(10)
        assert "question 999" in server.stored
        assert len(server.stored) == stats.waiting
        loop.close()


def test_a_spool_that_cannot_be_used_is_done_without(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no directory")
    with u.unkind() as server, AgentLoop("al_key", server.url, spool_dir=str(blocked / "spool")) as loop:
        loop.log_turn("q", "a")
        assert loop.flush(5)
        assert server.stored == {"q": 1}
    assert "kept in memory" in caplog.text


# --- forks and exits ------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[u.Unkind]:
    with u.unkind() as server:
        yield server


def run(code: str, url: str, *more: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore::ResourceWarning", "-c", code, url, *more],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_what_waits_at_the_exit_is_sent(server: u.Unkind) -> None:
    run(
        """
import sys
from agentloop_client import AgentLoop
loop = AgentLoop("al_key", sys.argv[1])
for number in range(600):
    loop.log_turn(f"question {number}", "a")
""",
        server.url,
    )
    assert len(server.stored) == 600


def test_what_an_event_loop_left_is_sent_at_the_exit(server: u.Unkind) -> None:
    run(
        """
import asyncio, sys
from agentloop_client import AsyncAgentLoop
loop = AsyncAgentLoop("al_key", sys.argv[1])
asyncio.run(loop.log_turn("q", "a"))
""",
        server.url,
    )
    assert server.stored == {"q": 1}


@pytest.mark.parametrize("spooled", [False, True])
def test_children_send_their_own_and_no_one_elses(server: u.Unkind, tmp_path: Path, spooled: bool) -> None:
    """As gunicorn forks: a client made, and used, before."""
    run(
        """
import os, sys
from agentloop_client import AgentLoop
loop = AgentLoop("al_key", sys.argv[1], spool_dir=sys.argv[2])
loop.log_turn("before", "a")
loop.flush()
for number in range(50):
    loop.log_turn(f"parent {number}", "a")
children = []
for name in range(3):
    pid = os.fork()
    if pid == 0:
        for number in range(50):
            loop.log_turn(f"child {name} {number}", "a")
        sys.exit(0)
    children.append(pid)
for pid in children:
    assert os.waitpid(pid, 0)[1] == 0
""",
        server.url,
        str(tmp_path / "spool") if spooled else "",
    )
    assert len(server.stored) == 1 + 50 + 150
    assert set(server.stored.values()) == {1}
    sent = [turn["question"] for seen in server.seen for turn in seen.json["turns"]]
    assert len(sent) == len(set(sent))


def test_a_child_of_multiprocessing_sends_before_it_ends(server: u.Unkind) -> None:
    """It ends by `os._exit`, past `atexit`, as Celery's do."""
    run(
        """
import multiprocessing, sys
from agentloop_client import AgentLoop
loop = AgentLoop("al_key", sys.argv[1])
def work(name):
    loop.log_turn(name, "a")
context = multiprocessing.get_context("fork")
children = [context.Process(target=work, args=(f"child {number}",)) for number in range(3)]
for child in children:
    child.start()
for child in children:
    child.join()
""",
        server.url,
    )
    assert server.stored == {f"child {number}": 1 for number in range(3)}


def test_an_idle_client_has_no_thread(server: u.Unkind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_courier, "IDLE_SECONDS", 0.05)

    with AgentLoop("al_key", server.url) as loop:
        for number in range(3):
            loop.log_turn(f"question {number}", "a")
            thread = loop._courier._thread
            assert loop.flush(5)
            assert thread is not None
            thread.join(5)
            assert loop._courier._thread is None
    assert len(server.stored) == 3
