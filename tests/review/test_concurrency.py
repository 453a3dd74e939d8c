"""What real connections do to one another: every law of the queue under races."""

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from agentloop.actors import SYSTEM, Actor
from agentloop.errors import AppError, Conflict
from agentloop.models import Project
from review import index, queue, removal, verdicts
from review.errors import QueueEmpty
from review.intake import log_turn, log_turns
from review.models import (
    Annotation,
    AnnotationSource,
    ExpiredCount,
    Memory,
    Occurrence,
    QueueAct,
    Status,
    Turn,
    TurnIndex,
)
from review.verdicts import Verdict
from tests.review.support import assert_counted, in_threads, make_project, move_time, settle_index

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def project(transactional_db: None) -> Project:
    return make_project("acme")


def reviewer(name: str, *scopes: str) -> Actor:
    return Actor(name, name, frozenset(scopes or ("read", "review")))


def item(question: str, **more: Any) -> dict[str, Any]:
    return {"question": question, "agent_response": "a", **more}


def log(project: Project, question: str, **more: Any) -> UUID:
    return log_turn(project, item(question, **more))[0].turn_id


def judge(project: Project, actor: Actor, turn_id: UUID, correction: str = "") -> verdicts.Judged:
    return verdicts.judge_turn(
        project, actor, turn_id, Verdict("incorrect", correction), source=AnnotationSource.REVIEWER
    )


def quietly(work: Callable[[], Any]) -> Callable[[], Any]:
    """A lost race is an answer too."""

    def tried() -> Any:
        try:
            return work()
        except AppError as error:
            return error

    return tried


