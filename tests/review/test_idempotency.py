"""Idempotency keys on what is logged and judged: a retry gets the first answer and stores nothing."""

from typing import Any

import pytest

from agentloop.models import IdempotencyKey, Project
from review.models import Annotation, Turn
from review.removal import forget_old_idempotency_keys
from tests.review.support import Caller, caller_for, in_threads, make_project


def age_keys(hours: float) -> None:
    for key in IdempotencyKey.objects.all():
        key.created_at = key.created_at.fromtimestamp(
            key.created_at.timestamp() - hours * 3600, tz=key.created_at.tzinfo
        )
        key.save(update_fields=["created_at"])


@pytest.mark.parametrize(
    ("headers", "more"),
    [
        ({"Idempotency_Key": "k1"}, {}),
        ({}, {"idempotency_key": "k1"}),
        ({}, {"metadata": {"idempotency_key": "k1"}}),
    ],
)
def test_a_repeat_gets_the_first_answer(call: Caller, headers: dict[str, str], more: dict[str, Any]) -> None:
    body = {"question": "q", "agent_response": "a", **more}
    first, again = (call("POST", "/v1/turns", body, **headers) for _ in range(2))
    assert (first.status, again.status) == (201, 201)
    assert again.body == first.body
    assert Turn.objects.get().occurrences == 1


def test_the_header_and_the_field_are_one_key(call: Caller) -> None:
    first = call.log("q", idempotency_key="k1")
    other = call("POST", "/v1/turns", {"question": "other", "agent_response": ""}, Idempotency_Key="k1")
    assert other.body == first.body
    assert Turn.objects.count() == 1


def test_the_first_answer_of_a_merged_turn_is_kept_too(call: Caller) -> None:
    call.log()
    assert [call.log(idempotency_key="k").status for _ in range(2)] == [200, 200]
    assert Turn.objects.get().occurrences == 2


def test_a_refused_turn_keeps_no_key(call: Caller) -> None:
    assert call("POST", "/v1/turns", {"question": "q"}, Idempotency_Key="k").status == 422
    assert call("POST", "/v1/turns", {"question": "q", "agent_response": "a"}, Idempotency_Key="k").status == 201


def test_a_batch_and_a_single_turn_share_keys(call: Caller) -> None:
    first = call.log("q", idempotency_key="k")
    body = {
        "turns": [
            {"question": "x", "agent_response": "", "idempotency_key": "k"},
            {"question": "y", "agent_response": "", "idempotency_key": "l"},
            {"question": "z", "agent_response": "", "idempotency_key": "l"},
            {"question": "w", "agent_response": ""},
        ]
    }
    results = call("POST", "/v1/turns/batch", body).body["results"]
    assert results[0] == first.body
    assert results[1] == results[2]
    assert set(Turn.objects.values_list("question", flat=True)) == {"q", "y", "w"}
    assert call("POST", "/v1/turns/batch", body).body["results"][:3] == results[:3]
    assert dict(Turn.objects.values_list("question", "occurrences")) == {"q": 1, "y": 1, "w": 2}


def test_a_key_holds_for_a_day(call: Caller) -> None:
    first = call.log("q", idempotency_key="k")
    age_keys(23.9)
    assert call.log("r", idempotency_key="k").body == first.body
    age_keys(0.2)
    second = call.log("r", idempotency_key="k")
    assert second.body["turn_id"] != first.body["turn_id"]
    assert call.log("s", idempotency_key="k").body == second.body


def test_old_keys_are_forgotten(call: Caller) -> None:
    call.log("q", idempotency_key="old")
    age_keys(24.1)
    call.log("r", idempotency_key="new")
    assert forget_old_idempotency_keys() == 1
    assert list(IdempotencyKey.objects.values_list("key", flat=True)) == ["turns:new"]


def test_keys_are_a_projects_own(call: Caller, stranger: Caller) -> None:
    assert call.log(idempotency_key="k").body["turn_id"] != stranger.log(idempotency_key="k").body["turn_id"]


