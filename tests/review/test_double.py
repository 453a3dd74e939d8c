"""Blind double review: what waits, what closes, who decides, and that nobody sees what another said before."""

import json
from itertools import permutations
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries

from agentloop.actors import Actor
from agentloop.models import AuditEntry, Project, Scope
from review import double, queue, verdicts
from review.models import Annotation, AnnotationSource, Memory, Opinion, Status, Turn
from review.verdicts import Verdict
from routing.models import LedgerRow
from tests.review.support import Caller, assert_counted, caller_for, in_threads, make_project, turn_of

REVIEWS = frozenset({Scope.READ.value, Scope.REVIEW.value})


@pytest.fixture
def always(with_settings: Any) -> Any:
    return with_settings(double_share=1)


@pytest.fixture
def team(project: Project) -> Caller:
    """A key of reviewers, who are named in each call."""
    return caller_for(project, "read", "review", name="team")


@pytest.fixture
def turn(call: Caller, always: Any) -> Turn:
    return turn_of(call.log(goal="book", model="gpt-4o", trace_id="t-1"))


def judges(team: Caller, turn: Turn, reviewer: str, rating: str, **more: Any) -> Any:
    return team("POST", f"/v1/turns/{turn.shown_id}/verdict", {"rating": rating, "reviewer": reviewer, **more})


def claim(team: Caller, reviewer: str = "", **more: Any) -> Any:
    return team("POST", "/v1/queue/claim", {"reviewer": reviewer, **more})


def evidence() -> int:
    """Ledger rows that say something and were not taken back."""
    taken_back = LedgerRow.objects.exclude(withdraws=None).values("withdraws")
    return LedgerRow.objects.filter(withdraws=None).exclude(key__in=taken_back).count()


def undo(caller: Caller, act: Any, reviewer: str = "") -> Any:
    return caller("POST", f"/v1/acts/{act.body['act_id']}/undo", {"reviewer": reviewer})


# --- one, and another who agrees ------------------------------------------------------------------------------


def test_it_is_off_until_an_owner_sets_a_share(call: Caller) -> None:
    turn = turn_of(call.log())
    assert judges(call, turn, "bob", "correct").body["status"] == "active"
    assert not Opinion.objects.exists()


def test_one_verdict_changes_nothing_yet(team: Caller, turn: Turn, project: Project) -> None:
    first = judges(team, turn, "bob", "incorrect", correction="Better.")
    assert (first.status, first.body["status"], first.body["memory_id"]) == (201, "waiting", None)
    turn.refresh_from_db()
    assert (turn.status, turn.opinions, turn.claimed_by) == (Status.PENDING, 1, "")
    assert not Annotation.objects.exists()
    assert not Memory.objects.exists()
    assert evidence() == 0
    assert_counted(project)


def test_a_second_that_agrees_closes_it_with_both(team: Caller, turn: Turn, project: Project) -> None:
    first = judges(team, turn, "bob", "incorrect", correction="Better.", comment="from bob")
    second = judges(team, turn, "eve", "incorrect", root_cause="model")
    assert second.body["status"] == "active"
    turn.refresh_from_db()
    assert (turn.status, turn.opinions) == (Status.REVIEWED, 0)
    said = {one.author_label: one for one in Annotation.objects.all()}
    assert set(said) == {"bob", "eve"}
    assert first.body["annotation_id"] == str(said["bob"])
    assert (said["bob"].comment, said["eve"].root_cause) == ("from bob", "model")
    assert Memory.objects.get().fact == "Better."
    assert evidence() == 2
    assert_counted(project)


def test_three_can_be_asked_for(team: Caller, turn: Turn, with_settings: Any) -> None:
    with_settings(double_verdicts=3)
    assert [judges(team, turn, name, "correct").body["status"] for name in "abc"] == ["waiting", "waiting", "active"]


