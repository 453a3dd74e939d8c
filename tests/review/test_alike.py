"""Turns that were asked nearly the same: found by their words, with what became of them, at any size."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from agentloop.models import Project
from agentloop.sql import run
from review import alike
from review.alike import SQL
from review.models import Turn
from review.words import words
from tests.review.support import Caller, caller_for, make_project, settle_index, turn_of

ASKED = "Order 70548 arrived 12 days ago and I never opened it. Can I still send it back?"


@pytest.fixture
def project(db: None) -> Project:
    return make_project("acme")


@pytest.fixture
def call(project: Project) -> Caller:
    return caller_for(project)


def found(project: Project, turn: Turn) -> list[str]:
    return [one.question for one in alike.alike(project, turn)]


def test_nearly_the_same_question_whatever_became_of_it(project: Project, call: Caller) -> None:
    wrong = call.log("Order 11111 arrived 3 days ago and I never opened it. Can I send it back?").body["turn_id"]
    call("POST", f"/v1/turns/{wrong}/verdict", {"rating": "incorrect"})
    gone = call.log("Order 22222 arrived today and I never opened it. Can I still send it back?").body["turn_id"]
    call("POST", f"/v1/turns/{gone}/dismiss")
    call.log("Order 33333 arrived 9 days ago and I never opened it. Can I still send it back?")
    call.log("Order 44444 never arrived.")
    call.log("When do you open?")
    turn = turn_of(call.log(ASKED))
    settle_index()
    rows = alike.alike(project, turn)
    assert [(one.question.split()[1], one.outcome) for one in rows] == [
        ("33333", "Waiting"),
        ("11111", "Incorrect"),
        ("22222", "Dismissed"),
    ]
    assert (rows[1].turn_id, rows[1].rating) == (wrong, "incorrect")


def test_the_same_words_in_an_answer_make_no_like_question(project: Project, call: Caller) -> None:
    call.log("What did they write?", f"They wrote: {ASKED}")
    turn = turn_of(call.log(ASKED))
    settle_index()
    assert found(project, turn) == []


@pytest.mark.parametrize("question", ["営業時間は何時までですか", "متى تفتحون أبوابكم", "7 + 7", "Ça va, élève?"])
def test_in_every_script(project: Project, call: Caller, question: str) -> None:
    call.log(question, "One answer.")
    turn = turn_of(call.log(question, "Another answer."))
    settle_index()
    assert found(project, turn) == [question]


@pytest.mark.parametrize("question", ["", "?!", "' | ! & :* <-> \\"])
def test_a_question_without_words_is_like_none(project: Project, call: Caller, question: str) -> None:
    call.log("x", "y")
    assert found(project, Turn(question=question)) == []


def test_others_turns_and_dead_ones_are_never_found(project: Project, call: Caller) -> None:
    caller_for(make_project("elsewhere")).log(ASKED, "theirs")
    dead = turn_of(call.log(ASKED, "dead"))
    turn = turn_of(call.log(ASKED, "alive"))
    settle_index()
    Turn.objects.filter(id=dead.id).update(expires_at=timezone.now() - timedelta(days=1))
    assert found(project, turn) == []


def test_however_many_were_asked_the_same_few_are_read(project: Project, call: Caller) -> None:
    """The index of words finds them, and no more than LOOKED_AT are looked at where very many were asked the same."""
    turn = turn_of(call.log(ASKED))
    asked = words(ASKED)
    _fill(project, 20_000, asked)
    plan = explained(alike.parameters(project, turn.id, asked))
    scans = [(node["Node Type"], node.get("Index Name"), node.get("Relation Name")) for node in nodes_of(plan)]
    assert ("Bitmap Index Scan", "turn_document", None) in scans
    # Of the turns themselves there is a page alone here, which may be read however PostgreSQL likes.
    assert ("Seq Scan", None, "review_turnindex") not in scans
    read = [node["Actual Rows"] for node in nodes_of(plan) if node.get("Relation Name") == "review_turnindex"]
    assert 0 < read[0] <= alike.LOOKED_AT + 1


def _fill(project: Project, count: int, asked: list[str]) -> None:
    """Entries of an index alone: a tenth were asked the same."""
    run(
        """
        INSERT INTO review_turnindex (turn_id, project_id, facets, document)
        SELECT gen_random_uuid(), %(project)s, '{}',
            array_to_tsvector(CASE WHEN n %% 10 = 0 THEN %(asked)s::text[] ELSE ARRAY['order', 'word' || n] END)
        FROM generate_series(1, %(count)s) AS n
        """,
        {"project": project.id, "asked": asked, "count": count},
    )
    run("ANALYZE review_turnindex", [])


def explained(given: dict[str, object]) -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {SQL}", given)
        [(plans,)] = cursor.fetchall()
    plan: dict[str, Any] = plans[0]["Plan"]
    return plan


def nodes_of(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for inner in plan.get("Plans", []) for node in nodes_of(inner))]
