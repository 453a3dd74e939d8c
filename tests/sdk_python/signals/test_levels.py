"""The three levels against a running server: evidence lands on the right trace, and no text leaves unasked."""

import asyncio
import json
import multiprocessing
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest
from agentloop_client import AgentLoop, AsyncAgentLoop, Router, set_default_client
from agentloop_client import signals as functions
from agentloop_client.signals import ChatModel, MemoryStore, Reading, Signals, Use, classify

from tests.sdk_python.conftest import Home

UNCLEAR = "the numbers of row 7 surprised us"


@pytest.fixture
def goal() -> str:
    return f"goal_{uuid.uuid4().hex}"


@pytest.fixture
def signals(loop: AgentLoop) -> Signals:
    return Signals(loop)


@pytest.fixture
def told(loop: AgentLoop, home: Home) -> Callable[[str], list[dict[str, Any]]]:
    """What the server was told of a trace, without anchors."""

    def read(trace: str) -> list[dict[str, Any]]:
        assert loop.flush()
        rows = home.get(f"/api/v1/routing/traces/{trace}")["evidence"]
        return [row for row in rows if row["metadata"].get("signal_type") != "pipeline_anchor"]

    return read


@pytest.fixture
def outcome(loop: AgentLoop, home: Home) -> Callable[[str], tuple[Any, ...]]:
    """The model, the success, the score and whose word it is."""

    def read(trace: str) -> tuple[Any, ...]:
        assert loop.flush()
        [found] = home.get(f"/api/v1/routing/traces/{trace}")["outcomes"]
        return found["model_id"], found["success"], found["score"], found["source"]

    return read


Told = Callable[[str], list[dict[str, Any]]]
Outcome = Callable[[str], tuple[Any, ...]]


# --- level 1 -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_object", [False, True])
def test_a_plain_rejection_is_the_users_word(signals: Signals, told: Told, goal: str, as_object: bool) -> None:
    result = {"trace_id": uuid.uuid4().hex, "goal": goal}
    signals.track_run(SimpleNamespace(**result) if as_object else result)
    assert signals.user_rejected("too short")
    [row] = told(result["trace_id"])
    assert (row["source"], row["success"], row["score"], row["confidence"]) == ("user", False, 0.0, 1.0)
    assert row["raw_evidence"] == "too short"


def test_a_routers_trace_can_be_tracked(home: Home, loop: AgentLoop, signals: Signals, goal: str) -> None:
    trace = Router(goal, ["gpt-4o"], client=loop).start_trace()
    assert signals.track_run(trace) == signals.track_run(trace.choice)
    assert signals.user_rejected()
    trace.report(success=True)
    assert loop.flush()
    [found] = home.get(f"/api/v1/routing/traces/{trace.trace_id}")["outcomes"]
    assert (found["model_id"], found["success"], found["source"]) == ("gpt-4o", False, "user")


def test_functions_speak_for_the_default_client(loop: AgentLoop, told: Told, goal: str, session_id: str) -> None:
    set_default_client(loop)
    try:
        trace = functions.report_pipeline(session_id, goal, "", "", "gpt-4o")
        assert functions.report_user_turn(session_id, "No, that's wrong").kind == "reject"
        assert functions.report_action(session_id, "output_copied")
        assert functions.observe_use("a b", "a b", session_id=session_id).score == 1.0
        assert functions.report_session_end(session_id) == "flat"
        assert functions.track_run({"trace_id": trace, "goal": goal}) is not None
        assert functions.user_accepted()
        assert functions.user_rejected("no")
    finally:
        set_default_client(None)
    kinds = {row["metadata"]["signal_type"] for row in told(trace)}
    assert kinds == {"user_rejected", "output_copied", "output_used_verbatim", "user_accepted"}


def test_a_plain_acceptance_has_a_score(signals: Signals, told: Told, goal: str) -> None:
    run = signals.track_run({"trace_id": uuid.uuid4().hex, "goal": goal})
    assert run is not None
    assert signals.user_accepted(score=0.9)
    [row] = told(run.trace_id)
    assert (row["source"], row["success"], row["score"]) == ("user", True, 0.9)