def test_nobody_judges_twice(team: Caller, turn: Turn, call: Caller) -> None:
    held = claim(team, "bob").body
    judges(team, turn, "bob", "correct", claim_token=held["claim_token"])
    path = f"/v1/turns/{turn.shown_id}"
    tries = [
        judges(team, turn, "bob", "correct"),
        claim(team, "bob", turn_id=turn.shown_id),
        team("POST", f"{path}/dismiss", {"reviewer": "bob"}),
        team("POST", f"{path}/escalate", {"reviewer": "bob"}),
        team("POST", f"{path}/skip", {"reviewer": "bob"}),
        team(
            "POST",
            "/v1/annotations",
            {
                "question": turn.question,
                "agent_response": turn.response,
                "rating": "correct",
                "correction": "x",
                "reviewer": "bob",
            },
        ),
    ]
    assert [one.body["code"] for one in tries] == ["already_judged"] * 6
    assert claim(team, "bob").body["code"] == "queue_empty"
    assert claim(team, "bob", filters={"goal": "book"}).body["code"] == "queue_empty"
    assert claim(team, "eve").body["turn"]["turn_id"] == turn.shown_id


def test_a_held_turn_keeps_its_fence(team: Caller, turn: Turn) -> None:
    judges(team, turn, "bob", "correct")
    held = claim(team, "eve").body
    assert judges(team, turn, "mia", "correct").body["code"] == "claimed_by_another"
    assert judges(team, turn, "eve", "correct", claim_token=held["claim_token"] - 1).body["code"] == "claim_lost"
    assert judges(team, turn, "eve", "correct", claim_token=held["claim_token"]).body["status"] == "active"


def test_a_texts_annotation_is_an_opinion_too(team: Caller, turn: Turn) -> None:
    body = {"question": turn.question, "agent_response": turn.response, "rating": "partial", "correction": "More."}
    assert team("POST", "/v1/annotations", {**body, "reviewer": "bob"}).body["status"] == "waiting"
    assert not Memory.objects.exists()
    assert judges(team, turn, "eve", "partial").body["status"] == "active"
    assert Memory.objects.get().fact == "More."


def test_nobody_sees_what_another_said(team: Caller, call: Caller, turn: Turn) -> None:
    judges(team, turn, "bob", "incorrect", correction="bobs words", comment="bobs words", tags=["bobs words"])
    seen = [
        call("GET", path).body
        for path in (
            f"/v1/turns/{turn.shown_id}",
            f"/v1/turns/{turn.shown_id}/history",
            "/v1/turns",
            "/v1/annotations",
        )
    ]
    seen.append(list(AuditEntry.objects.values("act", "details")))
    assert "bobs words" not in json.dumps(seen, default=str)
    assert "incorrect" not in json.dumps(seen, default=str)


# --- disagreement ---------------------------------------------------------------------------------------------


@pytest.fixture
def disputed(team: Caller, turn: Turn) -> Turn:
    judges(team, turn, "bob", "correct")
    assert judges(team, turn, "eve", "incorrect", comment="wrong").body["status"] == "waiting"
    turn.refresh_from_db()
    return turn


def test_disagreement_goes_to_the_owners(team: Caller, call: Caller, disputed: Turn) -> None:
    assert (disputed.status, disputed.is_disputed, disputed.opinions) == (Status.PENDING, True, 2)
    assert evidence() == 0
    assert [one["turn_id"] for one in call("GET", "/v1/turns?disputed=true").body["turns"]] == [disputed.shown_id]
    assert call("GET", "/v1/turns?disputed=false").body["turns"] == []
    for reviewer in ("bob", "eve", "mia"):
        assert claim(team, reviewer).body["code"] == "queue_empty"
    assert judges(team, disputed, "mia", "correct").body["code"] == "only_owners"
    body = {"question": disputed.question, "agent_response": disputed.response, "rating": "correct", "correction": "x"}
    assert team("POST", "/v1/annotations", {**body, "reviewer": "mia"}).body["code"] == "only_owners"


