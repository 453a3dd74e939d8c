"""The rubric in the dashboard: owners write it, reviewers answer it, with and without a script."""

from typing import Any

import pytest
from django.test import Client

from agentloop.models import Project
from review.models import Annotation, Draft, Rubric
from tests.dashboard.support import QUESTIONS, elements, path_of, post
from tests.review.support import Caller, turn_of

PAGE = "/p/acme/settings/rubric/"


@pytest.fixture
def rubric(project: Project) -> Rubric:
    return Rubric.objects.create(project=project, version=1, questions=QUESTIONS, author="system")


def form_of(html: str) -> dict[str, Any]:
    """What a browser would send of the verdict's questions untouched."""
    hidden: dict[str, Any] = {}
    for tag, attrs in elements(html):
        if tag == "input" and attrs.get("type") == "hidden" and attrs.get("name", "").startswith("rubric."):
            hidden.setdefault(attrs["name"], []).append(attrs["value"])
    return hidden


# --- owners ---------------------------------------------------------------------------------------------------


def written(*questions: dict[str, Any], after: int = 0, do: str = "save") -> dict[str, Any]:
    data: dict[str, Any] = {"after": after, "do": do, "place": range(len(questions))}
    for place, question in enumerate(questions):
        data |= {f"{name}.{place}": value for name, value in question.items()}
    return data


def test_an_owner_writes_it(alice: Client) -> None:
    answer = alice.post(
        PAGE,
        written(
            {"text": "Was it polite?", "kind": "boolean"},
            {"text": "Was it polite?", "kind": "choice", "options": "warm\r\n\r\n cold "},
            {"key": "depth", "text": "Tiefe?", "kind": "number", "low": "1", "high": "5", "step": "0.5"},
            {"text": "2. Grüße?", "kind": "text"},
        ),
    )
    assert answer.status_code == 302
    saved = Rubric.objects.get()
    assert saved.questions == [
        {"key": "was_it_polite", "text": "Was it polite?", "kind": "boolean"},
        {"key": "was_it_polite_2", "text": "Was it polite?", "kind": "choice", "options": ["warm", "cold"]},
        {"key": "depth", "text": "Tiefe?", "kind": "number", "low": 1, "high": 5, "step": 0.5},
        {"key": "gr_e", "text": "2. Grüße?", "kind": "text"},
    ]
    page = alice.get(PAGE).text
    assert "version 1 is asked from now on" in page
    assert 'value="was_it_polite_2"' in page


def test_adding_moving_and_removing_keep_nothing(alice: Client, rubric: Rubric) -> None:
    two = [{"key": "a", "text": "A?", "kind": "text"}, {"key": "b", "text": "B?", "kind": "text"}]
    assert alice.post(PAGE, written(*two, after=1, do="add")).text.count('name="place"') == 3
    moved = alice.post(PAGE, written(*two, after=1, do="up:1")).text
    assert moved.index('value="B?"') < moved.index('value="A?"')
    assert 'value="A?"' not in alice.post(PAGE, written(*two, after=1, do="remove:0")).text
    assert Rubric.objects.count() == 1


def test_what_is_wrong_stands_beside_its_question(alice: Client) -> None:
    answer = alice.post(PAGE, written({"text": "Fine?", "kind": "text"}, {"text": "Which?", "kind": "choice"}))
    assert answer.status_code == 422
    assert "Question 2 needs 2 to 30 different options" in answer.text
    assert "This needs 2 to 30 different options" in answer.text
    assert not Rubric.objects.exists()


def test_two_owners_do_not_undo_each_other(alice: Client, rubric: Rubric) -> None:
    answer = alice.post(PAGE, written({"text": "Late?", "kind": "text"}, after=0))
    assert answer.status_code == 422
    assert "Somebody else has changed the rubric" in answer.text


@pytest.mark.parametrize("method", ["get", "post"])
def test_nobody_else_may(bob: Client, vera: Client, method: str) -> None:
    assert getattr(bob, method)(PAGE).status_code == 403
    assert getattr(vera, method)(PAGE).status_code == 403


# --- reviewers ------------------------------------------------------------------------------------------------


def test_a_verdict_answers_it(bob: Client, call: Caller, rubric: Rubric) -> None:
    turn = turn_of(call.log())
    form = form_of(bob.get(path_of(turn)).text)
    answers = {"polite": "yes", "tone": "1", "missing": ["0", "2"], "depth": "2.5", "note": "not_applicable"}
    said = {**form, **{f"rubric.{key}": value for key, value in answers.items()}}
    post(bob, path_of(turn, "verdict"), rating="correct", correction=turn.response, **said)
    assert Annotation.objects.get().rubric == {
        "version": 1,
        "answers": {
            "polite": True,
            # Named like a reason for no answer, and yet an option; so is what was typed.
            "tone": "cant_tell",
            "missing": ["facts", "prices"],
            "depth": 2.5,
            "note": "not_applicable",
        },
    }


