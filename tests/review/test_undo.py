"""POST /v1/acts/{id}/undo."""

from typing import Any

import pytest

from agentloop.actors import Actor
from agentloop.models import Project
from review.models import Annotation, AnnotationSource, Memory, QueueAct, Status, Turn
from review.verdicts import Verdict, annotate
from tests.review.support import Caller, assert_counted, caller_for, move_time

LONG = "A loop is a path that comes back to where it began, as often as one likes."


def judge(call: Caller, turn_id: str, **more: Any) -> Any:
    return call("POST", f"/v1/turns/{turn_id}/verdict", {"rating": "incorrect", **more}).body


def undo(call: Caller, act_id: str, **more: Any) -> Any:
    return call("POST", f"/v1/acts/{act_id}/undo", more)


def test_takes_a_verdict_back(call: Caller, project: Project) -> None:
    turn_id = call.log().body["turn_id"]
    judged = judge(call, turn_id, correction="No.")
    answer = undo(call, judged["act_id"])
    assert (answer.status, answer.body["act"], answer.body["undone_at"] is None) == (200, "verdict", False)
    assert Turn.objects.get().status == Status.PENDING
    assert call("GET", f"/v1/annotations/{judged['annotation_id']}").body["code"] == "annotation_not_found"
    assert call("GET", "/v1/annotations").body["annotations"] == []
    assert not Memory.objects.exists()
    assert_counted(project)
    assert undo(call, judged["act_id"]).body["code"] == "already_undone"


def test_restores_the_memory_that_a_correction_changed(call: Caller) -> None:
    call(
        "POST",
        "/v1/annotations",
        {"question": "What is a loop?", "agent_response": "x", "rating": "partial"}
        | {"correction": LONG, "tags": ["a"], "metadata": {"n": 1}},
    )
    before = Memory.objects.values().get()
    judged = judge(call, call.log().body["turn_id"], correction=LONG + "!", tags=["b"], metadata={"n": 2})
    memory = Memory.objects.get()
    assert (judged["status"], memory.fact, memory.tags, memory.metadata) == (
        "updated_existing",
        LONG + "!",
        ["a", "b"],
        {"n": 2},
    )
    undo(call, judged["act_id"])
    assert Memory.objects.values().get() == before


def test_takes_an_annotation_without_a_turn_back(call: Caller) -> None:
    body = {"question": "q", "agent_response": "a", "rating": "partial", "correction": "b"}
    act = call("POST", "/v1/annotations", body).body["act_id"]
    assert undo(call, act).status == 200
    assert (Annotation.objects.standing().count(), Memory.objects.count()) == (0, 0)


def test_the_latest_comes_first(call: Caller) -> None:
    turn_id = call.log().body["turn_id"]
    first = call("POST", f"/v1/turns/{turn_id}/skip", {}).body["act_id"]
    second = call("POST", f"/v1/turns/{turn_id}/escalate", {}).body["act_id"]
    assert undo(call, first).body["code"] == "not_latest"
    assert [undo(call, act).status for act in (second, first)] == [200, 200]


def test_what_an_end_user_says_stands_in_nobodys_way(call: Caller, project: Project, bob: Actor) -> None:
    turn_id = call.log().body["turn_id"]
    dismissed = call("POST", f"/v1/turns/{turn_id}/escalate", {}).body["act_id"]
    verdict = Verdict("incorrect", "It is a spiral")
    said = annotate(project, bob, "What is a loop?", "A circle.", verdict, source=AnnotationSource.END_USER)
    assert said.annotation.turn_id == Turn.objects.get().id
    assert undo(call, dismissed).status == 200
    assert undo(call, f"act_{said.act.id.hex}").status == 200
    assert Annotation.objects.standing().count() == 0


def test_an_edit_is_undone_before_its_verdict(call: Caller) -> None:
    judged = judge(call, call.log().body["turn_id"], comment="one")
    edited = call("PATCH", f"/v1/annotations/{judged['annotation_id']}", {"comment": "two"}).body["act_id"]
    assert undo(call, judged["act_id"]).body["code"] == "not_latest"
    assert [undo(call, act).status for act in (edited, judged["act_id"])] == [200, 200]


def test_only_whoever_did_it_or_an_owner_undoes(call: Caller, project: Project) -> None:
    reviewer, other = (caller_for(project, "review", name=name) for name in ("reviewer", "other"))
    turn_id = call.log().body["turn_id"]
    act = reviewer("POST", f"/v1/turns/{turn_id}/skip", {"reviewer": "ann"}).body["act_id"]
    assert undo(other, act).body["code"] == "not_yours"
    assert undo(reviewer, act, reviewer="ben").body["code"] == "not_yours"
    assert undo(reviewer, act, reviewer="ann").status == 200
    act = reviewer("POST", f"/v1/turns/{turn_id}/dismiss", {}).body["act_id"]
    assert undo(call, act).status == 200


def test_a_renewed_expiry_stands(call: Caller) -> None:
    turn_id = call.log().body["turn_id"]
    act = call("POST", f"/v1/turns/{turn_id}/skip", {}).body["act_id"]
    move_time(expires_at="-20 days", last_seen_at="-20 days")
    call.log()
    renewed = Turn.objects.get().expires_at
    undo(call, act)
    assert Turn.objects.get().expires_at == renewed


def test_a_turn_that_comes_back_after_its_time_gets_a_fresh_one(call: Caller, project: Project) -> None:
    turn_id = call.log().body["turn_id"]
    act = judge(call, turn_id)["act_id"]
    judged = QueueAct.objects.get(act="verdict")
    judged.before["expires_at"] = "2020-01-01T00:00:00+00:00"
    judged.save()
    Turn.objects.update(expires_at="2020-01-01T00:00Z")
    assert undo(call, act).status == 200
    turn = Turn.objects.get()
    assert (turn.expires_at - turn.last_seen_at).days >= 29
    assert_counted(project)


def test_an_expired_turn_is_gone_swept_or_not(call: Caller) -> None:
    turn_id = call.log().body["turn_id"]
    act = call("POST", f"/v1/turns/{turn_id}/skip", {}).body["act_id"]
    move_time(expires_at="-31 days")
    assert undo(call, act).body["code"] == "act_not_found"


def test_undoing_takes_up_a_newer_twin(call: Caller, project: Project) -> None:
    old = call.log().body["turn_id"]
    act = judge(call, old)["act_id"]
    new = call.log(trace_id="t2").body["turn_id"]
    assert undo(call, act).status == 200
    turn = Turn.objects.get()
    assert (turn.shown_id, turn.occurrences) == (old, 2)
    assert call("GET", f"/v1/turns/{new}").body["turn_id"] == old
    assert_counted(project)


@pytest.mark.parametrize("act_id", ["act_" + "0" * 32, "turn_" + "0" * 32, "x", "act_" + "z" * 32])
def test_an_unknown_act_is_not_found(call: Caller, act_id: str) -> None:
    answer = undo(call, act_id)
    assert (answer.status, answer.body["code"]) == (404, "act_not_found")


def test_strangers_scopes_and_methods(call: Caller, stranger: Caller, project: Project) -> None:
    turn_id = call.log().body["turn_id"]
    act = call("POST", f"/v1/turns/{turn_id}/dismiss", {}).body["act_id"]
    assert undo(stranger, act).body["code"] == "act_not_found"
    assert undo(caller_for(project, "read"), act).status == 403
    assert call("GET", f"/v1/acts/{act}/undo").status == 405
    assert Turn.objects.get().status == Status.DISMISSED
