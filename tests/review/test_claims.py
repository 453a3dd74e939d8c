"""POST /v1/queue/claim, heartbeats, and the acts on a turn: release, skip, snooze, escalate, dismiss, reopen."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db.models import F

from agentloop.models import AuditEntry, Project
from review import queue
from review.models import QueueAct, Skip, Status, Turn
from tests.review.support import Caller, assert_counted, caller_for, move_time

ACTS = ("release", "skip", "snooze", "escalate", "dismiss")


def soon(days: float = 2) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).isoformat()


def body_of(act: str, **more: Any) -> dict[str, Any]:
    return {**more, "until": soon()} if act == "snooze" else more


def claim(call: Caller, **body: Any) -> Any:
    return call("POST", "/v1/queue/claim", body).body


def test_claims_the_most_urgent(call: Caller, project: Project) -> None:
    call.log("weak")
    call.log("strong", signals={"thumbs_down": True})
    answer = call("POST", "/v1/queue/claim", {})
    turn = Turn.objects.get(question="strong")
    assert answer.status == 200
    assert answer.body["turn"]["turn_id"] == turn.shown_id
    assert (answer.body["claim_token"], answer.body["draw"], answer.body["draw_probability"]) == (
        turn.claim_token,
        "next",
        None,
    )
    assert answer.body["draft"] is None
    assert turn.claimed_by.startswith("key:al_")
    assert turn.claimed_until is not None
    assert timedelta(minutes=9) < turn.claimed_until - datetime.now(UTC) <= timedelta(minutes=10)
    act = QueueAct.objects.get()
    assert (answer.body["act_id"], act.act, act.subject_id) == (f"act_{act.id.hex}", "claim", turn.id)
    assert_counted(project)


def test_no_two_get_the_same(call: Caller) -> None:
    for number in range(3):
        call.log(str(number))
    claims = [claim(call, reviewer=name)["turn"]["question"] for name in ("ann", "ben", "cid")]
    assert sorted(claims) == ["0", "1", "2"]
    assert claim(call, reviewer="dan")["code"] == "queue_empty"


def test_a_lapsed_claim_is_anybodys(call: Caller) -> None:
    call.log()
    first = claim(call, reviewer="ann")
    Turn.objects.update(claimed_until="2020-01-01T00:00Z")
    assert call("GET", f"/v1/turns/{first['turn']['turn_id']}").body["claimed_by"] is None
    second = claim(call, reviewer="ben")
    assert second["turn"]["turn_id"] == first["turn"]["turn_id"]
    assert second["claim_token"] > first["claim_token"]


def test_claims_a_given_turn_and_renews_it(call: Caller) -> None:
    call.log("other", signals={"thumbs_down": True})
    turn_id = call.log().body["turn_id"]
    first, second = claim(call, turn_id=turn_id), claim(call, turn_id=turn_id)
    assert (first["turn"]["turn_id"], first["draw"]) == (turn_id, "given")
    assert second["claim_token"] > first["claim_token"]
    assert claim(call, turn_id=turn_id, reviewer="ben")["code"] == "claimed_by_another"


def test_claims_the_next_of_a_filter(call: Caller) -> None:
    call.log("urgent", signals={"thumbs_down": True, "n": 1})
    call.log("meant", goal="g", signals={"n": 2}, tags=["t"])
    claimed = claim(call, filters={"goal": "g", "signal": ["n>=2", "n<3"], "tag": "t", "min_occurrences": 1})
    assert (claimed["turn"]["question"], claimed["draw"]) == ("meant", "filter")
    assert claim(call, filters={"goal": "g"})["code"] == "queue_empty"


def test_filters_take_jsons_own_types(call: Caller) -> None:
    call.log()
    assert claim(call, filters={"escalated": True})["code"] == "queue_empty"
    assert claim(call, filters={"escalated": False, "status": []})["draw"] == "filter"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"filters": {"colour": "red"}}, "colour"),
        ({"filters": {"min_occurrences": None}}, "min_occurrences"),
        ({"filters": {"signal": {"a": 1}}}, None),
        ({"filters": 3}, "filters"),
        ({"turn_id": ""}, "turn_id"),
        ({"reviewer": "x" * 61}, "reviewer"),
        ({"reviewer": ["x"]}, "reviewer"),
    ],
)
def test_names_the_bad_field(call: Caller, body: Any, field: str | None) -> None:
    answer = call("POST", "/v1/queue/claim", body)
    if field is None:
        assert answer.body["code"] == "queue_empty"
    else:
        assert (answer.status, list(answer.body["fields"])) == (422, [field])


def test_an_unknown_turn_is_not_found(call: Caller) -> None:
    assert claim(call, turn_id="turn_" + "0" * 32)["code"] == "turn_not_found"


def test_what_one_skipped_comes_last_for_them_alone(call: Caller) -> None:
    for number in range(3):
        call.log(str(number), signals={"thumbs_down": True} if number == 0 else {})
    ids = {turn.question: turn.shown_id for turn in Turn.objects.all()}
    call("POST", f"/v1/turns/{ids['0']}/skip", {"reviewer": "ann"})
    assert [claim(call, reviewer="ann")["turn"]["question"] for _ in range(3)] == ["1", "2", "0"]
    Turn.objects.update(claimed_by="", claimed_until=None)
    assert claim(call, reviewer="ben")["turn"]["question"] == "0"


def test_an_owner_who_skipped_what_was_escalated_gets_it_last(call: Caller) -> None:
    turn_id = call.log("escalated").body["turn_id"]
    call("POST", f"/v1/turns/{turn_id}/escalate", {"note": "help"})
    call("POST", f"/v1/turns/{turn_id}/skip", {})
    call.log("plain")
    assert [claim(call)["turn"]["question"] for _ in range(2)] == ["plain", "escalated"]


def test_what_one_skipped_comes_last_of_a_filter_too(call: Caller) -> None:
    first = call.log("0", goal="g").body["turn_id"]
    call.log("1", goal="g")
    call("POST", f"/v1/turns/{first}/skip", {})
    assert [claim(call, filters={"goal": "g"})["turn"]["question"] for _ in range(2)] == ["1", "0"]


def test_a_share_of_claims_is_drawn_at_random(call: Caller, project: Project) -> None:
    project.settings = {"random_share": 1}
    project.save()
    for number in range(4):
        call.log(str(number))
    caller = caller_for(project, "review")
    drawn = [claim(caller) for _ in range(4)]
    assert {one["draw"] for one in drawn} == {"random"}
    assert [one["draw_probability"] for one in drawn] == [0.25] * 4
    assert {one["turn"]["question"] for one in drawn} == {"0", "1", "2", "3"}
    assert claim(caller)["code"] == "queue_empty"


def test_a_random_draw_is_even(call: Caller, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every point of the circle of hashes leads to the next turn on it."""
    project.settings = {"random_share": 1}
    call.log("q")
    call.log("r")
    low, high = sorted(Turn.objects.all(), key=lambda turn: turn.content_hash.int)
    for point, expected in ((0, low), (low.content_hash.int + 1, high), (2**128 - 1, low)):
        monkeypatch.setattr(queue, "uuid4", lambda point=point: UUID(int=point))
        done = queue.claim_next(project, queue.Actor("r", "r", frozenset({"review"})))
        assert done.turn.id == expected.id
        Turn.objects.update(claimed_by="", claimed_until=None)


