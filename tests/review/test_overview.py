"""The overview's figures against a history that is known, through the same doors that its makers use."""

from datetime import timedelta

from django.utils import timezone

from agentloop.actors import Actor
from agentloop.models import Project
from review import figures, queue, removal, verdicts
from review.flow import Day, days_of
from review.index import index_stale_turns, reconcile_counters
from review.models import Annotation, AnnotationSource, DayCount, Turn
from review.verdicts import Verdict
from review.worth import Share, worths_of
from tests.review.support import Caller, move_time, settle_index, turn_of


def judge(project: Project, actor: Actor, turn: Turn, rating: str, **more: str) -> verdicts.Judged:
    said = Verdict(rating, **more)
    return verdicts.judge_turn(project, actor, turn.id, said, source=AnnotationSource.REVIEWER)


def today(project: Project) -> Day:
    settle_index()
    now = timezone.now().date()
    return days_of(figures.day_counts(project, now), now, 1)[0]


def test_a_day_counts_what_came_and_how_it_went(call: Caller, project: Project, bob: Actor) -> None:
    turns = [turn_of(call.log(f"Question {number}?")) for number in range(6)]
    for turn, rating in zip(turns, ("correct", "incorrect", "incorrect", "partial"), strict=False):
        judge(project, bob, turn, rating)
    queue.dismiss(project, bob, turns[4].id)
    now = timezone.now().date()
    assert today(project) == Day(now, came=6, correct=1, partial=1, incorrect=2, dismissed=1)
    # Logged again before anybody looked, a turn has come once.
    call.log("Question 5?")
    assert today(project).came == 6


def test_what_is_undone_edited_or_put_back_is_counted_as_it_stands(call: Caller, project: Project, bob: Actor) -> None:
    first, second, third = (turn_of(call.log(f"Question {number}?")) for number in range(3))
    act = judge(project, bob, first, "incorrect").act
    annotation = judge(project, bob, second, "incorrect").annotation
    queue.dismiss(project, bob, third.id)
    assert (today(project).incorrect, today(project).dismissed) == (2, 1)
    verdicts.undo(project, bob, act.id)
    verdicts.edit_annotation(project, bob, annotation.id, {"rating": "partial"})
    queue.reopen(project, bob, third.id)
    now = timezone.now().date()
    assert today(project) == Day(now, came=3, partial=1)
    assert reconcile_counters(project) == {}


def test_what_happened_stays_counted_when_its_turn_is_gone(call: Caller, project: Project, bob: Actor) -> None:
    judged, deleted, expired = (turn_of(call.log(f"Question {number}?")) for number in range(3))
    judge(project, bob, judged, "correct")
    settle_index()
    removal.delete_turn(project, bob, deleted.id)
    removal.delete_turn(project, bob, judged.id)
    move_time(expires_at="-40 days")
    assert removal.sweep_expired(project) == 1
    day = today(project)
    assert (day.came, day.correct) == (3, 1)
    assert not Turn.objects.filter(id=expired.id).exists()
    assert reconcile_counters(project) == {}
    assert (
        sum(
            count
            for (_, name), count in figures.day_counts(project, day.date - timedelta(days=60)).items()
            if name == "expired"
        )
        == 1
    )


def test_the_worker_counts_a_turn_that_it_sees_twice_once(call: Caller, project: Project) -> None:
    turn = turn_of(call.log())
    settle_index()
    queue.mark_stale(turn)
    assert index_stale_turns() == 1
    assert list(DayCount.objects.values_list("name", "count")) == [("came", 1)]


def test_what_a_signal_is_worth_goes_by_the_newest_verdict_of_each_turn(
    call: Caller, project: Project, bob: Actor, alice: Actor
) -> None:
    turn = turn_of(call.log("Judged twice?", signals={"thumbs_down": True}))
    judge(project, bob, turn, "incorrect")
    queue.reopen(project, alice, turn.id)
    judge(project, alice, turn, "correct")
    other = turn_of(call.log("Other?", signals={"thumbs_down": True}))
    judge(project, bob, other, "incorrect")
    # What an end user says, and what was taken back, is nobody's verdict.
    call.log("Third?", signals={"thumbs_down": True})
    third = Turn.objects.get(question="Third?")
    verdicts.undo(project, bob, judge(project, bob, third, "incorrect").act.id)
    Annotation.objects.filter(turn_id=other.id).update(draw="random")
    found = worths_of(figures.recently_judged(project))
    assert [(one.signal, one.share) for one in found.signals] == [("thumbs_down", Share(1, 2))]
    assert found.random == Share(1, 1)


def test_my_day_is_mine_and_todays(call: Caller, project: Project, bob: Actor, alice: Actor) -> None:
    for number, (rating, correction) in enumerate([("correct", ""), ("incorrect", "No: 45 days."), ("incorrect", "")]):
        judge(project, bob, turn_of(call.log(f"Question {number}?")), rating, correction=correction)
    judge(project, alice, turn_of(call.log("Alice's?")), "partial")
    mine = figures.my_day(project, bob)
    assert (mine.ratings, mine.judged, mine.corrections) == ({"correct": 1, "incorrect": 2}, 3, 1)
    assert 0 <= mine.seconds_each < 60
    assert figures.my_day(project, alice).seconds_each is None


def test_how_the_queue_stands(call: Caller, project: Project, bob: Actor) -> None:
    assert figures.standing(project) == figures.Standing(None, None, 0, [], [0] * 7)
    turns = [turn_of(call.log(f"Question {number}?")) for number in range(4)]
    for turn, hours in zip(turns, (3, 30, 47, 24 * 20), strict=True):
        Turn.objects.filter(id=turn.id).update(expires_at=timezone.now() + timedelta(hours=hours))
    queue.escalate(project, bob, turns[1].id)
    queue.claim_given(project, bob, turns[3].id)
    found = figures.standing(project)
    assert found.due == [1, 2, 0, 0, 0, 0, 0]
    assert found.next_expires_at == Turn.objects.get(id=turns[0].id).expires_at
    assert (found.escalated, [(held.ref, held.count) for held in found.held]) == (1, [(bob.ref, 1)])
    assert not found.due_is_cut
