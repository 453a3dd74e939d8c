"""What an answer does: one annotation for a link, evidence for the path, a place in the queue."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from agentloop.actors import Actor
from agentloop.models import Project
from feedback_widget.models import Submission
from review import queue
from review.models import Annotation, AnnotationSource, AnnotationVersion, Memory, Status, Turn
from review.removal import delete_turn
from review.verdicts import Verdict, judge_turn, undo
from routing.models import LedgerRow, Outcome
from tests.feedback_widget.support import QUESTION, RESPONSE, Widget
from tests.review.support import Caller, assert_counted, move_time, turn_of


def test_an_answer_becomes_one_annotation(widget: Widget, project: Project) -> None:
    link = widget.link(u="u_1", s="s_1")
    answer = widget.answer(link, "partial", correction="At nine.", reason=["missing"], comment="Thanks!")
    assert answer.status_code == 200
    annotation = Annotation.objects.get()
    assert (annotation.source, annotation.rating, annotation.user_id) == ("end_user", "partial", "u_1")
    assert (annotation.question, annotation.response, annotation.turn_id) == (QUESTION, RESPONSE, None)
    assert (annotation.correction, annotation.comment, annotation.tags) == ("At nine.", "Thanks!", ["incomplete"])
    assert annotation.failure_category == ""


def test_opening_writes_nothing(widget: Widget, call: Caller) -> None:
    turn = turn_of(call.log(QUESTION, RESPONSE))
    for link in (widget.link(), widget.link_to(turn.id), widget.published(), widget.published() + "&rating=incorrect"):
        assert widget.open(link).status_code == 200
        assert widget.client.head(link).status_code == 200
    assert (Annotation.objects.count(), Submission.objects.count(), Turn.objects.get().signals) == (0, 0, {})


def test_however_often_it_is_sent(widget: Widget) -> None:
    link = widget.published(user_id="u")
    for _ in range(3):
        assert widget.answer(link, "incorrect", reason=["broken"], correction="x\r\ny").status_code == 200
    assert Annotation.objects.count() == AnnotationVersion.objects.count() == Submission.objects.count() == 1


def test_both_spellings_and_orders_of_a_link_are_one(widget: Widget) -> None:
    link = widget.published()
    path, _, query = link.partition("?")
    widget.send(link, "correct")
    widget.send(f"{path}?utm_source=x&{'&'.join(reversed(query.split('&')))}", "correct")
    assert Annotation.objects.count() == 1


def test_two_links_to_one_turn_are_two_voices(widget: Widget, call: Caller) -> None:
    turn = turn_of(call.log(QUESTION, RESPONSE))
    widget.send(widget.link_to(turn.id, u="a"), "incorrect")
    widget.send(widget.link_to(turn.id, u="b"), "incorrect")
    assert sorted(Annotation.objects.values_list("user_id", flat=True)) == ["a", "b"]


# --- the turn -------------------------------------------------------------------------------------------------


def test_attaches_to_the_turn_that_the_link_names(widget: Widget, call: Caller) -> None:
    turn = turn_of(call.log(QUESTION, RESPONSE, user_id="u_7", goal="hours"))
    widget.send(widget.link_to(turn.id), "correct")
    annotation = Annotation.objects.get()
    assert (annotation.turn_id, annotation.user_id, annotation.goal) == (turn.id, "u_7", "hours")
    assert Turn.objects.get().status == Status.PENDING


def test_attaches_to_the_pending_turn_with_the_same_texts(
    widget: Widget, call: Caller, with_settings: Callable[..., Project]
) -> None:
    with_settings(mask=["email"], question_limit=100)
    turn = turn_of(call.log("a@example.com " + "x" * 200, RESPONSE))
    widget.send(widget.published("a@example.com " + "x" * 200, " at NOON. "), "partial")
    assert Annotation.objects.get().turn_id == turn.id


def test_no_puts_what_nobody_logged_into_the_queue(widget: Widget, project: Project) -> None:
    widget.send(widget.link(u="u_1", s="s_1", trace="t1", goal="hours"), "incorrect")
    turn = Turn.objects.get()
    assert (turn.question, turn.response, turn.user_id, turn.session_id) == (QUESTION, RESPONSE, "u_1", "s_1")
    assert (turn.signals, turn.priority, turn.trace_id, turn.goal) == ({"user_feedback": 1}, 5.0, "t1", "hours")
    assert Annotation.objects.get().turn_id == turn.id
    assert_counted(project)


@pytest.mark.parametrize("rating", ["correct", "partial"])
def test_yes_and_partly_queue_nothing(widget: Widget, rating: str) -> None:
    widget.send(widget.link(), rating)
    assert not Turn.objects.exists()


def test_each_no_moves_a_waiting_turn_up(widget: Widget, call: Caller, project: Project) -> None:
    turn = turn_of(call.log(QUESTION, RESPONSE, signals={"thumbs_down": True}))
    before = turn.priority
    for number, user in enumerate("abc", start=1):
        widget.send(widget.link_to(turn.id, u=user), "incorrect")
        turn.refresh_from_db()
        assert turn.signals == {"thumbs_down": True, "user_feedback": number}
        assert turn.priority == before + 5 * number
        assert turn.occurrences == 1
    assert Turn.objects.pending().by_priority().first() == turn
    assert_counted(project)


def test_never_closes_a_turn_and_leaves_claims_alone(
    widget: Widget, call: Caller, project: Project, bob: Actor
) -> None:
    turn = turn_of(call.log(QUESTION, RESPONSE))
    claimed = queue.claim_next(project, bob).turn
    for user, rating in (("a", "incorrect"), ("b", "correct"), ("c", "partial")):
        widget.send(widget.link_to(turn.id, u=user), rating)
    turn.refresh_from_db()
    assert (turn.status, turn.claimed_by, turn.claim_token) == (Status.PENDING, bob.ref, claimed.claim_token)
    judge_turn(project, bob, turn.id, Verdict("correct"), source=AnnotationSource.REVIEWER, token=turn.claim_token)


@pytest.mark.parametrize("by_id", [True, False])
@pytest.mark.parametrize("act", ["verdict", "dismiss"])
def test_no_on_a_closed_turn_makes_a_new_one_that_points_to_it(
    widget: Widget, call: Caller, project: Project, bob: Actor, by_id: bool, act: str
) -> None:
    closed = turn_of(call.log(QUESTION, RESPONSE, goal="hours", trace_id="t1", model="m", user_id="u_7"))
    if act == "verdict":
        judge_turn(project, bob, closed.id, Verdict("correct"), source=AnnotationSource.REVIEWER)
    else:
        queue.dismiss(project, bob, closed.id)
    widget.send(widget.link_to(closed.id) if by_id else widget.link(), "incorrect")
    new = Turn.objects.exclude(id=closed.id).get()
    assert (new.status, new.signals) == (Status.PENDING, {"user_feedback": 1})
    said = Annotation.objects.get(source=AnnotationSource.END_USER)
    assert said.turn_id == new.id
    if by_id or act == "verdict":
        assert new.metadata["follows_turn"] == closed.shown_id
        assert (new.goal, new.trace_id, new.model, new.user_id) == ("hours", "t1", "m", "u_7")
    before = closed.status
    closed.refresh_from_db()
    assert closed.status == (Status.REVIEWED if act == "verdict" else Status.DISMISSED) != before
    assert_counted(project)


def test_a_link_to_a_turn_that_was_merged_speaks_of_the_one_it_went_into(
    widget: Widget, call: Caller, project: Project, bob: Actor
) -> None:
    older = turn_of(call.log(QUESTION, RESPONSE))
    queue.dismiss(project, bob, older.id)
    newer = turn_of(call.log(QUESTION, RESPONSE))
    queue.reopen(project, bob, older.id)
    link = widget.link_to(newer.id)
    assert QUESTION in widget.open(link).content.decode()
    assert widget.send(link, "incorrect").status_code == 200
    assert Annotation.objects.get().turn_id == older.id
    assert Turn.objects.get().signals == {"user_feedback": 1}


def test_yes_on_a_judged_turn_changes_nothing_of_it(widget: Widget, call: Caller, project: Project, bob: Actor) -> None:
    turn = turn_of(call.log(QUESTION, RESPONSE))
    judged = judge_turn(project, bob, turn.id, Verdict("incorrect"), source=AnnotationSource.REVIEWER)
    widget.send(widget.link_to(turn.id), "correct")
    assert Turn.objects.get().status == Status.REVIEWED
    assert Annotation.objects.get(source=AnnotationSource.END_USER).turn_id == turn.id
    undo(project, bob, judged.act.id)
    assert Turn.objects.get().status == Status.PENDING


def test_what_an_end_user_says_is_no_memory(widget: Widget) -> None:
    link = widget.link()
    widget.send(link, "incorrect", correction="Tell everyone to call me.")
    widget.send(link, "incorrect", correction="Tell everyone to call me now.")
    assert (Annotation.objects.get().version, Memory.objects.exists()) == (2, False)


def test_masks_what_is_said(widget: Widget, with_settings: Callable[..., Project]) -> None:
    with_settings(mask=["email"])
    link = widget.link(u="a@example.com")
    for _ in range(2):
        widget.send(link, "incorrect", correction="write to b@example.com", comment="c@example.com")
    annotation = Annotation.objects.get()
    assert (annotation.correction, annotation.comment, annotation.version) == ("write to [email]", "[email]", 1)
    assert annotation.user_id.startswith("[email]:")


# --- evidence -------------------------------------------------------------------------------------------------


def outcome(trace: str) -> dict[str, Any]:
    row = Outcome.objects.get(trace_id=trace)
    return {"success": row.success, "score": row.score, "failure_category": row.failure_category, "source": row.source}


@pytest.mark.parametrize(
    ("rating", "reasons", "success", "score", "category"),
    [
        ("correct", [], True, 1.0, None),
        ("partial", ["broken"], True, 0.5, None),
        ("incorrect", [], False, 0.0, "user_unsatisfied"),
        ("incorrect", ["missing", "outdated"], False, 0.0, "user_unsatisfied"),
        ("incorrect", ["unsuitable", "wrong_facts"], False, 0.0, "hallucination_detected"),
        ("incorrect", ["broken"], False, 0.0, "malformed_output"),
    ],
)
@pytest.mark.parametrize("in_link", [True, False])
def test_is_the_users_evidence(
    widget: Widget,
    call: Caller,
    rating: str,
    reasons: list[str],
    success: bool,
    score: float,
    category: str | None,
    in_link: bool,
) -> None:
    if in_link:
        link = widget.link(trace="t1", goal="hours")
    else:
        link = widget.link_to(turn_of(call.log(QUESTION, RESPONSE, trace_id="t1", goal="hours")).id)
    widget.send(link, rating, reason=reasons)
    assert outcome("t1") == {"success": success, "score": score, "failure_category": category, "source": "user"}


def test_a_link_that_names_its_trace_speaks_of_that_one_alone(widget: Widget, call: Caller) -> None:
    call.log(QUESTION, RESPONSE, trace_id="t1", goal="hours")
    turn = turn_of(call.log(QUESTION, RESPONSE, trace_id="t2", goal="hours"))
    widget.send(widget.link_to(turn.id, trace="t2", goal="hours"), "incorrect")
    assert list(LedgerRow.objects.values_list("trace_id", flat=True)) == ["t2"]
    widget.send(widget.link_to(turn.id), "incorrect")
    assert set(LedgerRow.objects.values_list("trace_id", flat=True)) == {"t1", "t2"}


def test_a_trace_without_a_goal_is_found_by_its_decision(widget: Widget, call: Caller) -> None:
    decided = call("POST", "/api/v1/routing/paths", {"goal": "hours", "model_id": "m"})
    assert decided.status in (200, 201)
    trace = call("POST", "/api/v1/routing/decide", {"goal": "hours"}).body["trace_id"]
    widget.send(widget.link(trace=trace), "correct")
    assert outcome(trace)["success"] is True


def test_a_change_of_mind_changes_the_evidence(widget: Widget) -> None:
    link = widget.link(trace="t1", goal="hours")
    widget.send(link, "incorrect")
    assert outcome("t1")["success"] is False
    widget.send(link, "correct")
    assert outcome("t1") == {"success": True, "score": 1.0, "failure_category": None, "source": "user"}


def test_a_verdict_outranks_it(widget: Widget, call: Caller, project: Project, bob: Actor) -> None:
    turn = turn_of(call.log(QUESTION, RESPONSE, trace_id="t1", goal="hours"))
    judge_turn(project, bob, turn.id, Verdict("correct"), source=AnnotationSource.REVIEWER)
    widget.send(widget.link_to(turn.id), "incorrect")
    assert outcome("t1")["source"] == "review"


# --- changing one's mind --------------------------------------------------------------------------------------


def test_a_change_within_half_an_hour_is_a_new_version(widget: Widget) -> None:
    link = widget.link()
    widget.send(link, "incorrect", correction="a", reason=["missing"])
    widget.send(link, "partial", correction="b")
    annotation = Annotation.objects.get()
    assert (annotation.rating, annotation.correction, annotation.tags, annotation.version) == ("partial", "b", [], 2)


def test_yes_takes_reasons_and_correction_back(widget: Widget) -> None:
    link = widget.link()
    widget.send(link, "incorrect", correction="a", reason=["broken"], comment="c")
    widget.send(link, "correct", correction="a", reason=["broken"], comment="c")
    annotation = Annotation.objects.get()
    assert (annotation.correction, annotation.tags, annotation.failure_category, annotation.comment) == (
        "",
        [],
        "",
        "c",
    )


def test_a_turn_that_no_longer_displeases_loses_the_signal(widget: Widget, call: Caller, project: Project) -> None:
    turn = turn_of(call.log(QUESTION, RESPONSE))
    link = widget.link_to(turn.id)
    widget.send(link, "incorrect")
    widget.send(link, "correct")
    turn.refresh_from_db()
    assert (turn.signals, turn.priority) == ({}, 0)
    widget.send(link, "incorrect")
    turn.refresh_from_db()
    assert (turn.signals, turn.priority) == ({"user_feedback": 1}, 5)
    assert_counted(project)


def test_a_no_after_a_yes_queues_the_turn(widget: Widget, project: Project) -> None:
    link = widget.link()
    widget.send(link, "correct")
    widget.send(link, "incorrect")
    turn = Turn.objects.get()
    assert (turn.question, turn.signals, Annotation.objects.get().turn_id) == (QUESTION, {"user_feedback": 1}, turn.id)


def test_after_half_an_hour_it_stands(widget: Widget) -> None:
    link = widget.link()
    widget.send(link, "incorrect")
    Submission.objects.update(created_at=timezone.now() - timedelta(minutes=31))
    assert widget.send(link, "correct").status_code == 200
    annotation = Annotation.objects.get()
    assert (annotation.rating, annotation.version) == ("incorrect", 1)


def test_a_deleted_turn_is_gone_for_its_link(widget: Widget, call: Caller, project: Project, bob: Actor) -> None:
    turn = turn_of(call.log(QUESTION, RESPONSE))
    link = widget.link_to(turn.id)
    assert widget.send(link, "incorrect").status_code == 200
    delete_turn(project, bob, turn.id)
    assert widget.open(link).status_code == widget.send(link, "correct").status_code == 404
    assert widget.send(widget.link_to(turn.id, u="other"), "correct").status_code == 404
    assert not Annotation.objects.exists()


def test_an_expired_turn_is_gone_too(widget: Widget, call: Caller) -> None:
    turn = turn_of(call.log(QUESTION, RESPONSE))
    move_time(expires_at="-31 days")
    assert widget.open(widget.link_to(turn.id)).status_code == 404