# --- heartbeats -----------------------------------------------------------------------------------------------


def test_a_heartbeat_renews_the_lease(call: Caller) -> None:
    call.log()
    claimed = claim(call)
    Turn.objects.update(claimed_until=F("claimed_until") - timedelta(minutes=9), expires_at=F("claimed_until"))
    path = f"/v1/turns/{claimed['turn']['turn_id']}/heartbeat"
    answer = call("POST", path, {"claim_token": claimed["claim_token"]})
    turn = Turn.objects.get()
    assert answer.status == 200
    assert turn.claimed_until is not None
    assert datetime.fromisoformat(answer.body["claimed_until"]) == turn.claimed_until
    assert turn.claimed_until - datetime.now(UTC) > timedelta(minutes=9)
    assert turn.expires_at >= turn.claimed_until


def test_a_heartbeat_comes_too_late(call: Caller) -> None:
    call.log()
    claimed = claim(call)
    path, token = f"/v1/turns/{claimed['turn']['turn_id']}/heartbeat", claimed["claim_token"]
    assert call("POST", path, {"claim_token": token - 1}).body["code"] == "claim_lost"
    assert call("POST", path, {"claim_token": token, "reviewer": "ben"}).body["code"] == "claim_lost"
    Turn.objects.update(claimed_until="2020-01-01T00:00Z")
    assert call("POST", path, {"claim_token": token}).body["code"] == "claim_lost"
    answer = call("POST", path, {})
    assert (answer.status, list(answer.body["fields"])) == (422, ["claim_token"])


