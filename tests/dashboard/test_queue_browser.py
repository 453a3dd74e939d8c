"""The desk in a browser: by keyboard alone, by two people at once, on a phone, without a script."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from agentloop.actors import SYSTEM
from agentloop.models import Project
from agentloop.tenancy import change_settings
from review.models import Annotation, Draft, Turn
from tests.dashboard.support import Reviewer, path_of, post
from tests.looks import SIZES, problems_of
from tests.review.support import Caller, move_time, settle_index, turn_of

QUEUE = "/p/acme/queue/"
pytestmark = pytest.mark.usefixtures("transactional_db")
Open = Callable[..., Reviewer]


def log(call: Caller, count: int) -> list[Turn]:
    """Turns in the order in which the queue hands them out."""
    turns = [
        turn_of(
            call.log(
                f"Question {number}?",
                f"Answer **{number}**.",
                signals={"thumbs_down": True, "confidence": 0.4},
                goal="pay",
                model="gpt-4o",
                trace_id=f"t{number}",
                session_id="s",
            )
        )
        for number in range(count)
    ]
    settle_index()
    return list(Turn.objects.filter(id__in=[turn.id for turn in turns]).by_priority())


def eventually(look: Callable[[], Any]) -> Any:
    """The first true answer within ten seconds."""
    until = time.monotonic() + 10
    while not (found := look()) and time.monotonic() < until:
        time.sleep(0.05)
    return found


def test_twenty_turns_by_the_keyboard_alone(call: Caller, reviewer: Open) -> None:
    turns = log(call, 21)
    bob = reviewer("bob")
    bob.opens()
    bob.presses("Enter")
    for place, turn in enumerate(turns[:20]):
        bob.comes_to(turn.shown_id)
        if place % 4 == 0:
            bob.presses("y")
        elif place % 4 == 1:
            bob.presses("n")
        elif place % 4 == 2:
            bob.presses("3", "t")
            bob.page.keyboard.type("wrong")
            bob.presses("Escape", "c")
            bob.page.keyboard.type("No.")
            bob.presses("Control+Enter")
        else:
            bob.presses("e", "Control+a")
            bob.page.keyboard.type(f"Better {place}.")
            bob.presses("Control+Enter")
    bob.comes_to(turns[20].shown_id)
    assert eventually(lambda: Annotation.objects.count() == 20)
    by_turn = {one.turn_id: one for one in Annotation.objects.all()}
    ratings = [by_turn[turn.id].rating for turn in turns[:4]]
    assert ratings == ["correct", "incorrect", "incorrect", "partial"]
    assert (by_turn[turns[2].id].tags, by_turn[turns[2].id].comment) == (["wrong"], "No.")
    assert by_turn[turns[3].id].correction == "Better 3."
    assert {one.author_label for one in by_turn.values()} == {"bob@example.com"}
    assert bob.said == []


def test_the_next_turn_is_there_before_the_server_has_answered(call: Caller, reviewer: Open) -> None:
    turns = log(call, 3)
    bob = reviewer("bob")
    page = bob.opens()
    bob.has_next(lambda: bob.presses("Enter"))
    bob.comes_to(turns[0].shown_id)
    assert eventually(lambda: Turn.objects.get(id=turns[1].id).claimed_by)
    held = []
    page.route("**/verdict/**", lambda route: held.append(route))
    page.wait_for_timeout(200)
    bob.presses("y")
    bob.comes_to(turns[1].shown_id)
    assert Turn.objects.get(id=turns[0].id).status == "pending"
    assert eventually(lambda: page.wait_for_timeout(20) or held)
    held[0].continue_()
    page.get_by_text("Judged correct.").wait_for()
    assert Turn.objects.get(id=turns[0].id).status == "reviewed"
    assert page.url.endswith(path_of(turns[1]))


def test_a_verdict_that_cannot_be_sent_comes_back_as_it_was(call: Caller, reviewer: Open) -> None:
    turns = log(call, 3)
    bob = reviewer("bob")
    page = bob.opens()
    bob.has_next(lambda: bob.presses("Enter"))
    bob.comes_to(turns[0].shown_id)
    assert eventually(lambda: Turn.objects.get(id=turns[1].id).claimed_by)
    page.wait_for_timeout(200)
    page.route("**/verdict/**", lambda route: route.abort())
    bob.presses("c")
    page.keyboard.type("Kept.")
    bob.presses("Escape", "n")
    page.get_by_text("The server cannot be reached. Nothing is lost").wait_for()
    bob.comes_to(turns[0].shown_id)
    assert page.get_by_label("Comment").input_value() == "Kept."
    page.unroute("**/verdict/**")
    bob.presses("n")
    bob.comes_to(turns[1].shown_id)
    assert eventually(lambda: Annotation.objects.filter(comment="Kept.").exists())


def test_who_is_signed_out_loses_nothing(call: Caller, reviewer: Open) -> None:
    [turn] = log(call, 1)
    bob = reviewer("bob")
    page = bob.opens(path_of(turn))
    bob.holds_it()
    bob.presses("c")
    page.keyboard.type("Kept.")
    page.get_by_text("Draft kept").wait_for()
    kept = page.context.cookies()
    page.context.clear_cookies(name="sessionid")
    bob.presses("Escape", "n")
    page.get_by_text("You are signed out.").wait_for()
    assert page.get_by_label("Comment").input_value() == "Kept."
    page.context.add_cookies(kept)
    bob.presses("n")
    assert eventually(lambda: Annotation.objects.filter(comment="Kept.").exists())


def test_a_held_key_acts_once(call: Caller, reviewer: Open) -> None:
    turns = log(call, 4)
    bob = reviewer("bob")
    page = bob.opens()
    bob.presses("Enter")
    bob.comes_to(turns[0].shown_id)
    for _ in range(10):
        page.keyboard.down("y")
    page.keyboard.up("y")
    bob.comes_to(turns[1].shown_id)
    page.get_by_text("Judged correct.").wait_for()
    page.wait_for_timeout(300)
    assert Annotation.objects.count() == 1


def test_a_draft_survives_a_killed_tab(call: Caller, reviewer: Open) -> None:
    [turn] = log(call, 1)
    bob = reviewer("bob")
    page = bob.opens(path_of(turn))
    bob.holds_it()
    bob.presses("e", "Control+a")
    page.keyboard.type("Half a thou")
    page.get_by_text("Draft kept").wait_for(timeout=1_500)
    context = page.context
    page.close(run_before_unload=False)
    again = context.new_page()
    again.goto(path_of(turn))
    assert again.get_by_label("What the agent should have answered").input_value() == "Half a thou"
    assert again.locator("#diff ins").first.inner_text()


def test_what_is_typed_last_is_kept_when_the_page_is_left(call: Caller, reviewer: Open) -> None:
    [turn] = log(call, 1)
    bob = reviewer("bob")
    page = bob.opens(path_of(turn))
    bob.holds_it()
    bob.presses("c")
    page.keyboard.type("Quick")
    page.goto("/p/acme/")
    assert eventually(lambda: Draft.objects.filter(body__comment="Quick").exists())
    assert eventually(lambda: not Turn.objects.get(id=turn.id).claimed_by)


@pytest.mark.parametrize(
    ("key", "said"), [("y", "Judged"), ("s", "Skipped"), ("z", "Snoozed"), ("f", "Flagged"), ("d", "Dismissed")]
)
def test_each_act_is_undone_with_one_key(call: Caller, reviewer: Open, key: str, said: str) -> None:
    turns = log(call, 3)
    bob = reviewer("bob")
    page = bob.opens()
    bob.presses("Enter")
    bob.comes_to(turns[0].shown_id)
    bob.presses(key)
    page.locator("[data-notice]", has_text=said).wait_for()
    bob.comes_to(turns[1].shown_id)
    bob.presses("u")
    bob.comes_to(turns[0].shown_id)
    page.locator("[data-notice]", has_text="Undone").wait_for()
    back = Turn.objects.get(id=turns[0].id)
    assert (back.status, back.escalated_by, back.snoozed_until) == ("pending", "", None)
    assert not Annotation.objects.standing().exists()
    # What was held beforehand is given back or held on, never lost.
    bob.presses("y")
    assert eventually(lambda: Annotation.objects.standing().filter(turn_id=turns[0].id).exists())


def test_two_reviewers_share_one_queue(call: Caller, reviewer: Open) -> None:
    turns = log(call, 12)
    bob, carol = reviewer("bob"), reviewer("carol")
    for one in (bob, carol):
        one.opens()
        one.presses("Enter")
    seen: list[str] = []
    for _ in range(4):
        for one in (bob, carol):
            one.page.wait_for_function("() => document.getElementById('work').dataset.turn")
            here = one.turn
            seen.append(here)
            one.presses("y")
            one.leaves(here)
    assert len(seen) == len(set(seen)) == 8
    assert eventually(lambda: Annotation.objects.count() == 8)
    assert set(seen) <= {turn.shown_id for turn in turns}
    carol.opens()
    carol.page.locator(".holder", has_text="bob@example.com").first.wait_for()


def test_a_lost_claim_keeps_the_text_and_says_so(call: Caller, reviewer: Open, carol: Client) -> None:
    [turn] = log(call, 1)
    bob = reviewer("bob")
    page = bob.opens(path_of(turn))
    bob.holds_it()
    bob.presses("e", "Control+a")
    page.keyboard.type("Mine.")
    page.get_by_text("Draft kept").wait_for()
    move_time(claimed_until="-1 hour")
    post(carol, path_of(turn, "claim"))
    bob.presses("Control+Enter")
    page.get_by_text("Your claim on this turn has lapsed or been passed on").wait_for()
    page.get_by_text("carol@example.com is looking at this turn.").wait_for()
    assert page.get_by_text("Mine.").first.is_visible()
    assert not Annotation.objects.exists()


def test_the_page_says_when_its_claim_lapses_and_takes_it_again(call: Caller, reviewer: Open) -> None:
    [turn] = log(call, 1)
    bob = reviewer("bob")
    page = bob.opens(path_of(turn))
    bob.holds_it()
    move_time(claimed_until="-1 hour")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.get_by_role("button", name="Claim it again").click()
    bob.holds_it()
    assert eventually(lambda: Turn.objects.get(id=turn.id).claimed_by)


def test_a_page_that_nobody_touches_lets_its_claims_lapse(call: Caller, reviewer: Open) -> None:
    [turn] = log(call, 1)
    bob = reviewer("bob")
    page = bob.page
    page.clock.install()
    bob.opens(path_of(turn))
    bob.holds_it()
    beats: list[str] = []
    page.on("request", lambda request: beats.append(request.url) if "heartbeat" in request.url else None)
    page.clock.run_for(10 * 60_000)
    assert eventually(lambda: page.wait_for_timeout(20) or len(beats) >= 10)
    page.clock.run_for(6 * 60_000)
    page.wait_for_timeout(500)
    beats.clear()
    page.clock.run_for(20 * 60_000)
    page.wait_for_timeout(500)
    assert beats == []
    bob.presses("Shift")
    assert eventually(lambda: page.wait_for_timeout(20) or beats)


def test_rows_are_walked_and_their_claims_given_back(call: Caller, reviewer: Open) -> None:
    turns = log(call, 3)
    bob = reviewer("bob")
    bob.opens()
    for turn in turns:
        bob.presses("j")
        bob.comes_to(turn.shown_id)
        bob.holds_it()
    bob.presses("k")
    bob.comes_to(turns[1].shown_id)
    bob.holds_it()
    # One is on the desk and one is claimed beforehand; what one has walked past is free again.
    assert eventually(lambda: Turn.objects.exclude(claimed_by="").count() <= 2)
    assert Turn.objects.get(id=turns[1].id).claimed_by


def test_filters_round_trip_through_the_address(call: Caller, reviewer: Open) -> None:
    log(call, 2)
    call.log("Other?", goal="other", signals={"confidence": 0.9})
    settle_index()
    bob = reviewer("bob")
    page = bob.opens()
    bob.presses("l")
    page.get_by_role("region", name="Goal").get_by_role("link", name="pay 2").click()
    page.wait_for_url("**/queue/?goal=pay")
    bob.presses("/")
    page.keyboard.type("Question 1")
    bob.presses("Enter")
    page.wait_for_url("**/queue/?goal=pay&q=Question%201")
    assert page.locator("#rows .row").count() == 1
    address = page.url
    other = reviewer("carol").opens(address)
    assert other.locator("#rows .row").count() == 1
    assert other.get_by_label("Search the text").input_value() == "Question 1"
    bob.presses("Escape")
    page.get_by_role("link", name="Goal: pay , remove").click()
    page.wait_for_url("**/queue/?q=Question+1")


def test_bulk_with_undo(call: Caller, reviewer: Open) -> None:
    log(call, 4)
    bob = reviewer("bob")
    page = bob.opens()
    bob.presses("x")
    page.get_by_text("1 selected").wait_for()
    page.get_by_label("all 4 that match").check()
    page.get_by_role("button", name="Dismiss…").click()
    page.get_by_label("Reason").fill("Old.")
    page.get_by_role("button", name="Dismiss 4 turns").click()
    page.get_by_text("Done: 4 turns.").wait_for()
    assert Turn.objects.filter(status="dismissed").count() == 4
    page.wait_for_load_state("load")
    bob.presses("u")
    page.get_by_text("Taken back: 4 turns").wait_for()
    assert Turn.objects.filter(status="pending").count() == 4


def test_the_diff_knows_words_where_no_spaces_are(call: Caller, reviewer: Open) -> None:
    turn = turn_of(call.log("限度額は？", "送金限度額は五千円です。"))
    bob = reviewer("bob")
    page = bob.opens(path_of(turn))
    bob.holds_it()
    page.get_by_text("Correction", exact=False).first.click()
    page.get_by_label("What the agent should have answered").fill("送金限度額は八千円です。")
    page.locator("#diff ins").wait_for()
    removed, added = page.locator("#diff del").inner_text(), page.locator("#diff ins").inner_text()
    assert "限度額" not in removed + added
    assert ("五" in removed, "八" in added) == (True, True)


def test_raw_text_is_one_key_away_and_what_was_written_stays(call: Caller, reviewer: Open) -> None:
    [turn] = log(call, 1)
    bob = reviewer("bob")
    page = bob.opens(path_of(turn))
    bob.holds_it()
    bob.presses("c")
    page.keyboard.type("Stays.")
    bob.presses("Escape", "v")
    page.get_by_text("Answer **0**.").first.wait_for()
    assert page.get_by_label("Comment").input_value() == "Stays."


def test_without_a_script(call: Caller, reviewer: Open) -> None:
    turns = log(call, 3)
    bob = reviewer("bob", java_script_enabled=False)
    page = bob.opens()
    page.get_by_role("button", name="Review next").first.click()
    assert page.url.endswith(path_of(turns[0]))
    assert page.get_by_text("You hold this until").is_visible()
    page.get_by_text("Correction", exact=False).first.click()
    page.get_by_label("What the agent should have answered").fill("Better.")
    page.get_by_label("Partial").check(force=True)
    page.get_by_role("button", name="Submit").last.click()
    assert page.url.endswith(path_of(turns[1]))
    assert page.get_by_text("Correction saved as memory.").is_visible()
    page.get_by_role("button", name="Undo").first.click()
    assert page.url.endswith(path_of(turns[0]))
    assert Turn.objects.get(id=turns[0].id).status == "pending"
    page.get_by_role("button", name="Dismiss").click()
    assert page.get_by_text("Dismissed.").is_visible()
    page.goto(f"{QUEUE}?goal=pay")
    page.get_by_text("Filters").first.click()
    page.get_by_role("link", name="thumbs_down").first.click()
    assert "signal=thumbs_down" in page.url


def test_a_phone_shows_one_thing_at_a_time(call: Caller, reviewer: Open) -> None:
    turns = log(call, 2)
    bob = reviewer("bob", viewport={"width": 390, "height": 844}, has_touch=True)
    page = bob.opens()
    page.get_by_role("link", name=turns[0].question).click()
    bob.comes_to(turns[0].shown_id)
    bob.holds_it()
    assert page.locator("#list").is_hidden()
    verdict = page.locator(".verdict-pane").bounding_box()
    response = page.locator(".response").bounding_box()
    facts = page.locator(".facts").bounding_box()
    assert response["y"] < verdict["y"] < facts["y"]
    page.get_by_role("button", name="Reject").click()
    bob.comes_to(turns[1].shown_id)
    page.get_by_role("link", name="‹ Queue").click()
    page.locator("#list").wait_for()


@pytest.mark.parametrize("size", SIZES)
def test_everyone_can_use_every_page(
    call: Caller, reviewer: Open, project: Project, carol: Client, bob: Client, size: str
) -> None:
    turns = log(call, 6)
    long = turn_of(call.log("Long?", "word " * 1_000))
    post(carol, path_of(turns[5], "claim"))
    post(bob, path_of(turns[0], "draft"), correction="Half.", comment="hm")
    post(bob, path_of(turns[1], "dismiss"), comment="Spam.")
    post(bob, path_of(turns[4], "escalate"), comment="Look.")
    post(bob, "/p/acme/queue/views/?goal=pay", name="Payments", is_shared="true")
    change_settings(project=project, actor=SYSTEM, changes={"claim_minutes": 5})
    width, height = SIZES[size]
    dora = reviewer("dora", "owner", viewport={"width": width, "height": height}, bypass_csp=True)
    found = {}
    paths = {
        "list": QUEUE,
        "filtered": f"{QUEUE}?goal=pay&q=nothing",
        "draft": path_of(turns[0]),
        "dismissed": path_of(turns[1]),
        "flagged": path_of(turns[4]),
        "held by carol": path_of(turns[5]),
        "long": path_of(long),
        "raw": f"{path_of(turns[2])}?raw=1",
    }
    for name, path in paths.items():
        page = dora.opens(path)
        for summary in page.locator(".filters > summary, .neighbour > summary").all():
            if summary.is_visible():
                summary.click()
        found[name] = problems_of(page)
    dora.opens(path_of(turns[2]))
    dora.presses("?")
    page.get_by_role("heading", name="Keys").wait_for()
    found["keys"] = problems_of(page)
    dora.opens(QUEUE)
    page.locator(".row input").first.check()
    page.get_by_role("button", name="Judge…").click()
    found["bulk"] = problems_of(page)
    page.get_by_label("Correct", exact=True).check(force=True)
    page.get_by_role("button", name="Judge 1 turn").click()
    found["bulk done"] = problems_of(page)
    assert found == {name: [] for name in found}
    assert dora.said == []
