"""The published client, unchanged, against this server."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.utils.dateparse import parse_datetime

from agentloop.actors import SYSTEM
from agentloop.keys import forget_cached
from agentloop.models import Project
from agentloop.tenancy import change_settings
from review.models import Annotation, Occurrence, Turn
from tests.compat.conftest import Published

pytestmark = [pytest.mark.compat, pytest.mark.django_db(transaction=True)]

TURN = {"question": "When do you open?", "agent_response": "At noon."}
VERDICT = {**TURN, "correction": "We open at nine.", "rating": "incorrect"}
SYNC_AND_ASYNC = pytest.mark.parametrize("kind", ["sync", "async"])


@SYNC_AND_ASYNC
def test_log_turn_stores_what_was_said(published: Published, kind: str) -> None:
    said = {"user_id": "u1", "session_id": "s1", "signals": {"thumbs_down": True, "confidence": 0.41}}
    metadata = {"goal": "hours", "kalibr_trace_id": "t1", "model": "m", "deep": {"list": [1, None]}}
    answer = published.call("log_turn", kind=kind, **TURN, **said, metadata=metadata)["answer"]
    turn = Turn.objects.get()
    assert answer == {"turn_id": turn.shown_id, "status": "pending", "was_duplicate": False}
    assert (turn.question, turn.response, turn.metadata) == ("When do you open?", "At noon.", metadata)
    assert (turn.user_id, turn.session_id, turn.signals) == tuple(said.values())
    assert (turn.goal, turn.trace_id, turn.model) == ("hours", "t1", "m")


def test_the_same_turn_is_merged(published: Published) -> None:
    again = {"question": " when do you OPEN?", "agent_response": "At  noon."}
    first, second = published.calls(
        ("log_turn", {**TURN, "signals": {"a": 1}, "metadata": {"trace_id": "1"}}),
        ("log_turn", {**again, "signals": {"b": 2}, "metadata": {"trace_id": "2"}}),
    )
    turn = Turn.objects.get()
    assert second["answer"] == {"turn_id": first["answer"]["turn_id"], "status": "pending", "was_duplicate": True}
    assert (turn.occurrences, turn.signals, turn.trace_id) == (2, {"a": 1, "b": 2}, "1")
    assert Occurrence.objects.get().trace_id == "2"


@SYNC_AND_ASYNC
def test_a_verdict_closes_its_turn_and_becomes_a_memory(published: Published, kind: str) -> None:
    more = {"root_cause": "context", "tags": ["hours"], "reviewer": "ann", "user_id": "u1", "metadata": {"k": "v"}}
    logged, annotated, found = published.calls(
        ("log_turn", TURN),
        ("annotate", {**VERDICT, **more}),
        ("search", {"query": "Could you please tell me when you open on Mondays?", "user_id": "u1", "tags": ["hours"]}),
        kind=kind,
    )
    assert Turn.objects.get().status == "reviewed"
    annotation = Annotation.objects.get()
    answer = annotated["answer"]
    assert (answer["status"], answer["duplicate_score"]) == ("active", None)
    assert answer["annotation_id"] == f"ann_{annotation.id.hex}"
    assert answer["memory_id"].startswith("mem_")
    assert (annotation.root_cause, annotation.author_label, annotation.metadata) == ("context", "ann", {"k": "v"})
    assert f"turn_{annotation.turn_id.hex}" == logged["answer"]["turn_id"]
    [memory] = found["answer"]
    assert (memory["id"], memory["fact"], memory["tags"]) == (answer["memory_id"], "We open at nine.", ["hours"])
    assert (memory["source"], 0 < memory["score"] <= 1) == (answer["annotation_id"], True)
    assert parse_datetime(memory["created_at"]) is not None


def test_nearly_the_same_correction_updates_the_memory(published: Published) -> None:
    correction = "We open at nine on weekdays and at ten on Saturdays"
    first, second = published.calls(
        ("annotate", {**VERDICT, "correction": f"{correction}.", "tags": ["a"]}),
        ("annotate", {**VERDICT, "correction": f"{correction}!", "tags": ["b"]}),
    )
    assert second["answer"]["status"] == "updated_existing"
    assert second["answer"]["memory_id"] == first["answer"]["memory_id"]
    assert 0.9 < second["answer"]["duplicate_score"] <= 1
    [memory] = published.call("search", query="open")["answer"]
    assert (memory["fact"], sorted(memory["tags"])) == (f"{correction}!", ["a", "b"])


def test_search_scopes_clamps_and_never_fails_on_odd_input(published: Published) -> None:
    lines = [("annotate", {**VERDICT, "question": f"q{n}", "correction": f"fact number {n}"}) for n in range(12)]
    theirs = ("annotate", {**VERDICT, "question": "mine", "correction": "fact of mine", "user_id": "u1"})
    published.calls(*lines, theirs)
    found = published.calls(
        ("search", {"query": "fact", "limit": 0}),
        ("search", {"query": "fact", "limit": -5}),
        ("search", {"query": "fact", "limit": 10**12}),
        ("search", {"query": "fact", "user_id": "u1", "limit": 10}),
        ("search", {"query": "", "limit": 10}),
        ("search", {"query": "' & | ! <-> :* \\ \" 🙂 ", "limit": 10}),
        ("search", {"query": "fact", "tags": ["none"]}),
        ("search", {"query": "x " * 50_000}),
    )
    sizes = [len(one["answer"]) for one in found]
    assert sizes[:5] == [1, 1, 10, 1, 10]
    assert sizes[6] == 0
    assert all(isinstance(memory["fact"], str) for one in found for memory in one["answer"])


@pytest.mark.parametrize(
    "text",
    [
        "quotes \" ' ` \\ and\nnew\r\nlines\ttabs",
        "emoji 🙂👩‍👩‍👧‍👦 and flags 🇩🇪",
        "שלום عليكم right to left",
        "日本語のテキスト",
        "\u2028\u2029\ufeff\x7f",
        "x" * 100_000,
        "<script>alert(1)</script>",
    ],
)
@pytest.mark.parametrize("kind", ["sync", "escaped"])
def test_any_text_comes_through(published: Published, text: str, kind: str) -> None:
    question = text[:1000]
    logged, annotated = published.calls(
        ("log_turn", {"question": question, "agent_response": text, "signals": {question[:50]: text[:100]}}),
        ("annotate", {**VERDICT, "question": question, "agent_response": text, "correction": text}),
        kind=kind,
    )
    turn = Turn.objects.get()
    assert (turn.question, turn.response, turn.signals) == (question, text, {question[:50]: text[:100]})
    assert (logged["answer"]["status"], annotated["answer"]["status"], turn.status) == ("pending", "active", "reviewed")


def test_what_older_http_stacks_send_is_stored_mended(published: Published) -> None:
    odd = {"question": "lone \ud800 half", "agent_response": "zero \x00 byte", "user_id": "\udfff"}
    signals = {"n": float("nan"), "i": float("inf"), "\udc00": "\x00"}
    logged, annotated = published.calls(
        ("log_turn", {**odd, "signals": signals, "metadata": {"\x00": float("-inf")}}),
        ("annotate", {**VERDICT, **odd, "tags": ["\ud800"], "metadata": {"x": float("nan")}}),
        kind="escaped",
    )
    turn = Turn.objects.get()
    assert (turn.question, turn.response, turn.user_id) == ("lone \ufffd half", "zero \ufffd byte", "\ufffd")
    assert (turn.signals, turn.metadata) == ({"n": None, "i": None, "\ufffd": "\ufffd"}, {"\ufffd": None})
    assert (logged["answer"]["was_duplicate"], annotated["answer"]["status"]) == (False, "active")
    assert turn.status == "reviewed"
    assert isinstance(published.call("search", kind="escaped", query="\ud800\x00")["answer"], list)


def test_empty_texts_and_empty_options(published: Published) -> None:
    answer = published.call("log_turn", question="", agent_response="", signals={}, metadata={})["answer"]
    assert answer["turn_id"] == Turn.objects.get().shown_id


# --- the base URL ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["", "/", "//", "/p/shop", "/p/shop/"])
def test_the_base_url_may_end_in_a_slash_or_name_the_project(published: Published, ending: str) -> None:
    published.base_url += ending
    answers = published.calls(("log_turn", TURN), ("annotate", VERDICT), ("search", {"query": "open"}))
    assert [set(answer) for answer in answers] == [{"answer"}] * 3
    assert Turn.objects.get().status == "reviewed"


def test_a_wrong_project_in_the_base_url_is_an_error(published: Published) -> None:
    published.base_url += "/p/nobody"
    [answer] = published.calls(("annotate", VERDICT))
    assert (answer["status"], bool(answer["error"])) == (404, True)


# --- errors ---------------------------------------------------------------------------------------------------


def sentence_of(answer: dict[str, Any], status: int) -> str:
    """The client shows `error` of the body; without it only a number."""
    assert answer["status"] == status
    assert answer["error"] == json.loads(answer["body"])["error"]
    assert not answer["error"].startswith("Request failed")
    return answer["error"]


@SYNC_AND_ASYNC
@pytest.mark.parametrize(
    ("call", "given"), [("log_turn", TURN), ("annotate", VERDICT), ("search", {"query": "x"})], ids=lambda v: str(v)[:8]
)
def test_a_wrong_key_is_an_error_with_its_cause(published: Published, kind: str, call: str, given: Any) -> None:
    published.api_key = "al_wrong"
    [answer] = published.calls((call, given), kind=kind, throw_on_error=True)
    assert "key" in sentence_of(answer, 401)


@pytest.mark.parametrize(
    ("scopes", "call", "given"),
    [
        (["read", "review"], "log_turn", TURN),
        (["ingest", "read"], "annotate", VERDICT),
        (["ingest", "review"], "search", {"query": "x"}),
    ],
)
def test_a_key_without_the_scope(
    published: Published, new_key: Callable[[Sequence[str]], str], scopes: list[str], call: str, given: Any
) -> None:
    published.api_key = new_key(scopes)
    [answer] = published.calls((call, given), throw_on_error=True)
    assert "scope" in sentence_of(answer, 403)


@SYNC_AND_ASYNC
def test_without_throw_on_error_the_agent_goes_on(published: Published, kind: str) -> None:
    published.api_key = "al_wrong"
    logged, found, annotated = published.calls(
        ("log_turn", TURN), ("search", {"query": "x"}), ("annotate", VERDICT), kind=kind
    )
    assert logged["answer"] == {"turn_id": "", "status": "error", "was_duplicate": False}
    assert found["answer"] == []
    # A reviewer's work is never lost in silence.
    assert "key" in sentence_of(annotated, 401)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [({"rating": "bad"}, "rating"), ({"root_cause": "moon"}, "root_cause"), ({"correction": "  \n"}, "correction")],
)
def test_a_verdict_that_is_not_one_is_refused_by_name(published: Published, wrong: dict[str, str], named: str) -> None:
    [answer] = published.calls(("annotate", {**VERDICT, **wrong}))
    assert named in sentence_of(answer, 422)
    assert not Annotation.objects.exists()


def test_addresses_and_methods_that_are_not_there(published: Published) -> None:
    for method, path, status in (("POST", "/v1/nothing", 404), ("PUT", "/v1/turns", 405)):
        [answer] = published.calls(("_request", {"method": method, "path": path, "payload": TURN}))
        sentence_of(answer, status)


def test_a_request_that_is_too_large(published: Published) -> None:
    [answer] = published.calls(
        ("log_turn", {**TURN, "metadata": {"x": "y" * (5 * 1024 * 1024 + 10)}}), throw_on_error=True
    )
    assert "5 MB" in sentence_of(answer, 413)


def test_a_key_that_asks_too_fast(published: Published, project: Project) -> None:
    change_settings(project=project, actor=SYSTEM, changes={"rate_per_second": 1, "rate_burst": 2})
    forget_cached()
    answers = published.calls(*[("search", {"query": "x"})] * 6, throw_on_error=True)
    refused = [answer for answer in answers if "error" in answer]
    assert refused
    assert "Retry-After" in sentence_of(refused[0], 429)