def test_an_acceptance_is_never_a_failure(signals: Signals, told: Told, goal: str) -> None:
    run = {"trace_id": uuid.uuid4().hex, "goal": goal}
    signals.user_accepted(score=0.1, run=run)
    assert [row["success"] for row in told(run["trace_id"])] == [True]


def test_nothing_tracked_is_nothing_said(loop: AgentLoop, signals: Signals) -> None:
    def elsewhere() -> tuple[Any, bool]:
        return signals.track_run({"trace_id": "", "goal": "g"}), signals.user_accepted()

    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(elsewhere).result() == (None, False)
    assert loop.stats.waiting == 0


def test_threads_do_not_take_each_others_runs(signals: Signals, told: Told, goal: str) -> None:
    traces = [uuid.uuid4().hex for _ in range(2)]
    both_tracked = threading.Barrier(2)

    def work(trace: str) -> None:
        signals.track_run({"trace_id": trace, "goal": goal})
        both_tracked.wait(5)
        signals.user_accepted() if trace == traces[0] else signals.user_rejected()

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(work, traces))
    assert [told(trace)[0]["success"] for trace in traces] == [True, False]


# --- level 2 -----------------------------------------------------------------------------------------------------


def test_the_next_message_judges_the_answer_and_no_text_leaves(
    signals: Signals, told: Told, outcome: Outcome, goal: str, session_id: str
) -> None:
    trace = signals.report_pipeline(session_id, goal, "PRIVATE", "PRIVATE", "gpt-4o", meta_prompt_id="v7")
    reading = signals.report_user_turn(session_id, "No, that's wrong. PRIVATE")
    assert (reading.kind, reading.read_by) == ("reject", "heuristic")
    [row] = told(trace)
    assert (row["source"], row["success"], row["raw_evidence"]) == ("inferred", False, None)
    assert row["confidence"] == pytest.approx(reading.confidence, abs=1e-3)
    assert row["metadata"]["meta_prompt_id"] == "v7"
    assert outcome(trace) == ("gpt-4o", False, 0.0, "inferred")
    assert "PRIVATE" not in json.dumps(row)


def test_a_continuation_says_nothing(signals: Signals, told: Told, goal: str, session_id: str) -> None:
    trace = signals.report_pipeline(session_id, goal, "", "", "gpt-4o")
    assert signals.report_user_turn(session_id, "now do the same for the other file").kind == "continue"
    assert told(trace) == []


def test_a_guess_is_not_sent(signals: Signals, told: Told, goal: str, session_id: str) -> None:
    """An inferred verdict outranks the automatic report of its trace."""
    trace = signals.report_pipeline(session_id, goal, "", "", "gpt-4o")
    assert signals.report_user_turn(session_id, UNCLEAR).confidence < 0.7
    assert told(trace) == []


def test_a_message_is_about_the_latest_answer(signals: Signals, told: Told, goal: str, session_id: str) -> None:
    first = signals.report_pipeline(session_id, goal, "", "", "gpt-4o")
    second = signals.report_pipeline(session_id, goal, "", "", "gpt-4o-mini")
    signals.report_user_turn(session_id, "Perfect, thank you!")
    assert told(first) == []
    assert [row["success"] for row in told(second)] == [True]


def test_a_decisions_trace_can_be_given(signals: Signals, outcome: Outcome, goal: str, session_id: str) -> None:
    trace = uuid.uuid4().hex
    assert signals.report_pipeline(session_id, goal, "", "", "gpt-4o", trace_id=trace) == trace
    signals.report_user_turn(session_id, "Perfect, thank you!")
    assert outcome(trace)[:2] == ("gpt-4o", True)


def test_a_message_of_no_session_is_read_and_not_sent(loop: AgentLoop, signals: Signals) -> None:
    assert signals.report_user_turn("unknown", "No, that's wrong").kind == "reject"
    assert loop.stats.waiting == 0


def test_evidence_goes_along_if_asked_for_masked_and_cut(
    loop: AgentLoop, told: Told, goal: str, session_id: str
) -> None:
    signals = Signals(loop, raw_evidence=True)
    trace = signals.report_pipeline(session_id, goal, "", "", "gpt-4o")
    signals.report_user_turn(session_id, "No, that's wrong, my mail is eve@example.com. " + "y" * 1000)
    [row] = told(trace)
    assert row["raw_evidence"].startswith("No, that's wrong, my mail is [email]. yyy")
    assert len(row["raw_evidence"]) == 500


