"""Spam among end users' answers: found, counted before it goes, and removed with its evidence."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from agentloop.models import AuditEntry, Project
from feedback_widget import spam
from review.models import Annotation, Status
from tests.feedback_widget.support import QUESTION, RESPONSE, Widget, visitor
from tests.review.support import Caller, caller_for, make_project, member, turn_of

PAGE, REMOVE = "/p/acme/settings/widget/answers/", "/p/acme/settings/widget/answers/remove/"
MARKUP = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


def as_member(project: Project, name: str, role: str) -> Client:
    member(project, name, role)
    client = Client()
    client.force_login(User.objects.get(username=f"{name}@example.com"))
    return client


@pytest.fixture
def alice(project: Project) -> Client:
    return as_member(project, "alice", "owner")


@pytest.fixture
def spammed(widget: Widget, call: Caller) -> Annotation:
    """An honest no, and from another address three that are none; answers one of the three."""
    turn = turn_of(call.log(QUESTION, RESPONSE, trace_id="t0", goal="hours"))
    widget.send(widget.link_to(turn.id, u="honest"), "incorrect")
    widget.client = visitor()
    for number in range(3):
        widget.send(widget.link(f"unlogged {number}", u=f"spam{number}"), "incorrect", comment="buy")
    return Annotation.objects.get(user_id="spam0")


def test_lists_what_was_said_with_how_many_came_from_each_address(alice: Client, spammed: Annotation) -> None:
    text = alice.get(PAGE).text
    assert text.count("3 from this address") == 3
    assert "honest" in text
    found = alice.get(PAGE, {"sender": spammed.shown_id}).text
    assert ("spam2" in found, "honest" in found) == (True, False)
    assert "honest" not in alice.get(PAGE, {"user_id": "spam1"}).text
    tomorrow = f"{timezone.now() + timedelta(days=1):%Y-%m-%d}"
    assert "Nothing matches" in alice.get(PAGE, {"since": tomorrow}).text
    assert "spam1" in alice.get(PAGE, {"until": f"{timezone.now():%Y-%m-%d}"}).text


def test_the_count_comes_before_the_removal(alice: Client, spammed: Annotation, project: Project) -> None:
    said = {"choice": "all", "sender": spammed.shown_id}
    asked = alice.post(REMOVE, said).text
    assert "Remove 3 answers?" in asked
    assert "3 said incorrect." in asked
    assert Annotation.objects.standing().count() == 4
    answer = alice.post(REMOVE, {**said, "sure": "yes"})
    assert answer["Location"] == PAGE
    text = alice.get(PAGE).text
    assert "3 answers removed." in text
    assert Annotation.objects.standing().get().user_id == "honest"
    assert spammed.turn
    spammed.turn.refresh_from_db()
    assert spammed.turn.status == Status.DISMISSED
    noted = AuditEntry.objects.get(project=project, act="feedback.remove")
    assert noted.details == {"removed": 3}
    assert "Nothing to remove" in alice.post(REMOVE, said).text


def test_chosen_ones_alone(alice: Client, spammed: Annotation) -> None:
    said = {"choice": "chosen", "annotation": [spammed.shown_id]}
    asked = alice.post(REMOVE, said).text
    assert "Remove 1 answer?" in asked
    assert f'name="annotation" value="{spammed.shown_id}"' in asked
    alice.post(REMOVE, {**said, "sure": "yes"})
    assert Annotation.objects.standing().count() == 3


@pytest.mark.parametrize("said", [{}, {"choice": "all"}, {"choice": "chosen"}, {"choice": "all", "since": "soon"}])
def test_nothing_chosen_removes_nothing(alice: Client, spammed: Annotation, said: dict[str, str]) -> None:
    assert alice.post(REMOVE, {**said, "sure": "yes"})["Location"] == PAGE
    assert "Choose the answers first." in alice.get(PAGE).text
    assert Annotation.objects.standing().count() == 4


def test_more_than_fit_go_in_rounds(alice: Client, spammed: Annotation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spam, "MOST_AT_ONCE", 2)
    said = {"choice": "all", "sender": spammed.shown_id, "sure": "yes"}
    answer = alice.post(REMOVE, said)
    assert answer["Location"] == f"{PAGE}?sender={spammed.shown_id}"
    assert "2 answers removed. 1 more match" in alice.get(answer["Location"]).text
    alice.post(REMOVE, said)
    assert Annotation.objects.standing().get().user_id == "honest"


def test_others_answers_are_never_reached(alice: Client, spammed: Annotation, widget: Widget) -> None:
    other = make_project("elsewhere")
    eve = as_member(other, "eve", "owner")
    at_theirs = REMOVE.replace("acme", "elsewhere")
    eve.post(at_theirs, {"choice": "chosen", "annotation": [spammed.shown_id], "sure": "yes"})
    assert eve.post(at_theirs, {"choice": "all", "sender": spammed.shown_id, "sure": "yes"}).status_code == 404
    assert eve.get(PAGE.replace("acme", "elsewhere"), {"sender": spammed.shown_id}).status_code == 404
    assert Annotation.objects.standing().count() == 4


@pytest.mark.parametrize("role", ["reviewer", "viewer"])
def test_only_owners_reach_it_as_by_the_api(project: Project, spammed: Annotation, role: str) -> None:
    client = as_member(project, "bob", role)
    said = {"choice": "chosen", "annotation": [spammed.shown_id], "sure": "yes"}
    assert (client.get(PAGE).status_code, client.post(REMOVE, said).status_code) == (403, 403)
    assert "Remove spam" not in client.get("/p/acme/annotations/").text
    assert Annotation.objects.standing().count() == 4


def test_what_users_wrote_is_text(alice: Client, widget: Widget) -> None:
    widget.send(widget.link(MARKUP, u=MARKUP), "incorrect", comment=MARKUP, correction=MARKUP)
    for text in (alice.get(PAGE).text, alice.get(PAGE, {"user_id": MARKUP}).text):
        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert "&lt;script&gt;" in text


def test_as_many_queries_for_many(alice: Client, widget: Widget) -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert alice.get(PAGE).status_code == 200
        return len(captured)

    widget.send(widget.link("one"), "incorrect")
    before = count()
    for number in range(12):
        widget.send(widget.link(f"more {number}"), "incorrect")
    assert count() == before <= 6


def test_pages_on(alice: Client, widget: Widget, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("feedback_widget.answers_page.PAGE", 2)
    for number in range(3):
        widget.send(widget.link(f"question {number}"), "correct")
    first = alice.get(PAGE)
    assert ("question 0" in first.text, "question 2" in first.text) == (False, True)
    assert "question 0" in alice.get(f"{PAGE}?{first.context['further']}").text


def test_a_key_has_no_page(project: Project) -> None:
    assert caller_for(project).client.get(PAGE).status_code == 302
