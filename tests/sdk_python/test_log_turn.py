"""Turns on their way to a running server: in the background, in batches, each exactly once."""

import asyncio
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest
from agentloop_client import AgentLoop, AsyncAgentLoop
from agentloop_client._messages import _place
from agentloop_client.errors import BadArgument, Closed, NoSigningSecret, NotConfigured, Refused

from tests.sdk_python.conftest import Home


def test_a_turn_arrives_with_all_that_was_said(loop: AgentLoop, home: Home, session_id: str) -> None:
    before = datetime.now(UTC).timestamp()
    said = loop.log_turn(
        "When do you open?",
        f"At noon. {session_id}",
        user_id="u_1",
        session_id=session_id,
        signals={"thumbs_down": True, "confidence": 0.41},
        metadata={"channel": "web"},
        trace_id="0af7651916cd43dd8448eb211c80319c",
        goal="opening_hours",
        model="some-model",
        pipeline_id="web",
        tags=["hours"],
    )
    assert said is None
    assert loop.flush()
    [turn] = home.turns(session_id)
    assert (turn["question"], turn["user_id"], turn["goal"]) == ("When do you open?", "u_1", "opening_hours")
    assert turn["signals"] == {"thumbs_down": True, "confidence": 0.41}
    assert turn["metadata"] == {"channel": "web"}
    assert (turn["tags"], turn["pipeline_id"], turn["model"]) == (["hours"], "web", "some-model")
    assert datetime.fromisoformat(turn["occurred_at"]).timestamp() >= before - 1
    assert loop.stats.sent == 1


def test_a_thousand_turns_go_in_batches(loop: AgentLoop, home: Home, session_id: str) -> None:
    for number in range(1000):
        loop.log_turn(f"question {number}", f"answer {session_id}", session_id=session_id)
    assert loop.flush()
    turns = home.turns(session_id)
    assert {turn["question"] for turn in turns} == {f"question {number}" for number in range(1000)}
    assert all(turn["occurrences"] == 1 for turn in turns)
    assert (loop.stats.sent, loop.stats.waiting, loop.stats.dropped) == (1000, 0, 0)


def test_waiting_gives_a_receipt(loop: AgentLoop, session_id: str) -> None:
    first = loop.log_turn("Where?", session_id, want_feedback_url=True, wait=True)
    again = loop.log_turn("where?", session_id, wait=True)
    assert first is not None
    assert again is not None
    assert first.turn_id.startswith("turn_")
    assert (first.was_duplicate, again.was_duplicate) == (False, True)
    assert first.turn_id == again.turn_id
    assert first.feedback_url is not None
    assert "/f/" in first.feedback_url


def test_the_same_idempotency_key_is_one_turn(loop: AgentLoop, home: Home, session_id: str) -> None:
    for wait in (False, True, False):
        loop.log_turn("Where?", session_id, session_id=session_id, idempotency_key=session_id, wait=wait)
    assert loop.flush()
    [turn] = home.turns(session_id)
    assert turn["occurrences"] == 1


def test_a_condition_decides(loop: AgentLoop, home: Home, session_id: str) -> None:
    def costly() -> str:
        raise AssertionError("computed in vain")

    def broken() -> bool:
        raise RuntimeError("the condition's own fault")

    async def awaited() -> bool:
        return True

    def said(text: str, **more: Any) -> dict[str, Any]:
        return {"question": text, "agent_response": session_id, "session_id": session_id, **more}

    for condition in (False, 0, None, "", lambda: False, broken, awaited):
        assert loop.log_turn_if(condition, costly, costly, signals=costly) is None
    loop.log_turn_if(True, **said("a value"))
    loop.log_turn_if(lambda: 0.3 < 0.5, **said("a callable", signals=lambda: {"confidence": 0.3}))
    assert loop.flush()
    assert {turn["question"]: turn["signals"] for turn in home.turns(session_id)} == {
        "a value": {},
        "a callable": {"confidence": 0.3},
    }


