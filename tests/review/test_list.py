"""GET /v1/turns: filters, orders and pages; GET and DELETE of one turn, and its history."""

import base64
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.db.models import F
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentloop.models import Project
from review.filters import SORTS
from review.models import Turn
from tests.review.support import Caller, assert_counted, caller_for, move_time, settle_index, turn_of


def listed(call: Caller, **params: Any) -> list[str]:
    answer = call("GET", f"/v1/turns?{urlencode(params, doseq=True)}")
    assert answer.status == 200, answer.body
    return [turn["question"] for turn in answer.body["turns"]]


def test_shows_a_turn_as_it_was_logged(call: Caller) -> None:
    turn_id = call.log(signals={"thumbs_down": True}, user_id="u").body["turn_id"]
    answer = call("GET", "/v1/turns")
    turn = Turn.objects.get()

    def moment(value: Any) -> str:
        return value.isoformat().replace("+00:00", "Z")

    assert (answer.status, answer.body) == (
        200,
        {
            "turns": [
                {
                    "turn_id": turn_id,
                    "status": "pending",
                    "question": "What is a loop?",
                    "agent_response": "A circle.",
                    "truncated": [],
                    "signals": {"thumbs_down": True},
                    "metadata": {},
                    "tags": [],
                    "user_id": "u",
                    "session_id": "",
                    "trace_id": "",
                    "goal": "",
                    "model": "",
                    "path_id": "",
                    "pipeline_id": "",
                    "sample_rate": None,
                    "occurrences": 1,
                    "priority": 5.0,
                    "logged_at": moment(turn.logged_at),
                    "occurred_at": moment(turn.occurred_at),
                    "last_seen_at": moment(turn.last_seen_at),
                    "expires_at": moment(turn.expires_at),
                    "claimed_by": None,
                    "claimed_until": None,
                    "snoozed_until": None,
                    "escalated_by": None,
                    "escalation_note": "",
                    "dismissed_reason": "",
                    "closed_at": None,
                }
            ],
            "next_cursor": None,
            "pending": 1,
        },
    )


@pytest.fixture
def shelf(call: Caller) -> Caller:
    """Four turns, each different in every way a filter sees."""
    call.log("one", goal="g1", model="m1", tags=["a", "b"], signals={"thumbs_down": True, "confidence": 0.2})
    call.log("two", goal="g2", user_id="u2", session_id="s2", signals={"thumbs_down": False, "confidence": 0.9})
    call.log("three", trace_id="t3", path_id="p3", pipeline_id="l3", signals={"confidence": "low", "kind": "refund"})
    call.log("four", "größer als 東京", tags=["b"], signals={"kind": "other", "n": 10**30, "a=b": 1})
    call.log("four", "größer als 東京", trace_id="t4")
    call.log("four", "größer als 東京", trace_id="t5")
    settle_index()
    return call


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({}, ["four", "three", "two", "one"]),
        ({"goal": "g1"}, ["one"]),
        ({"model": "m1"}, ["one"]),
        ({"user_id": "u2"}, ["two"]),
        ({"session_id": "s2"}, ["two"]),
        ({"trace_id": "t3"}, ["three"]),
        ({"trace_id": "t4"}, ["four"]),
        ({"trace_id": "t5"}, ["four"]),
        ({"trace_id": ["t3", "t5"]}, ["four", "three"]),
        ({"trace_id": "t6"}, []),
        ({"path_id": "p3"}, ["three"]),
        ({"pipeline_id": "l3"}, ["three"]),
        ({"tag": "b"}, ["four", "one"]),
        ({"tag": ["a", "b"]}, ["one"]),
        ({"signal": "thumbs_down"}, ["one"]),
        ({"signal": "thumbs_down=false"}, ["two"]),
        ({"signal": "confidence"}, ["three", "two", "one"]),
        ({"signal": "confidence<0.5"}, ["one"]),
        ({"signal": "confidence>=0.2"}, ["two", "one"]),
        ({"signal": ["confidence>0.1", "confidence<=0.2"]}, ["one"]),
        ({"signal": "confidence=low"}, ["three"]),
        ({"signal": "confidence!=low"}, ["two", "one"]),
        ({"signal": "kind=refund"}, ["three"]),
        ({"signal": "n>1e29"}, ["four"]),
        ({"signal": "n>1e999"}, None),
        ({"signal": "n=1e999"}, []),
        ({"signal": "n=NaN"}, []),
        ({"signal": "a"}, []),
        ({"signal": "unknown"}, []),
        ({"q": "größer"}, ["four"]),
        ({"q": "GROSSER 東京"}, ["four"]),
        ({"q": "grosser"}, ["four"]),
        ({"q": "one two"}, []),
        ({"min_occurrences": 2}, ["four"]),
        ({"status": "pending"}, ["four", "three", "two", "one"]),
        ({"status": "reviewed"}, []),
        ({"escalated": "false"}, ["four", "three", "two", "one"]),
        ({"escalated": "true"}, []),
        ({"truncated": "true"}, []),
        ({"claimed_by": "x"}, []),
        ({"logged_after": "2020-01-01"}, ["four", "three", "two", "one"]),
        ({"logged_after": "2020-01-01T00:00:00Z"}, ["four", "three", "two", "one"]),
        ({"logged_before": "2020-01-01T00:00:00Z"}, []),
        ({"expires_before": "2999-01-01T00:00:00Z", "goal": "g2"}, ["two"]),
    ],
)
def test_filters(shelf: Caller, params: dict[str, Any], found: list[str] | None) -> None:
    answer = shelf("GET", f"/v1/turns?{urlencode(params, doseq=True)}")
    if found is None:
        assert (answer.status, list(answer.body["fields"])) == (422, list(params))
    else:
        assert [turn["question"] for turn in answer.body["turns"]] == found


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=-1", "limit"),
        ("limit=x", "limit"),
        ("limit=", "limit"),
        ("limit=٣", "limit"),
        ("limit=0000000011234", "limit"),
        ("sort=best", "sort"),
        ("cursor=x", "cursor"),
        ("cursor=%ff", "cursor"),
        ("status=open", "status"),
        ("colour=red", "colour"),
        ("signal=", "signal"),
        ("signal=n<many", "signal"),
        ("q=%20", "q"),
        ("escalated=yes", "escalated"),
        ("min_occurrences=-1", "min_occurrences"),
        ("logged_after=yesterday", "logged_after"),
    ],
)
def test_names_the_bad_filter(call: Caller, query: str, field: str) -> None:
    answer = call("GET", f"/v1/turns?{quote(query, safe='=&%')}")
    assert (answer.status, answer.body["code"], list(answer.body["fields"])) == (422, "invalid", [field])
    assert field in answer.body["error"]


