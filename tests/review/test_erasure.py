"""POST /v1/erasure: all content of a user, everywhere."""

from typing import Any

import pytest
from django.apps import apps

from agentloop.models import AuditEntry, Project
from review.models import Annotation, Memory, Turn, TurnCounter
from tests.review.support import Caller, assert_counted, caller_for, settle_index

BODY = {"question": "q", "agent_response": "a", "rating": "incorrect", "correction": "Ask Zaphod himself"}


def everything_stored() -> str:
    """All rows of all tables as text."""
    rows = [list(model._default_manager.values()) for model in apps.get_models() if model._meta.app_label == "review"]
    return repr(rows) + repr(list(AuditEntry.objects.values()))


def test_erases_all_content_of_a_user(call: Caller, project: Project) -> None:
    theirs = call.log("I am Zaphod", user_id="zaphod").body["turn_id"]
    call.log("shared", user_id="arthur")
    call.log("shared", user_id="zaphod", signals={"said": "Zaphod was here"})
    kept = call.log("other", user_id="arthur").body["turn_id"]
    call("PUT", f"/v1/turns/{theirs}/draft", {"body": {"comment": "Zaphod again"}})
    judged = call("POST", f"/v1/turns/{theirs}/verdict", {"rating": "incorrect", "correction": "Zaphod Beeblebrox"})
    call("PATCH", f"/v1/annotations/{judged.body['annotation_id']}", {"comment": "Zaphod!"})
    call("POST", "/v1/annotations", {**BODY, "user_id": "zaphod"})
    call("POST", "/v1/annotations", {**BODY, "correction": "Someone else", "user_id": "arthur"})
    settle_index()
    answer = call("POST", "/v1/erasure", {"user_id": "zaphod"})
    assert (answer.status, answer.body) == (200, {"turns": 2, "annotations": 1, "memories": 1})
    assert "zaphod" not in everything_stored().lower()
    assert [turn.shown_id for turn in Turn.objects.all()] == [kept]
    assert [annotation.user_id for annotation in Annotation.objects.all()] == ["arthur"]
    assert [memory.fact for memory in Memory.objects.all()] == ["Someone else"]
    entry = AuditEntry.objects.get(act="user.erase")
    assert (entry.target, entry.details) == ("", answer.body)
    assert_counted(project)


def test_erases_what_was_said_of_their_words_when_no_turn_was_waiting(call: Caller, project: Project) -> None:
    words = {"question": "Where is Zaphod?", "agent_response": "Gone."}
    body = {**words, "rating": "incorrect", "correction": "At the restaurant, at the end of everything."}
    call.log(*words.values(), user_id="zaphod@example.com")
    settle_index()
    closed = call("POST", "/v1/annotations", body).body
    assert closed["turn_id"]
    again = call("POST", "/v1/annotations", body).body
    assert not again["turn_id"]
    of_arthur = call("POST", "/v1/annotations", {**body, "user_id": "arthur"}).body["annotation_id"]
    other = call("POST", "/v1/annotations", {**body, "question": "Where is he?"}).body["annotation_id"]
    call("PATCH", f"/v1/annotations/{again['annotation_id']}", {"comment": "Zaphod indeed"})
    answer = call("POST", "/v1/erasure", {"user_id": "zaphod@example.com"}).body
    assert (answer["turns"], answer["annotations"]) == (1, 1)
    assert [annotation.shown_id for annotation in Annotation.objects.order_by("id")] == [of_arthur, other]
    assert not [memory for memory in Memory.objects.all() if not memory.user_id and "Zaphod" in memory.question]
    assert "zaphod@example.com" not in everything_stored()
    assert "Zaphod indeed" not in everything_stored()
    assert_counted(project)


def test_erases_what_was_said_of_a_turn_that_gave_way_to_a_newer_twin(call: Caller) -> None:
    call.log("Where is Zaphod?", "Gone.", user_id="zaphod")
    Turn.objects.update(expires_at="2020-01-01T00:00Z")
    said = {**BODY, "question": "Where is Zaphod?", "agent_response": "Gone."}
    assert not call("POST", "/v1/annotations", said).body["turn_id"]
    call.log("Where is Zaphod?", "Gone.", user_id="arthur")
    assert call("POST", "/v1/erasure", {"user_id": "zaphod"}).body["annotations"] == 1
    assert not Annotation.objects.exists()
    assert not Memory.objects.exists()


def test_a_users_id_leaves_the_counters_with_their_last_turn(call: Caller, project: Project) -> None:
    for question in ("a", "b"):
        call.log(question, user_id="zaphod", tags=["t"])
    call.log("c", user_id="arthur")
    settle_index()
    first = Turn.objects.get(question="a").shown_id
    call("POST", f"/v1/turns/{first}/dismiss", {})
    settle_index()
    assert dict(TurnCounter.objects.filter(facet__startswith="user_id:").values_list("facet", "count")) == {
        "user_id:zaphod": 1,
        "user_id:arthur": 1,
    }
    # A turn that its older twin takes up leaves the index only by the worker's next round, after the erasure.
    call.log("a", user_id="zaphod")
    settle_index()
    call("POST", f"/v1/turns/{first}/reopen", {})
    call("POST", "/v1/erasure", {"user_id": "zaphod"})
    settle_index()
    assert list(TurnCounter.objects.filter(facet__startswith="user_id:").values_list("facet")) == [("user_id:arthur",)]
    assert "zaphod" not in everything_stored()
    assert_counted(project)


def test_twice_is_safe(call: Caller) -> None:
    call.log(user_id="u")
    assert [call("POST", "/v1/erasure", {"user_id": "u"}).body["turns"] for _ in range(2)] == [1, 0]


def test_a_memory_that_others_share_says_what_they_said(call: Caller) -> None:
    long = "Invoices are due thirty days after they were sent, whatever anybody says."
    call("POST", "/v1/annotations", {**BODY, "correction": long, "tags": ["a"]})
    turn = call.log("q", "b", user_id="u").body["turn_id"]
    call("POST", f"/v1/turns/{turn}/verdict", {"rating": "incorrect", "correction": long + "!", "tags": ["b"]})
    assert Memory.objects.get().tags == ["a", "b"]
    call("POST", "/v1/erasure", {"user_id": "u"})
    memory = Memory.objects.get()
    assert (memory.fact, memory.tags) == (long, ["a"])


@pytest.mark.parametrize("body", [{}, {"user_id": ""}, {"user_id": " "}, {"user_id": None}, {"user_id": ["u"]}])
def test_names_the_bad_field(call: Caller, body: Any) -> None:
    call.log()
    answer = call("POST", "/v1/erasure", body)
    assert (answer.status, list(answer.body["fields"])) == (422, ["user_id"])
    assert Turn.objects.count() == 1


def test_strangers_scopes_and_methods(call: Caller, stranger: Caller, project: Project) -> None:
    call.log(user_id="u")
    body = {"user_id": "u"}
    assert stranger("POST", "/v1/erasure", body).body["turns"] == 0
    assert caller_for(project, "ingest", "read", "review", "route")("POST", "/v1/erasure", body).status == 403
    assert call("GET", "/v1/erasure").status == 405
    assert Turn.objects.count() == 1
