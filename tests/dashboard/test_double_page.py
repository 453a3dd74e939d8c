"""Double review in the dashboard: to agreement, and to an owner's decision."""

from collections.abc import Callable

import pytest
from django.test import Client

from agentloop.models import Project
from review.models import Annotation, Status, Turn
from tests.dashboard.support import Reviewer, path_of, post
from tests.review.support import Caller, turn_of

WAITS = "It counts once the verdicts on this turn agree, or an owner has decided."


@pytest.fixture
def turn(project: Project, call: Caller) -> Turn:
    project.settings |= {"double_share": 1}
    project.save()
    return turn_of(call.log("Can I return it?", "Yes.", goal="returns", model="gpt-4o", trace_id="t-1"))


def judge(client: Client, turn: Turn, rating: str, **more: str) -> str:
    post(client, path_of(turn, "claim"))
    return str(client.post(path_of(turn, "verdict"), {"rating": rating, **more}, follow=True).text)


def test_the_effect_is_shown_when_verdicts_agree(bob: Client, carol: Client, turn: Turn) -> None:
    first = judge(bob, turn, "correct")
    assert WAITS in first
    assert "begins at" not in first
    second = judge(carol, turn, "correct")
    assert WAITS not in second
    assert "returns: gpt-4o begins at" in second


def test_one_who_judged_is_told_so(bob: Client, turn: Turn) -> None:
    judge(bob, turn, "correct")
    page = bob.get(path_of(turn)).text
    assert "You have judged this turn." in page
    assert 'id="verdict"' not in page
    assert post(bob, path_of(turn, "claim")).status_code == 409


def test_the_other_sees_nothing_of_it(bob: Client, carol: Client, alice: Client, turn: Turn) -> None:
    judge(bob, turn, "incorrect", comment="bobs words", tags="bobs words", correction="bobs words")
    for client in (carol, alice):
        page = client.get(path_of(turn)).text
        assert 'id="verdict"' in page
        assert "bobs words" not in page


def test_an_owner_decides_with_both_before_them(alice: Client, bob: Client, carol: Client, turn: Turn) -> None:
    judge(bob, turn, "correct", comment="as the policy says")
    assert WAITS in judge(carol, turn, "incorrect", comment="only unopened goods")
    assert "Others see it differently" in bob.get(path_of(turn)).text
    assert "only unopened goods" not in bob.get(path_of(turn)).text
    assert "⚑ disagreement" in alice.get("/p/acme/queue/?disputed=true").text
    page = alice.get(path_of(turn)).text
    assert "as the policy says" in page
    assert "only unopened goods" in page
    assert "returns: gpt-4o begins at" in judge(alice, turn, "incorrect")
    assert [one.author_label for one in Annotation.objects.all()] == ["alice@example.com"]


def test_a_reviewer_takes_an_opinion_back(bob: Client, turn: Turn) -> None:
    judge(bob, turn, "correct")
    [act] = [one for one in bob.get(path_of(turn)).text.split('"') if "/queue/acts/" in one][:1]
    assert "Undone: opinion." in bob.post(act, follow=True).text
    assert 'id="verdict"' in bob.get(path_of(turn)).text


@pytest.mark.django_db(transaction=True)
def test_to_a_decision_in_the_browser(reviewer: Callable[..., Reviewer], project: Project, turn: Turn) -> None:
    people = []
    for name, role, key in (("bob", "reviewer", "y"), ("carol", "reviewer", "n"), ("alice", "owner", "n")):
        person = reviewer(name, role)
        page = person.opens()
        page.get_by_role("button", name="Review next").first.click()
        person.comes_to(turn.shown_id)
        person.holds_it()
        if name == "alice":
            page.get_by_role("heading", name="Reviewers disagree").wait_for()
        with page.expect_response(lambda answer: "/verdict/" in answer.url):
            person.presses(key)
        people.append(person)
    turn.refresh_from_db()
    assert turn.status == Status.REVIEWED
    assert [(one.rating, one.author_label) for one in Annotation.objects.all()] == [("incorrect", "alice@example.com")]
    assert [person.said for person in people] == [[], [], []]