@pytest.mark.parametrize(
    "values",
    [
        '["priority", NaN, "x"]',
        '["priority", ' + "9" * 400 + ', "0"]',
        '["priority", 1]',
        '["newest", 5]',
        '["expiring", "then", "0"]',
        "{}",
        "5",
        "[" * 5000,
        '["newest", null]',
    ],
)
@pytest.mark.parametrize("sort", SORTS)
def test_a_made_up_cursor_is_refused(call: Caller, values: str, sort: str) -> None:
    cursor = base64.urlsafe_b64encode(values.encode()).decode().rstrip("=")
    answer = call("GET", f"/v1/turns?sort={sort}&cursor={cursor}")
    assert (answer.status, list(answer.body["fields"])) == (422, ["cursor"])


def test_a_cursor_of_another_order_is_refused(call: Caller) -> None:
    call.log("1")
    call.log("2")
    cursor = call("GET", "/v1/turns?limit=1").body["next_cursor"]
    assert call("GET", f"/v1/turns?limit=1&sort=oldest&cursor={cursor}").status == 422


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("limit", [1, 3, 7, 8])
def test_pages_visit_every_turn_once_in_order(call: Caller, sort: str, limit: int) -> None:
    for number in range(7):
        call.log(str(number), signals={"thumbs_down": True} if number % 3 == 0 else {})
    Turn.objects.update(logged_at=timezone.now(), rank=1.5, expires_at=timezone.now() + timedelta(days=1))
    Turn.objects.filter(question__in="25").update(rank=0.1 + 0.2, expires_at=timezone.now() + timedelta(days=2))
    seen: list[Turn] = []
    cursor = ""
    while cursor is not None:
        page = call("GET", f"/v1/turns?sort={sort}&limit={limit}&cursor={cursor}").body
        seen += [Turn.objects.get(question=turn["question"]) for turn in page["turns"]]
        cursor = page["next_cursor"]
    keys = {
        "priority": lambda turn: (-turn.rank, -turn.id.int),
        "newest": lambda turn: -turn.id.int,
        "oldest": lambda turn: turn.id.int,
        "expiring": lambda turn: (turn.expires_at, turn.id.int),
    }
    assert seen == sorted(Turn.objects.all(), key=keys[sort])


def test_the_queues_orders_hold_pending_turns_alone(call: Caller) -> None:
    judged = call.log("judged").body["turn_id"]
    call.log("waiting")
    call("POST", f"/v1/turns/{judged}/dismiss", {})
    assert [listed(call, sort=sort) for sort in ("priority", "expiring")] == [["waiting"]] * 2
    assert listed(call) == ["waiting", "judged"]


def test_an_expired_turn_is_gone_swept_or_not(call: Caller, project: Project) -> None:
    turn_id = call.log().body["turn_id"]
    move_time(expires_at="-31 days")
    assert [listed(call, sort=sort) for sort in SORTS] == [[], [], [], []]
    for method, path, body in (
        ("GET", "", None),
        ("DELETE", "", None),
        ("GET", "/history", None),
        ("POST", "/dismiss", {}),
        ("PUT", "/draft", {"body": {}}),
    ):
        assert call(method, f"/v1/turns/{turn_id}{path}", body).body["code"] == "turn_not_found"
    assert call("POST", "/v1/queue/claim", {"turn_id": turn_id}).body["code"] == "turn_not_found"
    assert call("POST", "/v1/queue/claim", {}).body["code"] == "queue_empty"
    assert_counted(project)