# --- the model ---------------------------------------------------------------------------------------------------


@dataclass
class Endpoint:
    """An OpenAI-compatible one, which says what it is told to say."""

    url: str
    asked: list[dict[str, Any]]
    says: str = "reject 0.9"
    status: int = 200


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    found = Endpoint("", [])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found.asked.append({"path": self.path, "key": self.headers["Authorization"], **body})
            answer = json.dumps({"choices": [{"message": {"content": found.says}}]}).encode()
            self.send_response(found.status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        found.url = f"http://127.0.0.1:{server.server_port}/v1"
        yield found
        server.shutdown()
        serving.join()


@pytest.fixture
def asking(loop: AgentLoop, endpoint: Endpoint) -> Iterator[Signals]:
    with ChatModel(endpoint.url, "secret", "small") as model:
        yield Signals(loop, model=model)


def test_a_model_settles_what_words_do_not(
    asking: Signals, endpoint: Endpoint, told: Told, goal: str, session_id: str
) -> None:
    trace = asking.report_pipeline(session_id, goal, "", "Call +49 30 1234567 now.", "gpt-4o")
    asking.report_user_turn(session_id, f"{UNCLEAR}, eve@example.com")
    assert asking.flush()
    [asked] = endpoint.asked
    assert (asked["path"], asked["key"], asked["model"]) == ("/v1/chat/completions", "Bearer secret", "small")
    assert f"{UNCLEAR}, [email]" in asked["messages"][0]["content"]
    assert "Call [number] now." in asked["messages"][0]["content"]
    [row] = told(trace)
    assert (row["success"], row["confidence"], row["metadata"]["dimension.read_by"]) == (False, 0.9, "model")


def test_no_model_is_asked_where_words_suffice(asking: Signals, endpoint: Endpoint, goal: str, session_id: str) -> None:
    asking.report_pipeline(session_id, goal, "", "", "gpt-4o")
    assert asking.report_user_turn(session_id, "No, that's wrong").confidence >= 0.85
    assert asking.flush()
    assert endpoint.asked == []


@pytest.mark.parametrize(("says", "status"), [("I can't tell.", 200), ("reject 0.9", 500)])
def test_a_model_that_fails_leaves_the_heuristics_word(
    asking: Signals, endpoint: Endpoint, told: Told, goal: str, session_id: str, says: str, status: int
) -> None:
    endpoint.says, endpoint.status = says, status
    trace = asking.report_pipeline(session_id, goal, "", "", "gpt-4o")
    message = "the code has a syntax error"
    reading = asking.report_user_turn(session_id, message)
    assert 0.7 <= reading.confidence < 0.85
    assert asking.flush()
    assert len(endpoint.asked) == 1
    assert [row["metadata"]["dimension.read_by"] for row in told(trace)] == ["heuristic"]


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ("accept", Reading("accept", 0.85, read_by="model")),
        ("Correction 0.8", Reading("reject", 0.8, is_correction=True, read_by="model")),
        ('{"label": "continue", "confidence": 1.0}', Reading("continue", 0.95, read_by="model")),
    ],
)
def test_any_callable_is_a_model(loop: AgentLoop, goal: str, session_id: str, says: str, expected: Reading) -> None:
    from agentloop_client.signals._models import ask

    assert ask(lambda prompt: says, "hm", "") == expected
    assert ask(lambda prompt: "who knows", "hm", "") is None


def test_the_agent_does_not_wait_for_the_model(loop: AgentLoop, told: Told, goal: str, session_id: str) -> None:
    """A model that stalls holds nothing up, and its word about an answer that is no longer the latest is dropped."""
    may_answer = threading.Event()

    def slow(prompt: str) -> str:
        may_answer.wait(10)
        return "reject 0.9"

    signals = Signals(loop, model=slow)
    first = signals.report_pipeline(session_id, goal, "", "", "gpt-4o")
    signals.report_user_turn(session_id, UNCLEAR)
    second = signals.report_pipeline(session_id, goal, "", "", "gpt-4o")
    may_answer.set()
    assert signals.flush()
    assert told(first) == told(second) == []


