"""POST /v1/turns/batch."""

from typing import Any

import pytest

from agentloop.models import Project, RefusalCount
from agentloop.refusals import flush
from review.models import Occurrence, Turn
from tests.review.support import Caller, assert_counted, caller_for, move_time


def turns(*questions: str, **more: Any) -> dict[str, Any]:
    return {"turns": [{"question": question, "agent_response": "a", **more} for question in questions]}


def test_logs_each_turn_in_order(call: Caller, project: Project) -> None:
    answer = call("POST", "/v1/turns/batch", turns("one", "two", "three"))
    ids = {turn.question: turn.shown_id for turn in Turn.objects.all()}
    assert (answer.status, answer.body) == (
        200,
        {
            "accepted": 3,
            "refused": 0,
            "results": [
                {"turn_id": ids[question], "status": "pending", "was_duplicate": False}
                for question in ("one", "two", "three")
            ],
        },
    )
    assert_counted(project)


def test_one_bad_item_spoils_no_other(call: Caller, project: Project) -> None:
    body = {"turns": [{"question": "q", "agent_response": "a"}, 3, None, [], {"question": "q"}, *turns("z")["turns"]]}
    answer = call("POST", "/v1/turns/batch", body)
    assert (answer.body["accepted"], answer.body["refused"]) == (2, 4)
    assert [result.get("code") for result in answer.body["results"]] == [
        None,
        "not_a_turn",
        "not_a_turn",
        "not_a_turn",
        "missing_text",
        None,
    ]
    assert all(result["error"] for result in answer.body["results"] if result["status"] == "refused")
    flush()
    assert dict(RefusalCount.objects.values_list("reason", "count")) == {"not_a_turn": 3, "missing_text": 1}
    assert Turn.objects.count() == 2


def test_twins_in_one_batch_are_one_turn(call: Caller, project: Project) -> None:
    answer = call("POST", "/v1/turns/batch", turns("q", "other", "Q ", "q", signals={"thumbs_down": True}))
    first, other, *twins = answer.body["results"]
    assert (first["was_duplicate"], other["was_duplicate"]) == (False, False)
    assert twins == [{**first, "was_duplicate": True}] * 2
    assert dict(Turn.objects.values_list("question", "occurrences")) == {"q": 3, "other": 1}
    assert Occurrence.objects.count() == 2
    assert_counted(project)


def test_twins_in_one_batch_merge_into_a_pending_turn(call: Caller, project: Project) -> None:
    first = call.log("q", "a").body["turn_id"]
    results = call("POST", "/v1/turns/batch", turns("q", "q", trace_id="t")).body["results"]
    assert results == [{"turn_id": first, "status": "pending", "was_duplicate": True}] * 2
    assert (Turn.objects.get().occurrences, Occurrence.objects.count()) == (3, 2)


def test_an_expired_twin_of_a_batch_is_not_merged_into(call: Caller, project: Project) -> None:
    call("POST", "/v1/turns/batch", turns("q", "r"))
    move_time(expires_at="-31 days")
    results = call("POST", "/v1/turns/batch", turns("q", "r", "q")).body["results"]
    assert [result["was_duplicate"] for result in results] == [False, False, True]
    assert_counted(project)


def test_the_same_batch_again_counts_every_turn_again(call: Caller) -> None:
    call("POST", "/v1/turns/batch", turns("q", "r"))
    assert [r["was_duplicate"] for r in call("POST", "/v1/turns/batch", turns("r", "q")).body["results"]] == [
        True,
        True,
    ]
    assert set(Turn.objects.values_list("occurrences", flat=True)) == {2}


def test_takes_none_and_up_to_500(call: Caller) -> None:
    assert call("POST", "/v1/turns/batch", {"turns": []}).body == {"accepted": 0, "refused": 0, "results": []}
    assert call("POST", "/v1/turns/batch", turns(*map(str, range(500)))).body["accepted"] == 500


@pytest.mark.parametrize("body", [{}, {"turns": None}, {"turns": {}}, {"turns": "x"}, {"turns": [0] * 501}])
def test_names_what_is_no_batch(call: Caller, body: Any) -> None:
    answer = call("POST", "/v1/turns/batch", body)
    assert (answer.status, answer.body["fields"]) == (422, {"turns": "takes a list"})


def test_stays_in_its_project_and_needs_its_scope(call: Caller, stranger: Caller, project: Project) -> None:
    call("POST", "/v1/turns/batch", turns("q"))
    assert stranger("POST", "/v1/turns/batch", turns("q")).body["results"][0]["was_duplicate"] is False
    assert stranger("POST", "/p/acme/v1/turns/batch", turns("q")).status == 404
    assert caller_for(project, "read")("POST", "/v1/turns/batch", turns("q")).status == 403
    assert call("GET", "/v1/turns/batch").status == 405
