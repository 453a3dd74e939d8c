"""Gold turns in the dashboard: owners make them, reviewers can't tell them, and everybody sees what they may."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import F
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from agentloop.models import Project
from review.models import Annotation, GoldAnswer, GoldTurn, Status, Turn
from tests.dashboard.support import Reviewer, path_of, post
from tests.review.support import Caller, turn_of

PAGE = "/p/acme/quality/gold/"
WRITTEN = {"question": "When do you open?", "response": "At noon.", "rating": "incorrect", "explanation": "At nine."}


@pytest.fixture
def always(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.settings |= {"gold_share": 0.5}
    project.save()
    monkeypatch.setattr("review.gold.random.random", lambda: 0.0)


def gold_of(project: Project, **more: Any) -> GoldTurn:
    columns = {"question": "When?", "response": "Now.", "rating": "incorrect", "author": "x", **more}
    return GoldTurn.objects.create(project=project, content_hash=uuid4(), **columns)


def answered(project: Project, ref: str, said: str, count: int, label: str = "") -> None:
    for _ in range(count):
        gold = gold_of(project, retired_at=timezone.now())
        GoldAnswer.objects.create(
            project=project,
            gold=gold,
            actor=ref,
            actor_label=label,
            rating=said,
            known="incorrect",
            answered_at=timezone.now(),
        )


def ref_of(name: str) -> str:
    return f"user:{User.objects.get(username=f'{name}@example.com').pk}"


# --- owners ---------------------------------------------------------------------------------------------------


def test_an_owner_makes_one_of_a_judged_turn(alice: Client, call: Caller) -> None:
    turn = turn_of(call.log("Can I return it?", "No."))
    make = path_of(turn, "gold")
    assert make not in alice.get(path_of(turn)).text
    call("POST", f"/v1/turns/{turn.shown_id}/verdict", {"rating": "incorrect", "correction": "Within 30 days."})
    assert make in alice.get(path_of(turn)).text
    assert make in alice.get("/p/acme/annotations/").text
    page = alice.post(make, follow=True).text
    assert "it is a gold turn" in page
    assert "Can I return it?" in page
    assert "Within 30 days." in page
    assert "not answered yet" in page
    assert alice.post(make).status_code == 409


def test_an_owner_writes_one_by_hand(alice: Client) -> None:
    wrong = alice.post(PAGE, {**WRITTEN, "question": " ", "rating": "good"})
    assert wrong.status_code == 422
    assert wrong.text.count("errorlist") == 2
    assert not GoldTurn.objects.exists()
    assert "The gold turn is written." in alice.post(PAGE, WRITTEN, follow=True).text
    assert "by hand" in alice.get(PAGE).text
    again = alice.post(PAGE, WRITTEN)
    assert (again.status_code, "are a gold turn already" in again.text) == (422, True)


def test_an_owner_retires_and_removes(alice: Client, project: Project) -> None:
    gold = gold_of(project)
    assert "Retired</h2>" in alice.post(f"{PAGE}{gold.shown_id}/retire/", follow=True).text
    assert gold.question not in alice.post(f"{PAGE}{gold.shown_id}/remove/", follow=True).text
    assert not GoldTurn.objects.exists()


def test_the_page_says_whether_any_is_given(alice: Client, project: Project) -> None:
    assert "None is given out yet" in alice.get(PAGE).text
    project.settings |= {"gold_share": 0.05}
    project.save()
    assert "<b>5 %</b> of reviewers&#x27; claims" in alice.get(PAGE).text.replace("reviewers'", "reviewers&#x27;")


def test_reviewers_and_viewers_find_nothing(bob: Client, vera: Client, call: Caller, project: Project) -> None:
    gold = gold_of(project)
    turn = turn_of(call.log())
    call("POST", f"/v1/turns/{turn.shown_id}/verdict", {"rating": "correct"})
    for client in (bob, vera):
        refused = [
            client.get(PAGE),
            client.post(PAGE, WRITTEN),
            client.post(f"{PAGE}{gold.shown_id}/retire/"),
            client.post(f"{PAGE}{gold.shown_id}/remove/"),
            client.post(path_of(turn, "gold")),
        ]
        assert [one.status_code for one in refused] == [403] * 5
        assert "gold" not in client.get(path_of(turn)).text
        assert "gold" not in client.get("/p/acme/annotations/").text
    assert [one.retired_at for one in GoldTurn.objects.all()] == [None]
    assert "/quality/gold/" not in bob.get("/p/acme/quality/").text


def test_the_page_costs_the_same_however_many_there_are(alice: Client, project: Project) -> None:
    counts = []
    for _ in range(2):
        with CaptureQueriesContext(connection) as captured:
            alice.get(PAGE)
        counts.append(len(captured))
        answered(project, "bob", "correct", 20)
        for _ in range(20):
            gold_of(project)
    assert counts[0] == counts[1] <= 12


# --- reviewers ------------------------------------------------------------------------------------------------


def like(page: str, turn: Turn) -> str:
    """A page without what differs from one turn to the next: ids, tokens, times, texts and figures."""
    page = re.sub(
        r'value="[^"]{20,}"|token" value="\d+"|act_\w+|datetime="[^"]+"|width="[^"]+"|>[^<>]*\d[^<>]*<',
        "",
        page.replace(turn.shown_id, ""),
    )
    return re.sub(r"\s+", " ", page.replace(turn.question, "").replace(turn.response, ""))


def test_a_reviewers_page_of_one_is_like_any_other(bob: Client, call: Caller, project: Project, always: None) -> None:
    gold_of(project, question="Eine Frage", response="Eine Antwort")
    call.log("Noch eine Frage", "Noch eine Antwort", signals={"thumbs_down": True}, model="m", goal="g")
    Turn.objects.update(logged_at=timezone.now() - timedelta(days=1), rank=F("rank") + 1)
    for _ in range(2):
        post(bob, "/p/acme/queue/next/")
    copy, other = Turn.objects.exclude(gold_for="").get(), Turn.objects.of(project).get()
    pages = [bob.get(path_of(turn)).text for turn in (copy, other)]
    assert "gold" not in pages[0].lower()
    desks = [page[page.index('id="work"') :] for page in pages]
    assert like(desks[0], copy) == like(desks[1], other)


def test_what_was_known_is_said_after_the_verdict(bob: Client, call: Caller, project: Project, always: None) -> None:
    gold_of(project, explanation="It opens at nine.", root_cause="model")
    call.log("Another?")
    post(bob, "/p/acme/queue/next/")
    copy = Turn.objects.exclude(gold_for="").get()
    said = bob.post(path_of(copy, "verdict"), {"rating": "correct"}, follow=True).text
    assert "This was a gold turn" in said
    assert "Your team says incorrect. It opens at nine." in said
    page = bob.get(path_of(copy)).text
    assert "Your team's answer is another:" in page
    assert "you</b>" not in page
    assert "first said correct" in page
    assert not Annotation.objects.exists()


def test_an_undo_opens_it_again(bob: Client, call: Caller, project: Project, always: None) -> None:
    gold_of(project)
    call.log("Another?")
    post(bob, "/p/acme/queue/next/")
    copy = Turn.objects.exclude(gold_for="").get()
    said = bob.post(path_of(copy, "verdict"), {"rating": "correct"}, follow=True).text
    [undo] = {one for one in said.split('"') if "/queue/acts/" in one}
    page = bob.post(undo, follow=True).text
    assert "Undone: verdict." in page
    assert 'id="verdict"' in page
    assert "team's answer" not in page


def test_the_memory_of_the_original_does_not_tell(bob: Client, call: Caller, project: Project, always: None) -> None:
    turn = turn_of(call.log("When does the shop open?", "At noon."))
    call("POST", f"/v1/turns/{turn.shown_id}/verdict", {"rating": "incorrect", "correction": "It opens at nine."})
    call("POST", "/v1/gold", {"turn_id": turn.shown_id})
    same = turn_of(call.log("When does the shop open?", "At ten."))
    assert "It opens at nine." in bob.get(path_of(same)).text
    post(bob, "/p/acme/queue/next/")
    copy = Turn.objects.exclude(gold_for="").get()
    assert "It opens at nine." not in bob.get(path_of(copy)).text


def test_bulk_acts_reach_ones_own(bob: Client, alice: Client, call: Caller, project: Project, always: None) -> None:
    gold_of(project)
    call.log("Another?")
    post(bob, "/p/acme/queue/next/")
    copy = Turn.objects.exclude(gold_for="").get()
    for client, status in ((alice, Status.PENDING), (bob, Status.REVIEWED)):
        client.post("/p/acme/queue/bulk/run/", {"act": "verdict", "rating": "incorrect", "turn": copy.shown_id})
        copy.refresh_from_db()
        assert copy.status == status
    assert GoldAnswer.objects.get().is_right


# --- how often one is right -----------------------------------------------------------------------------------


def test_owners_see_everybody_and_reviewers_themselves(
    alice: Client, bob: Client, carol: Client, project: Project
) -> None:
    answered(project, ref_of("bob"), "incorrect", 21)
    answered(project, ref_of("bob"), "correct", 3)
    answered(project, ref_of("carol"), "partial", 2)
    owners = alice.get("/p/acme/quality/").text
    assert "21 of 24" in owners
    assert "88 %" in owners
    assert "69 to 96 %" in owners
    assert "0 of 2" in owners
    assert "Too few to say: it takes 20 answers." in owners
    own = bob.get("/p/acme/quality/").text
    assert "How often you are right" in own
    assert "21 of 24" in own
    assert "carol" not in own
    assert "0 of 2" not in own
    assert "21 of 24" not in carol.get("/p/acme/quality/").text


# --- in the browser -------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_from_making_to_accuracy_in_the_browser(
    reviewer: Callable[..., Reviewer], call: Caller, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = turn_of(call.log("Can I return it?", "No.", signals={"thumbs_down": True}))
    call("POST", f"/v1/turns/{turn.shown_id}/verdict", {"rating": "incorrect", "correction": "Within 30 days."})
    alice = reviewer("alice", "owner")
    page = alice.opens(path_of(turn))
    page.get_by_role("button", name="Make it a gold turn").click()
    page.get_by_role("heading", name="Gold turns").wait_for()
    project.settings |= {"gold_share": 0.5}
    project.save()
    monkeypatch.setattr("review.gold.random.random", lambda: 0.0)
    other = turn_of(call.log("And this one?", "Yes."))
    bob = reviewer("bob")
    page = bob.opens()
    page.get_by_role("button", name="Review next").first.click()
    page.get_by_role("heading", name="Response").wait_for()
    bob.leaves("")
    bob.holds_it()
    copy = Turn.objects.exclude(gold_for="").get()
    assert bob.turn == copy.shown_id
    page.get_by_text("Can I return it?").first.wait_for()
    with page.expect_response(lambda answer: "/verdict/" in answer.url):
        bob.presses("n")
    bob.comes_to(other.shown_id)
    page.get_by_text("This was a gold turn").wait_for()
    assert GoldAnswer.objects.get().is_right
    page = bob.opens("/p/acme/quality/")
    page.get_by_text("1 of 1").wait_for()
    assert [alice.said, bob.said] == [[], []]
