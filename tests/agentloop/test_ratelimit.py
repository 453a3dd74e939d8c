"""The token bucket: in a real Valkey, shared, leased, and without it."""

import threading
import time
import uuid
from collections.abc import Iterator

import pytest
import redis
from django.test import override_settings

from agentloop import ratelimit, valkey
from agentloop.errors import TooManyRequests
from agentloop.models import Project
from tests.review.support import Caller

pytestmark = pytest.mark.usefixtures("servers")


@pytest.fixture
def name() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def no_valkey(tmp_path: object) -> Iterator[None]:
    with override_settings(BROKER_URL=f"unix://{tmp_path}/nobody.sock"):
        yield


def taken(name: str, rate: float, burst: int, tries: int) -> int:
    """How many of the tries pass."""
    passed = 0
    for _ in range(tries):
        try:
            ratelimit.take_named(name, rate, burst)
            passed += 1
        except TooManyRequests:
            continue
    return passed


def test_a_burst_passes_and_the_next_waits(name: str) -> None:
    assert taken(name, 1, 5, 5) == 5
    with pytest.raises(TooManyRequests) as refused:
        ratelimit.take_named(name, 1, 5)
    assert 0 < refused.value.retry_after <= 1  # type: ignore[operator]


def test_tokens_come_back_at_the_rate(name: str) -> None:
    assert taken(name, 40, 2, 3) == 2
    time.sleep(0.06)
    assert 1 <= taken(name, 40, 2, 10) <= 3


def test_two_processes_share_a_bucket(name: str) -> None:
    first = taken(name, 0.1, 6, 4)
    ratelimit.forget()
    assert (first, taken(name, 0.1, 6, 4)) == (4, 2)


def test_names_do_not_share(name: str) -> None:
    assert taken(name, 0.1, 2, 3) == 2
    assert taken(f"{name} another", 0.1, 2, 3) == 2


def test_most_requests_ask_nobody(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    ask = valkey.ask
    monkeypatch.setattr(valkey, "ask", lambda question: asked.append(1) or ask(question))
    assert taken(name, 1000, 5000, 500) == 500
    assert len(asked) <= 12


def test_a_lease_never_gives_more_than_the_burst(name: str) -> None:
    begun = time.monotonic()
    passed = taken(name, 1000, 3, 20)
    # What time gave back meanwhile counts too: a machine may be slow between two tries.
    assert 3 <= passed <= 3 + 1000 * (time.monotonic() - begun)


def test_a_refusal_is_remembered_for_as_long_as_it_holds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    taken(name, 0.1, 1, 2)
    monkeypatch.setattr(valkey, "ask", lambda question: pytest.fail("Valkey was asked"))
    assert taken(name, 0.1, 1, 100) == 0


def test_many_threads_get_no_more_than_there_is(name: str) -> None:
    passed: list[int] = []
    threads = [threading.Thread(target=lambda: passed.append(taken(name, 0.1, 100, 40))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(passed) == 100


def test_without_valkey_a_bucket_of_the_process_holds(name: str, no_valkey: None) -> None:
    assert taken(name, 0.1, 5, 20) == 5


def test_without_valkey_only_the_first_request_waits(
    name: str, no_valkey: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []
    monkeypatch.setattr(valkey, "client", lambda url: tried.append(url) or _hanging())
    began = time.perf_counter()
    assert taken(name, 1000, 5000, 200) == 200
    assert (len(tried), time.perf_counter() - began < 1) == (1, True)


def test_after_the_rest_one_request_tries_again(name: str, no_valkey: None, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    monkeypatch.setattr(valkey, "client", lambda url: tried.append(url) or _hanging())
    taken(name, 1000, 5000, 5)
    later = time.monotonic() + valkey.REST_SECONDS
    monkeypatch.setattr(valkey.time, "monotonic", lambda: later)
    taken(name, 1000, 5000, 5)
    assert len(tried) == 2


def test_it_recovers_with_valkey(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with override_settings(BROKER_URL="unix:///nowhere/nobody.sock"):
        taken(name, 1000, 5000, 2)
    assert valkey._breaker.failed
    later = time.monotonic() + valkey.REST_SECONDS
    monkeypatch.setattr(valkey.time, "monotonic", lambda: later)
    taken(name, 1000, 5000, 2)
    assert not valkey._breaker.failed


def test_another_kind_of_broker_means_buckets_of_the_process(name: str) -> None:
    with override_settings(BROKER_URL="amqp://guest@localhost//"):
        assert taken(name, 0.1, 3, 5) == 3


def test_an_odd_name_is_only_a_name(name: str) -> None:
    assert taken(f"{name}\ud800\x00", 0.1, 2, 3) == 2


def test_the_api_answers_429_with_retry_after(admin: Caller, project: Project) -> None:
    admin("PATCH", "/v1/project", {"settings": {"rate_per_second": 1, "rate_burst": 2}})
    ratelimit.forget()
    answers = [admin("GET", "/v1/project") for _ in range(4)]
    refused = answers[-1]
    assert (refused.status, refused.body["code"], refused.headers["Retry-After"]) == (429, "rate_limited", "1")


def _hanging() -> redis.Redis:
    class Hanging:
        def register_script(self, script: str) -> object:
            raise redis.TimeoutError

    return Hanging()  # type: ignore[return-value]