def test_no_answer_is_chosen_for_each_kind(bob: Client, call: Caller, rubric: Rubric) -> None:
    turn = turn_of(call.log())
    form = form_of(bob.get(path_of(turn)).text)
    said = {
        **form,
        "rubric.polite": "cant_tell",
        "rubric.tone": "not_applicable",
        **{f"rubric.{key}.none": "not_applicable" for key in ("missing", "depth", "note")},
        "rubric.note": "typed before",
    }
    post(bob, path_of(turn, "verdict"), rating="correct", correction=turn.response, **said)
    answers = Annotation.objects.get().rubric["answers"]
    assert answers.pop("polite") == {"no_answer": "cant_tell"}
    assert answers == {key: {"no_answer": "not_applicable"} for key in ("tone", "missing", "depth", "note")}


def test_questions_passed_over_are_no_answers(bob: Client, call: Caller, rubric: Rubric) -> None:
    turn = turn_of(call.log())
    form = form_of(bob.get(path_of(turn)).text)
    post(bob, path_of(turn, "verdict"), rating="correct", correction=turn.response, **form)
    assert Annotation.objects.get().rubric == {}


def test_an_answer_that_does_not_fit_is_said(bob: Client, call: Caller, rubric: Rubric) -> None:
    turn = turn_of(call.log())
    form = form_of(bob.get(path_of(turn)).text)
    answer = post(bob, path_of(turn, "verdict"), rating="correct", **{**form, "rubric.depth": "7"})
    assert answer.status_code == 422
    assert "rubric.depth takes a number from 1 to 5 in steps of 0.5." in answer.text
    assert not Annotation.objects.exists()


def test_a_draft_keeps_the_answers(bob: Client, call: Caller, rubric: Rubric) -> None:
    turn = turn_of(call.log())
    form = form_of(bob.get(path_of(turn)).text)
    post(bob, path_of(turn, "draft"), **{**form, "rubric.missing": ["1"], "rubric.depth": "9"})
    assert Draft.objects.get().body["rubric"]["answers"] == {"missing": ["links"], "depth": 9}
    fields = [attrs for tag, attrs in elements(bob.get(path_of(turn)).text) if tag == "input"]
    assert [one["value"] for one in fields if one.get("name") == "rubric.missing" and "checked" in one] == ["1"]
    assert [one["value"] for one in fields if one.get("name") == "rubric.depth"] == ["9"]


# --- in a browser ---------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_in_a_browser(reviewer: Any, call: Caller, project: Project) -> None:
    owner = reviewer("alice", "owner")
    page = owner.opens(PAGE)
    page.get_by_role("button", name="Add a question").click()
    page.get_by_label("Question 1").fill("Which tone?")
    assert not page.get_by_label("Options, one on each line").is_visible()
    page.get_by_label("Answered with").select_option("choice")
    page.get_by_label("Options, one on each line").fill("warm\ncold")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("version 1 is asked from now on").wait_for()

    turn = turn_of(call.log())
    bob = reviewer("bob")
    desk = bob.opens(path_of(turn))
    desk.get_by_label("Which tone?").select_option("cold")
    with desk.expect_response(lambda answer: "/verdict/" in answer.url):
        desk.get_by_role("button", name="Accept").click()
    assert Annotation.objects.get().rubric == {"version": 1, "answers": {"which_tone": "cold"}}
    assert owner.said == bob.said == []


# --- afterwards -----------------------------------------------------------------------------------------------
TOLD: dict[str, tuple[Any, str]] = {
    "polite": (True, "Yes"),
    "tone": ({"no_answer": "not_applicable"}, "Not applicable"),
    "missing": (["facts", "prices"], "facts, prices"),
    "depth": (2.5, "2.5"),
    "note": ("<b>so</b>", "&lt;b&gt;so&lt;/b&gt;"),
}


def test_what_was_answered_is_told_with_its_question_as_it_was_asked(
    bob: Client, call: Caller, project: Project, rubric: Rubric
) -> None:
    turn = turn_of(call.log())
    given = {"rating": "partial", "rubric": {"version": 1, "answers": {key: said for key, (said, _) in TOLD.items()}}}
    assert call("POST", f"/v1/turns/{turn.shown_id}/verdict", given).status == 201
    Rubric.objects.create(project=project, version=2, questions=[{**QUESTIONS[0], "text": "Anew?"}], author="system")
    told = bob.get(path_of(turn)).text.partition('id="past-title"')[2].partition("</section>")[0]
    asked = {one["key"]: one["text"] for one in QUESTIONS}
    for key, (_, words) in TOLD.items():
        assert f'<dt dir="auto">{asked[key]}</dt><dd dir="auto">{words}</dd>' in told
    assert "Anew?" not in told


def test_it_stands_among_the_settings(alice: Client) -> None:
    page = alice.get(PAGE).text
    assert 'aria-label="Settings"' in page
    assert f'<a href="{PAGE}" aria-current="page">Rubric</a>' in page
