"""POST /v1/turns/{id}/verdict."""

from typing import Any

import pytest

from agentloop.models import AuditEntry, Project
from review.models import Annotation, AnnotationVersion, Draft, Memory, Status, Turn
from tests.review.support import Caller, assert_counted, caller_for

VERDICT = {
    "rating": "incorrect",
    "correction": "It is a\nspiral.",
    "root_cause": "model",
    "failure_category": "hallucination_detected",
    "tags": ["geometry"],
    "comment": "Look again.",
    "scores": {"tone": 0.5},
    "metadata": {"round": 2},
}


def claim(call: Caller, **body: Any) -> tuple[str, int]:
    claimed = call("POST", "/v1/queue/claim", body).body
    return claimed["turn"]["turn_id"], claimed["claim_token"]


def test_judges_a_claimed_turn(call: Caller, project: Project) -> None:
    call.log(goal="g", model="m", path_id="p", pipeline_id="l", trace_id="t")
    turn_id, token = claim(call)
    answer = call("POST", f"/v1/turns/{turn_id}/verdict", {**VERDICT, "claim_token": token})
    annotation, memory, turn = Annotation.objects.get(), Memory.objects.get(), Turn.objects.get()
    assert answer.status == 201
    assert {name: value for name, value in answer.body.items() if name != "act_id"} == {
        "annotation_id": f"ann_{annotation.id.hex}",
        "memory_id": f"mem_{memory.id.hex}",
        "status": "active",
        "duplicate_score": None,
        "turn_id": turn_id,
    }
    assert (turn.status, turn.claimed_by, turn.claimed_until) == (Status.REVIEWED, "", None)
    assert turn.closed_at is not None
    assert {name: getattr(annotation, name) for name in VERDICT} == VERDICT
    assert (annotation.question, annotation.response) == (turn.question, turn.response)
    assert (annotation.source, annotation.turn_id, annotation.draw) == ("api", turn.id, "next")
    assert (annotation.goal, annotation.model, annotation.path_id, annotation.pipeline_id, annotation.trace_id) == (
        "g",
        "m",
        "p",
        "l",
        "t",
    )
    assert AnnotationVersion.objects.get().body == {**VERDICT, "rubric": {}}
    assert memory.fact == "It is a spiral."
    entry = AuditEntry.objects.get(act="verdict.give")
    assert "spiral" not in str(vars(entry))
    assert_counted(project)


def test_needs_no_claim_while_nobody_holds_the_turn(call: Caller) -> None:
    turn_id = call.log().body["turn_id"]
    assert call("POST", f"/v1/turns/{turn_id}/verdict", {"rating": "correct"}).status == 201


def test_a_second_verdict_changes_nothing(call: Caller) -> None:
    turn_id = call.log().body["turn_id"]
    call("POST", f"/v1/turns/{turn_id}/verdict", {"rating": "correct"})
    answer = call("POST", f"/v1/turns/{turn_id}/verdict", {"rating": "incorrect"})
    assert (answer.status, answer.body["code"]) == (409, "not_pending")
    assert [annotation.rating for annotation in Annotation.objects.all()] == ["correct"]


def test_a_lapsed_token_changes_nothing_and_loses_no_text(call: Caller, project: Project) -> None:
    call.log()
    turn_id, token = claim(call, reviewer="ann")
    Turn.objects.update(claimed_until="2020-01-01T00:00Z")
    claim(call, reviewer="ben")
    before = Turn.objects.values().get()
    answer = call("POST", f"/v1/turns/{turn_id}/verdict", {**VERDICT, "claim_token": token, "reviewer": "ann"})
    assert (answer.status, answer.body["code"], answer.body["draft_saved"]) == (409, "claim_lost", True)
    after = Turn.objects.values().get()
    assert {**after, "expires_at": None} == {**before, "expires_at": None}
    assert not Annotation.objects.exists()
    draft = Draft.objects.get()
    assert (draft.actor.endswith("/ann"), draft.body["correction"]) == (True, VERDICT["correction"])


def test_a_turn_that_another_holds_is_theirs(call: Caller) -> None:
    call.log()
    turn_id, _ = claim(call, reviewer="ann")
    answer = call("POST", f"/v1/turns/{turn_id}/verdict", {"rating": "correct", "reviewer": "ben"})
    assert (answer.status, answer.body["code"], answer.body["draft_saved"]) == (409, "claimed_by_another", True)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"rating": "good"}, "rating"),
        ({"rating": None}, "rating"),
        ({"root_cause": "luck"}, "root_cause"),
        ({"failure_category": "luck"}, "failure_category"),
        ({"tags": "x"}, "tags"),
        ({"tags": ["x" * 101]}, "tags.0"),
        ({"scores": [1]}, "scores"),
        ({"correction": {"a": 1}}, "correction"),
        ({"claim_token": "abc"}, "claim_token"),
        ({"claim_token": 2**63}, "claim_token"),
        ({"comment": "x" * 20_001}, "comment"),
    ],
)
def test_names_the_bad_field(call: Caller, change: dict[str, Any], field: str) -> None:
    turn_id = call.log().body["turn_id"]
    answer = call("POST", f"/v1/turns/{turn_id}/verdict", {**VERDICT, **change})
    assert (answer.status, list(answer.body["fields"])) == (422, [field])
    assert field.partition(".")[0] in answer.body["error"]
    assert Turn.objects.get().status == Status.PENDING


def test_null_is_the_same_as_left_out(call: Caller) -> None:
    turn_id = call.log().body["turn_id"]
    body = dict.fromkeys([*VERDICT, "reviewer", "claim_token"]) | {"rating": "correct", "correction": ""}
    assert call("POST", f"/v1/turns/{turn_id}/verdict", body).status == 201


@pytest.mark.parametrize("turn_id", ["turn_" + "0" * 32, "turn_x", "ann_" + "0" * 32, "%00", "turn_" + "F" * 32])
def test_an_unknown_turn_is_not_found(call: Caller, turn_id: str) -> None:
    answer = call("POST", f"/v1/turns/{turn_id}/verdict", {"rating": "correct"})
    assert (answer.status, answer.body["code"]) == (404, "turn_not_found")


def test_strangers_scopes_and_methods(call: Caller, stranger: Caller, project: Project) -> None:
    path = f"/v1/turns/{call.log().body['turn_id']}/verdict"
    assert stranger("POST", path, {"rating": "correct"}).body["code"] == "turn_not_found"
    assert caller_for(project, "read", "ingest")("POST", path, {"rating": "correct"}).status == 403
    assert call("PUT", path, {"rating": "correct"}).status == 405
    assert Turn.objects.get().status == Status.PENDING
