"""A verdict that was given is changed in the dashboard: by whom, to which effect, and with what came in between."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from agentloop.models import Project
from review.models import Annotation, AnnotationVersion, Draft, Memory, Opinion, Rubric, Turn
from routing.standings import look
from tests.dashboard.support import QUESTIONS, Reviewer, elements, path_of, post
from tests.dashboard.test_quality_looks import SIZES, findings
from tests.review.support import Caller, caller_for, turn_of

LIST = "/p/acme/annotations/"


@pytest.fixture
def turn(call: Caller) -> Turn:
    return turn_of(call.log("Can I return it?", "Yes.", goal="returns", model="gpt-4o", trace_id="t-1"))


def judged(client: Client, turn: Turn, **said: Any) -> Annotation:
    post(client, path_of(turn, "verdict"), **{"rating": "correct", **said})
    return Annotation.objects.filter(turn_id=turn.id).latest("id")


def page_of(verdict: Annotation) -> str:
    return f"{LIST}{verdict.shown_id}/"


def filled(client: Client, verdict: Annotation) -> dict[str, Any]:
    """The form as a browser would send it, untouched."""
    text = client.get(page_of(verdict)).text
    form = text.partition('id="verdict"')[2].partition("</form>")[0]
    fields: dict[str, Any] = {}
    for tag, given in elements(form):
        if (
            tag == "input"
            and given.get("name")
            and (given.get("type") not in ("radio", "checkbox") or "checked" in given)
        ):
            fields.setdefault(given["name"], []).append(given.get("value", ""))
    for name, body in re.findall(r'<select[^>]* name="([^"]+)"[^>]*>(.*?)</select>', form, re.DOTALL):
        chosen = re.search(r'value="([^"]*)" selected', body)
        fields[name] = chosen[1] if chosen else ""
    for name, body in re.findall(r'<textarea[^>]* name="([^"]+)"[^>]*>\n(.*?)</textarea>', form, re.DOTALL):
        fields[name] = body.replace("\r\n", "\n").replace("\n", "\r\n")
    fields.pop("csrfmiddlewaretoken")
    return fields


def save(client: Client, verdict: Annotation, **changes: Any) -> Any:
    return client.post(page_of(verdict), {**filled(client, verdict), **changes})


def undo_in(page: Any) -> str:
    found = re.search(r'/p/acme/queue/acts/[^"]+', page.text)
    assert found is not None
    return found[0]


def mean(project: Project) -> float:
    [path] = look(project, "returns").paths
    return path.own.mean


# --- what it does ---------------------------------------------------------------------------------------------


def test_a_version_is_added_and_evidence_and_memory_follow(bob: Client, turn: Turn, project: Project) -> None:
    verdict = judged(bob, turn, comment="as the policy says")
    before = mean(project)
    answer = save(bob, verdict, rating="incorrect", correction="Only unopened goods.", root_cause="model")
    assert answer["Location"] == LIST
    verdict.refresh_from_db()
    assert (verdict.rating, verdict.correction, verdict.comment) == (
        "incorrect",
        "Only unopened goods.",
        "as the policy says",
    )
    assert [one.body["rating"] for one in AnnotationVersion.objects.order_by("version")] == ["correct", "incorrect"]
    assert Memory.objects.get().fact == "Only unopened goods."
    assert mean(project) < before
    told = bob.get(LIST).text
    assert "The verdict is changed from correct to incorrect. returns: gpt-4o" in told
    assert "Agents get the new correction." in told


def test_the_line_undoes_it(bob: Client, turn: Turn, project: Project) -> None:
    verdict = judged(bob, turn)
    before = mean(project)
    save(bob, verdict, rating="incorrect", correction="No.")
    answer = bob.post(undo_in(bob.get(LIST)))
    assert answer["Location"] == path_of(turn)
    verdict.refresh_from_db()
    assert (verdict.rating, verdict.correction, verdict.version) == ("correct", "", 3)
    assert mean(project) == before
    assert not Memory.objects.exists()


def test_the_turns_page_undoes_the_edit_before_the_verdict(bob: Client, turn: Turn) -> None:
    verdict = judged(bob, turn)
    save(bob, verdict, rating="incorrect")
    for act, ratings in (("edit", ["correct"]), ("verdict", [])):
        undo = undo_in(bob.get(path_of(turn)))
        assert f"Undone: {act}." in bob.post(undo, follow=True).text
        assert [one.rating for one in Annotation.objects.standing()] == ratings


def test_history_shows_every_version(bob: Client, vera: Client, turn: Turn) -> None:
    verdict = judged(bob, turn, comment="said at first")
    save(bob, verdict, rating="partial", comment="said afterwards")
    for page in (vera.get(page_of(verdict)).text, vera.get(path_of(turn)).text):
        assert "said at first" in page
        assert "said afterwards" in page
    assert "changed a verdict" in vera.get(path_of(turn)).text
    assert '<span class="chip">edited</span>' in vera.get(LIST).text


def test_saving_what_stands_adds_nothing(bob: Client, turn: Turn, call: Caller) -> None:
    """However a program spelt it: with tags that hold commas, other line ends, a correction that says the same."""
    said = {
        "rating": "partial",
        "tags": ["a, b", "c"],
        "comment": "one\r\ntwo",
        "correction": " Yes.",
        "scores": {"overall": 0.4},
    }
    call("POST", f"/v1/turns/{turn.shown_id}/verdict", said)
    verdict = Annotation.objects.get()
    Annotation.objects.update(author=f"user:{User.objects.get(username='bob@example.com').pk}")
    assert save(bob, verdict).status_code == 302
    assert "Nothing was changed." in bob.get(LIST).text
    save(bob, verdict, rating="incorrect")
    verdict.refresh_from_db()
    assert (verdict.version, verdict.rating) == (2, "incorrect")
    assert {name: getattr(verdict, name) for name in said if name != "rating"} == {
        name: value for name, value in said.items() if name != "rating"
    }


def test_answers_are_asked_as_they_were_given(bob: Client, turn: Turn, project: Project) -> None:
    Rubric.objects.create(project=project, version=3, questions=QUESTIONS, author="system")
    answers = {"rubric.version": "3", "rubric.polite.kind": "boolean", "rubric.polite": "yes"}
    answers |= {"rubric.depth.kind": "number", "rubric.depth": "2.5", "rubric.note.kind": "text", "rubric.note": "ok"}
    verdict = judged(bob, turn, **answers)
    Rubric.objects.create(
        project=project, version=4, questions=[{**QUESTIONS[0], "text": "Was it kind?"}], author="system"
    )
    page = bob.get(page_of(verdict)).text
    assert "Was it polite?" in page
    assert "Was it kind?" not in page
    assert "answered under version 3" in page
    save(bob, verdict, **{"rubric.polite": "no"})
    verdict.refresh_from_db()
    assert verdict.rubric == {"version": 3, "answers": {"polite": False, "depth": 2.5, "note": "ok"}}
    page = bob.get(page_of(verdict)).text.partition('id="versions-title"')[2]
    assert "changed rubric" in page
    assert re.findall(r"Was it polite\?</dt><dd[^>]*>(\w+)", page) == ["No", "Yes"]
    refused = save(bob, verdict, **{"rubric.depth": "9"})
    assert (refused.status_code, "takes a number from 1 to 5" in refused.text) == (422, True)
    assert 'value="9"' in refused.text


def test_a_verdict_without_a_turn(alice: Client, call: Caller) -> None:
    call("POST", "/v1/annotations", {"question": "Q?", "agent_response": "A.", "rating": "partial", "correction": "B."})
    verdict = Annotation.objects.get()
    assert save(alice, verdict, correction="C.").status_code == 302
    assert alice.post(undo_in(alice.get(LIST)))["Location"] == page_of(verdict)
    assert Memory.objects.get().fact == "B."


def test_one_goes_back_where_one_came_from(bob: Client, turn: Turn) -> None:
    verdict = judged(bob, turn)
    link = re.search(r'href="([^"]+)" data-key="e" data-act="edit-verdict"', bob.get(path_of(turn)).text)
    assert link is not None
    back = f'name="back" value="{path_of(turn)}"'
    assert back in bob.get(link[1]).text
    assert save(bob, verdict, rating="partial", back=path_of(turn))["Location"] == path_of(turn)
    assert save(bob, verdict, rating="correct", back="https://elsewhere.example/p/acme/")["Location"] == LIST
    assert save(bob, verdict, rating="partial", back="//elsewhere.example")["Location"] == LIST


# --- who may --------------------------------------------------------------------------------------------------


def test_the_author_and_owners_may(
    alice: Client, bob: Client, carol: Client, vera: Client, turn: Turn, project: Project
) -> None:
    verdict = judged(bob, turn)
    given = filled(bob, verdict)
    for client, may in ((alice, True), (bob, True), (carol, False), (vera, False)):
        for path in (LIST, path_of(turn)):
            assert ('data-act="edit-verdict"' in client.get(path).text) == may
        page = client.get(page_of(verdict))
        assert (page.status_code, 'id="verdict"' in page.text) == (200, may)
        answer = client.post(page_of(verdict), {**given, "rating": "incorrect"})
        assert answer.status_code == (302 if may else 403)
        given["after"] = str(Annotation.objects.get().version)
    assert Annotation.objects.get().version == 2
    assert Client().get(page_of(verdict))["Location"].startswith("/accounts/login/")


def test_the_api_refuses_the_same(bob: Client, turn: Turn, project: Project) -> None:
    verdict = judged(bob, turn)
    path = f"/v1/annotations/{verdict.shown_id}"
    review, owner = caller_for(project, "read", "review"), caller_for(project)
    assert review("PATCH", path, {"rating": "partial"}).body["code"] == "not_yours"
    assert owner("PATCH", path, {"rating": "partial", "after": 1}).status == 200
    late = owner("PATCH", path, {"rating": "correct", "after": 1})
    assert (late.status, late.body["code"]) == (409, "verdict_moved")
    assert owner("PATCH", path, {"after": 2}).status == 422


def test_what_an_end_user_said_is_theirs(alice: Client, bob: Client, turn: Turn) -> None:
    verdict = judged(bob, turn)
    Annotation.objects.update(source="end_user")
    assert page_of(verdict) not in alice.get(LIST).text
    assert alice.get(page_of(verdict)).status_code == 404


def test_an_opinion_is_nobodys_to_see_or_change(
    alice: Client, bob: Client, carol: Client, turn: Turn, project: Project
) -> None:
    project.settings |= {"double_share": 1}
    project.save()
    post(bob, path_of(turn, "verdict"), rating="correct", comment="bobs words")
    key = f"ann_{Opinion.objects.get().annotation_id.hex}"
    for client in (alice, bob, carol):
        assert client.get(f"{LIST}{key}/").status_code == 404
        assert client.post(f"{LIST}{key}/", {"rating": "incorrect", "after": "1"}).status_code == 404
        for path in (LIST, path_of(turn)):
            page = client.get(path).text
            assert "edit-verdict" not in page
            assert key not in page
    post(carol, path_of(turn, "verdict"), rating="correct")
    assert bob.get(f"{LIST}{key}/").status_code == 200
    assert carol.post(f"{LIST}{key}/", {"rating": "incorrect", "after": "1"}).status_code == 403


# --- what comes in between ------------------------------------------------------------------------------------


def test_another_edit_in_between_keeps_the_text(alice: Client, bob: Client, turn: Turn) -> None:
    verdict = judged(bob, turn)
    mine = {**filled(bob, verdict), "rating": "partial", "comment": "what bob wrote", "tags": "x, y"}
    save(alice, verdict, rating="incorrect", comment="what alice wrote")
    answer = bob.post(page_of(verdict), mine)
    assert answer.status_code == 409
    form = answer.text.partition('id="verdict"')[2]
    for shown in (
        "was changed meanwhile",
        "what bob wrote",
        "what alice wrote",
        'value="x, y"',
        'value="partial" checked',
    ):
        assert shown in form
    verdict.refresh_from_db()
    assert (verdict.version, verdict.comment) == (2, "what alice wrote")
    assert bob.post(page_of(verdict), {**mine, "after": "2"}).status_code == 302
    verdict.refresh_from_db()
    assert (verdict.version, verdict.comment) == (3, "what bob wrote")


def test_a_verdict_undone_in_between_keeps_the_text_as_a_draft(alice: Client, bob: Client, turn: Turn) -> None:
    verdict = judged(bob, turn)
    mine = {**filled(bob, verdict), "rating": "partial", "comment": "what bob wrote"}
    alice.post(undo_in(alice.get(path_of(turn))))
    answer = bob.post(page_of(verdict), mine)
    assert (answer.status_code, "taken back meanwhile" in answer.text, "what bob wrote" in answer.text) == (
        409,
        True,
        True,
    )
    assert AnnotationVersion.objects.count() == 1
    assert Draft.objects.get().body["comment"] == "what bob wrote"
    assert "what bob wrote" in bob.get(path_of(turn)).text
    assert bob.get(page_of(verdict)).status_code == 404


def test_a_stranger_to_it_learns_nothing_of_one_taken_back(
    alice: Client, bob: Client, carol: Client, turn: Turn
) -> None:
    verdict = judged(bob, turn)
    Annotation.objects.update(retracted_at=verdict.created_at)
    assert carol.post(page_of(verdict), {"rating": "partial", "after": "1"}).status_code == 404
    assert not Draft.objects.exists()


# --- cost -----------------------------------------------------------------------------------------------------


def test_queries_do_not_grow_with_versions(bob: Client, turn: Turn, project: Project) -> None:
    Rubric.objects.create(project=project, version=1, questions=QUESTIONS, author="system")
    verdict = judged(bob, turn)

    def counts() -> list[int]:
        found = []
        for path in (page_of(verdict), path_of(turn), LIST):
            bob.get(path)
            with CaptureQueriesContext(connection) as captured:
                assert bob.get(path).status_code == 200
            found.append(len(captured))
        return found

    before = counts()
    for place in range(12):
        save(bob, verdict, rating=("partial", "correct")[place % 2])
    assert counts() == before
    assert before[0] == 8
    assert max(before) <= 12


# --- in a browser ---------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_by_keys_from_the_list_and_back(reviewer: Callable[..., Reviewer], call: Caller, project: Project) -> None:
    bob = reviewer("bob")
    ref = f"user:{User.objects.get(username='bob@example.com').pk}"
    for place in range(3):
        logged = turn_of(call.log(f"Question {place}?", "It is so.", goal="returns", model="m", trace_id=f"t-{place}"))
        call("POST", f"/v1/turns/{logged.shown_id}/verdict", {"rating": "correct"})
    Annotation.objects.update(author=ref)
    page = bob.opens(LIST)
    bob.presses("j", "j", "e")
    page.wait_for_url("**/annotations/ann_**")
    page.get_by_text("Question 1?").first.wait_for()
    bob.presses("3", "e")
    page.get_by_label("What the agent should have answered").fill("It was so.")
    page.locator("#diff ins").first.wait_for()
    bob.presses("Control+Enter")
    page.wait_for_url(f"**{LIST}#ann_*")
    page.get_by_text("The verdict is changed from correct to incorrect.").first.wait_for()
    verdict = Annotation.objects.get(question="Question 1?")
    assert (verdict.rating, verdict.correction) == ("incorrect", "It was so.")
    assert page.evaluate("document.activeElement.closest('.record').id") == verdict.shown_id
    bob.presses("u")
    page.wait_for_url("**/queue/turns/**")
    verdict.refresh_from_db()
    assert (verdict.rating, verdict.correction) == ("correct", "")
    bob.presses("e")
    page.wait_for_url("**/annotations/ann_**")
    bob.presses("2", "Control+Enter")
    page.wait_for_url("**/queue/turns/**")
    page.get_by_text("What it said before").wait_for()
    assert bob.said == []


@pytest.mark.django_db(transaction=True)
def test_without_a_script(reviewer: Callable[..., Reviewer], call: Caller, turn: Turn) -> None:
    alice = reviewer("alice", "owner", java_script_enabled=False)
    call("POST", f"/v1/turns/{turn.shown_id}/verdict", {"rating": "correct"})
    page = alice.opens(path_of(turn))
    page.get_by_role("link", name="Edit").click()
    page.get_by_role("radio", name="Incorrect").check(force=True)
    page.get_by_label("Comment").fill("It depends.")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("The verdict is changed from correct to incorrect.").wait_for()
    page.get_by_role("button", name="Undo", exact=False).first.click()
    page.get_by_text("Undone: edit.").wait_for()
    assert Annotation.objects.get().rating == "correct"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("size", SIZES)
def test_everyone_can_use_it(reviewer: Callable[..., Reviewer], call: Caller, project: Project, size: str) -> None:
    width, height = SIZES[size]
    Rubric.objects.create(project=project, version=1, questions=QUESTIONS, author="system")
    options: dict[str, Any] = {"viewport": {"width": width, "height": height}}
    alice, vera = reviewer("alice", "owner", **options), reviewer("vera", "viewer", **options)
    logged = turn_of(call.log("Can I return it?", "Yes, **within 30 days**.", goal="returns", trace_id="t", model="m"))
    said = {
        "rating": "partial",
        "correction": "Yes, within 30 days, unopened.",
        "comment": "It left out the seal.",
        "tags": ["returns"],
        "root_cause": "context",
        "rubric": {"answers": {"polite": True, "depth": 2.5, "tone": "warm"}},
    }
    call("POST", f"/v1/turns/{logged.shown_id}/verdict", said)
    verdict = Annotation.objects.get()
    call("PATCH", f"/v1/annotations/{verdict.shown_id}", {"rating": "incorrect", "root_cause": "model"})
    page = alice.opens(page_of(verdict))
    problems = findings(page, f"verdict-edit-{size}")
    problems += findings(vera.opens(page_of(verdict)), f"verdict-read-{size}")
    problems += findings(alice.opens(path_of(logged)), f"verdict-turn-{size}")
    listed = alice.opens(LIST)
    listed.locator("summary", has_text="All of it").click()
    problems += findings(listed, f"verdict-list-{size}")
    alice.opens(page_of(verdict))
    page.get_by_label("Comment").fill("It left out the seal and the receipt.")
    call("PATCH", f"/v1/annotations/{verdict.shown_id}", {"comment": "Somebody was quicker."})
    page.get_by_role("button", name="Save").click()
    page.get_by_text("was changed meanwhile").wait_for()
    problems += findings(page, f"verdict-moved-{size}")
    Annotation.objects.update(retracted_at=verdict.created_at)
    page.get_by_role("button", name="Save").click()
    page.get_by_role("heading", name="taken back meanwhile").wait_for()
    problems += findings(page, f"verdict-gone-{size}")
    assert problems == []
    # A page that answers with 409 says so there.
    assert [one for one in [*alice.said, *vera.said] if "409" not in one] == []
