"""POST /v1/erasure: all content of a user, everywhere."""

from typing import Any

import pytest
from django.apps import apps

from agentloop.models import AuditEntry, Project
from review.models import Annotation, Memory, Turn
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