# --- acts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("act", ACTS)
def test_each_act_frees_the_turn_and_can_be_undone(call: Caller, project: Project, act: str) -> None:
    call.log()
    claimed = claim(call)
    before = Turn.objects.values(*queue.STATE).get()
    path = f"/v1/turns/{claimed['turn']['turn_id']}/{act}"
    answer = call("POST", path, body_of(act, claim_token=claimed["claim_token"], note="n", reason="r"))
    assert answer.status == 200
    assert Turn.objects.get().claimed_by == ""
    assert_counted(project)
    assert call("POST", f"/v1/acts/{answer.body['act_id']}/undo", {}).status == 200
    assert Turn.objects.values(*queue.STATE).get() == before
    assert not Skip.objects.exists()
    assert_counted(project)


@pytest.mark.parametrize("act", ACTS)
def test_each_act_is_refused_with_a_lapsed_token(call: Caller, act: str) -> None:
    call.log()
    claimed = claim(call, reviewer="ann")
    path = f"/v1/turns/{claimed['turn']['turn_id']}/{act}"
    Turn.objects.update(claimed_until="2020-01-01T00:00Z")
    claim(call, reviewer="ben")
    before = Turn.objects.values().get()
    answer = call("POST", path, body_of(act, claim_token=claimed["claim_token"], reviewer="ann"))
    assert (answer.status, answer.body["code"]) == (409, "claim_lost")
    assert call("POST", path, body_of(act, reviewer="ann")).body["code"] == "claimed_by_another"
    assert Turn.objects.values().get() == before
    assert QueueAct.objects.filter(act=act).count() == 0


@pytest.mark.parametrize("act", [*ACTS, "reopen", "heartbeat"])
def test_strangers_scopes_and_methods(call: Caller, stranger: Caller, project: Project, act: str) -> None:
    path = f"/v1/turns/{call.log().body['turn_id']}/{act}"
    body = body_of(act, claim_token=1)
    assert stranger("POST", path, body).body["code"] == "turn_not_found"
    assert caller_for(project, "read", "ingest")("POST", path, body).status == 403
    assert call("GET", path).status == 405
    assert call("POST", f"/v1/turns/turn_{'0' * 32}/{act}", body).status == 404
    assert QueueAct.objects.count() == 0


def test_claiming_needs_its_scope(call: Caller, stranger: Caller, project: Project) -> None:
    call.log()
    assert stranger("POST", "/v1/queue/claim", {}).body["code"] == "queue_empty"
    assert caller_for(project, "read", "ingest")("POST", "/v1/queue/claim", {}).status == 403
    assert call("GET", "/v1/queue/claim").status == 405


def test_releasing_what_nobody_holds_is_refused(call: Caller) -> None:
    turn_id = call.log().body["turn_id"]
    assert call("POST", f"/v1/turns/{turn_id}/release", {}).body["code"] == "claim_lost"


def test_snoozes_until_a_time(call: Caller, project: Project) -> None:
    turn_id = call.log().body["turn_id"]
    answer = call("POST", f"/v1/turns/{turn_id}/snooze", {"until": soon(60)})
    turn = Turn.objects.get()
    assert answer.body["turn"]["snoozed_until"] is not None
    assert turn.snoozed_until is not None
    assert turn.expires_at == turn.snoozed_until + timedelta(days=1)
    assert claim(call)["code"] == "queue_empty"
    Turn.objects.update(snoozed_until="2020-01-01T00:00Z")
    assert claim(call)["turn"]["turn_id"] == turn_id
    assert Turn.objects.get().snoozed_until is None


@pytest.mark.parametrize(
    "until",
    ["2020-01-01T00:00:00Z", pytest.param(soon(91), id="too far"), "soon", None, 5, "9999-12-31T23:59:59Z"],
)
def test_snoozing_names_a_bad_time(call: Caller, until: Any) -> None:
    turn_id = call.log().body["turn_id"]
    answer = call("POST", f"/v1/turns/{turn_id}/snooze", {"until": until})
    assert (answer.status, list(answer.body["fields"])) == (422, ["until"])


