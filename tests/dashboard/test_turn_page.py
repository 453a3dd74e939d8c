"""One turn on the desk, judged by plain forms: what is shown, what each act does, and that each can be undone."""

from typing import Any

import pytest
from django.contrib.postgres.search import SearchVector
from django.db.models import Value
from django.test import Client

from agentloop.actors import SYSTEM
from agentloop.ids import new_id
from agentloop.models import Project
from agentloop.tenancy import change_settings
from review.models import Annotation, Draft, Memory, QueueAct, Turn
from tests.dashboard.support import path_of, post
from tests.review.support import Caller, assert_counted, move_time, settle_index, turn_of

QUEUE = "/p/acme/queue/"
HTMX = {"HX-Request": "true"}


def undo_url(page: Any) -> str:
    return "/p/acme/queue/acts/" + page.text.partition("/p/acme/queue/acts/")[2].partition('"')[0]


# --- what is shown --------------------------------------------------------------------------------------------


def test_why_it_is_here_adds_up_to_the_priority(bob: Client, call: Caller) -> None:
    turn = turn_of(call.log(signals={"thumbs_down": True, "confidence": 0.0}))
    page = bob.get(path_of(turn)).text
    assert "priority 8" in page
    for shown in ("signal thumbs_down", "+5", "63 %", "signal confidence", "+3", "38 %"):
        assert shown in page


def test_markdown_is_rendered_and_raw_text_is_one_link_away(bob: Client, call: Caller) -> None:
    turn = turn_of(call.log("What?", "It is **bold**.\n\n```python\nx = 1\n```"))
    page = bob.get(path_of(turn)).text
    assert "<strong>bold</strong>" in page
    assert '<span class="mi">1</span>' in page
    raw = bob.get(f"{path_of(turn)}?raw=1").text
    assert "It is **bold**." in raw.partition('id="response-title"')[2].partition("</section>")[0]


def test_the_sessions_other_turns_stand_around_it_in_time(bob: Client, call: Caller) -> None:
    call.log("first of it", session_id="s")
    middle = turn_of(call.log("middle of it", session_id="s"))
    call.log("last of it", session_id="s")
    call.log("of another", session_id="t")
    pane = bob.get(path_of(middle)).text.partition('id="turn"')[2]
    assert pane.index("first of it") < pane.index("middle of it") < pane.index("last of it")
    assert "of another" not in pane


def test_similar_turns_with_what_became_of_them(bob: Client, call: Caller) -> None:
    before = turn_of(call.log("What is the limit at night?", "R$1."))
    post(bob, path_of(before, "verdict"), rating="incorrect")
    turn = turn_of(call.log("What is the limit at night, now?", "R$2."))
    settle_index()
    part = bob.get(path_of(turn)).text.partition('id="alike-title"')[2].partition("</section>")[0]
    assert path_of(before) in part
    assert "Incorrect" in part
    assert "What is the limit at night?" in part


def test_a_correction_that_was_given_three_times_stands_once(bob: Client, call: Caller) -> None:
    for _ in range(3):
        before = turn_of(call.log("What is the limit at night?", "R$1."))
        post(bob, path_of(before, "verdict"), rating="incorrect", correction="The limit is R$5,000.")
    again = bob.get(path_of(turn_of(call.log("What is the limit at night?", "R$1.")))).text
    assert again.count('dir="auto">The limit is R$5,000.') == 1
    assert "the same correction given 3 times" in again


def test_memories_that_say_the_same_stand_once(bob: Client, call: Caller, project: Project) -> None:
    for user in ("ann", "ben"):
        create_memory(project, "What is the limit at night?", "The limit is R$5,000.", user)
    page = bob.get(path_of(turn_of(call.log("What is the limit at night?", "R$2.")))).text
    assert page.count('dir="auto">The limit is R$5,000.') == 1
    assert "the same correction given 2 times" in page


def create_memory(project: Project, question: str, fact: str, user: str) -> None:
    found = SearchVector(Value(f"{question} {fact}".lower()), config="simple")
    memory = Memory.objects.create(
        project=project, question=question, fact=fact, user_id=user, source_id=new_id(), document=""
    )
    Memory.objects.filter(id=memory.id).update(document=found)


def test_past_corrections_of_like_questions(bob: Client, call: Caller) -> None:
    before = turn_of(call.log("What is the limit at night?", "R$1."))
    post(
        bob, path_of(before, "verdict"), rating="incorrect", correction="The limit at night is R$5,000.", tags="limits"
    )
    turn = turn_of(call.log("And what is the limit at night now?", "R$2."))
    page = bob.get(path_of(turn)).text
    assert "The limit at night is R$5,000." in page
    assert '<option value="limits">' in page


