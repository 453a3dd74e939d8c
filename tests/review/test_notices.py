"""What happens to turns is told, in its own transaction, without a word of what was said."""

import json
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agentloop.actors import SYSTEM
from agentloop.models import OutboxMessage, Project
from agentloop.outbox import add_webhook
from review import upkeep
from review.models import AnnotationSource
from review.verdicts import Verdict, annotate
from tests.review.support import Caller, move_time

TEXT = "a text that must not leave"


@pytest.fixture
def heard(project: Project) -> Project:
    add_webhook(project, SYSTEM, url="https://example.com", secret="s" * 16)
    return project


def told() -> list[tuple[str, dict[str, Any]]]:
    """Every event with its data, the oldest first; then they are forgotten."""
    found = [(one.event, one.body["data"]) for one in OutboxMessage.objects.order_by("id")]
    assert TEXT not in json.dumps(found)
    OutboxMessage.objects.all().delete()
    return found


def events() -> list[str]:
    return [event for event, _ in told()]


def test_new_turns_and_gained_signals_are_told(heard: Project, call: Caller) -> None:
    turn = call.log(TEXT, TEXT, signals={"thumbs_down": TEXT}, metadata={"goal": "book"}).body["turn_id"]
    [(event, data)] = told()
    assert (event, data["turn_id"], data["signals"], data["goal"]) == ("turn.created", turn, ["thumbs_down"], "book")
    call.log(TEXT, TEXT, signals={"thumbs_down": True})
    assert events() == []
    call.log(TEXT, TEXT, signals={"thumbs_down": True, "confidence": 0.2})
    [(event, data)] = told()
    assert (event, data["turn_id"], data["signals"]) == ("turn.signal", turn, ["confidence"])


def test_a_batch_tells_of_each_turn_once(heard: Project, call: Caller) -> None:
    one = {"question": "q", "agent_response": TEXT}
    turns = [{**one, "signals": {"a": 1}}, {**one, "signals": {"b": 1}}, {**one, "question": "other"}]
    call("POST", "/v1/turns/batch", {"turns": turns})
    assert sorted(events()) == ["turn.created", "turn.created", "turn.signal"]


def test_a_repeated_request_tells_nothing_again(heard: Project, call: Caller) -> None:
    for _ in range(2):
        call.log(idempotency_key="k", signals={"a": 1})
    assert events() == ["turn.created"]


def test_verdicts_are_told_when_given_changed_and_undone(heard: Project, call: Caller) -> None:
    turn = call.log(metadata={"goal": "book"}).body["turn_id"]
    given = call("POST", f"/v1/turns/{turn}/verdict", {"rating": "incorrect", "comment": TEXT, "correction": TEXT}).body
    edited = call("PATCH", f"/v1/annotations/{given['annotation_id']}", {"rating": "partial"}).body
    call("POST", f"/v1/acts/{edited['act_id']}/undo")
    call("POST", f"/v1/acts/{given['act_id']}/undo")
    found = told()
    assert [event for event, _ in found] == [
        "turn.created", "verdict.given", "verdict.changed", "verdict.changed", "verdict.undone",
    ]  # fmt: skip
    assert [data["rating"] for _, data in found[1:]] == ["incorrect", "partial", "incorrect", "incorrect"]
    assert found[1][1]["message"] == "key said incorrect of book."


def test_an_end_users_word_is_told_as_theirs(heard: Project, call: Caller) -> None:
    annotate(heard, SYSTEM, "q", "a", Verdict("incorrect", comment=TEXT), source=AnnotationSource.END_USER)
    [(_, data)] = told()
    assert (data["message"], data["source"]) == ("An end user said incorrect.", "end_user")


def test_an_escalation_is_told_without_its_note(heard: Project, call: Caller) -> None:
    turn = call.log().body["turn_id"]
    call("POST", f"/v1/turns/{turn}/escalate", {"note": TEXT})
    assert [(event, data.get("turn_id")) for event, data in told()][1:] == [("turn.escalated", turn)]


def test_a_queue_about_to_expire_is_told_once_a_day(heard: Project, call: Caller) -> None:
    for number in range(3):
        call.log(f"q{number}")
    told()
    upkeep.sweep_expired()
    assert events() == []
    move_time(expires_at="-29 days -12 hours")
    for _ in range(2):
        upkeep.sweep_expired()
    [(event, data)] = told()
    assert (event, data["count"], data["message"]) == ("queue.expiring", 3, "3 turns expire within a day.")


def test_what_nobody_takes_costs_intake_nothing(project: Project, call: Caller) -> None:
    call.log("first")
    with CaptureQueriesContext(connection) as quiet:
        call.log("second")
    assert not [one for one in quiet.captured_queries if "outbox" in one["sql"] or "webhook" in one["sql"]]
    assert not OutboxMessage.objects.exists()
