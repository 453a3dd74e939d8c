"""Acts on many turns: shown before they are done, done in batches, left alone where others hold them, and undone."""

from django.test import Client

from agentloop.actors import SYSTEM
from agentloop.models import Project
from agentloop.tenancy import remove_member
from review import bulk
from review.models import Annotation, BulkItem, BulkJob, Turn
from tests.dashboard.support import path_of, post
from tests.dashboard.test_queue_page import log_many
from tests.review.support import Caller, assert_counted, turn_of

BULK = "/p/acme/queue/bulk/"


def statuses(project: Project) -> dict[str, int]:
    found: dict[str, int] = {}
    for status in Turn.objects.of(project).values_list("status", flat=True):
        found[status] = found.get(status, 0) + 1
    return found


def test_it_is_shown_before_it_is_done(bob: Client, carol: Client, call: Caller, project: Project) -> None:
    turns = [turn_of(call.log(f"Question {number}")) for number in range(3)]
    post(carol, path_of(turns[0], "claim"))
    page = post(bob, BULK, act="dismiss", turn=[turn.shown_id for turn in turns[:2]]).text
    assert "Dismiss 2 turns" in page
    assert "Question 1" in page
    assert "Question 2" not in page
    assert "1 of them is held by other reviewers" in page
    assert statuses(project) == {"pending": 3}


def test_nothing_chosen_is_said(bob: Client, project: Project) -> None:
    assert post(bob, BULK, act="dismiss").status_code == 422
    assert post(bob, f"{BULK}run/", act="explode").status_code == 422


def test_a_verdict_on_all_that_match_and_back(bob: Client, project: Project) -> None:
    log_many(project, 120)
    before = list(Turn.objects.of(project).order_by("id").values())
    assert "Judge 24 turns" in post(bob, f"{BULK}?goal=goal_1", act="verdict", all="true").text
    answer = post(bob, f"{BULK}run/?goal=goal_1", act="verdict", all="true", rating="incorrect", tags="batch")
    assert statuses(project) == {"pending": 96, "reviewed": 24}
    assert {tuple(tags) for tags in Annotation.objects.values_list("tags", flat=True)} == {("batch",)}
    page = bob.get(answer["Location"]).text
    assert "Done: 24 turns." in page
    assert_counted(project)
    post(bob, answer["Location"].replace("?", "undo/?"))
    assert "Taken back: 24 turns" in bob.get(answer["Location"]).text
    assert list(Turn.objects.of(project).order_by("id").values()) == before
    assert not Annotation.objects.standing().exists()
    assert_counted(project)


def test_a_long_one_goes_on_in_the_worker_and_shows_how_far_it_is(bob: Client, project: Project) -> None:
    log_many(project, 130)
    answer = post(bob, f"{BULK}run/", act="dismiss", all="true", reason="old")
    page = bob.get(answer["Location"]).text
    assert 'hx-trigger="every 1s"' in page
    assert '<progress max="130" value="50"' in page
    assert bulk.go_on() == 80
    assert bulk.go_on() == 0
    piece = bob.get(answer["Location"], headers={"HX-Request": "true"}).text
    assert "Done: 130 turns." in piece
    assert "hx-trigger" not in piece
    assert statuses(project) == {"dismissed": 130}


def test_what_others_hold_is_left_alone_and_said(bob: Client, carol: Client, call: Caller, project: Project) -> None:
    turns = [turn_of(call.log(f"Question {number}")) for number in range(3)]
    post(carol, path_of(turns[1], "claim"))
    answer = post(bob, f"{BULK}run/", act="dismiss", all="true")
    page = bob.get(answer["Location"]).text
    assert "Done: 2 turns." in page
    assert "Another reviewer has this turn now." in page
    assert statuses(project) == {"pending": 1, "dismissed": 2}


def test_tags_are_added_and_only_those_are_taken_away(bob: Client, call: Caller, project: Project) -> None:
    turn = turn_of(call.log(tags=["kept"]))
    answer = post(bob, f"{BULK}run/", act="tag", turn=turn.shown_id, tags="new, kept")
    assert Turn.objects.get(id=turn.id).tags == ["kept", "new"]
    assert_counted(project)
    post(bob, f"{answer['Location']}undo/")
    assert Turn.objects.get(id=turn.id).tags == ["kept"]
    assert_counted(project)


def test_undo_leaves_alone_what_was_done_since(bob: Client, carol: Client, call: Caller, project: Project) -> None:
    turns = [turn_of(call.log(f"Question {number}")) for number in range(2)]
    answer = post(bob, f"{BULK}run/", act="dismiss", all="true")
    post(carol, path_of(turns[0], "reopen"))
    post(bob, f"{answer['Location']}undo/")
    page = bob.get(answer["Location"]).text
    assert "Taken back: 1 turn" in page
    assert "Something was done to this since" in page


def test_only_who_began_it_or_an_owner_takes_it_back(bob: Client, carol: Client, alice: Client, call: Caller) -> None:
    call.log()
    undo = post(bob, f"{BULK}run/", act="dismiss", all="true")["Location"] + "undo/"
    assert post(carol, undo).status_code == 403
    assert post(alice, undo).status_code == 302
    assert Turn.objects.get().status == "pending"


def test_one_who_has_left_does_no_more(bob: Client, project: Project) -> None:
    log_many(project, 60)
    post(bob, f"{BULK}run/", act="dismiss", all="true")
    remove_member(member=project.members.get(user__username="bob@example.com"), actor=SYSTEM)
    bulk.go_on()
    assert statuses(project) == {"pending": 10, "dismissed": 50}
    assert BulkJob.objects.get().stage == "done"
    assert BulkItem.objects.filter(problem=bulk.GONE).count() == 10
