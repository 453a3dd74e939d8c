"""The demo: two weeks that look to the reader, and to every check, as if they had happened."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db.models import Sum
from django.utils import timezone

from agentloop.actors import Actor
from agentloop.models import AuditEntry, Project
from review import backlog, demo, figures, gold_turns, queue, verdicts
from review.index import reconcile_counters
from review.models import (
    Annotation,
    AnnotationSource,
    AnnotationVersion,
    DayCount,
    ExpiredCount,
    Memory,
    QueueAct,
    Skip,
    Status,
    Turn,
)
from routing.models import Decision, LedgerRow
from routing.rebuild import differences
from tests.review.support import Caller, assert_counted, make_project, member, settle_index, turn_of

pytestmark = pytest.mark.django_db
NOW = timezone.now()


@dataclass(frozen=True)
class Execution:
    goal: str
    trace_id: str
    model: str
    path_id: str
    at: datetime
    success: bool


def executions(count: int) -> list[Execution]:
    """Spread over two weeks, every third of them wrong."""
    goals = ("book_meeting", "answer_refund_question", "extract_invoice")
    span = timedelta(days=14) / count
    return [
        Execution(goals[place % 3], f"trace {place}", "gpt-4o", "", NOW - span * (count - place), place % 3 > 0)
        for place in range(count)
    ]


@pytest.fixture
def told(project: Project) -> Project:
    project.settings = {**demo.SETTINGS}
    project.save()
    demo.fill(project, executions(900), now=NOW)
    demo.catch_up(project)
    return project


def test_what_was_told_holds_against_every_check(told: Project) -> None:
    assert reconcile_counters(told) == {}
    assert differences(told) == []
    assert figures.pending_count(told) == Turn.objects.of(told).pending().count()
    assert (backlog.backlog().unswept, backlog.backlog().unindexed) == (0, 0)
    counted = dict(DayCount.objects.values_list("name").annotate(Sum("count")))
    closed = Counter(Turn.objects.of(told).exclude(status=Status.PENDING).values_list("status", flat=True))
    assert counted["correct"] + counted["partial"] + counted["incorrect"] == closed["reviewed"]
    assert counted["dismissed"] == closed["dismissed"]
    lost = sum(ExpiredCount.objects.filter(signal="").values_list("count", flat=True))
    assert counted["came"] == Turn.objects.of(told).count() + lost


def test_a_closed_turn_has_the_rows_that_a_verdict_leaves(told: Project, call: Caller, bob: Actor) -> None:
    def rows_of(turn: Turn) -> list[object]:
        acts = list(QueueAct.objects.filter(subject_id=turn.id).order_by("id"))
        said = Annotation.objects.get(turn_id=turn.id)
        notes = AuditEntry.objects.filter(target=str(said))
        return [
            [(act.act, sorted(act.before), sorted(act.details)) for act in acts],
            [act.before["status"] for act in acts],
            [bool(act.before["claimed_by"]) for act in acts],
            (turn.claimed_by, turn.claimed_until, turn.closed_at is None, turn.claim_token is None),
            [sorted(version.body) for version in AnnotationVersion.objects.filter(annotation_id=said.id)],
            [(note.act, sorted(note.details)) for note in notes],
            sorted(LedgerRow.objects.filter(ref=f"annotation:{said.id.hex}").values_list("source", flat=True)),
        ]

    real = turn_of(call.log("Real?", goal="book_meeting", model="gpt-4o"))
    queue.claim_given(told, bob, real.id)
    said = verdicts.Verdict("correct")
    verdicts.judge_turn(told, bob, real.id, said, source=AnnotationSource.REVIEWER)
    real.refresh_from_db()
    heard = Annotation.objects.filter(source=AnnotationSource.END_USER).values("turn_id")
    made = Turn.objects.of(told).filter(status=Status.REVIEWED, occurrences=1).exclude(id__in=heard)
    assert rows_of(made.exclude(id=real.id).first()) == rows_of(real)


def test_a_verdict_of_the_story_can_be_undone(told: Project, alice: Actor) -> None:
    act = QueueAct.objects.filter(act="verdict").order_by("-id").first()
    verdicts.undo(told, alice, act.id)
    turn = Turn.objects.get(id=act.subject_id)
    assert (turn.status, turn.claimed_by) == (Status.PENDING, act.actor)
    assert Annotation.objects.get(id=act.details["annotation"]).retracted_at is not None
    assert_counted(told)
    assert differences(told) == []


def test_the_story_has_all_that_pages_show(told: Project) -> None:
    turns = Turn.objects.of(told)
    assert {row.metadata["locale"] for row in turns} >= {"en", "de", "es", "ja", "pt", "fr", "ar"}
    assert turns.filter(occurrences__gt=1).exists()
    assert turns.exclude(escalated_by="").exists()
    assert turns.exclude(snoozed_until=None).exists()
    assert turns.pending().filter(claimed_until__gt=timezone.now()).exists()
    right = gold_turns.accuracy(told)
    assert len(right) == 4
    assert any(not one.share.is_few for one in right)
    assert len(gold_turns.listed(told)) == demo.GOLD_TURNS
    assert Skip.objects.filter(project=told).exists()
    assert Memory.objects.filter(project=told).count() > 5
    reviewed = Annotation.objects.filter(source=AnnotationSource.REVIEWER)
    assert reviewed.values("author").distinct().count() == len(demo.REVIEWERS)
    assert reviewed.filter(draw="random", draw_probability__gt=0).exists()
    assert Annotation.objects.filter(source=AnnotationSource.END_USER).exists()
    assert not reviewed.filter(created_at__gt=timezone.now()).exists()
    assert list(reviewed.order_by("id").values_list("id", flat=True)) == list(
        reviewed.order_by("created_at").values_list("id", flat=True)
    )


def test_the_same_seed_tells_the_same_story(db: None) -> None:
    def story(slug: str, seed: int) -> list[tuple[str, str]]:
        project = make_project(slug)
        demo.fill(project, executions(150), seed, NOW)
        demo.catch_up(project)
        return list(Turn.objects.of(project).order_by("id").values_list("question", "status"))

    first, again, other = story("first", 1), story("again", 1), story("other", 2)
    assert first == again
    assert first != other


@pytest.mark.slow
def test_the_command_makes_a_project_and_takes_it_away(project: Project, alice: Actor) -> None:
    call_command("demo", "--project", "Show", "--seed", "7", verbosity=0)
    made = Project.objects.get(slug="show")
    assert made.members.filter(user_id=int(alice.ref.partition(":")[2]), role="owner").exists()
    assert Decision.objects.filter(project=made).count() > 1000
    assert differences(made) == []
    with pytest.raises(CommandError, match="has turns already"):
        call_command("demo", "--project", "Show")
    call_command("demo", "--project", "Show", "--remove", verbosity=0)
    assert list(Project.objects.all()) == [project]
    assert not User.objects.filter(email__endswith=demo.MAIL).exists()
    for model in apps.get_models():
        if model is not AuditEntry and any(field.name == "project" for field in model._meta.concrete_fields):
            assert not model._default_manager.filter(project_id=made.id).exists(), model


def test_a_project_of_somebodys_own_is_left_alone(project: Project, call: Caller) -> None:
    call.log("Mine?")
    settle_index()
    with pytest.raises(demo.HasTurns):
        demo.add_demo("acme")
    with pytest.raises(CommandError, match="There is no project called acme that"):
        call_command("demo", "--project", "acme", "--remove")
    assert Turn.objects.of(project).count() == 1
    assert not project.members.exists()


def test_a_story_that_breaks_off_leaves_nothing(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    member(project, "alice", "owner")
    monkeypatch.setattr(demo, "demo_goals", broken)
    with pytest.raises(KeyboardInterrupt):
        demo.add_demo()
    assert list(Project.objects.all()) == [project]