def test_what_the_end_user_said_and_what_others_judged(bob: Client, call: Caller) -> None:
    turn = turn_of(call.log("How?", "So."))
    Annotation.objects.create(
        project=turn.project, turn=turn, question="How?", response="So.", content_hash=turn.content_hash,
        source="end_user", author="end_user", rating="incorrect", comment="That was wrong.",
    )  # fmt: skip
    assert "That was wrong." in bob.get(path_of(turn)).text


def test_the_execution_names_what_it_cost(bob: Client, call: Caller) -> None:
    trace = "a" * 32
    call("POST", "/api/v1/routing/paths", {"goal": "pay", "model_id": "gpt-4o", "tool_id": "bank", "risk_level": "low"})
    call("POST", "/api/v1/intelligence/report-outcome",
         {"trace_id": trace, "goal": "pay", "success": True, "model_id": "gpt-4o", "tool_id": "bank"})  # fmt: skip
    event = {"trace_id": trace, "span_id": "1", "model_id": "own-model", "cost_usd": 0.0123, "latency_ms": 1840}
    call("POST", "/api/ingest", {"events": [event]})
    turn = turn_of(call.log(goal="pay", model="gpt-4o", trace_id=trace, metadata={"locale": "pt-BR"}))
    page = bob.get(path_of(turn)).text
    for shown in ("gpt-4o + bank", "$0.0123", "1,840 ms", trace, "pt-BR"):
        assert shown in page


def test_a_long_text_is_folded_and_whole(bob: Client, call: Caller) -> None:
    turn = turn_of(call.log("Why?", "word " * 2_000 + "END"))
    page = bob.get(path_of(turn)).text
    assert 'id="fold-response"' in page
    assert 'id="fold-question"' not in page
    assert "END" in page


# --- judging --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "rating", "correction"),
    [
        ({"stroke": "accept"}, "correct", ""),
        ({"stroke": "reject"}, "incorrect", ""),
        ({"stroke": "fix", "correction": "A ring."}, "partial", "A ring."),
        ({"stroke": "fix", "rating": "incorrect", "correction": "A ring."}, "incorrect", "A ring."),
        ({"rating": "partial", "correction": "A circle."}, "partial", ""),
        ({"rating": "incorrect", "correction": "A circle.\r\nTwo."}, "incorrect", "A circle.\nTwo."),
        ({"correction": "A ring."}, "partial", "A ring."),
    ],
)
def test_a_verdict(bob: Client, call: Caller, form: dict[str, str], rating: str, correction: str) -> None:
    turn = turn_of(call.log())
    answer = post(bob, path_of(turn, "verdict"), **form)
    assert answer.status_code == 302
    annotation = Annotation.objects.get(turn_id=turn.id)
    assert (annotation.rating, annotation.correction) == (rating, correction)
    assert (annotation.source, annotation.author_label) == ("reviewer", "bob@example.com")
    assert Turn.objects.get(id=turn.id).status == "reviewed"


def test_a_verdict_has_all_that_the_form_has(bob: Client, call: Caller) -> None:
    turn = turn_of(call.log())
    post(bob, path_of(turn, "verdict"), rating="incorrect", root_cause="tool", failure_category="tool_error",
         tags="late, wrong day,late,", comment="See trace.")  # fmt: skip
    annotation = Annotation.objects.get()
    assert (annotation.root_cause, annotation.failure_category) == ("tool", "tool_error")
    assert (annotation.tags, annotation.comment) == (["late", "wrong day"], "See trace.")


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({}, "rating is missing"),
        ({"stroke": "fix", "correction": "A circle."}, "correction still says what the response says"),
        ({"rating": "superb"}, "superb"),
        ({"rating": "correct", "root_cause": "weather"}, "weather"),
        ({"rating": "correct", "tags": "x" * 101}, "100"),
    ],
)
def test_a_form_that_cannot_be_read_says_what_is_wrong(
    bob: Client, call: Caller, form: dict[str, str], said: str
) -> None:
    turn = turn_of(call.log())
    answer = bob.post(path_of(turn, "verdict"), form, headers=HTMX)
    assert answer.status_code == 422
    assert said in answer.text
    assert answer["HX-Retarget"] == "#notices"
    assert Turn.objects.get(id=turn.id).status == "pending"


