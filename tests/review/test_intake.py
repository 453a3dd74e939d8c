"""POST /v1/turns: what published clients send, read leniently."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agentloop.actors import SYSTEM
from agentloop.keys import create_signing_key
from agentloop.models import Project, RefusalCount
from agentloop.refusals import flush
from review.models import Occurrence, Turn
from tests.review.support import Caller, assert_counted, caller_for, move_time, turn_of


def refusals(project: Project) -> dict[str, int]:
    flush()
    return dict(RefusalCount.objects.filter(project=project).values_list("reason", "count"))


def test_logs_a_turn(call: Caller, project: Project) -> None:
    answer = call(
        "POST",
        "/v1/turns",
        {
            "question": "Why?",
            "agent_response": "Because.",
            "user_id": "u1",
            "session_id": "s1",
            "signals": {"thumbs_down": True, "confidence": 0.4},
            "metadata": {"locale": "de"},
            "trace_id": "t1",
            "goal": "explain",
            "model": "m",
            "path_id": "p",
            "pipeline_id": "pipe",
            "tags": ["a", "b", "a"],
            "sample_rate": 0.05,
            "occurred_at": "2026-01-02T03:04:05+01:00",
        },
    )
    turn = Turn.objects.get()
    assert (answer.status, answer.body) == (
        201,
        {"turn_id": f"turn_{turn.id.hex}", "status": "pending", "was_duplicate": False},
    )
    assert (turn.project_id, turn.question, turn.response) == (project.id, "Why?", "Because.")
    assert (turn.user_id, turn.session_id, turn.metadata) == ("u1", "s1", {"locale": "de"})
    assert (turn.trace_id, turn.goal, turn.model, turn.path_id, turn.pipeline_id) == ("t1", "explain", "m", "p", "pipe")
    assert (turn.tags, turn.sample_rate, turn.occurrences, turn.truncated) == (["a", "b"], 0.05, 1, [])
    assert turn.occurred_at == datetime(2026, 1, 2, 2, 4, 5, tzinfo=UTC)
    assert turn.reasons == {"thumbs_down": 5.0, "confidence": 1.8}
    assert turn.priority == 6.8
    assert turn.expires_at - turn.logged_at == timedelta(days=30)
    assert not Occurrence.objects.exists()


def test_works_below_the_projects_own_prefix(call: Caller, project: Project) -> None:
    body = {"question": "q", "agent_response": "a"}
    assert call("POST", "/p/acme/v1/turns", body).status == 201
    assert call("POST", "/p/elsewhere/v1/turns", body).status == 404
    assert call("POST", "/p/acme//v1/turns", body).status == 200


def test_a_stranger_logs_into_their_own_project_alone(call: Caller, stranger: Caller, project: Project) -> None:
    assert stranger.log("q", "a").body["was_duplicate"] is False
    assert call.log("q", "a").body["was_duplicate"] is False
    assert Turn.objects.of(project).count() == 1


def test_needs_a_key_with_the_scope(project: Project) -> None:
    reader = caller_for(project, "read", "review", "admin", "route")
    answer = reader.log()
    assert (answer.status, answer.body["code"]) == (403, "missing_scope")
    assert "ingest" in answer.body["error"]
    answer = Caller("al_unknown").log()
    assert (answer.status, answer.body["code"]) == (401, "unknown_key")
    assert not Turn.objects.exists()


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_takes_no_other_method(call: Caller, method: str) -> None:
    answer = call(method, "/v1/turns", {})
    assert (answer.status, answer.body["code"]) == (405, "method_not_allowed")
    assert answer.body["error"]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"question", "agent_response"}),
        ({"question": "q"}, {"agent_response"}),
        ({"question": None, "agent_response": "a"}, {"question"}),
    ],
)
def test_names_what_is_missing_and_counts_it(call: Caller, project: Project, body: Any, fields: set[str]) -> None:
    answer = call("POST", "/v1/turns", body)
    assert (answer.status, answer.body["code"], set(answer.body["fields"])) == (422, "missing_text", fields)
    assert refusals(project) == {"missing_text": 1}


@pytest.mark.parametrize("body", [b"{", b"[1]", b'"text"', b"null", b"\xff\xfe"])
def test_refuses_what_is_no_object_and_counts_it(call: Caller, project: Project, body: bytes) -> None:
    answer = call("POST", "/v1/turns", body)
    assert answer.status in (400, 422)
    assert answer.body["error"]
    assert sum(refusals(project).values()) == 1


def test_refuses_more_than_5_mb(call: Caller, project: Project) -> None:
    answer = call.log("x" * (5 * 1024 * 1024 + 1))
    assert (answer.status, answer.body["code"]) == (413, "too_large")
    assert refusals(project) == {"too_large": 1}


@pytest.mark.parametrize(("question", "response"), [("", ""), ("", "a"), (" ", "\n")])
def test_takes_empty_texts(call: Caller, question: str, response: str) -> None:
    turn = turn_of(call.log(question, response))
    assert (turn.question, turn.response) == (question, response)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (7, "7"),
        (1.5, "1.5"),
        (True, "true"),
        (["a", 1], '["a", 1]'),
        ({"role": "user", "content": "é"}, '{"role": "user", "content": "é"}'),
    ],
)
def test_keeps_odd_texts_as_json(call: Caller, value: Any, kept: str) -> None:
    turn = turn_of(call("POST", "/v1/turns", {"question": value, "agent_response": value, "user_id": value}))
    assert (turn.question, turn.response, turn.user_id) == (kept, kept, kept)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (None, {}),
        ("", {}),
        ([], {}),
        ({}, {}),
        (["thumbs_down", "late"], {"thumbs_down": True, "late": True}),
        ("bad", {"signals": "bad"}),
        (3, {"signals": 3}),
        ([1, 2], {"signals": [1, 2]}),
        ({"deep": {"a": [1, {"b": None}]}}, {"deep": {"a": [1, {"b": None}]}}),
        ({"": True}, {"": True}),
    ],
)
def test_keeps_odd_signals(call: Caller, given: Any, kept: Any) -> None:
    assert turn_of(call.log(signals=given)).signals == kept


@pytest.mark.parametrize("given", [None, "", [], {}, "text", [1], 4, {"a": {"b": [None]}}])
def test_keeps_odd_metadata(call: Caller, given: Any) -> None:
    kept = given if isinstance(given, dict) else {"metadata": given} if given else {}
    assert turn_of(call.log(metadata=given)).metadata == kept


def test_mends_what_json_readers_refuse(call: Caller) -> None:
    body = (
        rb'{"question": "a\u0000b\ud800", "agent_response": "\udfff\ud83d\ude00", "user_id": "\u0000",'
        rb' "signals": {"nan": NaN, "inf": Infinity, "minus": -Infinity, "big": 1e999, "\ud800k\u0000": "\u0000"},'
        rb' "metadata": {"\u0000": [{"\udc00": "\ud800"}]}}'
    )
    turn = turn_of(call("POST", "/v1/turns", body))
    assert (turn.question, turn.response, turn.user_id) == ("a\ufffdb\ufffd", "\ufffd\U0001f600", "\ufffd")
    assert turn.signals == {"nan": None, "inf": None, "minus": None, "big": None, "\ufffdk\ufffd": "\ufffd"}
    assert turn.metadata == {"\ufffd": [{"\ufffd": "\ufffd"}]}


def test_reads_raw_control_characters_a_byte_order_mark_and_broken_utf8(call: Caller) -> None:
    turn = turn_of(call("POST", "/v1/turns", b'\xef\xbb\xbf{"question": "a\x00\tb\xff", "agent_response": ""}'))
    assert turn.question == "a\ufffd\tb\ufffd"


@pytest.mark.parametrize(
    ("digits", "kept"),
    [
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("18446744073709551615", 2**64 - 1),
        ("1" + "0" * 30, 10**30),
        ("1" + "0" * 350, None),
        ("1" + "0" * 9000, None),
    ],
)
def test_takes_integers_of_any_size(call: Caller, digits: str, kept: int | None) -> None:
    body = f'{{"question": "q", "agent_response": "a", "signals": {{"n": {digits}}}}}'.encode()
    answer = call("POST", "/v1/turns", body)
    assert answer.status == 201
    signals = turn_of(answer).signals
    assert signals == {"n": kept}


def test_a_huge_float_reads_back_with_its_times_intact(call: Caller) -> None:
    turn_id = call.log(signals={"x": 1e308}).body["turn_id"]
    shown = call("GET", f"/v1/turns/{turn_id}").body
    assert shown["signals"] == {"x": 10**308}
    assert shown["logged_at"] == Turn.objects.get().logged_at.isoformat().replace("+00:00", "Z")


def test_keeps_deep_nesting_as_text(call: Caller) -> None:
    deep = b"[" * 900 + b"1" + b"]" * 900
    answer = call("POST", "/v1/turns", b'{"question": "q", "agent_response": "a", "signals": {"deep": ' + deep + b"}}")
    assert answer.status == 201
    assert "[nested too deep]" in str(turn_of(answer).signals)


def test_nesting_without_end_is_an_error_with_a_sentence(call: Caller) -> None:
    answer = call("POST", "/v1/turns", b'{"question": ' + b"[" * 200_000)
    assert (answer.status, answer.body["code"]) == (400, "bad_json")


@pytest.mark.parametrize("character", ["a", "é", "語", "😀"])
def test_cuts_at_a_character_and_marks_it(call: Caller, with_settings: Callable[..., Project], character: str) -> None:
    with_settings(question_limit=100, response_limit=101)
    turn = turn_of(call.log(character * 200, character * 200))
    width = len(character.encode())
    assert (turn.question, turn.response) == (character * (100 // width), character * (101 // width))
    assert turn.truncated == ["question", "response"]


def test_keeps_what_just_fits(call: Caller, with_settings: Callable[..., Project]) -> None:
    with_settings(question_limit=100)
    assert turn_of(call.log("é" * 50)).truncated == []


def test_texts_that_are_cut_alike_are_twins(call: Caller, with_settings: Callable[..., Project]) -> None:
    with_settings(question_limit=100)
    call.log("x" * 150)
    assert call.log("x" * 160).body["was_duplicate"] is True


def test_keeps_64_signals_and_16_kb_of_them(call: Caller) -> None:
    turn = turn_of(call.log("many", signals={f"s{n}": n for n in range(65)}))
    assert (sorted(turn.signals), turn.truncated) == (sorted(f"s{n}" for n in range(64)), ["signals"])
    turn = turn_of(call.log("just", signals={f"s{n}": n for n in range(64)}))
    assert (len(turn.signals), turn.truncated) == (64, [])
    turn = turn_of(call.log("large", signals={"small": 1, "large": "x" * 17_000, "after": 1}))
    assert (turn.signals, turn.truncated) == ({"small": 1}, ["signals"])


def test_keeps_64_kb_of_metadata(call: Caller) -> None:
    turn = turn_of(call.log(metadata={"small": 1, "large": "x" * 70_000}))
    assert (turn.metadata, turn.truncated) == ({"small": 1}, ["metadata"])


def test_lifts_names_out_of_metadata(call: Caller) -> None:
    metadata = {
        "kalibr_trace_id": "t",
        "goal": "g",
        "model_id": "m",
        "path_id": "p",
        "pipeline_id": "l",
        "tags": ["x"],
        "sample_rate": 0.5,
        "occurred_at": 1_700_000_000,
    }
    turn = turn_of(call.log(metadata=metadata))
    assert (turn.trace_id, turn.goal, turn.model, turn.path_id, turn.pipeline_id) == ("t", "g", "m", "p", "l")
    assert (turn.tags, turn.sample_rate) == (["x"], 0.5)
    assert turn.occurred_at == datetime.fromtimestamp(1_700_000_000, UTC)
    assert turn.metadata == metadata


def test_a_name_of_its_own_wins_over_metadata(call: Caller) -> None:
    metadata = {"goal": "inner", "trace_id": "first", "kalibr_trace_id": "second"}
    turn = turn_of(call.log(goal="outer", metadata=metadata))
    assert (turn.goal, turn.trace_id) == ("outer", "first")


@pytest.mark.parametrize("rate", [0, -1, 1.5, "half", True, [1], None])
def test_passes_over_a_sample_rate_that_is_none(call: Caller, rate: Any) -> None:
    assert turn_of(call.log(sample_rate=rate)).sample_rate is None


@pytest.mark.parametrize("moment", ["soon", 10**20, -(10**20), "9999-01-01T00:00:00Z", "2026-13-01", True, [], {}])
def test_a_time_that_cannot_be_is_the_servers(call: Caller, moment: Any) -> None:
    turn = turn_of(call.log(occurred_at=moment))
    assert turn.occurred_at == turn.logged_at


def test_cuts_names_and_tags(call: Caller) -> None:
    tags = [f"tag {n} " + "x" * 200 for n in range(40)]
    turn = turn_of(call.log(user_id="u" * 300, goal="g" * 300, tags=[*tags, None, "", 3]))
    assert (len(turn.user_id), len(turn.goal), len(turn.tags), {len(tag) for tag in turn.tags}) == (200, 200, 32, {100})


def test_answers_a_feedback_link_when_asked(call: Caller, project: Project) -> None:
    create_signing_key(project=project, actor=SYSTEM)
    assert "/f/" in call.log(want_feedback_url=True).body["feedback_url"]
    assert "feedback_url" not in call.log(want_feedback_url=False).body
    assert "/f/" in call.log(metadata={"want_feedback_url": True}).body["feedback_url"]


def test_a_missing_signing_key_leaves_out_the_link_alone(call: Caller) -> None:
    answer = call.log(want_feedback_url=True)
    assert (answer.status, set(answer.body)) == (201, {"turn_id", "status", "was_duplicate"})
    batch = call("POST", "/v1/turns/batch", {"turns": [{"question": "", "agent_response": "", "want_feedback_url": 1}]})
    assert (batch.status, batch.body["accepted"]) == (200, 1)


# --- merging --------------------------------------------------------------------------------------------------


def test_counts_the_same_turn_again(call: Caller, project: Project) -> None:
    first = call.log("Q  a", "R", signals={"thumbs_down": True}, trace_id="t1", tags=["b"], user_id="u1")
    move_time(expires_at="-1 day", last_seen_at="-1 day", logged_at="-1 day")
    second = call.log("q A ", " r", signals={"late": 2}, trace_id="t2", tags=["a"], user_id="u2", session_id="s2")
    turn = Turn.objects.get()
    assert (second.status, second.body) == (200, {**first.body, "was_duplicate": True})
    assert (turn.question, turn.response, turn.user_id, turn.trace_id) == ("Q  a", "R", "u1", "t1")
    assert (turn.occurrences, turn.signals, turn.tags) == (2, {"thumbs_down": True, "late": 2}, ["a", "b"])
    assert (turn.reasons, turn.priority) == ({"thumbs_down": 5.0, "late": 2.0}, 7.0)
    assert turn.expires_at - turn.last_seen_at == timedelta(days=30)
    repeated = Occurrence.objects.get()
    assert (repeated.turn_id, repeated.trace_id, repeated.user_id, repeated.session_id, repeated.signals) == (
        turn.id,
        "t2",
        "u2",
        "s2",
        {"late": 2},
    )
    assert_counted(project)


def test_each_trace_is_kept(call: Caller) -> None:
    for number in range(4):
        turn_id = call.log(trace_id=f"t{number}").body["turn_id"]
    shown = call("GET", f"/v1/turns/{turn_id}").body
    assert [shown["trace_id"], *(one["trace_id"] for one in shown["merged_occurrences"])] == ["t0", "t1", "t2", "t3"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Stra\u00dfe", "STRASSE"),
        ("caf\u00e9", "cafe\u0301"),
        ("\u212b", "\u00e5"),
        ("ﬁne", "FINE"),
        ("a\u00a0b", "a b"),
        ("a\x1fb", "a b"),
        ("\uff21", "a"),
        ("ΣΑΣ", "σας"),
    ],
)
def test_case_space_and_unicode_form_make_no_difference(call: Caller, one: str, other: str) -> None:
    call.log(one, one)
    assert call.log(other, other).body["was_duplicate"] is True


@pytest.mark.parametrize(("one", "other"), [("cafe", "café"), ("a b", "ab"), ("1", "2"), ("が", "か")])
def test_other_differences_do(call: Caller, one: str, other: str) -> None:
    call.log(one)
    assert call.log(other).body["was_duplicate"] is False


def test_the_bound_between_question_and_response_counts(call: Caller) -> None:
    call.log("a b", "c")
    assert call.log("a", "b c").body["was_duplicate"] is False


def test_an_expired_twin_is_not_merged_into(call: Caller, project: Project) -> None:
    first = call.log()
    move_time(expires_at="-31 days")
    second = call.log()
    assert (second.status, second.body["was_duplicate"]) == (201, False)
    assert second.body["turn_id"] != first.body["turn_id"]
    third = call.log()
    assert third.body == {**second.body, "was_duplicate": True}
    assert_counted(project)


def test_a_closed_twin_is_not_merged_into(call: Caller, project: Project) -> None:
    first = call.log().body["turn_id"]
    call("POST", f"/v1/turns/{first}/dismiss", {})
    assert call.log().body["was_duplicate"] is False
    assert_counted(project)


@pytest.mark.parametrize("act", ["claim", "snooze", "escalate", "skip"])
def test_merges_whatever_is_done_to_a_pending_turn(call: Caller, project: Project, act: str) -> None:
    first = call.log().body["turn_id"]
    if act == "claim":
        call("POST", "/v1/queue/claim", {"turn_id": first})
    else:
        call("POST", f"/v1/turns/{first}/{act}", {"until": (datetime.now(UTC) + timedelta(days=2)).isoformat()})
    before = Turn.objects.values("claimed_by", "claim_token", "snoozed_until", "escalated_by").get()
    assert call.log().body == {"turn_id": first, "status": "pending", "was_duplicate": True}
    assert Turn.objects.values("claimed_by", "claim_token", "snoozed_until", "escalated_by").get() == before
    assert_counted(project)


def test_what_a_repeated_turn_gathers_is_bounded(call: Caller) -> None:
    for number in range(12):
        call.log(signals={f"{number}-{n}-" + hashlib.sha512(bytes([number, n])).hexdigest(): True for n in range(64)})
    turn = Turn.objects.get()
    assert turn.occurrences == 12
    assert 64 * 5 <= len(turn.signals) < 64 * 12
    assert turn.priority == pytest.approx(sum(turn.reasons.values()))
