"""POST /v1/feedback-urls, and spam taken out by the API and the command."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from agentloop.models import AuditEntry, Project
from feedback_widget import spam
from feedback_widget.models import Submission
from feedback_widget.upkeep import KEEP, forget_ended_links
from review.models import Annotation, Status, Turn
from routing.models import Outcome
from tests.feedback_widget.support import QUESTION, RESPONSE, Widget, visitor
from tests.review.support import Caller, assert_counted, caller_for, make_project, turn_of

PATH, REMOVALS = "/v1/feedback-urls", "/v1/feedback/removals"


def ann(annotation: Annotation) -> str:
    return f"ann_{annotation.id.hex}"


# --- links ----------------------------------------------------------------------------------------------------


def test_makes_links_that_open(call: Caller, widget: Widget) -> None:
    ids = [call.log(f"q{number}", "a").body["turn_id"] for number in range(3)]
    answer = call("POST", PATH, {"turn_ids": ids})
    assert answer.status == 200
    assert [one["turn_id"] for one in answer.body["feedback_urls"]] == ids
    for number, one in enumerate(answer.body["feedback_urls"]):
        assert f"q{number}" in widget.open("/f/" + one["feedback_url"].rpartition("/f/")[2]).content.decode()


def test_the_link_of_a_logged_turn_opens(call: Caller, widget: Widget) -> None:
    url = call.log("asked here", "a", want_feedback_url=True).body["feedback_url"]
    assert "asked here" in widget.open("/f/" + url.rpartition("/f/")[2]).content.decode()


def test_says_which_turns_are_gone(call: Caller) -> None:
    there = call.log().body["turn_id"]
    strange = caller_for(make_project("elsewhere")).log("x").body["turn_id"]
    answer = call("POST", PATH, {"turn_ids": [strange, there, "turn_x"]})
    assert [one.get("code") for one in answer.body["feedback_urls"]] == ["turn_not_found", None, "turn_not_found"]


def test_costs_two_queries_at_any_size(call: Caller) -> None:
    ids = [call.log(f"q{number}", "a").body["turn_id"] for number in range(20)]
    for count in (1, 20):
        with CaptureQueriesContext(connection) as queries:
            call("POST", PATH, {"turn_ids": ids[:count]})
        assert len(queries) == 2


def test_bad_input_names_the_field(call: Caller) -> None:
    for body in ({}, {"turn_ids": "turn_x"}, {"turn_ids": ["turn_x"] * 501}, {"turn_ids": [{}]}):
        answer = call("POST", PATH, body)
        assert (answer.status, next(iter(answer.body["fields"])).startswith("turn_ids")) == (422, True)


def test_needs_the_scope_and_a_signing_key(project: Project) -> None:
    assert caller_for(project, "read", name="reader")("POST", PATH, {"turn_ids": []}).status == 403
    keyless = caller_for(make_project("keyless"))("POST", PATH, {"turn_ids": []})
    assert (keyless.status, keyless.body["code"]) == (409, "no_signing_key")


# --- spam -----------------------------------------------------------------------------------------------------


@pytest.fixture
def spammed(widget: Widget, call: Caller) -> dict[str, Any]:
    """One honest no on a logged turn; from another address three on the same, and two on what nobody logged."""
    turn = turn_of(call.log(QUESTION, RESPONSE, trace_id="t0", goal="hours"))
    widget.send(widget.link_to(turn.id, u="honest"), "incorrect")
    widget.client = visitor()
    for number in range(3):
        widget.send(widget.link_to(turn.id, u=f"spam{number}"), "incorrect", comment="buy")
    for number in range(2):
        widget.send(widget.link(f"unlogged {number}", trace=f"t{number + 1}", goal="hours"), "incorrect")
    one = Annotation.objects.filter(user_id="spam0").get()
    return {"turn": turn, "one": one}


def test_removes_all_of_one_sender(spammed: dict[str, Any], call: Caller, project: Project) -> None:
    body = {"same_sender_as": ann(spammed["one"])}
    assert call("POST", REMOVALS, {**body, "dry_run": True}).body == {"matching": 5, "removed": 0, "left": 5}
    assert call("POST", REMOVALS, body).body == {"matching": 5, "removed": 5, "left": 0}
    assert call("POST", REMOVALS, body).body == {"matching": 0, "removed": 0, "left": 0}
    assert Annotation.objects.standing().get().user_id == "honest"
    spammed["turn"].refresh_from_db()
    assert (spammed["turn"].status, spammed["turn"].signals) == (Status.PENDING, {"user_feedback": 1})
    others = Turn.objects.exclude(id=spammed["turn"].id)
    assert set(others.values_list("status", flat=True)) == {Status.DISMISSED}
    assert list(Outcome.objects.exclude(success=None).values_list("trace_id", flat=True)) == ["t0"]
    assert AuditEntry.objects.filter(act="feedback.remove").order_by("id").first().details == {"removed": 5}
    assert_counted(project)


def test_a_removed_answer_can_not_be_changed_back(widget: Widget, call: Caller) -> None:
    link = widget.link()
    widget.send(link, "incorrect", comment="buy")
    call("POST", REMOVALS, {"annotation_ids": [ann(Annotation.objects.get())]})
    for response in (widget.send(link, "incorrect", comment="buy more"), widget.open(link)):
        assert (response.status_code, "Thank you" in response.content.decode()) == (200, True)
    assert not Annotation.objects.standing().exists()


def test_narrows_by_user_and_time(spammed: dict[str, Any], call: Caller) -> None:
    now = timezone.now()
    Annotation.objects.filter(user_id="spam1").update(created_at=now - timedelta(days=2))

    def count(**which: Any) -> int:
        return call("POST", REMOVALS, {**which, "dry_run": True}).body["matching"]

    day = f"{now - timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}"
    assert (count(user_id="spam1"), count(since=day), count(until=day)) == (1, 5, 1)
    assert count(same_sender_as=ann(spammed["one"]), since=day) == 4


def test_never_takes_a_reviewers_verdict(call: Caller) -> None:
    body = {"question": QUESTION, "agent_response": RESPONSE, "rating": "incorrect", "correction": "x"}
    given = call("POST", "/v1/annotations", body).body["annotation_id"]
    assert call("POST", REMOVALS, {"annotation_ids": [given]}).body["removed"] == 0


def test_refuses_what_says_nothing_or_names_nobody(spammed: dict[str, Any], call: Caller, project: Project) -> None:
    assert call("POST", REMOVALS, {}).status == 422
    assert call("POST", REMOVALS, {"annotation_ids": ["x"]}).status == 404
    assert call("POST", REMOVALS, {"same_sender_as": "ann_" + "0" * 32}).status == 404
    narrow = caller_for(project, "ingest", "read", "review", name="narrow")
    assert narrow("POST", REMOVALS, {"user_id": "spam1"}).status == 403
    stranger = caller_for(make_project("elsewhere"))
    assert stranger("POST", REMOVALS, {"annotation_ids": [ann(spammed["one"])]}).body["removed"] == 0


def test_in_batches(spammed: dict[str, Any], call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spam, "MOST_AT_ONCE", 2)
    assert call("POST", REMOVALS, {"same_sender_as": ann(spammed["one"])}).body == {
        "matching": 5,
        "removed": 2,
        "left": 3,
    }


def test_the_command(spammed: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    named = ["--project", "acme", "--same-sender-as", ann(spammed["one"])]
    call_command("feedback", "remove", *named, "--dry-run")
    call_command("feedback", "remove", *named)
    assert capsys.readouterr().out.splitlines() == ["5 answers would be removed.", "5 answers were removed."]
    for wrong in (
        ["--project", "acme"],
        ["--project", "acme", "--annotation", "x"],
        ["--project", "acme", "--since", "x"],
    ):
        with pytest.raises(CommandError):
            call_command("feedback", "remove", *wrong)


def test_rows_of_links_that_ended_long_ago_go(widget: Widget) -> None:
    widget.send(widget.link(), "correct")
    assert forget_ended_links() == 0
    Submission.objects.update(expires_at=timezone.now() - KEEP - timedelta(minutes=1))
    assert forget_ended_links() == 1
    assert Annotation.objects.exists()