def test_after_a_verdict_comes_the_next_turn_claimed_with_a_line_of_what_was_done(bob: Client, call: Caller) -> None:
    first = turn_of(call.log("first", "A.", signals={"thumbs_down": True}, goal="pay", model="gpt-4o", trace_id="t1"))
    second = turn_of(call.log("second"))
    answer = post(bob, path_of(first, "verdict"), rating="incorrect", correction="B.")
    assert answer["Location"] == path_of(second)
    assert Turn.objects.get(id=second.id).claimed_by
    page = bob.get(answer["Location"])
    assert "Judged incorrect. pay: gpt-4o begins at 0.00, n = 1. Correction saved as memory." in page.text
    assert "You hold this until" in page.text


def test_the_line_says_how_the_path_moved_and_undo_how_it_moved_back(bob: Client, call: Caller) -> None:
    for number, success in enumerate((True, True, True)):
        call("POST", "/api/v1/intelligence/report-outcome",
             {"trace_id": f"t{number}", "goal": "pay", "success": success, "model_id": "gpt-4o"})  # fmt: skip
    turn = turn_of(call.log(goal="pay", model="gpt-4o", trace_id="t9"))
    answer = bob.post(path_of(turn, "verdict"), {"stroke": "reject"}, headers=HTMX)
    assert "Judged incorrect. pay: gpt-4o 1.00 → 0.75, n = 4." in answer.text
    back = bob.post(undo_url(answer), headers=HTMX)
    assert "Undone: verdict. pay: gpt-4o 0.75 → 1.00, n = 3." in back.text
    assert f'data-open="{path_of(turn)}"' in back.text


def test_a_page_that_has_the_next_turn_already_gets_the_line_alone(bob: Client, call: Caller) -> None:
    first = turn_of(call.log("first"))
    second = turn_of(call.log("second"))
    answer = bob.post(path_of(first, "verdict"), {"stroke": "accept"}, headers={**HTMX, "X-Has-Next": "true"})
    assert "Judged correct." in answer.text
    assert 'id="work"' not in answer.text
    assert not Turn.objects.get(id=second.id).claimed_by


def test_the_next_turn_is_the_next_of_the_list_one_works_through(bob: Client, call: Caller) -> None:
    urgent = turn_of(call.log("urgent", signals={"thumbs_down": True}))
    older = turn_of(call.log("older", goal="pay"))
    newer = turn_of(call.log("newer", goal="pay"))
    settle_index()
    answer = post(bob, f"{path_of(newer, 'skip')}?goal=pay&sort=oldest")
    assert answer["Location"] == f"{path_of(older)}?goal=pay&sort=oldest"
    assert post(bob, f"{QUEUE}next/")["Location"] == path_of(urgent)
    # Nothing else is left of that list: back to it.
    assert post(bob, f"{QUEUE}next/?goal=none")["Location"] == f"{QUEUE}?goal=none"


def test_a_lost_claim_keeps_the_text_and_says_so(bob: Client, carol: Client, call: Caller) -> None:
    turn = turn_of(call.log())
    post(bob, path_of(turn, "claim"))
    token = Turn.objects.get(id=turn.id).claim_token
    move_time(claimed_until="-1 hour")
    post(carol, path_of(turn, "claim"))
    answer = bob.post(path_of(turn, "verdict"), {"rating": "partial", "correction": "A ring.", "claim_token": token},
                      headers=HTMX)  # fmt: skip
    assert answer.status_code == 409
    assert "Your claim on this turn has lapsed or been passed on" in answer.text
    assert Draft.objects.get().body["correction"] == "A ring."
    page = bob.get(path_of(turn)).text
    assert "<b>carol@example.com</b> is looking at this turn." in page
    assert "A ring." in page


def test_a_heartbeat_renews_the_lease_and_an_old_one_does_not(bob: Client, call: Caller) -> None:
    turn = turn_of(call.log())
    post(bob, path_of(turn, "claim"))
    token = Turn.objects.get(id=turn.id).claim_token
    move_time(claimed_until="-5 minutes")
    before = Turn.objects.get(id=turn.id).claimed_until
    assert post(bob, path_of(turn, "heartbeat"), claim_token=token).status_code == 200
    assert Turn.objects.get(id=turn.id).claimed_until > before
    assert post(bob, path_of(turn, "heartbeat"), claim_token=token - 1).status_code == 409
    assert post(bob, path_of(turn, "heartbeat")).status_code == 409


