"""The queue against a small model of it, under whatever several reviewers, clients and the worker do."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from agentloop.actors import Actor
from agentloop.errors import AppError
from agentloop.models import Project
from review import errors, queue, removal, verdicts
from review.figures import pending_count
from review.filters import read_filter
from review.index import index_stale_turns, reconcile_counters
from review.intake import log_turn
from review.models import Annotation, AnnotationSource, Draft, Memory, QueueAct, Skip, Status, Turn, TurnCounter
from review.verdicts import Verdict
from tests.review.support import make_project, settle_index

OWNER = Actor("owner", "Owner", frozenset({"read", "review", "admin"}))
ANN, BEN = (Actor(name, name, frozenset({"read", "review"})) for name in ("ann", "ben"))
ACTORS = st.sampled_from([OWNER, ANN, BEN])
CONTENTS = st.sampled_from(["one", "two", "three"])
PAST = timezone.now() - timedelta(days=1)


@dataclass
class Seen:
    """What the model knows of one turn."""

    content: str
    status: str = Status.PENDING
    holder: str = ""
    token: int | None = None
    is_snoozed: bool = False
    escalated_by: str = ""
    occurrences: int = 1
    is_expired: bool = False
    skipped_by: set[str] = field(default_factory=set)

    @property
    def is_live(self) -> bool:
        return self.status == Status.PENDING and not self.is_expired


@dataclass
class Did:
    """An act that can be undone, and the model's turn before it."""

    act_id: UUID
    act: str
    actor: str
    turn_id: UUID
    before: Seen
    absorbed: bool = False
    is_undone: bool = False