def test_the_order_is_by_signals_age_and_occurrences(call: Caller) -> None:
    call.log("old")
    Turn.objects.update(rank=F("rank") + 2.5)
    call.log("weak", signals={"agent_punted": True})
    call.log("strong", signals={"thumbs_down": True})
    for _ in range(8):
        call.log("often")
    assert listed(call, sort="priority") == ["strong", "often", "old", "weak"]


# --- one turn -------------------------------------------------------------------------------------------------


def test_reads_one_turn_with_its_reasons_and_occurrences(call: Caller) -> None:
    turn_id = call.log(signals={"thumbs_down": True, "confidence": 0.5}).body["turn_id"]
    call.log(trace_id="t2", user_id="u2", session_id="s2", goal="g", model="m", signals={"late": 1})
    move_time(logged_at="-2 days")
    shown = call("GET", f"/v1/turns/{turn_id}").body
    assert [reason["reason"] for reason in shown["reasons"]] == [
        "signal thumbs_down",
        "days waiting",
        "signal confidence",
        "signal late",
        "logged 2 times",
    ]
    assert shown["priority"] == round(sum(reason["points"] for reason in shown["reasons"]), 3)
    assert shown["priority"] == pytest.approx(10.5, abs=0.01)
    [repeated] = shown["merged_occurrences"]
    assert {name: value for name, value in repeated.items() if name != "occurred_at"} == {
        "trace_id": "t2",
        "goal": "g",
        "model": "m",
        "user_id": "u2",
        "session_id": "s2",
        "signals": {"late": 1},
    }
    assert shown["draft"] is None


def test_deletes_one_turn_with_all_that_hangs_on_it(call: Caller, project: Project) -> None:
    turn_id = call.log().body["turn_id"]
    call.log()
    settle_index()
    call("PUT", f"/v1/turns/{turn_id}/draft", {"body": {"comment": "x"}})
    call("POST", f"/v1/turns/{turn_id}/verdict", {"rating": "incorrect", "correction": "No."})
    assert call("DELETE", f"/v1/turns/{turn_id}").status == 204
    assert call("DELETE", f"/v1/turns/{turn_id}").body["code"] == "turn_not_found"
    assert call("POST", "/v1/memories/search", {"query": "loop"}).body == {"memories": []}
    assert call("GET", "/v1/annotations").body["annotations"] == []
    assert_counted(project)


def test_tells_what_was_done(call: Caller) -> None:
    turn_id = call.log().body["turn_id"]
    skipped = call("POST", f"/v1/turns/{turn_id}/skip", {"reviewer": "ann"}).body["act_id"]
    call("POST", f"/v1/acts/{skipped}/undo", {"reviewer": "ann"})
    call("POST", f"/v1/turns/{turn_id}/dismiss", {})
    acts = call("GET", f"/v1/turns/{turn_id}/history").body["acts"]
    assert [(act["act"], act["actor"].endswith("/ann"), act["undone_at"] is None) for act in acts] == [
        ("dismiss", False, True),
        ("skip", True, False),
    ]


def test_strangers_scopes_and_methods(call: Caller, stranger: Caller, project: Project) -> None:
    turn_id = call.log().body["turn_id"]
    path = f"/v1/turns/{turn_id}"
    assert stranger("GET", "/v1/turns").body == {"turns": [], "next_cursor": None, "pending": 0}
    for method, where in (("GET", path), ("DELETE", path), ("GET", f"{path}/history")):
        assert stranger(method, where).body["code"] == "turn_not_found"
    writer = caller_for(project, "ingest", "review")
    assert [writer(method, where).status for method, where in (("GET", "/v1/turns"), ("GET", path))] == [403, 403]
    assert writer("HEAD", path).status == 403
    assert caller_for(project, "read", "review")("DELETE", path).status == 403
    assert call("PUT", path, {}).status == 405
    assert turn_of(call.log()).occurrences == 2


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)


@given(name=TEXT.filter(bool), value=st.one_of(st.booleans(), st.integers(-(2**40), 2**40), TEXT), tag=TEXT, goal=TEXT)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_signal_tag_and_goal_is_found_again(call: Caller, name: str, value: Any, tag: str, goal: str) -> None:
    Turn.objects.all().delete()
    assert call.log("q", signals={name: value}, tags=[tag], goal=goal).status == 201
    turn = Turn.objects.get()
    params = {"goal": goal, "tag": turn.tags}
    if not set(name) & set("<>=!"):
        said = {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)
        params["signal"] = f"{name}={said}"
    assert listed(call, **params) == ["q"]