def test_an_owner_decides_alone(call: Caller, disputed: Turn, project: Project) -> None:
    call.log("More urgent?", signals={"thumbs_down": True})
    held = claim(call).body
    assert held["turn"]["turn_id"] == disputed.shown_id
    assert judges(call, disputed, "", "incorrect", claim_token=held["claim_token"]).body["status"] == "active"
    disputed.refresh_from_db()
    assert (disputed.status, disputed.opinions) == (Status.REVIEWED, 0)
    assert [one.rating for one in Annotation.objects.all()] == ["incorrect"]
    assert evidence() == 1
    assert Opinion.objects.filter(is_settled=True).count() == 2
    assert_counted(project)


def test_an_owner_who_is_one_of_the_two_never_decides(call: Caller, team: Caller, turn: Turn) -> None:
    judges(call, turn, "", "correct")
    judges(team, turn, "eve", "incorrect")
    assert claim(call).body["code"] == "queue_empty"
    assert judges(call, turn, "", "correct").body["code"] == "already_judged"
    assert judges(call, turn, "another owner", "correct").body["status"] == "active"


def test_an_owner_decides_at_once_what_a_reviewer_flagged(call: Caller, team: Caller, turn: Turn) -> None:
    judges(team, turn, "bob", "correct")
    team("POST", f"/v1/turns/{turn.shown_id}/escalate", {"reviewer": "eve"})
    assert judges(call, turn, "", "partial").body["status"] == "active"
    assert [one.rating for one in Annotation.objects.all()] == ["partial"]


# --- undo -----------------------------------------------------------------------------------------------------


def test_an_opinion_is_taken_back_while_others_go_on(team: Caller, turn: Turn) -> None:
    team("PUT", f"/v1/turns/{turn.shown_id}/draft", {"body": {"comment": "hm"}, "reviewer": "bob"})
    first = judges(team, turn, "bob", "correct")
    claim(team, "eve")
    assert undo(team, first, "eve").body["code"] == "not_yours"
    assert undo(team, first, "bob").status == 200
    turn.refresh_from_db()
    assert (turn.opinions, turn.claimed_by.endswith("/eve")) == (0, True)
    assert judges(team, turn, "eve", "correct").body["status"] == "waiting"
    again = claim(team, "bob").body
    assert again["draft"] == {"comment": "hm"}
    assert judges(team, turn, "bob", "correct", claim_token=again["claim_token"]).body["status"] == "active"


def test_an_agreement_is_taken_back_by_whoever_brought_it_about(team: Caller, turn: Turn, project: Project) -> None:
    first = judges(team, turn, "bob", "incorrect", correction="Better.")
    second = judges(team, turn, "eve", "incorrect")
    assert undo(team, first, "bob").body["code"] == "not_latest"
    assert undo(team, second, "eve").status == 200
    turn.refresh_from_db()
    assert (turn.status, turn.opinions) == (Status.PENDING, 1)
    assert not Annotation.objects.standing().exists()
    assert not Memory.objects.exists()
    assert evidence() == 0
    assert_counted(project)
    assert judges(team, turn, "eve", "incorrect").body["status"] == "active"
    assert Annotation.objects.standing().count() == 2
    assert evidence() == 2


def test_an_edit_after_agreement_stands_in_the_way_until_it_is_undone(team: Caller, turn: Turn) -> None:
    first = judges(team, turn, "bob", "incorrect")
    second = judges(team, turn, "eve", "incorrect")
    edit = team("PATCH", f"/v1/annotations/{first.body['annotation_id']}", {"comment": "so", "reviewer": "bob"})
    assert undo(team, second, "eve").body["code"] == "not_latest"
    assert undo(team, edit, "bob").status == 200
    assert undo(team, second, "eve").status == 200


def test_a_disagreement_is_taken_back(team: Caller, turn: Turn) -> None:
    judges(team, turn, "bob", "correct")
    second = judges(team, turn, "eve", "incorrect")
    assert undo(team, second, "eve").status == 200
    turn.refresh_from_db()
    assert (turn.is_disputed, turn.opinions) == (False, 1)
    assert judges(team, turn, "eve", "correct").body["status"] == "active"


