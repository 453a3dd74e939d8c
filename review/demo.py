"""Two believable weeks for a project: turns that made-up agents logged, and what four reviewers and many end users
made of them.

Turns come in by intake and are ranked, merged, expired, indexed and counted by the same functions as any others;
evidence and memories are made by those that verdicts use. Only the time is not theirs: what happened two weeks ago is
written with its own time and an id of that time.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Protocol
from uuid import UUID

from django.apps import apps
from django.contrib.auth.models import User
from django.db import models, transaction

from agentloop import audit
from agentloop.actors import SYSTEM, Actor, member_actor
from agentloop.errors import Conflict, NotFound
from agentloop.ids import id_at, shown
from agentloop.keys import create_signing_key, forget_cached
from agentloop.models import AuditEntry, Member, Project, Role
from agentloop.sql import run
from agentloop.tenancy import add_member, change_settings, create_project, slug_for
from review import evidence, gold_turns, memories, queue
from review.demo_texts import SCENES, SLOTS, Scene
from review.end_users import SIGNAL
from review.index import index_stale_turns
from review.intake import IntakeRules, NewTurn, read_turn, store
from review.models import (
    Annotation,
    AnnotationSource,
    AnnotationVersion,
    GoldAnswer,
    GoldTurn,
    Memory,
    QueueAct,
    Rating,
    SavedView,
    StaleTurn,
    Status,
    Turn,
)
from review.removal import sweep_expired
from review.verdicts import EDITABLE
from routing import evidence as ledger
from routing.demo import demo_goals

DEMO = "Demo"
SETTINGS = {"ttl_days": 5, "random_share": 0.2, "gold_share": 0.05}
MAIL = "demo.agentloop.local"
# Each with their hours in UTC: somebody is there at nearly any time, on four continents.
REVIEWERS = (
    ("Mira", "Okafor", 6, 14),
    ("Jonas", "Weber", 7, 16),
    ("Aiko", "Tanaka", 0, 8),
    ("Lucía", "Ferrer", 14, 23),
)
# How much of what comes they get through, and how much of an hour's work they do at the weekend.
KEEPS_UP, AT_WEEKENDS = 0.8, 0.4
END_USER = "End user"


class HasTurns(Conflict):
    """This project has turns already."""

    code = "has_turns"


@dataclass(frozen=True, slots=True)
class Made:
    """A project as the demo left it, and how many turns were logged in it."""

    project: Project
    turns: int


def add_demo(name: str = DEMO, *, seed: int = 1, anyway: bool = False, now: datetime | None = None) -> Made:
    """Fills a project of this name, which is made if need be: for the owners of the oldest project, who then see it
    in their switcher. Raises HasTurns for one with turns of its own, unless it is to be filled `anyway`."""
    found = _named(name)
    if found is not None and not anyway and Turn.objects.of(found).exists():
        raise HasTurns(
            f"The project {name} has turns already: --anyway adds to them, another --project leaves them alone."
        )
    # Whole or not at all: half a story is none, and nothing of it is watched before its end.
    with transaction.atomic():
        project = found or _make(name)
        turns = fill(project, demo_goals(project, seed, now, reviewed=False), seed, now)
    catch_up(project)
    return Made(project, turns)


def remove_demo(name: str = DEMO) -> None:
    """Deletes a project that the demo made, with everything in it but the audit log. Raises NotFound for any other."""
    project = _named(name)
    if project is None or not AuditEntry.objects.filter(project=project, act=_MADE).exists():
        raise NotFound(f"There is no project called {name} that `manage.py demo` made.")
    with transaction.atomic():
        team = list(project.members.filter(user__email__endswith=f"@{MAIL}").values_list("user_id", flat=True))
        for model in apps.get_models():
            if model is not AuditEntry and any(_is_of_project(each) for each in model._meta.concrete_fields):
                rows = model._default_manager.filter(project=project)
                rows._raw_delete(rows.db)
        audit.note(project, SYSTEM, "demo.remove", project.slug)
        Project.objects.filter(pk=project.pk).delete()
        User.objects.filter(pk__in=team).exclude(pk__in=Member.objects.values("user_id")).delete()
    forget_cached()


_MADE = "demo.make"


def _is_of_project(each: "models.Field[Any, Any]") -> bool:
    return each.name == "project" and each.related_model is Project


def _named(name: str) -> Project | None:
    return Project.objects.filter(models.Q(slug=name) | models.Q(name=name)).order_by("id").first()


def _make(name: str) -> Project:
    with transaction.atomic():
        oldest = Project.objects.order_by("id").first()
        project = create_project(name=name, slug=slug_for(name), actor=SYSTEM)
        project = change_settings(project=project, actor=SYSTEM, changes=SETTINGS)
        create_signing_key(project=project, actor=SYSTEM)
        for owner in oldest.members.filter(role=Role.OWNER).select_related("user") if oldest else ():
            add_member(project=project, actor=SYSTEM, email=owner.user.username, role=Role.OWNER)
        audit.note(project, SYSTEM, _MADE, project.slug)
    return project


class Execution(Protocol):
    """One run of an agent, and how it truly turned out."""

    @property
    def goal(self) -> str: ...
    @property
    def trace_id(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def path_id(self) -> str: ...
    @property
    def at(self) -> datetime: ...
    @property
    def success(self) -> bool: ...


@dataclass(slots=True)
class _Told:
    """A turn as its client logged it, with what only the demo knows: its scene, and whether it is right."""

    scene: Scene
    slots: dict[str, str]
    is_right: bool
    at: datetime
    turn: NewTurn
    says_no: bool = False


@dataclass(slots=True)
class _Written:
    """Rows that are written together, so that a thousand verdicts cost no more statements than ten."""

    turns: dict[UUID, Turn] = field(default_factory=dict)
    annotations: list[Annotation] = field(default_factory=list)
    versions: list[AnnotationVersion] = field(default_factory=list)
    acts: list[QueueAct] = field(default_factory=list)
    notes: list[AuditEntry] = field(default_factory=list)


def fill(project: Project, executions: Sequence[Execution], seed: int = 1, now: datetime | None = None) -> int:
    """Logs turns of these executions and lets the team work on them; answers how many were logged."""
    now, rng = now or datetime.now(UTC), Random(seed)  # noqa: S311 - a story, not a secret
    team = _team(project)
    told = _logged(project, executions, rng, now)
    _Weeks(project, team, told, rng, now).live()
    _gold(project, [one.actor for one in team], rng, now)
    _now_and_then(project, [one.actor for one in team], rng)
    return len(told)


def catch_up(project: Project) -> None:
    """What the worker does at work: every turn is counted as come before it can expire."""
    _until_none(index_stale_turns)
    _until_none(lambda: sweep_expired(project))
    _until_none(index_stale_turns)


def _until_none(work: Callable[[], int]) -> None:
    while work():
        pass


@dataclass(frozen=True, slots=True)
class _Reviewer:
    actor: Actor
    hours: range


def _team(project: Project) -> list[_Reviewer]:
    """The reviewers; nobody can sign in as one of them."""
    team = []
    for first, last, begins, ends in REVIEWERS:
        email = f"{first.lower().replace('í', 'i')}@{MAIL}"
        member = add_member(project=project, actor=SYSTEM, email=email, role=Role.REVIEWER)
        User.objects.filter(pk=member.user_id).update(first_name=first, last_name=last)
        member.user.refresh_from_db()
        team.append(_Reviewer(member_actor(member), range(begins, ends)))
    return team


# --- what agents log ------------------------------------------------------------------------------------------


def _logged(project: Project, executions: Sequence[Execution], rng: Random, now: datetime) -> list[_Told]:
    """Of all executions those that were worth a look, logged in their order."""
    rules, sessions = IntakeRules.of(project), _Sessions(rng)
    told: dict[UUID, list[_Told]] = {}
    for made in executions:
        if made.goal in SCENES and rng.random() < (0.11 if made.success else 0.27):
            one = _tell(made, rules, sessions, rng)
            content = one.turn.row["content_hash"]
            # The same words days later would be a turn of their own: only what follows soon is merged.
            if content not in told:
                told[content] = [one, *(_again(one, rules, rng, now) if rng.random() < 0.05 else ())]
    all_told = sorted((one for same in told.values() for one in same), key=lambda one: one.at)
    for one, logged in zip(all_told, store(project, [one.turn for one in all_told]), strict=True):
        one.turn.row["id"] = logged.turn_id
    return all_told


class _Sessions:
    """People who ask, and how long they stay."""

    def __init__(self, rng: Random) -> None:
        self.rng, self.now = rng, dict[str, tuple[str, str, datetime]]()

    def of(self, one: Execution) -> tuple[str, str]:
        user, session, at = self.now.get(one.goal, ("", "", one.at))
        if not user or one.at - at > timedelta(minutes=40) or self.rng.random() < 0.4:
            user = f"u_{self.rng.randrange(1000, 1180)}"
            session = f"s_{self.rng.getrandbits(40):010x}"
        self.now[one.goal] = (user, session, one.at)
        return user, session


def _tell(one: Execution, rules: IntakeRules, sessions: _Sessions, rng: Random) -> _Told:
    scene = rng.choice(SCENES[one.goal])
    slots = {name: rng.choice(values) for name, values in SLOTS.items()}
    user, session = sessions.of(one)
    says_no = rng.random() < (0.1 if not one.success else 0.015)
    item = {
        "question": scene.question.format(**slots),
        "agent_response": (scene.right if one.success else scene.wrong).format(**slots),
        "signals": _signals(one, says_no, rng),
        "metadata": {
            "locale": scene.language,
            "channel": rng.choice(("web", "web", "chat", "mail")),
            "release": "2.14",
        },
        "tags": [scene.language],
        "user_id": user,
        "session_id": session,
        "trace_id": one.trace_id,
        "goal": one.goal,
        "model": one.model,
        "path_id": one.path_id,
    }
    return _Told(scene, slots, one.success, one.at, _read(item, rules, one.at), says_no)


def _read(item: dict[str, Any], rules: IntakeRules, at: datetime) -> NewTurn:
    turn = read_turn(item, rules, at)
    turn.row["id"] = id_at(at)
    return turn


# How often a turn has a signal when its answer is wrong, and when it is right. Some find what is wrong, some don't.
_CHANCES = {
    "thumbs_down": (0.24, 0.02),
    "rephrase": (0.3, 0.12),
    "user_correction": (0.1, 0.005),
    "agent_punted": (0.12, 0.1),
    "factual_claim": (0.32, 0.34),
    "recurrence": (0.14, 0.05),
    "reverted_quickly": (0.12, 0.02),
    "escalation_requested": (0.04, 0.01),
    "thumbs_up": (0.01, 0.12),
}


def _signals(one: Execution, says_no: bool, rng: Random) -> dict[str, Any]:
    chances = {name: wrong if not one.success else right for name, (wrong, right) in _CHANCES.items()}
    signals: dict[str, Any] = {name: True for name, chance in chances.items() if rng.random() < chance}
    middle = 0.82 if one.success else 0.56
    signals["confidence"] = round(min(0.99, max(0.05, rng.gauss(middle, 0.16))), 2)
    if says_no:
        signals[SIGNAL] = 1
    return signals


def _again(first: _Told, rules: IntakeRules, rng: Random, now: datetime) -> Iterator[_Told]:
    """Others ask the same soon after and get the same answer: intake merges them."""
    row = first.turn.row
    for _ in range(rng.randint(1, 4)):
        at = min(now, first.at + timedelta(minutes=rng.uniform(2, 45)))
        same = {name: row[name] for name in ("question", "metadata", "tags", "goal", "model", "path_id")}
        item = {**same, "agent_response": row["response"], "signals": {"recurrence": True}}
        item["user_id"] = f"u_{rng.randrange(1000, 1180)}"
        yield _Told(first.scene, first.slots, first.is_right, at, _read(item, rules, at))


# --- what reviewers and end users make of it --------------------------------------------------------------------


class _Weeks:
    """The team's two weeks, an hour at a time: as many turns as it gets through, the most urgent first, and a share
    drawn at random from all that wait."""

    def __init__(
        self, project: Project, team: Sequence[_Reviewer], told: Sequence[_Told], rng: Random, now: datetime
    ) -> None:
        self.project, self.team, self.rng, self.now = project, team, rng, now
        self.written = _Written({turn.id: turn for turn in Turn.objects.of(project)})
        # A repeat is its first.
        self.coming = list({one.turn.row["id"]: one for one in reversed(told)}.values())
        self.coming.sort(key=lambda one: one.at)
        self.waiting: dict[UUID, _Told] = {}

    def live(self) -> None:
        begin = min((one.at for one in self.coming), default=self.now).replace(minute=0, second=0, microsecond=0)
        hours = [begin + timedelta(hours=hour) for hour in range(int((self.now - begin) / timedelta(hours=1)) + 1)]
        pace = KEEPS_UP * len(self.coming) / max(1.0, sum(_zeal(hour) * len(self._present(hour)) for hour in hours))
        for hour in hours:
            self._hour(hour, pace * _zeal(hour))
        self._write()

    def _present(self, at: datetime) -> list[Actor]:
        return [one.actor for one in self.team if at.hour in one.hours]

    def _hour(self, at: datetime, pace: float) -> None:
        # Nobody judges what others may still be asking.
        while self.coming and self.coming[0].at < at - timedelta(hours=1):
            one = self.coming.pop(0)
            self.waiting[one.turn.row["id"]] = one
            if one.says_no:
                self._hear(one)
        self.waiting = {key: one for key, one in self.waiting.items() if self._turn(key).expires_at > at}
        for actor in self._present(at):
            for _ in range(int(pace) + (self.rng.random() < pace % 1)):
                moment = at + timedelta(seconds=3600 * self.rng.random())
                if moment < self.now and self.waiting:
                    self._work(actor, moment)

    def _turn(self, key: UUID) -> Turn:
        return self.written.turns[key]

    def _work(self, reviewer: Actor, at: datetime) -> None:
        """One turn is claimed and closed."""
        share, by_rank = self.project.setting("random_share"), lambda key: (self._turn(key).rank, self.waiting[key].at)
        is_random = self.rng.random() < share
        key = self.rng.choice(list(self.waiting)) if is_random else max(self.waiting, key=by_rank)
        draw = ("random", share / len(self.waiting)) if is_random else ("next", None)
        one, turn = self.waiting.pop(key), self._turn(key)
        claimed = at - timedelta(seconds=self.rng.uniform(8, 90))
        lease = claimed + timedelta(minutes=self.project.setting("claim_minutes"))
        self._act(turn, reviewer, "claim", claimed)
        turn.claimed_by, turn.claimed_until = reviewer.ref, lease
        turn.draw, turn.draw_probability = draw
        turn.expires_at = max(turn.expires_at, lease)
        if one.is_right and not is_random and self.rng.random() < 0.14:
            self._act(turn, reviewer, "dismiss", at)
            self._note(reviewer, "turn.dismiss", turn.shown_id, at)
            turn.status, turn.dismissed_reason = Status.DISMISSED, "Nothing to judge here."
        else:
            annotation = self._judge(one, turn, reviewer, at)
            self._act(turn, reviewer, "verdict", at, annotation=annotation.id.hex)
            turn.status = Status.REVIEWED
        turn.closed_at, turn.claimed_by, turn.claimed_until = at, "", None

    def _judge(self, one: _Told, turn: Turn, reviewer: Actor, at: datetime) -> Annotation:
        chance = self.rng.random()
        if one.is_right:
            rating = "correct" if chance < 0.93 else "partial"
        else:
            rating = "incorrect" if chance < 0.76 else "partial" if chance < 0.93 else "correct"
        said: dict[str, Any] = {"rating": rating}
        if rating != "correct" and not one.is_right:
            said |= {"root_cause": one.scene.root_cause, "tags": list(one.scene.tags)}
            if self.rng.random() < 0.5:
                said["correction"] = one.scene.fact
            if rating == "incorrect" and self.rng.random() < 0.4:
                said["failure_category"] = self.rng.choice(
                    ("hallucination_detected", "validation_failed", "tool_error")
                )
        return self._say(turn, reviewer, AnnotationSource.REVIEWER, said, at)

    def _hear(self, one: _Told) -> None:
        """An end user opens the link and says no."""
        turn = self._turn(one.turn.row["id"])
        at = min(self.now, one.at + timedelta(minutes=self.rng.uniform(1, 55)))
        speaker = Actor(f"link:{id_at(at).hex}", END_USER, frozenset())
        reason = self.rng.choice((["wrong-facts"], ["outdated"], ["incomplete"], []))
        said = {"rating": "incorrect", "tags": reason, "user_id": turn.user_id}
        annotation = self._say(turn, speaker, AnnotationSource.END_USER, said, at)
        self._act(turn, speaker, "annotate", at, is_change=False, annotation=annotation.id.hex)

    def _say(
        self, turn: Turn, author: Actor, source: AnnotationSource, said: dict[str, Any], at: datetime
    ) -> Annotation:
        names = ("goal", "model", "path_id", "pipeline_id", "trace_id", "question", "response", "content_hash")
        annotation = Annotation(
            id=id_at(at),
            project=self.project,
            turn_id=turn.id,
            source=source,
            author=author.ref,
            author_label=author.label,
            created_at=at,
            updated_at=at,
            draw=turn.draw if source == AnnotationSource.REVIEWER else "",
            draw_probability=turn.draw_probability if source == AnnotationSource.REVIEWER else None,
            **{name: getattr(turn, name) for name in names},
            **said,
        )
        body = {name: getattr(annotation, name) for name in EDITABLE}
        self.written.annotations.append(annotation)
        self.written.versions.append(
            AnnotationVersion(
                project=self.project, annotation_id=annotation.id, version=1, body=body, author=author.ref, at=at
            )
        )
        rated = {"rating": annotation.rating, "root_cause": annotation.root_cause, "version": 1, "turn": turn.shown_id}
        self._note(author, "verdict.give", shown("ann", annotation.id), at, **rated)
        return annotation

    def _act(self, turn: Turn, actor: Actor, act: str, at: datetime, *, is_change: bool = True, **details: Any) -> None:
        self.written.acts.append(
            QueueAct(
                id=id_at(at),
                project=self.project,
                subject_id=turn.id,
                actor=actor.ref,
                act=act,
                before=queue.state_of(turn) if is_change else {},
                details=details,
                at=at,
            )
        )

    def _note(self, actor: Actor, act: str, target: str, at: datetime, **details: Any) -> None:
        self.written.notes.append(
            AuditEntry(
                id=id_at(at),
                project=self.project,
                actor=actor.ref[:120],
                act=act,
                target=target,
                details=details,
                at=at,
            )
        )

    def _write(self) -> None:
        """Everything at once, then what follows from it: memories, evidence and the counters."""
        written = self.written
        closed = [turn for turn in written.turns.values() if turn.status != Status.PENDING]
        said = sorted(written.annotations, key=lambda one: (one.created_at, one.id))
        with transaction.atomic():
            _give_tokens(closed)
            fields = [
                "status",
                "closed_at",
                "draw",
                "draw_probability",
                "claim_token",
                "expires_at",
                "dismissed_reason",
            ]
            Turn.objects.bulk_update(closed, fields, batch_size=500)
            Annotation.objects.bulk_create(said, batch_size=500)
            AnnotationVersion.objects.bulk_create(written.versions, batch_size=500)
            QueueAct.objects.bulk_create(written.acts, batch_size=500)
            AuditEntry.objects.bulk_create(written.notes, batch_size=500)
            _mark_stale(closed)
        for annotation in said:
            with transaction.atomic():
                memory = memories.remember(self.project, annotation)
            if memory and memory.is_new:
                Memory.objects.filter(id=memory.memory_id).update(created_at=annotation.created_at)
        told = [
            one
            for annotation in said
            for one in evidence.observations(self.project, annotation, written.turns[annotation.turn_id])  # type: ignore[index]
        ]
        for start in range(0, len(told), ledger.MAX_BATCH):
            ledger.record(self.project, told[start : start + ledger.MAX_BATCH])


def _zeal(at: datetime) -> float:
    return 1.0 if at.weekday() < 5 else AT_WEEKENDS


def _mark_stale(turns: Sequence[Turn]) -> None:
    marks = [StaleTurn(turn_id=turn.id, project_id=turn.project_id) for turn in turns]
    StaleTurn.objects.bulk_create(marks, ignore_conflicts=True)


def _give_tokens(turns: Sequence[Turn]) -> None:
    tokens = run("SELECT nextval('review_claim_token') FROM generate_series(1, %s)", [len(turns)])
    for turn, (token,) in zip(turns, tokens, strict=True):
        turn.claim_token = token


# --- gold turns -------------------------------------------------------------------------------------------------

GOLD_TURNS = 28
# How often each of the team gives the known answer.
_SKILLS = (0.96, 0.88, 0.92, 0.74)


def _gold(project: Project, team: Sequence[Actor], rng: Random, now: datetime) -> None:
    """Verdicts beyond doubt are known answers, and the others of the team have met most of them since."""
    said = Annotation.objects.of(project).standing().filter(source=AnnotationSource.REVIEWER)
    judged = sorted(said.filter(turn__occurrences=1).order_by("id").values_list("turn_id", flat=True)[:300])
    answers = []
    for turn_id in sorted(rng.sample(judged, min(GOLD_TURNS, len(judged)))):
        gold = gold_turns.make(project, SYSTEM, turn_id)
        GoldTurn.objects.filter(id=gold.id).update(created_at=now - timedelta(days=rng.uniform(9, 10)))
        for actor, skill in zip(team, _SKILLS, strict=True):
            if actor.ref not in gold.judged_by and rng.random() < 0.95:
                others = [rating.value for rating in Rating if rating != gold.rating]
                answers.append(
                    GoldAnswer(
                        project=project,
                        gold=gold,
                        actor=actor.ref,
                        actor_label=actor.label,
                        rating=gold.rating if rng.random() < skill else rng.choice(others),
                        known=gold.rating,
                        answered_at=now - timedelta(days=rng.uniform(1, 8)),
                    )
                )
    GoldAnswer.objects.bulk_create(answers)


# --- what is going on now ---------------------------------------------------------------------------------------


def _now_and_then(project: Project, team: Sequence[Actor], rng: Random) -> None:
    """A few turns are open, put off, or handed to the owners just now."""
    waiting = list(Turn.objects.of(project).pending().order_by("-rank", "logged_at")[:60])
    rng.shuffle(waiting)
    taken = iter(waiting)
    acts: list[tuple[int, Callable[[Actor, UUID], Any]]] = [
        (2, lambda actor, turn: queue.claim_given(project, actor, turn)),
        (4, lambda actor, turn: queue.escalate(project, actor, turn, rng.choice(_NOTES))),
        (5, lambda actor, turn: queue.snooze(project, actor, turn, _later(rng))),
        (6, lambda actor, turn: queue.skip(project, actor, turn)),
        (2, lambda actor, turn: queue.tag(project, actor, turn, ["ask-legal"])),
        (
            1,
            lambda actor, turn: queue.save_draft(project, actor, turn, {"rating": "partial", "comment": "Half of it."}),
        ),
    ]
    for count, act in acts:
        for place in range(count):
            turn = next(taken, None)
            if turn is not None:
                act(team[place % len(team)], turn.id)
    for name, query in (("German", "tag=de"), ("Said no", f"signal={SIGNAL}"), ("Refunds, newest", _REFUNDS)):
        SavedView.objects.get_or_create(
            project=project, owner=team[0].ref, name=name, defaults={"query": query, "is_shared": True}
        )


_NOTES = (
    "The policy changed last week; which one holds for this order?",
    "Legal should see this before we teach it.",
    "Two answers could be right here.",
)
_REFUNDS = "goal=answer_refund_question&sort=newest"


def _later(rng: Random) -> datetime:
    return datetime.now(UTC) + timedelta(hours=rng.uniform(3, 60))