@pytest.mark.parametrize("key", ["x" * 1000, "\u00e9\u8a9e", " ", "a\tb"])
def test_takes_any_key(call: Caller, key: str) -> None:
    assert call.log("q", idempotency_key=key).body == call.log("r", idempotency_key=key).body


def test_an_annotation_with_a_key_is_made_once(call: Caller) -> None:
    body = {"question": "q", "agent_response": "a", "rating": "incorrect", "correction": "b"}
    first, again = (call("POST", "/v1/annotations", body, Idempotency_Key="k") for _ in range(2))
    assert (first.status, again.status, again.body) == (201, 201, first.body)
    assert Annotation.objects.count() == 1


def test_a_verdict_with_a_key_is_given_once(call: Caller) -> None:
    turn_id = call.log().body["turn_id"]
    path, body = f"/v1/turns/{turn_id}/verdict", {"rating": "correct"}
    first, again = (call("POST", path, body, Idempotency_Key="k") for _ in range(2))
    assert (first.status, again.status, again.body) == (201, 201, first.body)
    assert call("POST", path, body).body["code"] == "not_pending"


@pytest.mark.django_db(transaction=True)
def test_both_at_once_store_one_turn() -> None:
    project: Project = make_project("acme")
    call = caller_for(project, "ingest")
    answers = in_threads([lambda n=n: call.log(f"q{n % 2}", idempotency_key="k") for n in range(8)])
    assert {(answer.status, answer.body["turn_id"]) for answer in answers} == {(201, Turn.objects.get().shown_id)}
    assert Turn.objects.get().occurrences == 1


@pytest.mark.django_db(transaction=True)
def test_batches_with_the_same_keys_at_once_store_each_turn_once() -> None:
    project = make_project("acme")
    call = caller_for(project, "ingest")
    items = [{"question": f"q{n}", "agent_response": "", "idempotency_key": f"k{n}"} for n in range(20)]
    batches = [items, items[::-1], items[5:] + items[:5], items[::2] + items[1::2]]
    answers = in_threads([lambda b=b: call("POST", "/v1/turns/batch", {"turns": b}) for b in batches])
    assert {answer.body["accepted"] for answer in answers} == {20}
    assert sorted(Turn.objects.values_list("question", "occurrences")) == sorted((f"q{n}", 1) for n in range(20))


def test_long_keys_that_differ_at_their_ends_are_two(call: Caller) -> None:
    first, second, again = (call.log(f"q{end}", idempotency_key="k" * 400 + end) for end in ("a", "b", "a"))
    assert first.body["turn_id"] != second.body["turn_id"]
    assert again.body == first.body
    headers = [{"Idempotency_Key": "h" * 400 + end} for end in "aba"]
    one, other, repeat = (
        call("POST", "/v1/turns", {"question": "h", "agent_response": h}, **headers[h]) for h in range(3)
    )
    assert one.body["turn_id"] != other.body["turn_id"]
    assert repeat.body == one.body


def test_a_batch_under_one_key_is_stored_once(call: Caller) -> None:
    turns = [{"question": "x", "agent_response": ""}, {"question": "y"}, {"question": "x", "agent_response": ""}]
    first, again = (call("POST", "/v1/turns/batch", {"turns": turns}, Idempotency_Key="k") for _ in range(2))
    assert (first.status, first.body["accepted"], first.body["refused"]) == (200, 2, 1)
    assert again.body == first.body
    assert Turn.objects.get().occurrences == 2


def test_a_turns_own_key_goes_before_that_of_its_batch(call: Caller) -> None:
    first = call.log("q", idempotency_key="own")
    body = {"turns": [{"question": "x", "agent_response": "", "idempotency_key": "own"}]}
    batch = call("POST", "/v1/turns/batch", body, Idempotency_Key="k")
    assert batch.body["results"][0]["turn_id"] == first.body["turn_id"]
    assert Turn.objects.count() == 1