def test_a_sample_records_its_rate_and_takes_whole_sessions(loop: AgentLoop, home: Home) -> None:
    mark = uuid.uuid4().hex
    sessions = [f"{mark}-{number}" for number in range(400)]
    for session in sessions:
        for turn in range(2):
            loop.sample(0.25, f"question {turn} of {session}", "a", session_id=session, signals={"kind": "chat"})
    assert loop.flush()
    drawn = [session for session in sessions if _place(session) < 0.25]
    assert 60 < len(drawn) < 145
    assert loop.stats.sent == 2 * len(drawn)
    turns = home.turns(drawn[0])
    assert [(turn["sample_rate"], turn["signals"]) for turn in turns] == [
        (0.25, {"kind": "chat", "random_sample": True})
    ] * 2


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__


def test_odd_values_arrive(loop: AgentLoop, home: Home, session_id: str) -> None:
    circle: dict[str, Any] = {}
    circle["self"] = circle
    odd = {
        "when": datetime(2026, 1, 2, tzinfo=UTC),
        "price": Decimal("1.20"),
        "nan": float("nan"),
        "set": {1},
        "bytes": b"\xff",
        "broken": Broken(),
        "circle": circle,
        (1, 2): "a tuple for a key",
        "lone": "\ud83c",
    }
    loop.log_turn("odd \ud83c\udf19 \udf19", {"an": session_id}, session_id=session_id, metadata=odd)  # type: ignore[arg-type]
    assert loop.flush()
    [turn] = home.turns(session_id)
    assert (turn["question"], turn["agent_response"]) == ("odd 🌙 \ufffd", f'{{"an":"{session_id}"}}')
    found = turn["metadata"]
    assert (found["when"], found["price"], found["nan"], found["set"]) == (
        "2026-01-02T00:00:00+00:00",
        "1.20",
        None,
        [1],
    )
    assert (found["bytes"], found["lone"]) == ("\ufffd", "\ufffd")
    assert found["broken"] == "[unreadable Broken]"
    assert found["(1, 2)"] == "a tuple for a key"


def test_what_is_changed_afterwards_was_said_before(loop: AgentLoop, home: Home, session_id: str) -> None:
    signals = {"round": 1}
    loop.log_turn("q", session_id, session_id=session_id, signals=signals)
    signals["round"] = 2
    assert loop.flush()
    assert home.turns(session_id)[0]["signals"] == {"round": 1}


def test_corrections_are_found_again(loop: AgentLoop, session_id: str) -> None:
    question = f"What is the limit for {session_id}?"
    judged = loop.annotate(question, "R$5,000.", "It is R$1,000 at night.", root_cause="context", tags=[session_id])
    assert judged is not None
    [memory] = loop.search(question, tags=[session_id])
    assert (memory.fact, memory.source) == ("It is R$1,000 at night.", judged.annotation_id)
    assert memory.id == judged.memory_id
    assert 0 < memory.score <= 1
    assert loop.annotate(question, "R$5,000.", "x", rating="awful") is None
    assert loop.search("") != []


def test_a_link_is_accepted_by_the_server(loop: AgentLoop, session_id: str) -> None:
    receipt = loop.log_turn("Where?", session_id, wait=True, want_feedback_url=True)
    assert receipt is not None
    assert receipt.feedback_url is not None
    servers, ours = receipt.feedback_url, loop.feedback_url(turn_id=receipt.turn_id)
    # The same payload: they differ in the second of signing alone.
    assert ours.rpartition("/f/")[2].split(".")[0] == servers.rpartition("/f/")[2].split(".")[0]