def test_a_decision_is_taken_back(call: Caller, team: Caller, disputed: Turn) -> None:
    decided = judges(call, disputed, "", "incorrect")
    assert undo(call, decided).status == 200
    disputed.refresh_from_db()
    assert (disputed.status, disputed.is_disputed, disputed.opinions) == (Status.PENDING, True, 2)
    assert evidence() == 0
    assert claim(team, "bob").body["code"] == "queue_empty"
    assert judges(call, disputed, "", "correct").body["status"] == "active"
    assert evidence() == 1


def test_what_is_reopened_is_judged_anew(team: Caller, turn: Turn) -> None:
    judges(team, turn, "bob", "correct")
    judges(team, turn, "eve", "correct")
    team("POST", f"/v1/turns/{turn.shown_id}/reopen", {"reviewer": "bob"})
    assert judges(team, turn, "bob", "correct").body["status"] == "waiting"
    assert judges(team, turn, "eve", "correct").body["status"] == "active"


def test_opinions_go_with_a_twin_that_is_merged(call: Caller, team: Caller, turn: Turn, project: Project) -> None:
    dismissed = team("POST", f"/v1/turns/{turn.shown_id}/dismiss", {"reviewer": "mia"})
    twin = turn_of(call.log())
    judges(team, twin, "bob", "correct")
    assert undo(team, dismissed, "mia").status == 200
    turn.refresh_from_db()
    assert turn.opinions == 1
    assert judges(team, turn, "bob", "correct").body["code"] == "already_judged"
    assert judges(team, turn, "eve", "correct").body["status"] == "active"
    assert_counted(project)


def test_a_deleted_turn_takes_its_opinions_along(call: Caller, team: Caller, turn: Turn) -> None:
    judges(team, turn, "bob", "correct")
    call("DELETE", f"/v1/turns/{turn.shown_id}")
    assert not Opinion.objects.exists()


# --- who is drawn ---------------------------------------------------------------------------------------------


def test_the_share_is_drawn_by_the_turns_own_id(project: Project) -> None:
    turns = [Turn() for _ in range(4_000)]

    def drawn(share: float) -> set[Any]:
        project.settings = {"double_share": share}
        return {turn.id for turn in turns if double.is_drawn(project, turn)}

    assert drawn(0) == set()
    assert drawn(1) == {turn.id for turn in turns}
    assert 0.26 < len(drawn(0.3)) / len(turns) < 0.34
    assert drawn(0.3) == drawn(0.3)
    assert drawn(0.1) < drawn(0.3)


def test_a_turn_that_has_an_opinion_stays_drawn(team: Caller, turn: Turn, with_settings: Any) -> None:
    judges(team, turn, "bob", "correct")
    with_settings(double_share=0)
    assert judges(team, turn, "eve", "incorrect").body["status"] == "waiting"
    turn.refresh_from_db()
    assert turn.is_disputed