def test_an_awaited_client_sends_from_its_own_loop(home: Home, told: Told, goal: str, session_id: str) -> None:
    async def agent() -> str:
        async with AsyncAgentLoop(home.api_key, home.url) as client:
            signals = Signals(client, model=lambda prompt: "reject 0.9")
            trace = signals.report_pipeline(session_id, goal, "", "", "gpt-4o")
            signals.report_user_turn(session_id, UNCLEAR)
            assert await asyncio.to_thread(signals.flush)
            assert await client.flush()
            return trace

    [row] = told(asyncio.run(agent()))
    assert row["metadata"]["dimension.read_by"] == "model"


# --- level 3 -----------------------------------------------------------------------------------------------------


def test_an_action_overrides_the_words(
    signals: Signals, outcome: Outcome, told: Told, goal: str, session_id: str
) -> None:
    trace = signals.report_pipeline(session_id, goal, "", "", "gpt-4o")
    signals.report_user_turn(session_id, "No, that's wrong")
    assert signals.report_action(session_id, "output_used_verbatim")
    assert outcome(trace) == ("gpt-4o", True, 1.0, "action")
    signals.report_user_turn(session_id, "This is still wrong")
    assert len(told(trace)) == 2


def test_an_edit_is_weighed_by_its_diff_which_stays_here(
    signals: Signals, outcome: Outcome, told: Told, goal: str, session_id: str
) -> None:
    trace = signals.report_pipeline(session_id, goal, "", "", "gpt-4o")
    diff = (
        "--- a\n+++ b\n@@ -1,3 +1,3 @@\n Dear PRIVATE,\n-we are pleased to tell you that it is done\n"
        "+we are glad to tell you that it is done\n yours"
    )
    signals.report_action(session_id, "output_edited", edit_diff=diff)
    model, success, score, source = outcome(trace)
    assert (model, success, source) == ("gpt-4o", True, "action")
    assert 0.7 < score < 0.95
    assert "PRIVATE" not in json.dumps(told(trace))


def test_an_edit_without_a_diff_is_a_heavy_one(signals: Signals, outcome: Outcome, goal: str, session_id: str) -> None:
    trace = signals.report_pipeline(session_id, goal, "", "", "gpt-4o")
    signals.report_action(session_id, "output_edited")
    assert outcome(trace) == ("gpt-4o", False, 0.4, "action")


def test_use_is_observed_in_a_session_and_of_a_run(
    signals: Signals, outcome: Outcome, told: Told, goal: str, session_id: str
) -> None:
    trace = signals.report_pipeline(session_id, goal, "", "", "gpt-4o")
    assert signals.observe_use("one two three", "One two three\n", session_id=session_id).score == 1.0
    assert outcome(trace) == ("gpt-4o", True, 1.0, "action")
    run = {"trace_id": uuid.uuid4().hex, "goal": goal}
    assert signals.observe_use("one two three", "", run=run) == Use("output_discarded", 0.0)
    assert [(row["source"], row["success"]) for row in told(run["trace_id"])] == [("action", False)]


def test_an_action_of_no_session_is_not_sent(loop: AgentLoop, signals: Signals) -> None:
    assert not signals.report_action("unknown", "output_copied")
    assert loop.stats.waiting == 0


# --- the end of a session ----------------------------------------------------------------------------------------


def test_a_sessions_end_is_marked_as_inferred(signals: Signals, told: Told, goal: str, session_id: str) -> None:
    trace = signals.report_pipeline(session_id, goal, "", "", "gpt-4o")
    for message in ("No, that's wrong", "still wrong", "Perfect, thank you!", "Great, that works"):
        signals.report_user_turn(session_id, message)
    assert signals.report_session_end(session_id) == "improving"
    [row] = [row for row in told(trace) if row["metadata"]["signal_type"] == "session_end"]
    assert (row["source"], row["success"], row["raw_evidence"]) == ("inferred", True, "session_end_inferred")
    assert row["metadata"]["momentum"] == "improving"
    assert signals.report_session_end(session_id) is None


def test_a_session_that_said_nothing_ends_without_a_verdict(
    signals: Signals, told: Told, goal: str, session_id: str
) -> None:
    trace = signals.report_pipeline(session_id, goal, "", "", "gpt-4o")
    assert signals.report_session_end(session_id) == "flat"
    assert told(trace) == []


