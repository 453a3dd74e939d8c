"""The rubric: its versions, what its questions take, and where the answers go."""

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentloop.models import AuditEntry, Project
from review import rubrics
from review.models import Annotation, Rubric
from tests.review.support import Caller, caller_for

POLITE = {"key": "polite", "text": "Was it polite?", "kind": "boolean"}
TONE = {"key": "tone", "text": "Which tone?", "kind": "choice", "options": ["warm", "cold"]}
MISSING = {"key": "missing", "text": "What was missing?", "kind": "choices", "options": ["facts", "links", "prices"]}
DEPTH = {"key": "depth", "text": "How deep?", "kind": "number", "low": 1, "high": 5, "step": 0.5}
NOTE = {"key": "note", "text": "Anything else?", "kind": "text"}
ALL = [POLITE, TONE, MISSING, DEPTH, NOTE]
GOOD = {"polite": True, "tone": "warm", "missing": ["facts", "links"], "depth": 2.5, "note": "Fine."}


@pytest.fixture
def rubric(call: Caller) -> Any:
    return call("PUT", "/v1/rubric", {"questions": ALL}).body


def judge(call: Caller, rubric: Any, question: str = "Q?") -> Any:
    turn = call.log(question).body["turn_id"]
    return call("POST", f"/v1/turns/{turn}/verdict", {"rating": "correct", "rubric": rubric})


def test_a_project_begins_without_questions(call: Caller) -> None:
    assert call("GET", "/v1/rubric").body == {"version": 0, "questions": []}


def test_each_change_makes_a_version_and_the_same_again_makes_none(call: Caller, rubric: Any) -> None:
    assert rubric == {"version": 1, "questions": ALL}
    assert call("PUT", "/v1/rubric", {"questions": ALL}).body["version"] == 1
    assert call("PUT", "/v1/rubric", {"questions": [POLITE]}).body == {"version": 2, "questions": [POLITE]}
    assert call("GET", "/v1/rubric").body["version"] == 2
    assert list(AuditEntry.objects.filter(act="rubric.change").values_list("details__version", flat=True)) == [1, 2]


def test_a_change_after_an_old_version_is_refused(call: Caller, rubric: Any) -> None:
    call("PUT", "/v1/rubric", {"questions": [POLITE]})
    late = call("PUT", "/v1/rubric", {"questions": [NOTE], "after": 1})
    assert (late.status, late.body["code"]) == (409, "rubric_moved")
    assert call("PUT", "/v1/rubric", {"questions": [NOTE], "after": 2}).body["version"] == 3


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ({**POLITE, "key": "Polite"}, "needs a key of small letters"),
        ({**POLITE, "text": " "}, "needs a text"),
        ({**POLITE, "kind": "stars"}, "has a kind that is none of boolean, choice, choices, number, text."),
        ({**TONE, "options": ["warm", " warm"]}, "needs 2 to 30 different options"),
        ({**TONE, "options": "warm"}, "needs 2 to 30 different options"),
        ({**DEPTH, "low": 5}, "needs low, high and step"),
        ({**DEPTH, "step": 0}, "needs low, high and step"),
        ({**DEPTH, "step": 9}, "needs low, high and step"),
        ({**DEPTH, "high": True}, "needs low, high and step"),
        ("polite", "takes an object"),
        (NOTE, "has the key note, which an earlier question has"),
    ],
)
def test_a_question_that_cannot_be_asked_is_named(call: Caller, question: Any, said: str) -> None:
    answer = call("PUT", "/v1/rubric", {"questions": [NOTE, question]})
    assert answer.status == 422
    assert answer.body["code"] == "bad_rubric"
    assert answer.body["error"].startswith("Question 2 ")
    assert said in answer.body["fields"]["questions.1"]
    assert not Rubric.objects.exists()


@pytest.mark.parametrize("questions", [None, "x", [POLITE] * 31])
def test_what_is_no_list_of_questions_is_refused(call: Caller, questions: Any) -> None:
    assert call("PUT", "/v1/rubric", {"questions": questions}).status == 422


def test_only_admins_change_it(project: Project, rubric: Any) -> None:
    reviewer = caller_for(project, "read", "review")
    assert reviewer("GET", "/v1/rubric").body == rubric
    assert reviewer("PUT", "/v1/rubric", {"questions": []}).status == 403


def test_answers_go_with_the_annotation_and_into_exports(call: Caller, rubric: Any) -> None:
    done = judge(call, {"version": 1, "answers": GOOD}).body["annotation_id"]
    kept = {"version": 1, "answers": GOOD}
    assert call("GET", f"/v1/annotations/{done}").body["rubric"] == kept
    lines = b"".join(call.client.get("/v1/export/annotations.jsonl").streaming_content)
    assert json.loads(lines)["rubric"] == kept
    table = b"".join(call.client.get("/v1/export/annotations.csv").streaming_content).decode("utf-8-sig")
    assert json.loads(next(csv.DictReader(io.StringIO(table)))["rubric"]) == kept