def test_a_verdict_without_double_review_costs_no_more(
    call: Caller, project: Project, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    turn = turn_of(call.log())
    actor = Actor("user:1", "Bob", REVIEWS)
    with django_assert_max_num_queries(20) as captured:
        verdicts.judge_turn(project, actor, turn.id, Verdict("correct"), source=AnnotationSource.REVIEWER)
    assert not [one for one in captured.captured_queries if "review_opinion" in one["sql"]]


# --- laws -----------------------------------------------------------------------------------------------------

SAID = st.fixed_dictionaries(
    {
        "rating": st.sampled_from(["correct", "partial", "incorrect"]),
        "root_cause": st.sampled_from(["", "model", "context"]),
        "correction": st.sampled_from(["", "Better."]),
    }
)


def outcome(project: Project, said: dict[str, dict[str, str]], order: tuple[str, ...]) -> Any:
    """What there is after the reviewers' verdicts in this order: without ids and times."""
    turn = Turn.objects.create(project=project, question="Q", response="A", goal="book", model="m", trace_id="t",
                               expires_at="2100-01-01T00:00:00Z")  # fmt: skip
    for name in order:
        actor = Actor(f"user:{name}", name, REVIEWS)
        verdicts.judge_turn(project, actor, turn.id, Verdict(**said[name]), source=AnnotationSource.REVIEWER)
    turn.refresh_from_db()
    made = Annotation.objects.filter(turn_id=turn.id).order_by("updated_at")
    rows = LedgerRow.objects.filter(project=project, trace_id="t").order_by("occurred_at")
    state = (
        turn.status,
        turn.is_disputed,
        turn.opinions,
        [(one.author, one.rating, one.root_cause, one.correction) for one in made],
        [(row.success, row.score, row.attribution, row.failure_category) for row in rows],
        sorted(Opinion.objects.filter(turn_id=turn.id).values_list("actor", "rating", "is_settled")),
    )
    LedgerRow.objects.filter(project=project).delete()
    Turn.objects.filter(id=turn.id).update(content_hash=None)
    Annotation.objects.filter(turn_id=turn.id).update(turn_id=None)
    return state


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=st.fixed_dictionaries(dict.fromkeys("abc", SAID)))
@pytest.mark.django_db
def test_any_order_of_verdicts_ends_in_the_same_state(db: None, said: dict[str, dict[str, str]]) -> None:
    project, _ = Project.objects.get_or_create(
        slug="acme", defaults={"settings": {"double_share": 1, "double_verdicts": 3, "random_share": 0}}
    )
    ends = [outcome(project, said, order) for order in permutations("abc")]
    assert ends == [ends[0]] * 6
    agree = len({one["rating"] for one in said.values()}) == 1
    assert ends[0][0] == (Status.REVIEWED if agree else Status.PENDING)
    assert ends[0][1] is not agree


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("last", ["correct", "incorrect"])
def test_verdicts_at_the_same_moment(transactional_db: None, last: str) -> None:
    """Six at once on real connections where two are asked for: two count, whoever they are, and nothing is lost."""
    project = make_project("acme")
    project.settings |= {"double_share": 1}
    project.save()
    turn = turn_of(caller_for(project).log(goal="book", model="m", trace_id="t"))
    reviewers = [Actor(f"user:{n}", f"r{n}", REVIEWS) for n in range(6)]

    def judge(place: int) -> Any:
        verdict = Verdict(last if place % 2 else "correct")
        try:
            judged = verdicts.judge_turn(project, reviewers[place], turn.id, verdict, source=AnnotationSource.REVIEWER)
        except (queue.errors.NotPending, queue.errors.OnlyOwners) as late:
            return type(late).__name__
        return judged.act.act

    done = in_threads([lambda place=place: judge(place) for place in range(6)])
    turn.refresh_from_db()
    assert done.count("opinion") == 1
    assert done.count("verdict") + done.count("dispute") == 1
    assert Opinion.objects.count() == 2
    assert Annotation.objects.count() == (2 if turn.status == Status.REVIEWED else 0)
    assert turn.is_disputed == ("dispute" in done)


@pytest.mark.django_db(transaction=True)
def test_claims_at_the_same_moment_never_return_to_one_who_judged(transactional_db: None) -> None:
    project = make_project("acme")
    project.settings |= {"double_share": 1}
    project.save()
    call = caller_for(project)
    turns = [turn_of(call.log(f"Q{n}")) for n in range(6)]
    reviewers = [Actor(f"user:{n}", f"r{n}", REVIEWS) for n in range(4)]

    def work(actor: Actor) -> list[Any]:
        judged = []
        for _ in range(40):
            try:
                turn = queue.claim_next(project, actor).turn
            except queue.errors.QueueEmpty:
                continue
            verdicts.judge_turn(
                project, actor, turn.id, Verdict("correct"), source=AnnotationSource.REVIEWER, token=turn.claim_token
            )
            judged.append(turn.id)
        return judged

    done = in_threads([lambda actor=actor: work(actor) for actor in reviewers])
    assert all(len(set(judged)) == len(judged) for judged in done)
    assert sorted(one for judged in done for one in judged) == sorted(turn.id for turn in turns for _ in range(2))
    assert Turn.objects.filter(status=Status.REVIEWED).count() == 6
