"""A server that refuses, stalls, resets and lies: nothing is raised, nothing comes twice, nothing is lost in bounds."""

import asyncio
import datetime
import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from agentloop_client import AgentLoop, AsyncAgentLoop, _courier, _http
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.house.running import free_port, until
from tests.sdk_python import unkind as u

TURNS = [f"question {number}" for number in range(30)]
TRICKS = {
    "resets": u.reset,
    "has it and resets": u.stored_then_reset,
    "answers half": u.half,
    "says 429": u.status(429, "Retry-After: 0.1"),
    "says 500": u.status(500),
    "says 503 in HTML": u.status(503, body=b"<html>Bad gateway</html>"),
    "redirects": u.status(302, "Location: /elsewhere"),
    "doesn't know the key": u.status(401),
    "answers another's JSON": u.no_json(b"{}"),
    "answers a list": u.no_json(b"[]"),
    "answers HTML": u.no_json(b"<html>Log in to the hotel's network</html>"),
    "answers nothing": u.no_json(b""),
    "answers deep nesting": u.no_json(b"[" * 100_000),
    "stalls": u.stall,
    "drips": u.drip,
    "never ends": u.endless,
}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waits between two tries, shorter; their order and growth are as they were."""
    monkeypatch.setattr(_http, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(_http, "LONGEST_PAUSE", 0.2)
    monkeypatch.setattr(_courier, "LINGER_SECONDS", 0.01)


def loop_for(server: u.Unkind, **more: Any) -> AgentLoop:
    return AgentLoop("al_secret_key", server.url, **{"timeout": 0.4, "exit_timeout": 0.5, **more})


@pytest.mark.parametrize("trick", TRICKS.values(), ids=TRICKS.keys())
def test_every_turn_arrives_once(trick: u.Trick, caplog: pytest.LogCaptureFixture) -> None:
    with u.unkind(trick, trick) as server, loop_for(server) as loop:
        for text in TURNS:
            loop.log_turn(text, "content of the answer")
        assert loop.flush(15)
        assert server.stored == dict.fromkeys(TURNS, 1)
        assert (loop.stats.sent, loop.stats.dropped, loop.stats.refused) == (len(TURNS), 0, 0)
        assert loop.stats.retries >= 2
    assert "al_secret_key" not in caplog.text
    assert "content of the answer" not in caplog.text
    assert "is kept and tried again" in caplog.text or "does not accept the API key" in caplog.text


@pytest.mark.parametrize("trick", TRICKS.values(), ids=TRICKS.keys())
def test_whoever_waits_is_not_harmed(trick: u.Trick) -> None:
    with u.unkind(always=trick) as server, loop_for(server, timeout=0.3) as loop:
        began = time.monotonic()
        assert loop.log_turn("waited for", "a", wait=True) is None
        assert loop.search("q") == []
        assert loop.annotate("q", "a", "c") is None
        # A single read may run into its own timeout after the whole one is nearly over.
        assert time.monotonic() - began < 3 * 0.3 * 2 + 0.5
        server.always = None
        assert loop.flush(10) or trick is TRICKS["doesn't know the key"]
        assert server.stored["waited for"] <= 1


@pytest.mark.parametrize("trick", TRICKS.values(), ids=TRICKS.keys())
def test_the_async_client_holds_out_as_well(trick: u.Trick) -> None:
    async def work(url: str) -> None:
        async with AsyncAgentLoop("al_key", url, timeout=0.4, exit_timeout=0.5) as loop:
            for text in TURNS:
                await loop.log_turn(text, "a")
            assert await loop.flush(15)
            assert loop.stats.sent == len(TURNS)

    with u.unkind(trick, trick) as server:
        asyncio.run(work(server.url))
        assert server.stored == dict.fromkeys(TURNS, 1)


def test_a_server_that_was_away_gets_all_of_it() -> None:
    port = free_port()
    with AgentLoop("al_key", f"http://127.0.0.1:{port}", timeout=0.4) as loop:
        for text in TURNS:
            loop.log_turn(text, "a")
        assert not loop.flush(0.3)
        with u.unkind(port=port) as server:
            assert loop.flush(10)
            assert server.stored == dict.fromkeys(TURNS, 1)


def test_retry_after_is_kept() -> None:
    times: list[float] = []

    def note(connection: socket.socket, seen: u.Seen, server: u.Unkind) -> None:
        times.append(time.monotonic())
        u.status(429, "Retry-After: 1")(connection, seen, server)

    with u.unkind(note) as server, loop_for(server) as loop:
        loop.log_turn("q", "a")
        assert loop.flush(5)
        assert time.monotonic() - times[0] >= 1


def test_one_bad_turn_spoils_no_other() -> None:
    def refuse_bad(connection: socket.socket, seen: u.Seen, server: u.Unkind) -> None:
        if any(turn["question"] == "bad" for turn in seen.json["turns"]):
            u.status(422, body=b'{"error": "No.", "code": "invalid"}')(connection, seen, server)
        else:
            u.kind(connection, seen, server)

    refuse_bad.ends = False  # type: ignore[attr-defined]
    with u.unkind(always=refuse_bad) as server, loop_for(server) as loop:
        for text in (*TURNS[:17], "bad", *TURNS[17:]):
            loop.log_turn(text, "a")
        assert loop.flush(10)
        assert server.stored == dict.fromkeys(TURNS, 1)
        assert (loop.stats.sent, loop.stats.refused) == (len(TURNS), 1)


def test_a_full_buffer_drops_the_oldest_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with u.unkind(always=u.status(503)) as server:
        loop = AgentLoop("al_key", server.url, buffer_bytes=200_000, exit_timeout=0.1)
        loop.log_turn("question 0", "the first request imports httpx, which is not the buffer's")
        until(lambda: loop.stats.retries, "it was tried")
        tracemalloc.start()
        for number in range(1, 5000):
            loop.log_turn(f"question {number}", "x" * 1000)
        used, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        # The server keeps what it was sent, in the same process.
        used -= sum(len(seen.body) for seen in server.seen)
        stats = loop.stats
        assert stats.queued == 5000
        assert stats.dropped + stats.waiting == 5000
        assert 150 <= stats.waiting < 700
        assert used < 1_500_000
        assert caplog.text.count("buffer is full") == 1
        server.always = None
        assert loop.flush(10)
        assert "question 4999" in server.stored
        assert "question 0" not in server.stored
        loop.close()


def test_a_huge_turn_is_cut_and_a_monstrous_one_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    with u.unkind() as server, loop_for(server) as loop:
        loop.log_turn("q" * 3_000_000, "a")
        loop.log_turn("monstrous", "a", metadata={"all": "x" * 5_000_000})
        assert loop.flush(5)
        assert [len(question) for question in server.stored] == [250_000]
        assert (loop.stats.sent, loop.stats.dropped) == (1, 1)
    assert "it is not sent" in caplog.text


def test_logging_never_waits() -> None:
    with u.unkind(always=u.stall) as server, loop_for(server, timeout=5) as loop:
        slowest = 0.0
        for number in range(300):
            began = time.perf_counter()
            loop.log_turn(f"question {number}", "a")
            slowest = max(slowest, time.perf_counter() - began)
        assert slowest < 1
        began = time.monotonic()
    # Closing waits as long as `exit_timeout` says, and no longer.
    assert time.monotonic() - began < 2


def test_the_end_is_not_held_up_by_a_server_that_is_away() -> None:
    loop = AgentLoop("al_key", f"http://127.0.0.1:{free_port()}")
    loop.log_turn("q", "a")
    began = time.monotonic()
    assert loop.close() is False
    assert time.monotonic() - began < 2.5


def test_many_threads_log_at_once() -> None:
    with u.unkind(u.reset, u.half, u.stored_then_reset) as server, loop_for(server) as loop:

        def work(name: int) -> None:
            for number in range(100):
                loop.log_turn(f"{name}/{number}", "a")

        threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert loop.flush(10)
        assert len(server.stored) == 800
        assert set(server.stored.values()) == {1}


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that nobody has a reason to trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "pair.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def wrap(certificate: Path) -> Callable[[socket.socket], Any]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return lambda connection: context.wrap_socket(connection, server_side=True)


def test_nothing_is_told_to_a_stranger(wrap: Any, caplog: pytest.LogCaptureFixture) -> None:
    with u.unkind(wrap=wrap) as server, loop_for(server) as loop:
        loop.log_turn("q", "a")
        assert loop.log_turn("waited for", "a", wait=True) is None
        assert not loop.flush(0.3)
        assert server.seen == []
    assert "unreachable" in caplog.text


def test_a_transport_may_break_as_it_likes() -> None:
    def burst(request: httpx.Request) -> httpx.Response:
        raise ZeroDivisionError

    client = httpx.Client(transport=httpx.MockTransport(burst))
    with AgentLoop("al_key", "http://x.invalid", http_client=client, exit_timeout=0.1) as loop:
        loop.log_turn("q", "a")
        assert loop.search("q") == []
        assert not loop.flush(0.1)
    client.close()