def insert_turns(project: Project, count: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO review_turn (id, project_id, status, question, response, content_hash, truncated, signals,
                metadata, tags, user_id, session_id, trace_id, goal, model, path_id, pipeline_id, occurrences,
                reasons, priority, rank, logged_at, occurred_at, last_seen_at, expires_at, claimed_by, draw,
                escalated_by, escalation_note, dismissed_reason)
            SELECT gen_random_uuid(), %s, 'pending', 'q' || n, 'a', gen_random_uuid(), '{}', '{}', '{}', '{}', '', '',
                '', '', '', '', '', 1, '{}', 0, n %% 100, now(), now(), now(), now() + interval '30 days', '', '',
                '', '', ''
            FROM generate_series(1, %s) AS n
            """,
            [project.id, count],
        )
        cursor.execute("ANALYZE review_turn")


@pytest.mark.parametrize("random_share", [0, 0.3])
def test_32_claimers_take_5000_turns_once_each(project: Project, random_share: float) -> None:
    project.settings = {"random_share": random_share}
    insert_turns(project, 5000)

    def claim_all(actor: Actor) -> list[UUID]:
        taken = []
        while True:
            try:
                taken.append(queue.claim_next(project, actor).turn.id)
            except QueueEmpty:
                return taken

    claims = in_threads([lambda n=n: claim_all(reviewer(f"r{n}")) for n in range(32)])
    taken = Counter(turn_id for turns in claims for turn_id in turns)
    assert (len(taken), set(taken.values())) == (5000, {1})
    held = dict(Turn.objects.values_list("id", "claimed_by"))
    assert all(held[turn_id] == f"r{n}" for n, turns in enumerate(claims) for turn_id in turns)
    assert QueueAct.objects.filter(act="claim").count() == 5000
    tokens = Turn.objects.values_list("claim_token", flat=True)
    assert len(set(tokens)) == 5000


def test_a_storm_of_one_turn_is_one_turn(project: Project) -> None:
    def storm(thread: int) -> None:
        for number in range(10):
            log_turn(project, item(" Q" if number % 2 else "q", trace_id=f"{thread}-{number}"))

    in_threads([lambda n=n: storm(n) for n in range(8)])
    turn = Turn.objects.get()
    traces = {turn.trace_id, *Occurrence.objects.values_list("trace_id", flat=True)}
    assert (turn.occurrences, Occurrence.objects.count(), len(traces)) == (80, 79, 80)
    assert_counted(project)


def test_overlapping_batches_in_different_orders_do_not_deadlock(project: Project) -> None:
    items = [item(f"q{n}") for n in range(60)]
    log_turns(project, items[::7])
    move_time(expires_at="-31 days")
    orders = [items, items[::-1], items[30:] + items[:30], items[::2] + items[1::2]]
    in_threads([lambda o=o: [log_turns(project, o) for _ in range(5)] for o in orders * 2])
    pending = Turn.objects.of(project).pending()
    assert set(pending.values_list("occurrences", flat=True)) == {40}
    assert pending.count() == 60
    assert_counted(project)


def test_a_verdict_is_given_once_and_undone_once(project: Project) -> None:
    ids = [log(project, f"q{n}") for n in range(10)]
    for turn_id in ids:
        results = in_threads([quietly(lambda n=n, t=turn_id: judge(project, reviewer(f"r{n}"), t)) for n in range(4)])
        given = [result for result in results if isinstance(result, verdicts.Judged)]
        assert len(given) == 1
        act = given[0].act
        undone = in_threads([quietly(lambda a=act: verdicts.undo(project, SYSTEM, a.id)) for _ in range(3)])
        assert sum(isinstance(result, QueueAct) for result in undone) == 1
    assert set(Turn.objects.values_list("status", flat=True)) == {Status.PENDING}
    assert not Annotation.objects.standing().exists()
    assert_counted(project)


def test_verdict_and_undo_beside_each_other(project: Project) -> None:
    turn_id = log(project, "q")
    act = judge(project, SYSTEM, turn_id, "One thing").act
    results = in_threads(
        [quietly(lambda: verdicts.undo(project, SYSTEM, act.id)), quietly(lambda: judge(project, SYSTEM, turn_id, "B"))]
    )
    standing = Annotation.objects.standing().count()
    status = Turn.objects.get().status
    assert isinstance(results[0], QueueAct)
    assert (status, standing) in {(Status.PENDING, 0), (Status.REVIEWED, 1)}
    assert Memory.objects.count() == standing
    assert_counted(project)


def test_reopening_beside_the_logging_of_a_twin(project: Project) -> None:
    for number in range(15):
        turn_id = log(project, f"q{number}")
        queue.dismiss(project, SYSTEM, turn_id)
        in_threads([lambda t=turn_id: queue.reopen(project, SYSTEM, t), lambda n=number: log(project, f"Q{n}")])
        turns = Turn.objects.filter(content_hash=Turn.objects.get(id=turn_id).content_hash)
        assert [(turn.id, turn.status, turn.occurrences) for turn in turns] == [(turn_id, Status.PENDING, 2)]
    assert_counted(project)


def test_undoing_beside_the_logging_of_a_twin(project: Project) -> None:
    for number in range(15):
        turn_id = log(project, f"q{number}")
        act = judge(project, SYSTEM, turn_id).act
        in_threads([lambda a=act: verdicts.undo(project, SYSTEM, a.id), lambda n=number: log(project, f"Q{n}")])
        assert Turn.objects.get(content_hash=Turn.objects.get(id=turn_id).content_hash).occurrences == 2
    assert_counted(project)


def test_sweepers_beside_intake_and_claims(project: Project) -> None:
    for start in range(0, 1500, 500):
        log_turns(project, [item(f"old{n}") for n in range(start, start + 500)])
    settle_index()
    move_time(expires_at="-31 days")

    def sweep() -> int:
        return sum(removal.sweep_expired(project, limit=100) for _ in range(20))

    def claim() -> list[UUID]:
        return [done.turn.id for _ in range(20) if isinstance(done := quietly(claim_one)(), queue.Done)]

    def claim_one() -> queue.Done:
        return queue.claim_next(project, reviewer("r"))

    def intake() -> None:
        for start in range(0, 200, 20):
            log_turns(project, [item(f"old{n}") for n in range(start, start + 20)])

    swept = in_threads([sweep, sweep, claim, intake, intake])[:2]
    while more := removal.sweep_expired(project):
        swept.append(more)
    assert sum(swept) == 1500
    assert ExpiredCount.objects.get(signal="").count == 1500
    assert (Turn.objects.count(), set(Turn.objects.values_list("occurrences", flat=True))) == (200, {2})
    assert_counted(project)
    assert TurnIndex.objects.count() == 200


def test_the_index_worker_beside_intake_and_acts(project: Project) -> None:
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            index.index_stale_turns(limit=7)

    def intake(thread: int) -> None:
        for number in range(30):
            log_turns(project, [item(f"q{n}", signals={f"s{thread}-{number}": True}) for n in range(5)])

    def act() -> None:
        for _ in range(20):
            taken = quietly(lambda: queue.claim_next(project, SYSTEM))()
            if isinstance(taken, queue.Done):
                act_id = queue.dismiss(project, SYSTEM, taken.turn.id).act.id
                quietly(lambda a=act_id: verdicts.undo(project, SYSTEM, a))()
                quietly(lambda t=taken.turn.id: queue.release(project, SYSTEM, t))()

    def all_writers() -> None:
        try:
            in_threads([lambda: intake(0), lambda: intake(1), act])
        finally:
            done.set()

    in_threads([work, work, all_writers])
    assert_counted(project)
    turns = index._turns(list(Turn.objects.values_list("id", flat=True)))
    assert dict(TurnIndex.objects.values_list("turn_id", "facets")) == {
        turn["id"]: index.facets_of(turn) for turn in turns
    }


def test_a_turn_that_is_deleted_while_it_is_indexed_leaves_nothing(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn_id = log(project, "secret words")
    is_reading, goes_on = threading.Event(), threading.Event()
    keep_entries = index._keep_entries

    def slowly(entries: list[dict[str, Any]]) -> None:
        is_reading.set()
        goes_on.wait(10)
        keep_entries(entries)

    monkeypatch.setattr(index, "_keep_entries", slowly)

    def delete() -> None:
        is_reading.wait(10)
        threading.Timer(0.3, goes_on.set).start()
        removal.delete_turn(project, SYSTEM, turn_id)

    in_threads([index.index_stale_turns, delete])
    assert not TurnIndex.objects.exists()
    assert_counted(project)


def test_two_like_corrections_at_once_make_one_memory(project: Project) -> None:
    text = "The invoice is due thirty days after it was sent, not after it was paid"
    results = in_threads(
        [
            lambda n=n: verdicts.annotate(
                project,
                reviewer(f"r{n}"),
                "When is it due?",
                f"a{n}",
                Verdict("incorrect", text + "." * (n % 2)),
                source=AnnotationSource.API,
            )
            for n in range(6)
        ]
    )
    memory = Memory.objects.get()
    assert {result.memory.memory_id for result in results} == {memory.id}
    assert sum(result.memory.is_new for result in results) == 1
    assert set(Annotation.objects.values_list("memory_id", flat=True)) == {memory.id}


def test_memories_are_whole_whatever_is_edited_and_undone_at_once(project: Project) -> None:
    text = "The invoice is due thirty days after it was sent, not after it was paid"

    def annotate(name: str) -> verdicts.Judged:
        verdict = Verdict("incorrect", text, tags=[name])
        return verdicts.annotate(project, reviewer(name), "Due?", "a", verdict, source=AnnotationSource.API)

    def rounds(name: str) -> None:
        for _ in range(5):
            judged = annotate(name)
            verdicts.edit_annotation(project, SYSTEM, judged.annotation.id, {"correction": f"{name} alone"})
            edited = verdicts.edit_annotation(project, SYSTEM, judged.annotation.id, {"correction": text})
            verdicts.undo(project, SYSTEM, edited.act.id)
            verdicts.edit_annotation(project, SYSTEM, judged.annotation.id, {"correction": text})

    in_threads([lambda n=n: rounds(f"reviewer {n}") for n in range(4)])
    linked = Counter(Annotation.objects.values_list("memory_id", flat=True))
    assert set(linked) == set(Memory.objects.values_list("id", flat=True))
    assert sum(linked.values()) == 20


def test_acts_on_one_turn_are_done_one_after_another(project: Project) -> None:
    turn_id = log(project, "q")
    results = in_threads(
        [quietly(lambda n=n: queue.claim_given(project, reviewer(f"r{n}"), turn_id)) for n in range(8)]
    )
    taken = [result for result in results if isinstance(result, queue.Done)]
    assert len(taken) == 1
    assert all(isinstance(result, Conflict) for result in results if result is not taken[0])
    assert Turn.objects.get().claim_token == taken[0].turn.claim_token