class QueueMachine(RuleBasedStateMachine):
    project: Project

    def __init__(self) -> None:
        super().__init__()
        self.atomic = transaction.atomic()
        self.atomic.__enter__()
        self.turns: dict[UUID, Seen] = {}
        self.moved: dict[UUID, UUID] = {}
        self.swept: set[UUID] = set()
        self.acts: list[Did] = []

    def teardown(self) -> None:
        try:
            settle_index()
            assert reconcile_counters(self.project) == {}
            self.waits_as_modelled()
        finally:
            transaction.set_rollback(True)
            self.atomic.__exit__(None, None, None)

    # --- what the model expects ---

    def some_turn(self, data: st.DataObject) -> UUID:
        return data.draw(st.sampled_from([*self.turns, *self.moved]), label="turn")

    def found(self, turn_id: UUID) -> tuple[UUID, Seen] | None:
        turn_id = self.moved.get(turn_id, turn_id)
        seen = self.turns[turn_id]
        return None if turn_id in self.swept or seen.is_expired else (turn_id, seen)

    def live_twin(self, content: str, but: UUID | None = None) -> UUID | None:
        return next(
            (i for i, seen in self.turns.items() if seen.is_live and seen.content == content and i != but), None
        )

    def refusal(self, seen: Seen, actor: Actor, token: int | None) -> type[AppError] | None:
        is_mine = seen.holder == actor.ref
        if token is not None and not (is_mine and seen.token == token):
            return errors.ClaimLost
        if seen.status != Status.PENDING:
            return errors.NotPending
        if seen.holder and not is_mine:
            return errors.ClaimedByAnother
        if seen.escalated_by and not actor.is_owner and not is_mine:
            return errors.OnlyOwners
        return None

    @contextmanager
    def refused(self, expected: type[AppError]) -> Iterator[None]:
        before = list(Turn.objects.order_by("id").values())
        with pytest.raises(expected) as raised, transaction.atomic():
            yield
        assert type(raised.value) is expected
        assert list(Turn.objects.order_by("id").values()) == before

    def did(self, done: queue.Done | verdicts.Judged, name: str, actor: Actor, before: Seen) -> Did:
        assert done.turn is not None
        record = Did(done.act.id, name, actor.ref, done.turn.id, before)
        self.acts.append(record)
        return record

    # --- clients and time ---

    @rule(content=CONTENTS, signal=st.sampled_from(["thumbs_down", "late", "thumbs_up"]))
    def log(self, content: str, signal: str) -> None:
        twin = self.live_twin(content)
        said = {"question": content, "agent_response": "", "goal": content, "signals": {signal: True}}
        logged, _ = log_turn(self.project, said)
        assert logged.was_duplicate == (twin is not None)
        if twin is None:
            assert logged.turn_id not in self.turns
            self.turns[logged.turn_id] = Seen(content)
        else:
            assert logged.turn_id == twin
            self.turns[twin].occurrences += 1

    @precondition(lambda self: self.turns)
    @rule(data=st.data())
    def lapse(self, data: st.DataObject) -> None:
        turn_id = data.draw(st.sampled_from(list(self.turns)))
        Turn.objects.filter(id=turn_id).exclude(claimed_by="").update(claimed_until=PAST)
        self.turns[turn_id].holder = ""

    @precondition(lambda self: self.turns)
    @rule(data=st.data())
    def expire(self, data: st.DataObject) -> None:
        turn_id = data.draw(st.sampled_from(list(self.turns)))
        if self.turns[turn_id].is_live:
            Turn.objects.filter(id=turn_id).update(expires_at=PAST, claimed_until=None, claimed_by="")
            self.turns[turn_id].is_expired, self.turns[turn_id].holder = True, ""

    @precondition(lambda self: self.turns)
    @rule(data=st.data())
    def wake(self, data: st.DataObject) -> None:
        turn_id = data.draw(st.sampled_from(list(self.turns)))
        Turn.objects.filter(id=turn_id, snoozed_until__isnull=False).update(snoozed_until=PAST)
        self.turns[turn_id].is_snoozed = False

    @rule()
    def sweep(self) -> None:
        due = {i for i, seen in self.turns.items() if seen.is_expired} - self.swept
        assert removal.sweep_expired(self.project) == len(due)
        self.swept |= due

    @rule(limit=st.integers(1, 5))
    def index(self, limit: int) -> None:
        index_stale_turns(limit)

    @rule()
    def free_lapsed(self) -> None:
        queue.free_lapsed(self.project)

    # --- claims ---

    def offered(self, actor: Actor, only: str | None = None) -> list[UUID]:
        """The turns that the actor may be given, the first due first."""
        ranks = dict(Turn.objects.values_list("id", "rank"))
        skips = {skip.turn_id: skip.at for skip in Skip.objects.filter(actor=actor.ref)}
        free = [
            turn_id
            for turn_id, seen in self.turns.items()
            if seen.is_live
            and not seen.holder
            and not seen.is_snoozed
            and (actor.is_owner or not seen.escalated_by)
            and only in (None, seen.content)
        ]

        def place(turn_id: UUID) -> Any:
            seen = self.turns[turn_id]
            assert (turn_id in skips) == (actor.ref in seen.skipped_by)
            if turn_id in skips and only is None:
                return 2, skips[turn_id], turn_id.int
            tier = 2 if turn_id in skips else 0 if seen.escalated_by and only is None else 1
            return tier, -ranks[turn_id], -turn_id.int

        return sorted(free, key=place)

    def take(self, done: queue.Done, actor: Actor) -> None:
        seen = self.turns[done.turn.id]
        self.did(done, "claim", actor, deepcopy(seen))
        assert done.turn.claim_token is not None
        assert done.turn.claim_token not in {other.token for other in self.turns.values()}
        seen.holder, seen.token, seen.is_snoozed = actor.ref, done.turn.claim_token, False

    @rule(actor=ACTORS)
    def claim_next(self, actor: Actor) -> None:
        offered = self.offered(actor)
        if not offered:
            with pytest.raises(errors.QueueEmpty):
                queue.claim_next(self.project, actor)
            return
        # A lease that has lapsed may come back to the queue with this very claim, for the next one to find.
        lapsed = set(Turn.objects.exclude(claimed_by="").values_list("id", flat=True))
        done = queue.claim_next(self.project, actor)
        first = next((turn_id for turn_id in offered if turn_id not in lapsed), offered[-1])
        assert done.turn.id in offered[: offered.index(first) + 1]
        self.take(done, actor)

    @rule(actor=ACTORS, content=CONTENTS)
    def claim_matching(self, actor: Actor, content: str) -> None:
        filters = read_filter(self.project.id, {"goal": [content]})
        offered = self.offered(actor, content)
        if not offered:
            with pytest.raises(errors.QueueEmpty):
                queue.claim_matching(self.project, actor, filters)
            return
        done = queue.claim_matching(self.project, actor, filters)
        assert done.turn.id == offered[0]
        self.take(done, actor)

    @precondition(lambda self: self.turns)
    @rule(actor=ACTORS, data=st.data())
    def claim_given(self, actor: Actor, data: st.DataObject) -> None:
        wanted = self.some_turn(data)
        found = self.found(wanted)
        refusal: type[AppError] | None = errors.TurnNotFound
        if found:
            seen = found[1]
            refusal = self.refusal(seen, actor, None)
            if refusal is None and seen.escalated_by and not actor.is_owner:
                refusal = errors.OnlyOwners
        if refusal:
            with self.refused(refusal):
                queue.claim_given(self.project, actor, wanted)
        else:
            self.take(queue.claim_given(self.project, actor, wanted), actor)

    @precondition(lambda self: self.turns)
    @rule(actor=ACTORS, data=st.data(), is_late=st.booleans())
    def heartbeat(self, actor: Actor, data: st.DataObject, is_late: bool) -> None:
        wanted = self.some_turn(data)
        found = self.found(wanted)
        token = (found[1].token or 0) - is_late if found else 0
        refusal = self.refusal(found[1], actor, token) if found else errors.TurnNotFound
        if refusal:
            with self.refused(refusal):
                queue.heartbeat(self.project, actor, wanted, token)
        else:
            queue.heartbeat(self.project, actor, wanted, token)

    # --- acts ---

    def act(
        self, name: str, actor: Actor, data: st.DataObject, do: Callable[[UUID, int | None], Any]
    ) -> tuple[Seen, Did] | None:
        wanted = self.some_turn(data)
        found = self.found(wanted)
        current = found[1].token if found else None
        token = data.draw(st.sampled_from([None, current, (current or 0) - 1]), label="token")
        refusal = self.refusal(found[1], actor, token) if found else errors.TurnNotFound
        if refusal is None and found and name == "release" and not found[1].holder:
            refusal = errors.ClaimLost
        if refusal or not found:
            assert refusal is not None
            with self.refused(refusal):
                do(wanted, token)
            return None
        seen = found[1]
        before = deepcopy(seen)
        record = self.did(do(wanted, token), name, actor, before)
        assert record.turn_id == found[0]
        seen.holder = ""
        return seen, record

    @precondition(lambda self: self.turns)
    @rule(actor=ACTORS, data=st.data())
    def release(self, actor: Actor, data: st.DataObject) -> None:
        self.act("release", actor, data, lambda turn, token: queue.release(self.project, actor, turn, token))

    @precondition(lambda self: self.turns)
    @rule(actor=ACTORS, data=st.data())
    def skip(self, actor: Actor, data: st.DataObject) -> None:
        done = self.act("skip", actor, data, lambda turn, token: queue.skip(self.project, actor, turn, token))
        if done:
            done[0].skipped_by.add(actor.ref)

    @precondition(lambda self: self.turns)
    @rule(actor=ACTORS, data=st.data())
    def snooze(self, actor: Actor, data: st.DataObject) -> None:
        until = timezone.now() + timedelta(days=2)
        done = self.act(
            "snooze", actor, data, lambda turn, token: queue.snooze(self.project, actor, turn, until, token)
        )
        if done:
            done[0].is_snoozed = True

    @precondition(lambda self: self.turns)
    @rule(actor=ACTORS, data=st.data())
    def escalate(self, actor: Actor, data: st.DataObject) -> None:
        done = self.act(
            "escalate", actor, data, lambda turn, token: queue.escalate(self.project, actor, turn, "help", token)
        )
        if done:
            done[0].escalated_by, done[0].is_snoozed = actor.ref, False

    @precondition(lambda self: self.turns)
    @rule(actor=ACTORS, data=st.data())
    def dismiss(self, actor: Actor, data: st.DataObject) -> None:
        done = self.act("dismiss", actor, data, lambda turn, token: queue.dismiss(self.project, actor, turn, "", token))
        if done:
            done[0].status, done[0].is_snoozed = Status.DISMISSED, False

    @precondition(lambda self: self.turns)
    @rule(actor=ACTORS, data=st.data())
    def judge(self, actor: Actor, data: st.DataObject) -> None:
        def give(turn_id: UUID, token: int | None) -> verdicts.Judged:
            verdict = Verdict("incorrect", "No, it is not")
            return verdicts.judge_turn(
                self.project, actor, turn_id, verdict, source=AnnotationSource.REVIEWER, token=token
            )

        done = self.act("verdict", actor, data, give)
        if done:
            done[0].status, done[0].is_snoozed = Status.REVIEWED, False

    def absorb(self, turn_id: UUID) -> Seen | None:
        """A newer twin ends in this turn, which is becoming pending."""
        seen = self.turns[turn_id]
        twin_id = self.live_twin(seen.content, turn_id)
        if twin_id is None:
            return None
        twin = self.turns.pop(twin_id)
        seen.occurrences += twin.occurrences
        seen.skipped_by |= twin.skipped_by
        self.acts = [did for did in self.acts if did.turn_id != twin_id]
        self.moved = {old: turn_id if new == twin_id else new for old, new in self.moved.items()} | {twin_id: turn_id}
        return twin

    def go_on(self, turn_id: UUID, twin: Seen | None) -> None:
        if twin is None:
            return
        seen = self.turns[turn_id]
        seen.escalated_by = seen.escalated_by or twin.escalated_by
        if twin.holder:
            act = QueueAct.objects.filter(subject_id=turn_id).order_by("-id")[0]
            self.acts.append(Did(act.id, "claim", twin.holder, turn_id, deepcopy(seen)))
            seen.holder, seen.token, seen.is_snoozed = twin.holder, twin.token, False

    @precondition(lambda self: self.turns)
    @rule(actor=ACTORS, data=st.data())
    def reopen(self, actor: Actor, data: st.DataObject) -> None:
        wanted = self.some_turn(data)
        found = self.found(wanted)
        if not found or found[1].status == Status.PENDING:
            with self.refused(errors.AlreadyPending if found else errors.TurnNotFound):
                queue.reopen(self.project, actor, wanted)
            return
        turn_id, seen = found
        before = deepcopy(seen)
        done = queue.reopen(self.project, actor, wanted)
        twin = self.absorb(turn_id)
        self.did(done, "reopen", actor, before).absorbed = twin is not None
        seen.status, seen.holder, seen.escalated_by = Status.PENDING, "", ""
        self.go_on(turn_id, twin)

    @precondition(lambda self: self.acts)
    @rule(actor=ACTORS, data=st.data(), latest=st.booleans())
    def undo(self, actor: Actor, data: st.DataObject, latest: bool) -> None:
        did = self.acts[-1] if latest else data.draw(st.sampled_from(self.acts), label="act")
        later = self.acts[self.acts.index(did) + 1 :]
        refusal: type[AppError] | None = None
        if did.turn_id in self.swept:
            refusal = errors.ActNotFound
        elif did.is_undone:
            refusal = errors.AlreadyUndone
        elif did.actor != actor.ref and not actor.is_owner:
            refusal = errors.NotYours
        elif any(other.turn_id == did.turn_id and not other.is_undone for other in later):
            refusal = errors.NotLatest
        elif did.absorbed:
            refusal = errors.TwinMerged
        elif self.turns[did.turn_id].is_expired:
            refusal = errors.ActNotFound
        if refusal:
            with self.refused(refusal):
                verdicts.undo(self.project, actor, did.act_id)
            return
        verdicts.undo(self.project, actor, did.act_id)
        did.is_undone = True
        seen = self.turns[did.turn_id]
        comes_back = did.before.status == Status.PENDING and seen.status != Status.PENDING
        twin = self.absorb(did.turn_id) if comes_back else None
        seen.status, seen.holder, seen.token = did.before.status, did.before.holder, did.before.token
        seen.is_snoozed, seen.escalated_by = did.before.is_snoozed, did.before.escalated_by
        if did.act == "skip" and did.actor not in did.before.skipped_by:
            seen.skipped_by.discard(did.actor)
        self.go_on(did.turn_id, twin)

    # --- laws ---

    @invariant()
    def waits_as_modelled(self) -> None:
        now = timezone.now()
        rows = {turn.id: turn for turn in Turn.objects.of(self.project)}
        assert set(rows) == set(self.turns) - self.swept
        for turn_id, row in rows.items():
            seen = self.turns[turn_id]
            is_held = row.claimed_until is not None and row.claimed_until > now
            assert (
                row.status,
                row.claimed_by if is_held else "",
                row.snoozed_until is not None and row.snoozed_until > now,
                row.escalated_by,
                row.occurrences,
                row.status == Status.PENDING and row.expires_at <= now,
            ) == (
                seen.status,
                seen.holder,
                seen.is_snoozed,
                seen.escalated_by,
                seen.occurrences,
                seen.is_expired,
            )
            assert not is_held or row.claim_token == seen.token
        waiting = sum(seen.is_live for seen in self.turns.values())
        assert Turn.objects.of(self.project).pending().count() == waiting
        assert pending_count(self.project) == waiting