def test_what_is_escalated_is_for_owners_alone(call: Caller, project: Project) -> None:
    call.log("plain", signals={"thumbs_down": True})
    turn_id = call.log("hard").body["turn_id"]
    reviewer = caller_for(project, "review", "read", name="reviewer")
    shown = reviewer("POST", f"/v1/turns/{turn_id}/escalate", {"note": "What now?"}).body["turn"]
    assert (shown["escalated_by"][:4], shown["escalation_note"]) == ("key:", "What now?")
    assert claim(reviewer)["turn"]["question"] == "plain"
    assert claim(reviewer)["code"] == "queue_empty"
    assert claim(reviewer, turn_id=turn_id)["code"] == "only_owners"
    assert reviewer("POST", f"/v1/turns/{turn_id}/dismiss", {}).body["code"] == "only_owners"
    said = {"question": "hard", "agent_response": "A circle.", "rating": "correct", "correction": "A line."}
    assert reviewer("POST", "/v1/annotations", said).body["code"] == "only_owners"
    assert claim(call)["turn"]["question"] == "hard"
    Turn.objects.update(claimed_by="", claimed_until=None)
    assert claim(reviewer, filters={"escalated": True})["code"] == "queue_empty"


def test_dismisses_and_reopens(call: Caller, project: Project) -> None:
    turn_id = call.log().body["turn_id"]
    shown = call("POST", f"/v1/turns/{turn_id}/dismiss", {"reason": "spam"}).body["turn"]
    assert (shown["status"], shown["dismissed_reason"], shown["expires_at"]) == ("dismissed", "spam", None)
    assert shown["closed_at"]
    assert call("POST", f"/v1/turns/{turn_id}/dismiss", {}).body["code"] == "not_pending"
    assert_counted(project)
    move_time(expires_at="-40 days")
    shown = call("POST", f"/v1/turns/{turn_id}/reopen", {}).body["turn"]
    assert (shown["status"], shown["dismissed_reason"], shown["closed_at"]) == ("pending", "", None)
    assert Turn.objects.get().expires_at > datetime.now(UTC) + timedelta(days=29)
    assert call("POST", f"/v1/turns/{turn_id}/reopen", {}).body["code"] == "already_pending"
    assert set(AuditEntry.objects.values_list("act", flat=True)) >= {"turn.dismiss", "turn.reopen"}
    assert_counted(project)


def test_reopening_takes_up_a_newer_twin_with_its_claim(call: Caller, project: Project) -> None:
    old = call.log(signals={"thumbs_down": True}, trace_id="t1").body["turn_id"]
    call("POST", f"/v1/turns/{old}/dismiss", {})
    new = call.log(signals={"late": 1}, trace_id="t2").body["turn_id"]
    call.log(trace_id="t3")
    held = claim(call, reviewer="ben", turn_id=new)
    call("PUT", f"/v1/turns/{new}/draft", {"reviewer": "ben", "body": {"comment": "mine"}})
    reopened = call("POST", f"/v1/turns/{old}/reopen", {"reviewer": "ann"}).body
    turn = Turn.objects.get()
    assert (turn.shown_id, turn.status, turn.occurrences, turn.signals) == (
        old,
        Status.PENDING,
        3,
        {"thumbs_down": True, "late": 1},
    )
    shown = call("GET", f"/v1/turns/{new}").body
    assert shown["turn_id"] == old
    assert {one["trace_id"] for one in shown["merged_occurrences"]} == {"t2", "t3"}
    assert_counted(project)
    answer = call("POST", f"/v1/acts/{reopened['act_id']}/undo", {"reviewer": "ann"})
    assert answer.body["code"] == "not_latest"
    body = {"rating": "correct", "claim_token": held["claim_token"], "reviewer": "ben"}
    assert call("POST", f"/v1/turns/{new}/verdict", body).body["turn_id"] == old


def test_a_reopening_that_took_up_a_twin_cannot_be_undone(call: Caller) -> None:
    old = call.log().body["turn_id"]
    call("POST", f"/v1/turns/{old}/dismiss", {})
    call.log()
    reopened = call("POST", f"/v1/turns/{old}/reopen", {}).body["act_id"]
    assert call("POST", f"/v1/acts/{reopened}/undo", {}).body["code"] == "twin_merged"
    assert Turn.objects.get().status == Status.PENDING


def test_reopening_passes_over_an_expired_twin(call: Caller, project: Project) -> None:
    old = call.log().body["turn_id"]
    call("POST", f"/v1/turns/{old}/dismiss", {})
    call.log()
    move_time(expires_at="-31 days")
    assert call("POST", f"/v1/turns/{old}/reopen", {}).body["turn"]["occurrences"] == 1
    assert_counted(project)