def test_the_end_does_not_contradict_an_action(signals: Signals, outcome: Outcome, goal: str, session_id: str) -> None:
    trace = signals.report_pipeline(session_id, goal, "", "", "gpt-4o")
    signals.report_user_turn(session_id, "No, that's wrong")
    signals.report_action(session_id, "output_copied")
    assert signals.report_session_end(session_id) == "flat"
    assert outcome(trace) == ("gpt-4o", True, 0.9, "action")


# --- where sessions live -----------------------------------------------------------------------------------------


class JsonStore:
    """What a store over the network does: values are JSON, each process has its own connection."""

    def __init__(self, kept: dict[str, str]) -> None:
        self.kept = kept

    def get(self, key: str) -> Mapping[str, Any] | None:
        return json.loads(self.kept[key]) if key in self.kept else None

    def put(self, key: str, value: dict[str, Any], seconds: float) -> None:
        assert seconds == 30 * 60
        self.kept[key] = json.dumps(value)

    def delete(self, key: str) -> None:
        self.kept.pop(key, None)


def test_processes_share_sessions_through_a_store_that_sees_no_text(
    loop: AgentLoop, told: Told, goal: str, session_id: str
) -> None:
    kept: dict[str, str] = {}
    trace = Signals(loop, store=JsonStore(kept), model=str).report_pipeline(session_id, goal, "PRIVATE", "PRIVATE", "m")
    Signals(loop, store=JsonStore(kept)).report_user_turn(session_id, "Perfect, thank you! PRIVATE")
    assert [row["success"] for row in told(trace)] == [True]
    assert kept
    assert "PRIVATE" not in json.dumps(kept)


def test_a_store_that_fails_does_no_harm(loop: AgentLoop, session_id: str) -> None:
    class Broken(JsonStore):
        def get(self, key: str) -> Mapping[str, Any] | None:
            raise ConnectionError

        put = delete = get  # type: ignore[assignment]

    signals = Signals(loop, store=Broken({}))
    assert signals.report_pipeline(session_id, "g", "", "", "m")
    assert signals.report_user_turn(session_id, "No, that's wrong").kind == "reject"
    assert signals.report_session_end(session_id) is None


def test_a_session_lives_for_half_an_hour_and_the_oldest_make_room() -> None:
    now = 0.0
    store = MemoryStore(most=2, clock=lambda: now)
    store.put("a", {"n": 1}, 1800)
    now = 1799.0
    assert store.get("a") == {"n": 1}
    now = 1800.0
    assert store.get("a") is None
    for key in "bcd":
        store.put(key, {"n": 1}, 1800)
    assert [store.get(key) is not None for key in "abcd"] == [False, False, True, True]


# --- never in the way --------------------------------------------------------------------------------------------


def test_nonsense_raises_nothing_unless_strict(loop: AgentLoop, home: Home, session_id: str) -> None:
    signals, nonsense = Signals(loop), object()
    assert signals.report_user_turn(session_id, nonsense) == Reading("continue", 0.0)  # type: ignore[arg-type]
    assert signals.observe_use(nonsense, "").action == "output_edited"  # type: ignore[arg-type]
    assert not signals.user_accepted("high", run={"trace_id": "t", "goal": "g"})  # type: ignore[arg-type]
    with AgentLoop(home.api_key, home.url, strict=True) as strict, pytest.raises(TypeError):
        Signals(strict).report_user_turn(session_id, nonsense)  # type: ignore[arg-type]


def test_a_forked_child_goes_on(loop: AgentLoop, goal: str, session_id: str) -> None:
    """Though another thread holds the locks at the moment of the fork."""
    signals = Signals(loop, model=lambda prompt: "accept 0.9")
    signals.report_pipeline(session_id, goal, "", "", "gpt-4o")
    with signals._guard:
        forked = multiprocessing.get_context("fork").Process(target=_in_child, args=(signals, session_id))
        threading.Thread(target=forked.start).start()
        while forked.pid is None:
            threading.Event().wait(0.01)
    forked.join(20)
    assert forked.exitcode == 0


def _in_child(signals: Signals, session_id: str) -> None:
    signals.report_user_turn(session_id, UNCLEAR)
    assert signals.flush()
    assert signals.report_session_end(session_id) == "flat"


def test_the_heuristic_is_there_without_a_client() -> None:
    assert classify("nicht schlecht").kind == "accept"
