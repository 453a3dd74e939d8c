"""POST /v1/memories/search and DELETE /v1/memories/{id}; how corrections become memories."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentloop.models import Project
from review.models import Annotation, Memory
from tests.review.support import Caller, caller_for

LONG = "Invoices are due thirty days after they were sent, whatever the customer's own terms may say."


def annotate(call: Caller, question: str, correction: str, **more: Any) -> Any:
    body = {"question": question, "agent_response": "x", "rating": "incorrect", "correction": correction, **more}
    answer = call("POST", "/v1/annotations", body)
    assert answer.status == 201, answer.body
    return answer.body


def search(call: Caller, **body: Any) -> list[dict[str, Any]]:
    answer = call("POST", "/v1/memories/search", body)
    assert (answer.status, list(answer.body)) == (200, ["memories"])
    return answer.body["memories"]


def facts(call: Caller, **body: Any) -> list[str]:
    return [memory["fact"] for memory in search(call, **body)]


def test_finds_a_correction(call: Caller) -> None:
    made = annotate(call, "When is an invoice due?", "After\n thirty  days.", tags=["billing"], user_id="u")
    memory = Memory.objects.get()
    assert search(call, query="invoice due") == [
        {
            "id": made["memory_id"],
            "fact": "After thirty days.",
            "score": 1.0,
            "tags": ["billing"],
            "source": made["annotation_id"],
            "created_at": memory.created_at.isoformat().replace("+00:00", "Z"),
        }
    ]


def test_ranks_by_the_share_of_the_querys_weight(call: Caller) -> None:
    annotate(call, "alpha beta gamma", "one")
    annotate(call, "alpha beta", "two")
    annotate(call, "alpha", "three")
    annotate(call, "delta", "four")
    found = search(call, query="alpha beta gamma unknown", limit=10)
    assert [memory["fact"] for memory in found] == ["one", "two", "three"]
    assert 1 > found[0]["score"] > found[1]["score"] > found[2]["score"] > 0


def test_any_word_of_a_sentence_may_match(call: Caller) -> None:
    annotate(call, "refund policy", "Refunds take a week.")
    assert facts(call, query="Hello, could you please tell me about the refund I asked for?") == [
        "Refunds take a week."
    ]
    assert search(call, query="nothing of this") == []


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("Größe der Straße", "grosse STRASSE"),
        ("Größe", "große"),
        ("café crème", "cafe"),
        ("cafe\u0301", "caf\u00e9"),
        ("東京タワーの高さ", "東京"),
        ("東京タワーの高さ", "タワーは"),
        ("한국어 문장", "한국"),
        ("ΣΑΣ", "σας"),
        ("it's don't", "don't"),
        ("a:b & c | d ! (e)", "c & !d"),
        ("snake_case", "snake_case"),
        ("x" * 300, "x" * 300),
    ],
)
def test_finds_words_of_any_language(call: Caller, text: str, query: str) -> None:
    annotate(call, text, "found")
    assert facts(call, query=query) == ["found"]


def test_an_empty_query_gets_the_newest(call: Caller) -> None:
    for number in range(4):
        annotate(call, f"q{number}", f"fact {number}")
    for query in ({}, {"query": ""}, {"query": None}, {"query": " ?! "}):
        found = search(call, **query)
        assert [(memory["fact"], memory["score"]) for memory in found] == [("fact 3", 0), ("fact 2", 0), ("fact 1", 0)]


@pytest.mark.parametrize(
    ("limit", "count"),
    [
        ("0", 1),
        ("-5", 1),
        ("1", 1),
        ("10", 10),
        ("11", 10),
        ("1" + "0" * 30, 10),
        ("1" + "0" * 5000, 3),
        ("2.9", 2),
        ("NaN", 3),
        ("Infinity", 3),
        ('"3"', 3),
        ("null", 3),
        ("[]", 3),
    ],
)
def test_holds_the_limit_to_1_to_10(call: Caller, limit: str, count: int) -> None:
    for number in range(12):
        annotate(call, f"same {number}", f"{number}")
    answer = call("POST", "/v1/memories/search", f'{{"query": "same", "limit": {limit}}}'.encode())
    assert (answer.status, len(answer.body["memories"])) == (200, count)


def test_with_a_user_only_theirs_are_found(call: Caller) -> None:
    for user in ("u1", "u2", ""):
        annotate(call, "who", f"fact of {user or 'all'}", user_id=user)
    annotate(call, "who", "fact of nil", user_id="0")
    assert facts(call, query="who", user_id="u1") == ["fact of u1"]
    assert facts(call, query="who", user_id=0) == ["fact of nil"]
    assert facts(call, query="who", user_id="nobody") == []
    assert len(facts(call, query="who", limit=10, user_id="")) == 4
    assert facts(call, query="", user_id="u2") == ["fact of u2"]


def test_all_tags_must_match(call: Caller) -> None:
    annotate(call, "q", "one", tags=["a", "b"])
    annotate(call, "q", "two", tags=["a"])
    assert facts(call, query="q", tags=["a", "b"]) == ["one"]
    assert sorted(facts(call, query="q", tags=["a"])) == ["one", "two"]
    assert sorted(facts(call, query="q", tags=[])) == sorted(facts(call, query="q", tags=None)) == ["one", "two"]
    assert facts(call, query="q", tags=["c", None]) == []


def test_a_near_duplicate_updates_the_memory(call: Caller) -> None:
    first = annotate(call, "When is it due?", LONG, tags=["a", "b"], metadata={"n": 1})
    second = annotate(call, "when is it  DUE?", LONG.replace("thirty", "forty"), tags=["c", "a"], metadata={"n": 2})
    assert (second["memory_id"], second["status"]) == (first["memory_id"], "updated_existing")
    assert 0.95 <= second["duplicate_score"] < 1
    memory = Memory.objects.get()
    assert (memory.fact, memory.tags, memory.metadata) == (
        LONG.replace("thirty", "forty"),
        ["a", "b", "c"],
        {"n": 2},
    )
    assert search(call, query="forty")[0]["source"] == second["annotation_id"]


@pytest.mark.parametrize(
    ("question", "correction", "more"),
    [
        ("Something else entirely?", LONG, {}),
        ("When is it due?", "In a week.", {}),
        ("When is it due?", LONG, {"user_id": "u2"}),
    ],
)
def test_what_differs_is_a_memory_of_its_own(call: Caller, question: str, correction: str, more: Any) -> None:
    annotate(call, "When is it due?", LONG)
    made = annotate(call, question, correction, **more)
    assert (made["status"], made["duplicate_score"], Memory.objects.count()) == ("active", None, 2)


def test_the_threshold_is_the_projects(call: Caller, with_settings: Callable[..., Project], project: Project) -> None:
    with_settings(memory_threshold=0.5)
    caller = caller_for(project)
    annotate(caller, "When is it due?", "In thirty days.")
    made = annotate(caller, "When is it due?", "In forty days.")
    assert made["status"] == "updated_existing"
    assert 0.5 <= made["duplicate_score"] < 0.95


def test_the_very_same_again_scores_one(call: Caller) -> None:
    annotate(call, "q?", "!?")
    assert annotate(call, "q?", "!?")["duplicate_score"] == 1.0


def test_a_long_correction_is_kept_and_found(call: Caller) -> None:
    words = " ".join(f"{chr(0x10400 + n % 40) * 60}{n}" for n in range(4000))
    annotate(call, "long", words[: 256 * 1024])
    assert len(facts(call, query="long")) == 1


@given(
    text=st.text(st.characters(codec="utf-8"), max_size=60),
    query=st.text(max_size=60),
    tags=st.lists(st.text(max_size=5), max_size=2),
)
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_scores_are_between_0_and_1_for_any_text(call: Caller, text: str, query: str, tags: list[str]) -> None:
    annotate(call, text, f"fact {text}")
    for asked in (query, text, f"{query} {text}"):
        for found in (search(call, query=asked), search(call, query=asked, tags=tags, user_id=query)):
            assert all(0 <= memory["score"] <= 1 and math.isfinite(memory["score"]) for memory in found)
            assert all("\n" not in memory["fact"] and memory["fact"] for memory in found)
            assert [memory["score"] for memory in found] == sorted((m["score"] for m in found), reverse=True)


def test_revokes_a_memory_and_keeps_its_annotation(call: Caller) -> None:
    made = annotate(call, "q", "fact")
    path = f"/v1/memories/{made['memory_id']}"
    assert call("DELETE", path).status == 204
    assert search(call, query="q") == []
    assert Annotation.objects.get().memory_id is None
    assert call("DELETE", path).body["code"] == "memory_not_found"


@pytest.mark.parametrize("body", [b"[]", b"null", b'"x"', b"{"])
def test_a_query_that_is_no_object_is_an_error_with_a_sentence(call: Caller, body: bytes) -> None:
    answer = call("POST", "/v1/memories/search", body)
    assert answer.status in (400, 422)
    assert answer.body["error"]


@pytest.mark.parametrize("body", [{"query": 3}, {"query": ["a"]}, {"query": {"a": 1}}, {"tags": "x"}, {"tags": [1]}])
def test_odd_types_find_something_or_nothing(call: Caller, body: Any) -> None:
    assert isinstance(search(call, **body), list)


def test_strangers_scopes_and_methods(call: Caller, stranger: Caller, project: Project) -> None:
    made = annotate(call, "q", "fact")
    assert search(stranger, query="q") == []
    assert stranger("DELETE", f"/v1/memories/{made['memory_id']}").body["code"] == "memory_not_found"
    assert caller_for(project, "ingest", "review")("POST", "/v1/memories/search", {}).status == 403
    assert caller_for(project, "read")("DELETE", f"/v1/memories/{made['memory_id']}").status == 403
    assert call("GET", "/v1/memories/search").status == 405
    assert Memory.objects.count() == 1
