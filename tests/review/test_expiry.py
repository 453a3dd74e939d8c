"""What ends: pending turns unseen, closed ones by retention, and settings that move both."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.db.models import F

from agentloop.models import Project
from review.models import (
    Annotation,
    AnnotationVersion,
    Draft,
    ExpiredCount,
    Memory,
    Occurrence,
    QueueAct,
    Skip,
    StaleTurn,
    Turn,
    TurnCounter,
    TurnIndex,
    TurnRedirect,
)
from review.removal import end_retention, sweep_expired
from review.settle import settle
from review.tasks import forget_old_keys, index_turns, reconcile_counters
from review.tasks import sweep_expired as sweep_task
from tests.review.support import Caller, assert_counted, make_project, move_time, settle_index

PARTS = (Turn, Occurrence, Skip, Draft, QueueAct, TurnRedirect, Annotation, AnnotationVersion, TurnIndex, StaleTurn)


def left_over() -> dict[str, int]:
    return {model.__name__: model._default_manager.count() for model in PARTS if model._default_manager.exists()}


def make_a_turn_with_everything(call: Caller) -> str:
    """A pending turn with occurrences, a twin taken up, a skip, drafts, acts, annotations with versions, and marks."""
    old = call.log(goal="g", signals={"thumbs_down": True, "": 1}).body["turn_id"]
    judged = call("POST", f"/v1/turns/{old}/verdict", {"rating": "incorrect", "correction": "No."}).body
    call("PATCH", f"/v1/annotations/{judged['annotation_id']}", {"comment": "c"})
    call.log()
    settle_index()
    call("POST", f"/v1/turns/{old}/reopen", {})
    call("POST", f"/v1/turns/{old}/skip", {})
    call("PUT", f"/v1/turns/{old}/draft", {"body": {"comment": "d"}})
    return old


def test_the_sweep_leaves_nothing_but_counts_and_what_a_memory_is_made_of(call: Caller, project: Project) -> None:
    make_a_turn_with_everything(call)
    assert set(left_over()) == {model.__name__ for model in PARTS}
    Turn.objects.update(expires_at="2026-03-04T23:59:59Z")
    assert sweep_expired(project) == 1
    # The twin that was taken up has left the index by the worker's next round.
    assert set(left_over()) == {"TurnIndex", "StaleTurn", "Annotation"}
    settle_index()
    assert left_over() == {"Annotation": 1}
    assert Annotation.objects.values_list("correction", "response", "comment", "turn").get() == ("No.", "", "", None)
    assert sweep_expired(project) == 0
    assert list(ExpiredCount.objects.order_by("signal").values_list("day", "goal", "signal", "count")) == [
        (date(2026, 3, 4), "g", "", 1),
        (date(2026, 3, 4), "g", "thumbs_down", 1),
    ]
    assert set(TurnCounter.objects.values_list("count", flat=True)) <= {0}
    assert_counted(project)


def test_counts_of_a_day_add_up(call: Caller, project: Project) -> None:
    for round_ in range(2):
        for number in range(3):
            call.log(f"{round_} {number}", signals={"s": True} if number else {})
        Turn.objects.update(expires_at="2026-03-04T12:00Z")
        assert [sweep_expired(project, limit=2) for _ in range(3)] == [2, 1, 0]
    assert dict(ExpiredCount.objects.values_list("signal", "count")) == {"": 6, "s": 4}


def test_the_sweep_leaves_other_projects_and_closed_turns(call: Caller, stranger: Caller, project: Project) -> None:
    stranger.log()
    closed = call.log().body["turn_id"]
    call("POST", f"/v1/turns/{closed}/dismiss", {})
    move_time(expires_at="-31 days")
    assert sweep_expired(project) == 0
    assert Turn.objects.count() == 2


@pytest.mark.parametrize("hold", ["claim", "draft", "snooze"])
def test_a_claim_a_draft_and_a_snooze_hold_a_turn(call: Caller, project: Project, hold: str) -> None:
    turn_id = call.log().body["turn_id"]
    move_time(expires_at="-29 days -23 hours -59 minutes")
    if hold == "claim":
        call("POST", "/v1/queue/claim", {})
    elif hold == "draft":
        call("PUT", f"/v1/turns/{turn_id}/draft", {"body": {}})
    else:
        until = datetime.now(UTC) + timedelta(hours=3)
        call("POST", f"/v1/turns/{turn_id}/snooze", {"until": until.isoformat()})
    at_least = {"claim": timedelta(minutes=9), "draft": timedelta(days=6.9), "snooze": timedelta(hours=26)}[hold]
    assert Turn.objects.get().expires_at - datetime.now(UTC) > at_least
    assert_counted(project)


# --- retention ------------------------------------------------------------------------------------------------


def test_closed_turns_end_with_the_projects_retention(
    call: Caller, project: Project, with_settings: Callable[..., Project]
) -> None:
    for question in ("old", "new", "waiting"):
        turn_id = call.log(question).body["turn_id"]
        if question != "waiting":
            body = {"rating": "incorrect", "correction": f"{question} fact"}
            call("POST", f"/v1/turns/{turn_id}/verdict", body)
    settle_index()
    assert end_retention(project) == 0
    with_settings(retention_days=7)
    Turn.objects.filter(question="old").update(closed_at=F("closed_at") - timedelta(days=7))
    assert [end_retention(project), end_retention(project)] == [1, 0]
    assert set(Turn.objects.values_list("question", flat=True)) == {"new", "waiting"}
    assert not ExpiredCount.objects.exists()
    assert set(Memory.objects.values_list("fact", flat=True)) == {"old fact", "new fact"}
    assert_counted(project)


FACT = "Invoices are due thirty days after they were sent, whatever anybody says."


def judged_and_gone(call: Caller, project: Project, **more: Any) -> None:
    """A turn that was judged, and whose retention has ended since."""
    turn_id = call.log("When are invoices due?", "Never, Zaphod.", **more).body["turn_id"]
    body = {"rating": "incorrect", "correction": FACT, "tags": ["old"], "metadata": {"n": 1}, "comment": "Zaphod!"}
    judged = call("POST", f"/v1/turns/{turn_id}/verdict", body).body
    call("PATCH", f"/v1/annotations/{judged['annotation_id']}", {"comment": "Zaphod!!"})
    move_time(closed_at="-8 days")
    assert end_retention(project) == 1


def remembered() -> tuple[Any, ...]:
    return tuple(Memory.objects.values_list("id", "fact", "tags", "metadata", "source_id", "updated_at").get())


def test_a_memory_that_outlived_its_turn_is_what_it_was_once_a_newer_word_is_undone(
    call: Caller, project: Project, with_settings: Callable[..., Project]
) -> None:
    with_settings(retention_days=7)
    judged_and_gone(call, project)
    before = remembered()
    body = {"question": "When are invoices due?", "agent_response": "x", "rating": "partial"}
    said = call("POST", "/v1/annotations", {**body, "correction": FACT + "!", "tags": ["new"]}).body
    assert said["status"] == "updated_existing"
    assert remembered()[:3] == (before[0], FACT + "!", ["old", "new"])
    call("POST", f"/v1/acts/{said['act_id']}/undo", {})
    assert remembered() == before


def test_all_that_is_left_of_a_verdict_is_what_its_memory_is_made_of(
    call: Caller, project: Project, with_settings: Callable[..., Project]
) -> None:
    with_settings(retention_days=7)
    judged_and_gone(call, project, user_id="u")
    [left] = Annotation.objects.all()
    assert (left.question, left.correction, left.response, left.comment) == ("When are invoices due?", FACT, "", "")
    assert not AnnotationVersion.objects.exists()
    assert call("GET", "/v1/annotations").body["annotations"] == []
    assert call("GET", f"/v1/annotations/{left}").status == 404
    assert call("POST", "/v1/memories/search", {"query": "invoices"}).body["memories"][0]["fact"] == FACT


def test_what_outlived_its_turn_is_still_erased_with_its_user(
    call: Caller, project: Project, with_settings: Callable[..., Project]
) -> None:
    with_settings(retention_days=7)
    call.log("When are invoices due?", "Never, Zaphod.", user_id="other")
    judged_and_gone(call, project, user_id="zaphod")
    assert call("POST", "/v1/erasure", {"user_id": "nobody"}).body["annotations"] == 0
    assert call("POST", "/v1/erasure", {"user_id": "zaphod"}).body["annotations"] == 1
    assert not Memory.objects.exists()
    assert not Annotation.objects.exists()


def test_a_revoked_memory_leaves_nothing_of_what_it_outlived(
    call: Caller, project: Project, with_settings: Callable[..., Project]
) -> None:
    with_settings(retention_days=7)
    judged_and_gone(call, project)
    assert call("DELETE", f"/v1/memories/{Memory.objects.get()}").status in (200, 204)
    assert not Annotation.objects.exists()


# --- settings -------------------------------------------------------------------------------------------------


def days_left(question: str) -> float:
    turn = Turn.objects.get(question=question)
    return round((turn.expires_at - turn.last_seen_at) / timedelta(days=1), 2)


@pytest.mark.parametrize("days", [1, 10, 90])
def test_a_changed_ttl_applies_to_pending_turns(
    call: Caller, project: Project, with_settings: Callable[..., Project], days: int
) -> None:
    ids = {q: call.log(q).body["turn_id"] for q in ("plain", "drafted", "snoozed", "claimed", "closed", "expired")}
    call("PUT", f"/v1/turns/{ids['drafted']}/draft", {"body": {}})
    until = (datetime.now(UTC) + timedelta(days=20)).isoformat()
    call("POST", f"/v1/turns/{ids['snoozed']}/snooze", {"until": until})
    call("POST", "/v1/queue/claim", {"turn_id": ids["claimed"]})
    call("POST", f"/v1/turns/{ids['closed']}/dismiss", {})
    Turn.objects.filter(question="expired").update(expires_at="2020-01-01T00:00Z")
    with_settings(ttl_days=days)
    assert settle(project) == 4
    assert {q: days_left(q) for q in ("plain", "drafted", "snoozed", "claimed", "closed")} == {
        "plain": days,
        "drafted": max(7, days),
        "snoozed": max(21, days),
        "claimed": days,
        "closed": 30,
    }
    assert days_left("expired") < 0
    assert settle(project) == 0
    assert_counted(project)


def test_a_reopened_turn_keeps_its_fresh_time_when_the_ttl_changes(
    call: Caller, project: Project, with_settings: Callable[..., Project]
) -> None:
    turn_id = call.log().body["turn_id"]
    call("POST", f"/v1/turns/{turn_id}/dismiss", {})
    move_time(expires_at="-40 days", last_seen_at="-40 days", logged_at="-40 days")
    call("POST", f"/v1/turns/{turn_id}/reopen", {})
    with_settings(ttl_days=20)
    settle(project)
    assert timedelta(days=19.9) < Turn.objects.get().expires_at - datetime.now(UTC) <= timedelta(days=20)


@pytest.mark.parametrize("second", ["correct", "incorrect"], ids=["one opinion of three", "a disagreement"])
def test_what_waits_for_others_or_an_owner_outlives_a_shorter_ttl(
    call: Caller, project: Project, with_settings: Callable[..., Project], second: str
) -> None:
    with_settings(double_share=1, double_verdicts=3 if second == "correct" else 2)
    turn_id = call.log().body["turn_id"]
    move_time(last_seen_at="-20 days", logged_at="-20 days", expires_at="-20 days")
    for reviewer, rating in {"bob": "correct", "eve": second}.items():
        call("POST", f"/v1/turns/{turn_id}/verdict", {"rating": rating, "reviewer": reviewer})
    with_settings(ttl_days=14)
    settle(project)
    assert timedelta(days=6.9) < Turn.objects.get().expires_at - datetime.now(UTC) <= timedelta(days=7)


def test_changed_weights_apply_to_pending_turns(
    call: Caller, project: Project, with_settings: Callable[..., Project]
) -> None:
    call.log("a", signals={"late": True, "huge": 1e308})
    call.log("b", signals={"thumbs_down": True})
    with_settings(signal_weights={"late": 50}, default_signal_weight=0)
    assert settle(project) == 2
    assert settle(project) == 0
    assert dict(Turn.objects.values_list("question", "reasons")) == {"a": {"late": 50}, "b": {"thumbs_down": 5}}
    listed = call("GET", "/v1/turns?sort=priority").body["turns"]
    assert [(turn["question"], turn["priority"]) for turn in listed] == [("a", 50), ("b", 5)]
    assert [turn.rank for turn in Turn.objects.order_by("-rank")] == [
        pytest.approx(turn.priority - turn.logged_at.timestamp() / 86_400) for turn in Turn.objects.order_by("-rank")
    ]


# --- the rounds -----------------------------------------------------------------------------------------------


def test_the_rounds_run_over_all_projects(
    call: Caller, stranger: Caller, with_settings: Callable[..., Project]
) -> None:
    call.log()
    stranger.log()
    index_turns()
    assert TurnIndex.objects.count() == 2
    closed = call.log("closed").body["turn_id"]
    call("POST", f"/v1/turns/{closed}/dismiss", {})
    with_settings(ttl_days=1, retention_days=1)
    move_time(last_seen_at="-2 days", closed_at="-2 days")
    sweep_task()
    assert Turn.objects.count() == 1
    forget_old_keys()
    reconcile_counters()


def test_mended_counters_are_told(call: Caller, project: Project, caplog: pytest.LogCaptureFixture) -> None:
    make_project("other")
    call.log()
    index_turns()
    TurnCounter.objects.filter(facet="pending").update(count=5)
    reconcile_counters()
    assert TurnCounter.objects.get(facet="pending").count == 1
    assert "counters differed project=acme facets=1" in caplog.text


def test_expired_turns_are_counted_nowhere(call: Caller, project: Project) -> None:
    expired: dict[str, Any] = {"expires_at": "2020-01-01T00:00Z"}
    call.log("indexed")
    settle_index()
    Turn.objects.update(**expired)
    assert_counted(project)
    call.log("marked")
    Turn.objects.update(**expired)
    assert_counted(project)
    stats = call("GET", "/v1/stats").body
    assert (stats["pending"], stats["oldest_logged_at"], stats["next_expires_at"]) == (0, None, None)
