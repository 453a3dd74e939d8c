"""Gold turns: made, given unmarked, answered, and that nothing is counted or learnt from them."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from agentloop.actors import Actor
from agentloop.models import ApiKey, AuditEntry, OutboxMessage, Project, Webhook
from review import double, figures, gold_turns, queue, removal, verdicts
from review.filters import read_filter
from review.gold_turns import KnownAnswer
from review.models import (
    Annotation,
    AnnotationSource,
    DayCount,
    ExpiredCount,
    GoldAnswer,
    GoldTurn,
    Memory,
    Opinion,
    Status,
    Turn,
    TurnIndex,
)
from routing.models import LedgerRow
from tests.review.support import Caller, assert_counted, caller_for, move_time, settle_index, turn_of

KNOWN = KnownAnswer("incorrect", "model", "hallucination_detected", "It opens at nine.")
Written = Callable[..., GoldTurn]


@pytest.fixture
def team(project: Project) -> Caller:
    """A key of reviewers, who are named in each call."""
    return caller_for(project, "read", "review", name="team")


@pytest.fixture
def write(project: Project, alice: Actor) -> Written:
    def written(question: str = "When do you open?", response: str = "At noon.", **more: Any) -> GoldTurn:
        return gold_turns.write(project, alice, question, response, more.pop("known", KNOWN), **more)

    return written


@pytest.fixture
def always(project: Project, monkeypatch: pytest.MonkeyPatch, with_settings: Any) -> None:
    """Every claim of a reviewer brings a gold turn, while there is one for them."""
    with_settings(gold_share=0.5)
    monkeypatch.setattr("review.gold.random.random", lambda: 0.0)


def claim(caller: Caller, reviewer: str = "bob", **more: Any) -> Any:
    return caller("POST", "/v1/queue/claim", {"reviewer": reviewer, **more})


def judges(caller: Caller, claimed: Any, rating: str, reviewer: str = "bob", **more: Any) -> Any:
    path = f"/v1/turns/{claimed.body['turn']['turn_id']}/verdict"
    return caller("POST", path, {"rating": rating, "reviewer": reviewer, **more})


def given(claimed: Any) -> Turn:
    return Turn.objects.get(id=claimed.body["turn"]["turn_id"].removeprefix("turn_"))


# --- made -----------------------------------------------------------------------------------------------------


def test_an_owner_makes_one_of_a_judged_turn(call: Caller, project: Project) -> None:
    turn = turn_of(call.log("Can I return it?", "No.", goal="returns", user_id="u_1", signals={"thumbs_down": True}))
    said = {"rating": "incorrect", "root_cause": "context", "correction": "Within 30 days.", "reviewer": "eve"}
    call("POST", f"/v1/turns/{turn.shown_id}/verdict", said)
    made = call("POST", "/v1/gold", {"turn_id": turn.shown_id})
    assert (made.status, made.body["rating"], made.body["explanation"]) == (201, "incorrect", "Within 30 days.")
    assert (made.body["goal"], made.body["source_turn_id"], made.body["answered"]) == ("returns", turn.shown_id, 0)
    gold = GoldTurn.objects.get()
    assert ([author.rpartition("/")[2] for author in gold.judged_by], gold.asked_by) == (["eve"], ["u_1"])
    assert call("POST", "/v1/gold", {"turn_id": turn.shown_id}).body["code"] == "is_gold"
    [entry] = AuditEntry.objects.filter(act="gold.make")
    assert entry.target == made.body["gold_id"]
    assert "return" not in str(entry.details)


def test_what_has_no_verdict_makes_none(call: Caller) -> None:
    turn = turn_of(call.log())
    assert call("POST", "/v1/gold", {"turn_id": turn.shown_id}).body["code"] == "no_verdict"
    assert call("POST", "/v1/gold", {"turn_id": "turn_nothing"}).body["code"] == "turn_not_found"


def test_one_is_written_by_hand(call: Caller, with_settings: Any) -> None:
    with_settings(mask=["email"])
    body = {
        "question": "Whom to ask?",
        "agent_response": "a@b.example",
        "rating": "partial",
        "explanation": "c@d.example",
    }
    made = call("POST", "/v1/gold", body)
    assert (made.status, made.body["source_turn_id"]) == (201, None)
    assert "@b.example" not in made.body["agent_response"]
    assert "@d.example" not in made.body["explanation"]
    assert set(call("POST", "/v1/gold", {"rating": "correct"}).body["fields"]) == {"question"}
    assert set(call("POST", "/v1/gold", {"question": "Q", "rating": "good"}).body["fields"]) == {"rating"}


def test_reviewers_learn_nothing_of_them(team: Caller, write: Written) -> None:
    gold = write()
    tries = [
        team("GET", "/v1/gold"),
        team("POST", "/v1/gold", {"question": "Q", "rating": "correct"}),
        team("POST", f"/v1/gold/{gold.shown_id}/retire"),
        team("DELETE", f"/v1/gold/{gold.shown_id}"),
    ]
    assert [(one.status, one.body["code"]) for one in tries] == [(403, "missing_scope")] * 4


# --- given ----------------------------------------------------------------------------------------------------


def test_without_a_share_a_claim_costs_nothing_more(call: Caller, team: Caller, write: Written) -> None:
    write()
    for n in range(3):
        call.log(f"Q{n}")
    claim(team)
    with CaptureQueriesContext(connection) as captured:
        assert claim(team).status == 200
    assert not [one for one in captured if "gold" in one["sql"] and "review_goldturn" in one["sql"]]
    assert sum("SAVEPOINT" not in one["sql"] for one in captured) == 2
    assert not GoldAnswer.objects.exists()


def test_it_comes_like_any_other(call: Caller, team: Caller, write: Written, always: None) -> None:
    write(goal="hours")
    call.log("Q1", signals={"thumbs_down": True}, session_id="s_1f", trace_id="t-12", user_id="u_2", model="m-1")
    call.log("Q2")
    gold, other = claim(team), claim(team)
    assert (given(gold).gold_for, given(other).gold_for) == (gold.body["turn"]["claimed_by"], "")
    assert set(gold.body) == set(other.body)
    assert set(gold.body["turn"]) == set(other.body["turn"])
    assert (gold.body["draw"], gold.body["draw_probability"]) == (other.body["draw"], other.body["draw_probability"])
    same = ("status", "signals", "metadata", "user_id", "model", "occurrences", "claimed_by", "truncated")
    assert {name: gold.body["turn"][name] for name in same} == {name: other.body["turn"][name] for name in same}
    assert abs(gold.body["turn"]["priority"] - other.body["turn"]["priority"]) < 0.1
    assert gold.body["turn"]["goal"] == "hours"
    paths = [f"/v1/turns/{one.body['turn']['turn_id']}" for one in (gold, other)]
    read = [team("GET", path).body for path in paths]
    assert set(read[0]) == set(read[1])
    acts = [team("GET", f"{path}/history").body["acts"] for path in paths]
    assert [[act["act"] for act in one] for one in acts] == [["claim"], ["claim"]]
    assert "gold" not in str([gold.body, read[0], acts[0]]).replace("'goal'", "")


def test_its_session_leads_nowhere_and_its_trace_to_its_execution(call: Caller, team: Caller, always: None) -> None:
    turn = turn_of(call.log("When?", "Now.", session_id="s_8a1f", trace_id="tr-0091", user_id="u_7"))
    judge = caller_for(turn.project, "read", "review", name="judge")
    judge("POST", f"/v1/turns/{turn.shown_id}/verdict", {"rating": "correct"})
    call("POST", "/v1/gold", {"turn_id": turn.shown_id})
    call.log("Another")
    copy = given(claim(team))
    assert (copy.question, copy.user_id, copy.content_hash) == ("When?", "u_7", None)
    assert copy.session_id.startswith("s_")
    assert len(copy.session_id) == len(turn.session_id)
    assert copy.session_id != turn.session_id
    assert copy.trace_id == turn.trace_id


def test_its_age_gives_it_the_rank_of_what_was_due(call: Caller, team: Caller, write: Written, always: None) -> None:
    write(goal="hours")
    call.log("Q1", signals={"thumbs_down": True})
    Turn.objects.update(rank=Turn.objects.get().rank + 3, logged_at=timezone.now() - timedelta(days=3))
    due = Turn.objects.get()
    copy = given(claim(team))
    assert copy.rank == pytest.approx(due.rank, abs=0.02)
    assert copy.logged_at <= due.logged_at
    assert copy.id < due.id or copy.logged_at == due.logged_at
    assert copy.expires_at > timezone.now()


def test_nobody_gets_one_twice(call: Caller, team: Caller, write: Written, always: None) -> None:
    golds = {write(f"G{n}").question for n in range(3)}
    for n in range(8):
        call.log(f"Q{n}")
    seen = []
    for _ in range(6):
        claimed = claim(team)
        seen.append(claimed.body["turn"]["question"])
        judges(team, claimed, "correct")
    assert set(seen[:3]) == golds
    assert golds.isdisjoint(seen[3:])
    assert claim(team, "eve").body["turn"]["question"] in golds


def test_one_waits_until_it_is_answered(call: Caller, team: Caller, write: Written, always: None) -> None:
    write("G1")
    write("G2")
    for n in range(3):
        call.log(f"Q{n}")
    first = claim(team)
    assert [given(claim(team)).gold_for for _ in range(2)] == ["", ""]
    team("POST", f"/v1/turns/{first.body['turn']['turn_id']}/release", {"reviewer": "bob"})
    assert claim(team, "eve").body["turn"]["turn_id"] != first.body["turn"]["turn_id"]
    assert claim(team).body["turn"]["turn_id"] == first.body["turn"]["turn_id"]


@pytest.mark.parametrize("who", ["owner", "author"])
def test_who_knows_the_answer_is_not_asked(call: Caller, team: Caller, always: None, who: str) -> None:
    turn = turn_of(call.log("Known?", "Yes."))
    team("POST", f"/v1/turns/{turn.shown_id}/verdict", {"rating": "correct", "reviewer": "bob"})
    call("POST", "/v1/gold", {"turn_id": turn.shown_id})
    call.log("Q1")
    claimed = claim(call, "alice") if who == "owner" else claim(team, "bob")
    assert claimed.body["turn"]["question"] == "Q1"


def test_none_comes_where_nothing_waits(team: Caller, write: Written, always: None) -> None:
    write()
    assert claim(team).body["code"] == "queue_empty"
    assert not Turn.objects.exists()


def test_a_share_is_a_share(call: Caller, project: Project, bob: Actor, write: Written, with_settings: Any) -> None:
    with_settings(gold_share=0.5)
    for n in range(40):
        write(f"G{n}")
        call.log(f"Q{n}")
    taken = []
    for _ in range(40):
        done = queue.claim_next(project, bob)
        taken.append(bool(done.turn.gold_for))
        queue.dismiss(project, bob, done.turn.id)
    assert 8 <= sum(taken) <= 32


# --- seen by its reviewer alone -------------------------------------------------------------------------------


def test_it_stands_in_ones_own_list_and_in_no_other(
    call: Caller, project: Project, bob: Actor, alice: Actor, write: Written, always: None
) -> None:
    write("Golden question?")
    call.log("Q1")
    copy = queue.claim_next(project, bob).turn
    settle_index()
    pages = {}
    for actor in (bob, alice):
        client = Client()
        client.force_login(project.members.get(user_id=actor.ref.removeprefix("user:")).user)
        base = "/p/acme/queue/"
        pages[actor] = [client.get(base + query).text for query in ("", "?q=golden", f"?claimed_by={bob.ref}")]
    assert [copy.shown_id in page for page in pages[bob]] == [True] * 3
    assert [copy.shown_id in page for page in pages[alice]] == [False] * 3
    assert ["of 2" in page or ">2<" in page for page in (pages[bob][0], pages[alice][0])] == [True, False]
    assert copy.shown_id not in str(call("GET", "/v1/turns").body)


def test_a_program_lists_what_its_reviewers_were_given(
    call: Caller, team: Caller, write: Written, always: None
) -> None:
    write()
    call.log("Q1")
    copy = claim(team).body["turn"]["turn_id"]
    assert copy in [turn["turn_id"] for turn in team("GET", "/v1/turns?sort=priority").body["turns"]]


def test_nobody_else_can_take_it(call: Caller, team: Caller, write: Written, always: None) -> None:
    write()
    call.log("Q1")
    copy = claim(team).body["turn"]["turn_id"]
    team("POST", f"/v1/turns/{copy}/release", {"reviewer": "bob"})
    tries = [
        claim(team, "eve", turn_id=copy),
        team("POST", f"/v1/turns/{copy}/verdict", {"rating": "correct", "reviewer": "eve"}),
        call("POST", f"/v1/turns/{copy}/dismiss"),
    ]
    assert [one.body["code"] for one in tries] == ["claimed_by_another"] * 3
    assert claim(team, turn_id=copy).status == 200


# --- answered -------------------------------------------------------------------------------------------------


def test_the_answer_is_told_and_kept(call: Caller, team: Caller, write: Written, always: None, bob: Actor) -> None:
    gold = write()
    call.log("Q1")
    claimed = claim(team)
    said = judges(team, claimed, "partial", correction="At ten.", claim_token=claimed.body["claim_token"])
    assert (said.status, said.body["status"], said.body["annotation_id"], said.body["memory_id"]) == (
        201,
        "gold",
        None,
        None,
    )
    assert said.body["gold"] == {
        "is_right": False,
        "rating": "incorrect",
        "root_cause": "model",
        "failure_category": "hallucination_detected",
        "explanation": "It opens at nine.",
    }
    kept = GoldAnswer.objects.get(gold=gold)
    assert (kept.rating, kept.known, kept.is_right, kept.actor_label) == ("partial", "incorrect", False, "bob")
    assert given(claimed).status == Status.REVIEWED
    [one] = call("GET", "/v1/gold").body["gold"]
    assert (one["given"], one["answered"], one["right"]) == (1, 1, 0)
    entry = AuditEntry.objects.get(act="gold.answer")
    assert (entry.target, entry.details) == (gold.shown_id, {"rating": "partial", "known": "incorrect"})


def test_nothing_is_learnt_or_counted(
    call: Caller, team: Caller, project: Project, write: Written, always: None, with_settings: Any
) -> None:
    with_settings(double_share=1)
    Webhook.objects.create(project=project, url="https://hooks.example", encrypted_secret=b"sealed")
    write(goal="hours")
    call.log("Q1", goal="hours", model="m", trace_id="t")
    settle_index()
    told, stats = OutboxMessage.objects.count(), call("GET", "/v1/stats").body
    claimed = claim(team)
    during = call("GET", "/v1/stats").body
    assert_counted(project)
    judges(team, claimed, "incorrect", correction="At nine.")
    assert_counted(project)
    assert {**during, "claimed": 0} == {**stats, "claimed": 0}
    assert call("GET", "/v1/stats").body == stats
    empty = [Annotation, Memory, Opinion, LedgerRow]
    assert [model.objects.count() for model in empty] == [0, 0, 0, 0]
    assert OutboxMessage.objects.count() == told
    assert {day.name: day.count for day in DayCount.objects.filter(project=project)} == {"came": 1}
    standing = figures.standing(project)
    assert (standing.escalated, sum(standing.due)) == (0, 0)
    exported = [
        b"".join(call.client.get(f"/v1/export/{name}.jsonl").streaming_content) for name in ("turns", "annotations")
    ]
    assert (exported[0].count(b"\n"), exported[1]) == (1, b"")
    assert call("GET", "/v1/annotations").body["annotations"] == []
    assert not double.standing(given(claimed)).exists()


def test_ones_own_day_counts_it(call: Caller, project: Project, bob: Actor, write: Written, always: None) -> None:
    write()
    call.log("Q1")
    turn = queue.claim_next(project, bob).turn
    verdicts.judge_turn(project, bob, turn.id, verdicts.Verdict("correct"), source=AnnotationSource.REVIEWER)
    assert figures.my_day(project, bob).ratings == {"correct": 1}


def test_after_an_undo_the_first_answer_counts(call: Caller, team: Caller, write: Written, always: None) -> None:
    write()
    call.log("Q1")
    claimed = claim(team)
    said = judges(team, claimed, "correct", comment="sure")
    assert team("POST", f"/v1/acts/{said.body['act_id']}/undo", {"reviewer": "bob"}).status == 200
    turn = given(claimed)
    assert (turn.status, turn.claimed_by) == (Status.PENDING, claimed.body["turn"]["claimed_by"])
    again = judges(team, claimed, "incorrect")
    assert (again.status, again.body["gold"]["is_right"]) == (201, True)
    assert GoldAnswer.objects.get().rating == "correct"
    assert [one["right"] for one in call("GET", "/v1/gold").body["gold"]] == [0]


@pytest.mark.parametrize("act", ["skip", "dismiss", "escalate"])
def test_it_can_be_passed_over_and_back(
    call: Caller, team: Caller, project: Project, write: Written, always: None, act: str
) -> None:
    Webhook.objects.create(project=project, url="https://hooks.example", encrypted_secret=b"sealed")
    write()
    call.log("Q1")
    told = OutboxMessage.objects.count()
    copy = claim(team).body["turn"]["turn_id"]
    done = team("POST", f"/v1/turns/{copy}/{act}", {"reviewer": "bob"})
    assert done.status == 200
    settle_index()
    assert call("GET", "/v1/stats").body["escalated"] == 0
    assert call("GET", "/v1/stats").body["dismissed_today"] == 0
    assert claim(call, "alice").body["turn"]["question"] == "Q1"
    assert OutboxMessage.objects.count() == told
    assert_counted(project)
    assert team("POST", f"/v1/acts/{done.body['act_id']}/undo", {"reviewer": "bob"}).status == 200
    assert team("POST", f"/v1/turns/{copy}/verdict", {"rating": "incorrect", "reviewer": "bob"}).status == 201


def test_one_that_expires_counts_as_nothing_and_comes_again(
    call: Caller, team: Caller, project: Project, write: Written, always: None
) -> None:
    write()
    call.log("Q1")
    first = claim(team).body["turn"]["turn_id"]
    settle_index()
    Turn.objects.exclude(gold_for="").update(
        expires_at=timezone.now() - timedelta(minutes=1), claimed_by="", claimed_until=None
    )
    assert removal.sweep_expired(project) == 1
    assert not ExpiredCount.objects.exists()
    assert_counted(project)
    again = claim(team).body["turn"]
    assert again["question"] == "When do you open?"
    assert again["turn_id"] != first


# --- taken away -----------------------------------------------------------------------------------------------


def test_retired_it_is_given_to_nobody_and_counts_on(call: Caller, team: Caller, write: Written, always: None) -> None:
    gold = write()
    call.log("Q1")
    judges(team, claim(team), "incorrect")
    path = f"/v1/gold/{gold.shown_id}/retire"
    assert [call("POST", path).status for _ in range(2)] == [204, 204]
    assert claim(team, "eve").body["turn"]["question"] == "Q1"
    [one] = call("GET", "/v1/gold").body["gold"]
    assert (one["retired_at"] is None, one["answered"], one["right"]) == (False, 1, 1)
    assert AuditEntry.objects.filter(act="gold.retire").count() == 1
    assert write().shown_id != gold.shown_id


def test_removed_it_takes_copies_and_answers_along(
    call: Caller, team: Caller, project: Project, write: Written, always: None
) -> None:
    gold = write()
    call.log("Q1")
    judges(team, claim(team), "incorrect")
    claim(team, "eve")
    assert call("DELETE", f"/v1/gold/{gold.shown_id}").status == 204
    assert call("DELETE", f"/v1/gold/{gold.shown_id}").body["code"] == "gold_not_found"
    assert not GoldAnswer.objects.exists()
    assert not Turn.objects.exclude(gold_for="").exists()
    assert gold_turns.accuracy(project) == []
    settle_index()
    assert TurnIndex.objects.count() == 1


@pytest.mark.parametrize("how", ["deleted", "erased", "erased, who asked the same"])
def test_it_goes_with_the_words_that_it_holds(call: Caller, team: Caller, always: None, how: str) -> None:
    turn = turn_of(call.log("Where do I live?", "In Bonn.", user_id="u_1"))
    call.log("Where do I live?", "In Bonn.", user_id="u_2")
    call("POST", f"/v1/turns/{turn.shown_id}/verdict", {"rating": "correct"})
    call("POST", "/v1/gold", {"turn_id": turn.shown_id})
    call.log("Q1")
    judges(team, claim(team), "correct")
    if how == "deleted":
        call("DELETE", f"/v1/turns/{turn.shown_id}")
    else:
        call("POST", "/v1/erasure", {"user_id": "u_1" if how == "erased" else "u_2"})
    assert not GoldTurn.objects.exists()
    assert [one.question for one in Turn.objects.all()] == ["Q1"]
    assert GoldAnswer.objects.get().is_right


def test_it_outlives_the_turn_it_was_made_of(call: Caller, project: Project, with_settings: Any) -> None:
    turn = turn_of(call.log())
    call("POST", f"/v1/turns/{turn.shown_id}/verdict", {"rating": "correct"})
    call("POST", "/v1/gold", {"turn_id": turn.shown_id})
    with_settings(retention_days=1)
    move_time(closed_at="-2 days")
    assert removal.end_retention(project) == 1
    assert GoldTurn.objects.get().question == turn.question


# --- figures --------------------------------------------------------------------------------------------------


def answers(project: Project, actor: str, said: str, known: str, count: int) -> None:
    now = timezone.now()
    for _ in range(count):
        gold = GoldTurn.objects.create(
            project=project, question="Q", response="A", rating=known, author="x", content_hash=uuid4()
        )
        GoldAnswer.objects.create(
            project=project, gold=gold, actor=actor, actor_label=actor, rating=said, known=known, answered_at=now
        )


def test_how_often_each_is_right_and_how_they_err(project: Project) -> None:
    answers(project, "bob", "correct", "correct", 18)
    answers(project, "bob", "correct", "incorrect", 4)
    answers(project, "bob", "incorrect", "partial", 2)
    answers(project, "eve", "partial", "partial", 3)
    bob, eve = gold_turns.accuracy(project)
    assert (bob.ref, bob.share.hits, bob.share.count, bob.too_kind, bob.too_strict) == ("bob", 18, 24, 4, 2)
    assert (round(bob.share.low, 3), round(bob.share.high, 3)) == (0.551, 0.880)
    assert (bob.left, eve.left) == (3, 24)
    assert (bob.share.is_few, eve.share.is_few) == (False, True)
    assert [one.ref for one in gold_turns.accuracy(project, "eve")] == ["eve"]


def test_others_projects_stay_apart(project: Project, stranger: Caller, write: Written) -> None:
    gold = write()
    assert stranger("GET", "/v1/gold").body == {"gold": []}
    assert stranger("DELETE", f"/v1/gold/{gold.shown_id}").status == 404
    assert stranger("POST", f"/v1/gold/{gold.shown_id}/retire").status == 404


# --- in a filtered list ---------------------------------------------------------------------------------------


def test_a_filter_brings_those_that_match(call: Caller, team: Caller, write: Written, always: None) -> None:
    write("Gold on returns?", goal="returns")
    call.log("Q1", goal="returns")
    call.log("Q2", goal="opening")
    other = claim(team, filters={"goal": "opening"})
    assert (other.body["turn"]["question"], other.body["draw"]) == ("Q2", "filter")
    assert not GoldAnswer.objects.exists()
    first = claim(team, filters={"goal": ["returns"]})
    assert (first.body["turn"]["question"], first.body["draw"]) == ("Gold on returns?", "filter")
    assert claim(team, filters={"goal": ["returns"]}).body["turn"]["question"] == "Q1"


def test_one_without_a_goal_takes_that_of_what_is_due(call: Caller, team: Caller, write: Written, always: None) -> None:
    write("Gold?")
    call.log("Q", goal="returns", tags=["t"], model="m")
    first = claim(team, filters={"goal": "returns", "tag": "t", "model": "m"})
    assert first.body["turn"]["question"] == "Gold?"


def test_a_search_for_words_brings_none(call: Caller, team: Caller, write: Written, always: None) -> None:
    """Its words are not indexed yet, and finding it by them the moment it is made would tell it."""
    write("Where is my parcel?")
    call.log("Where is my parcel now?")
    settle_index()
    assert claim(team, filters={"q": "parcel"}).body["turn"]["question"] == "Where is my parcel now?"


@pytest.mark.parametrize("sort", ["newest", "oldest", "expiring"])
def test_other_orders_bring_none(
    call: Caller, project: Project, bob: Actor, write: Written, always: None, sort: str
) -> None:
    write("Gold?")
    call.log("Q", goal="returns")
    wanted = read_filter(project.id, {"goal": ["returns"]})
    assert queue.claim_matching(project, bob, wanted, sort).turn.question == "Q"


# --- by the API -----------------------------------------------------------------------------------------------


def test_accuracy_is_for_owners_and_for_oneself(call: Caller, project: Project, stranger: Caller) -> None:
    team = caller_for(project, "read", "review", name="team")
    claim(team)
    mine = f"key:{ApiKey.objects.get(name='team').prefix}"
    answers(project, f"{mine}/bob", "correct", "incorrect", 4)
    answers(project, f"{mine}/eve", "partial", "partial", 3)
    answers(project, f"{mine}x", "correct", "correct", 2)
    path = "/v1/gold/accuracy"
    everybody = call("GET", path).body["reviewers"]
    assert [(one["reviewer"], one["right"], one["answered"]) for one in everybody] == [
        (f"{mine}/bob", 0, 4),
        (f"{mine}/eve", 3, 3),
        (f"{mine}x", 2, 2),
    ]
    own = team("GET", path).body["reviewers"]
    assert own == everybody[:2]
    low, high = own[0]["interval"]
    assert (low, round(high, 3), own[0]["share"], own[0]["too_kind"], own[0]["is_few"]) == (0, 0.490, 0, 4, True)
    assert caller_for(project, "ingest", "read")("GET", path).status == 403
    assert stranger("GET", path).body == {"reviewers": []}