FEW = settings(
    max_examples=15,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def test_the_queue_behaves_like_its_model(db: None) -> None:
    project = make_project("acme")

    class Machine(QueueMachine):
        pass

    Machine.project = project
    run_state_machine_as_test(Machine, settings=FEW)


# --- undoing all of it ----------------------------------------------------------------------------------------

TEXTS = (
    "An invoice is due thirty days after it was sent, wherever it was sent to.",
    "An invoice is due thirty days after it was sent, wherever it was sent to!",
    "Ask the office in Bremen.",
)
STEP = st.tuples(
    st.sampled_from(
        [
            "claim_next",
            "claim",
            "release",
            "skip",
            "snooze",
            "escalate",
            "dismiss",
            "verdict",
            "reopen",
            "edit",
            "index",
        ]
    ),
    ACTORS,
    st.integers(0, 2),
    st.sampled_from(TEXTS),
)


def state_of(project: Project) -> dict[str, Any]:
    settle_index()
    columns = [name for name in queue.STATE if name != "claim_token"]
    return {
        "turns": list(Turn.objects.order_by("id").values("id", "rank", "priority", "occurrences", *columns)),
        "drafts": list(Draft.objects.order_by("turn_id", "actor").values("turn_id", "actor", "body")),
        "skips": list(Skip.objects.order_by("turn_id", "actor").values("turn_id", "actor", "at")),
        "memories": list(Memory.objects.order_by("fact").values("fact", "question", "tags", "source_id", "updated_at")),
        "annotations": list(Annotation.objects.standing().order_by("id").values("id", "correction", "updated_at")),
        "counters": dict(TurnCounter.objects.exclude(count=0).values_list("facet", "count")),
        "pending": pending_count(project),
    }


def do_step(project: Project, ids: list[UUID], step: tuple[str, Actor, int, str]) -> UUID | None:
    """Answers the act's id."""
    name, actor, place, text = step
    turn_id = ids[place]
    verdict = Verdict("incorrect", text, tags=[actor.ref])
    if name == "index":
        index_stale_turns(1)
        return None
    if name == "edit":
        annotation = Annotation.objects.standing().filter(turn_id=turn_id).first()
        if annotation is None:
            return None
        return verdicts.edit_annotation(project, actor, annotation.id, {"correction": text, "tags": ["edited"]}).act.id
    done: Any = {
        "claim_next": lambda: queue.claim_next(project, actor),
        "claim": lambda: queue.claim_given(project, actor, turn_id),
        "release": lambda: queue.release(project, actor, turn_id),
        "skip": lambda: queue.skip(project, actor, turn_id),
        "snooze": lambda: queue.snooze(project, actor, turn_id, timezone.now() + timedelta(days=60)),
        "escalate": lambda: queue.escalate(project, actor, turn_id, text),
        "dismiss": lambda: queue.dismiss(project, actor, turn_id, text),
        "verdict": lambda: verdicts.judge_turn(project, actor, turn_id, verdict, source=AnnotationSource.REVIEWER),
        "reopen": lambda: queue.reopen(project, actor, turn_id),
    }[name]()
    return done.act.id


@given(steps=st.lists(STEP, max_size=14))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_undoing_everything_gives_the_initial_state(db: None, steps: list[tuple[str, Actor, int, str]]) -> None:
    with transaction.atomic():
        project = make_project("acme")
        ids = [log_turn(project, {"question": f"q{n}", "agent_response": "a"})[0].turn_id for n in range(3)]
        queue.save_draft(project, ANN, ids[0], {"comment": "half a thought"})
        queue.skip(project, BEN, ids[1])
        verdicts.annotate(project, BEN, "q0", "z", Verdict("incorrect", TEXTS[0]), source=AnnotationSource.API)
        before = state_of(project)
        done = []
        for step in steps:
            try:
                with transaction.atomic():
                    done.append(do_step(project, ids, step))
            except AppError:
                continue
        for act_id in reversed([act_id for act_id in done if act_id]):
            verdicts.undo(project, OWNER, act_id)
        assert state_of(project) == before
        assert reconcile_counters(project) == {}
        transaction.set_rollback(True)