def test_a_draft_is_kept_and_restored(bob: Client, carol: Client, call: Caller) -> None:
    turn = turn_of(call.log())
    answer = post(bob, path_of(turn, "draft"), rating="partial", correction="A ri", tags="a, b", comment="hm")
    assert "Draft kept" in answer.text
    page = bob.get(path_of(turn)).text
    assert '<details class="editor" id="editor" open>' in page
    for shown in ("A ri</textarea>", "hm</textarea>", 'value="a, b"', 'value="partial" checked'):
        assert shown in page
    assert "A ri" not in carol.get(path_of(turn)).text


@pytest.mark.parametrize(
    ("act", "form"),
    [
        ("verdict", {"stroke": "accept"}),
        ("verdict", {"rating": "incorrect", "correction": "Another."}),
        ("skip", {}),
        ("snooze", {"snooze_for": "4h"}),
        ("escalate", {"comment": "Please look."}),
        ("dismiss", {"comment": "Spam."}),
    ],
)
def test_every_act_is_undone(bob: Client, call: Caller, project: Project, act: str, form: dict[str, str]) -> None:
    turn = turn_of(call.log("the only one"))
    post(bob, path_of(turn, "claim"))
    before = Turn.objects.filter(id=turn.id).values().get()
    sent = {**form, "claim_token": before["claim_token"]}
    answer = bob.post(path_of(turn, act), sent, headers={**HTMX, "X-Has-Next": "1"})
    assert answer.status_code == 200
    assert Turn.objects.filter(id=turn.id).values().get() != before
    assert post(bob, undo_url(answer)).status_code == 302
    assert Turn.objects.filter(id=turn.id).values().get() == before
    assert not Memory.objects.exists()
    assert_counted(project)


def test_a_flag_carries_its_note_to_the_owners(alice: Client, bob: Client, carol: Client, call: Caller) -> None:
    turn = turn_of(call.log())
    post(bob, path_of(turn, "escalate"), comment="Is this fraud?")
    assert "bob@example.com flagged this turn for the owners." in carol.get(path_of(turn)).text
    page = alice.get(path_of(turn)).text
    assert "Is this fraud?" in page
    assert 'id="verdict"' in page


def test_a_judged_turn_comes_back(bob: Client, call: Caller) -> None:
    turn = turn_of(call.log())
    post(bob, path_of(turn, "verdict"), stroke="accept")
    page = bob.get(path_of(turn)).text
    assert "Put back into the queue" in page
    assert '<div class="given"><p><span class="chip good">correct</span>' in page
    answer = post(bob, path_of(turn, "reopen"))
    assert answer["Location"] == path_of(turn)
    assert "Back in the queue." in bob.get(answer["Location"]).text
    assert Turn.objects.get(id=turn.id).status == "pending"


def test_a_random_draw_is_marked(bob: Client, call: Caller, project: Project) -> None:
    change_settings(project=project, actor=SYSTEM, changes={"random_share": 1})
    turn = turn_of(call.log())
    assert post(bob, f"{QUEUE}next/")["Location"] == path_of(turn)
    page = bob.get(path_of(turn)).text
    assert "random draw" in page
    assert "with probability 1" in page


def test_leaving_gives_the_turn_back_and_a_late_goodbye_harms_nobody(bob: Client, call: Caller) -> None:
    turn = turn_of(call.log())
    post(bob, path_of(turn, "claim"))
    old = Turn.objects.get(id=turn.id).claim_token
    post(bob, path_of(turn, "claim"))
    # The page was loaded anew: the old one's goodbye comes after the new one's claim.
    assert post(bob, path_of(turn, "release"), claim_token=old, leaving="true").status_code == 409
    assert Turn.objects.get(id=turn.id).claimed_by
    new = Turn.objects.get(id=turn.id).claim_token
    assert post(bob, path_of(turn, "release"), claim_token=new, leaving="true").status_code == 204
    assert not Turn.objects.get(id=turn.id).claimed_by


def test_history_names_who_did_what(bob: Client, carol: Client, call: Caller) -> None:
    turn = turn_of(call.log())
    call.log("Something else, which bob gets next")
    post(bob, path_of(turn, "skip"))
    post(carol, path_of(turn, "dismiss"))
    page = carol.get(path_of(turn)).text
    assert "<b>bob@example.com</b> skipped it" in page
    assert "<b>carol@example.com</b> dismissed it" in page
    assert "Undo the latest" in page
    assert "Undo the latest" not in bob.get(path_of(turn)).text
    assert QueueAct.objects.filter(subject_id=turn.id).count() == 2