def test_strict_raises(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AGENTLOOP_API_KEY", raising=False)
    with pytest.raises(NotConfigured):
        AgentLoop(base_url=home.url, strict=True)
    loop = AgentLoop(home.api_key, home.url, strict=True)
    with pytest.raises(Refused) as refused:
        loop.annotate("q", "a", "c", rating="awful")
    assert (refused.value.status, refused.value.code) == (422, "invalid")
    assert "rating" in refused.value.fields
    assert refused.value.request_id
    assert refused.value.request_id in str(refused.value)
    with pytest.raises(BadArgument):
        loop.log_turn_if(lambda: 1 / 0, "q", "a")
    with pytest.raises(NoSigningSecret):
        loop.feedback_url(turn_id="turn_1")
    loop.close()
    with pytest.raises(Closed):
        loop.log_turn("q", "a")


def test_nothing_raises_without_strict(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.delenv("AGENTLOOP_API_KEY", raising=False)
    loop = AgentLoop()
    loop.log_turn("secret question", "a")
    loop.log_turn("secret question", "a", wait=True)
    loop.log_turn_if(lambda: 1 / 0, "secret question", "a")
    assert loop.search("secret question") == []
    assert loop.annotate("secret question", "a", "c") is None
    assert loop.flush()
    loop.close()
    loop.log_turn("secret question", "a")
    assert "no_key" in caplog.text
    assert "secret" not in caplog.text


def test_settings_come_from_the_environment(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTLOOP_API_KEY", home.api_key)
    monkeypatch.setenv("AGENTLOOP_BASE_URL", home.url + "/")
    monkeypatch.setenv("AGENTLOOP_SIGNING_SECRET", home.signing_secret)
    with AgentLoop() as loop:
        assert loop.log_turn("q", uuid.uuid4().hex, wait=True) is not None
        assert loop.feedback_url(turn_id="turn_1").startswith(home.url + "/f/")
        assert home.api_key not in repr(loop) + repr(loop.settings)
        assert home.signing_secret not in repr(loop.settings)


def test_a_project_address_serves_too(home: Home, session_id: str) -> None:
    with AgentLoop(home.api_key, f"{home.url}/p/shop") as loop:
        loop.log_turn("q", session_id, session_id=session_id)
        assert loop.flush()
    assert len(home.turns(session_id)) == 1


@pytest.mark.parametrize("as_factory", [False, True])
def test_the_transport_is_the_callers(as_factory: bool, session_id: str) -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={"accepted": 1, "refused": 0, "results": [{"status": "pending"}]})

    client = httpx.Client(transport=httpx.MockTransport(answer), headers={"X-Mine": "yes"})
    with AgentLoop("al_key", "http://nowhere.invalid", http_client=(lambda: client) if as_factory else client) as loop:
        loop.log_turn("q", "a")
        assert loop.flush()
    assert [request.headers["x-mine"] for request in asked] == ["yes"]
    assert client.is_closed is as_factory
    client.close()


# --- awaited --------------------------------------------------------------------------------------------------


def run(home: Home, work: Callable[[AsyncAgentLoop], Any], **more: Any) -> Any:
    async def main() -> Any:
        async with AsyncAgentLoop(home.api_key, home.url, home.signing_secret, **more) as loop:
            return await work(loop)

    return asyncio.run(main())


def test_the_async_client_does_all_of_it(home: Home, session_id: str) -> None:
    async def work(loop: AsyncAgentLoop) -> None:
        for number in range(700):
            await loop.log_turn(f"question {number}", session_id, session_id=session_id)
        await loop.log_turn_if(False, "never", "a", session_id=session_id)
        await loop.log_turn_if(lambda: True, "if", session_id, session_id=session_id)
        await loop.sample(1.0, "sampled", session_id, session_id=session_id)
        receipt = await loop.log_turn("waited", session_id, session_id=session_id, wait=True)
        assert receipt is not None
        assert receipt.turn_id.startswith("turn_")
        assert await loop.flush()
        judged = await loop.annotate(session_id, "a", "It is blue.", tags=[session_id])
        assert judged is not None
        assert [memory.fact for memory in await loop.search(session_id, tags=[session_id])] == ["It is blue."]
        assert loop.stats.sent == 702

    run(home, work)
    assert len({turn["question"] for turn in home.turns(session_id)}) == 703


def test_a_task_leaves_the_loop_free(home: Home, session_id: str) -> None:
    async def work(loop: AsyncAgentLoop) -> float:
        began = time.perf_counter()
        for number in range(200):
            await loop.log_turn(f"question {number}", session_id, session_id=session_id)
        return time.perf_counter() - began

    assert run(home, work) < 1
    assert len(home.turns(session_id)) == 200


def test_a_client_outlives_its_loop(home: Home, session_id: str) -> None:
    """What one loop left goes out with the next."""
    loop = AsyncAgentLoop(home.api_key, home.url)

    async def log(text: str) -> None:
        await loop.log_turn(text, session_id, session_id=session_id)

    async def end() -> None:
        await loop.log_turn("second", session_id, session_id=session_id)
        assert await loop.aclose()

    asyncio.run(log("first"))
    asyncio.run(end())
    assert {turn["question"] for turn in home.turns(session_id)} == {"first", "second"}