def test_an_answer_keeps_the_version_it_was_given_under(call: Caller, rubric: Any) -> None:
    before = judge(call, {"answers": {"polite": False}}).body["annotation_id"]
    call("PUT", "/v1/rubric", {"questions": [NOTE]})
    assert call("GET", f"/v1/annotations/{before}").body["rubric"] == {"version": 1, "answers": {"polite": False}}
    # A form that was opened earlier still answers the questions it showed.
    late = judge(call, {"version": 1, "answers": {"polite": True}}, "late").body["annotation_id"]
    assert call("GET", f"/v1/annotations/{late}").body["rubric"]["version"] == 1
    assert judge(call, {"answers": {"polite": True}}, "new").body["fields"] == {
        "rubric.polite": "is no question of version 2 of the rubric."
    }


@pytest.mark.parametrize("key", [one["key"] for one in ALL])
@pytest.mark.parametrize("why", ["not_applicable", "cant_tell"])
def test_that_there_is_no_answer_is_an_answer(call: Caller, rubric: Any, key: str, why: str) -> None:
    judge(call, {"answers": {key: {"no_answer": why}}})
    assert Annotation.objects.get().rubric["answers"] == {key: {"no_answer": why}}


@pytest.mark.parametrize(
    ("key", "answer", "takes"),
    [
        ("polite", "yes", "takes true or false."),
        ("polite", None, "takes true or false."),
        ("tone", "hot", "takes one of warm, cold."),
        ("tone", ["warm"], "takes one of warm, cold."),
        ("missing", [], "takes a list of one or more of facts, links, prices."),
        ("missing", ["facts", "facts"], "takes a list of one or more of facts, links, prices."),
        ("missing", [["facts"]], "takes a list of one or more of facts, links, prices."),
        ("depth", 2.25, "takes a number from 1 to 5 in steps of 0.5."),
        ("depth", 6, "takes a number from 1 to 5 in steps of 0.5."),
        ("depth", True, "takes a number from 1 to 5 in steps of 0.5."),
        ("note", "", "takes a text of 1 to 5,000 characters."),
        (
            "note",
            {"no_answer": "busy"},
            "takes a text of 1 to 5,000 characters, or no_answer: not_applicable or cant_tell.",
        ),
        ("other", True, "is no question of version 1 of the rubric."),
    ],
)
def test_an_answer_that_does_not_fit_is_named(call: Caller, rubric: Any, key: str, answer: Any, takes: str) -> None:
    refused = judge(call, {"answers": {"polite": True, key: answer}})
    assert (refused.status, refused.body["code"]) == (422, "bad_answer")
    assert refused.body["fields"] == {f"rubric.{key}": takes}
    assert refused.body["error"] == f"rubric.{key} {takes}"
    assert not Annotation.objects.exists()


@pytest.mark.parametrize("given", [{"polite": True}, {"answers": []}, {"answers": {"polite": True}, "version": 7}])
def test_what_is_no_set_of_answers_is_refused(call: Caller, rubric: Any, given: Any) -> None:
    assert judge(call, given).status == 422


@pytest.mark.parametrize("nothing", [None, {}, {"answers": {}}])
def test_a_verdict_may_leave_the_rubric_alone(call: Caller, nothing: Any) -> None:
    assert judge(call, nothing).status == 201
    assert Annotation.objects.get().rubric == {}


def test_edits_change_answers_and_undo_brings_them_back(call: Caller, rubric: Any) -> None:
    done = judge(call, {"answers": {"polite": True}}).body["annotation_id"]
    edit = call("PATCH", f"/v1/annotations/{done}", {"rubric": {"answers": {"tone": "cold"}}}).body
    assert Annotation.objects.get().rubric["answers"] == {"tone": "cold"}
    call("POST", f"/v1/acts/{edit['act_id']}/undo", {})
    assert Annotation.objects.get().rubric["answers"] == {"polite": True}


def test_the_overall_question_is_the_score(call: Caller) -> None:
    overall = {**DEPTH, "key": "overall"}
    call("PUT", "/v1/rubric", {"questions": [overall, POLITE]})
    done = judge(call, {"answers": {"overall": 4}}).body["annotation_id"]
    assert Annotation.objects.get().scores == {"overall": 0.75}
    call("PATCH", f"/v1/annotations/{done}", {"rubric": {"answers": {"overall": 1}}})
    assert Annotation.objects.get().scores == {"overall": 0.0}
    call("PATCH", f"/v1/annotations/{done}", {"rubric": {"answers": {"polite": True}}})
    assert Annotation.objects.get().scores == {}


def test_what_a_reviewer_wrote_is_masked(call: Caller, rubric: Any, with_settings: Any) -> None:
    with_settings(mask=["email"])
    judge(call, {"answers": {"note": "Ask a@b.com", "tone": "warm"}})
    assert Annotation.objects.get().rubric["answers"] == {"note": "Ask [email]", "tone": "warm"}


STEPS = st.tuples(st.integers(-50, 50), st.sampled_from([0.1, 0.25, 0.5, 1, 3]), st.integers(1, 40), st.integers(0, 40))


@given(STEPS)
def test_every_step_of_a_scale_fits_and_nothing_between(steps: tuple[int, float, int, int]) -> None:
    low, step, count, place = steps
    question = {"kind": "number", "low": low, "high": low + step * count, "step": step}
    on_it = low + step * min(place, count)
    assert rubrics.problem_with(question, min(on_it, question["high"])) is None
    assert rubrics.problem_with(question, on_it + step / 2)
    assert rubrics.problem_with(question, low - step)
