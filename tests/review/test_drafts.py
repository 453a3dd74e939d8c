"""PUT /v1/turns/{id}/draft."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agentloop.models import Project
from review.models import Draft, Turn
from tests.review.support import Caller, caller_for


def test_keeps_what_is_being_written(call: Caller) -> None:
    turn_id = call.log().body["turn_id"]
    path, body = f"/v1/turns/{turn_id}/draft", {"correction": "half a", "tags": [1, None]}
    answer = call("PUT", path, {"body": body})
    draft = Draft.objects.get()
    assert (answer.status, answer.body) == (
        200,
        {"turn_id": turn_id, "body": body, "saved_at": draft.saved_at.isoformat().replace("+00:00", "Z")},
    )
    assert call("PUT", path, {"body": {"correction": "half a thought"}}).status == 200
    assert Draft.objects.get().body == {"correction": "half a thought"}
    assert call("GET", f"/v1/turns/{turn_id}").body["draft"] == {"correction": "half a thought"}
    assert call("POST", "/v1/queue/claim", {}).body["draft"] == {"correction": "half a thought"}


def test_each_reviewer_has_their_own(call: Caller) -> None:
    turn_id = call.log().body["turn_id"]
    for name in ("ann", "ben"):
        call("PUT", f"/v1/turns/{turn_id}/draft", {"body": {"comment": name}, "reviewer": name})
    assert call("POST", "/v1/queue/claim", {"reviewer": "ben"}).body["draft"] == {"comment": "ben"}
    assert call("GET", f"/v1/turns/{turn_id}").body["draft"] is None


def test_a_draft_holds_its_turn_for_seven_days(call: Caller) -> None:
    turn_id = call.log().body["turn_id"]
    Turn.objects.update(expires_at=datetime.now(UTC) + timedelta(minutes=1))
    call("PUT", f"/v1/turns/{turn_id}/draft", {"body": {}})
    assert timedelta(days=6.99) < Turn.objects.get().expires_at - datetime.now(UTC) <= timedelta(days=7)


def test_a_draft_never_shortens_a_life(call: Caller) -> None:
    turn_id = call.log().body["turn_id"]
    before = Turn.objects.get().expires_at
    call("PUT", f"/v1/turns/{turn_id}/draft", {"body": {}})
    assert Turn.objects.get().expires_at == before


def test_a_verdict_ends_ones_draft_and_undo_brings_it_back(call: Caller) -> None:
    turn_id = call.log().body["turn_id"]
    for name in ("ann", "ben"):
        call("PUT", f"/v1/turns/{turn_id}/draft", {"body": {"comment": name}, "reviewer": name})
    act = call("POST", f"/v1/turns/{turn_id}/verdict", {"rating": "correct", "reviewer": "ann"}).body["act_id"]
    assert [draft.body for draft in Draft.objects.all()] == [{"comment": "ben"}]
    call("POST", f"/v1/acts/{act}/undo", {"reviewer": "ann"})
    assert {draft.body["comment"] for draft in Draft.objects.all()} == {"ann", "ben"}


@pytest.mark.parametrize("body", [{}, {"body": None}, {"body": []}, {"body": "x"}])
def test_names_the_bad_field(call: Caller, body: Any) -> None:
    turn_id = call.log().body["turn_id"]
    answer = call("PUT", f"/v1/turns/{turn_id}/draft", body)
    assert (answer.status, list(answer.body["fields"])) == (422, ["body"])


def test_strangers_scopes_and_methods(call: Caller, stranger: Caller, project: Project) -> None:
    path = f"/v1/turns/{call.log().body['turn_id']}/draft"
    assert stranger("PUT", path, {"body": {}}).body["code"] == "turn_not_found"
    assert caller_for(project, "read", "ingest")("PUT", path, {"body": {}}).status == 403
    assert call("POST", path, {"body": {}}).status == 405
    assert not Draft.objects.exists()
