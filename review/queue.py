"""The queue: claims and what is done to pending turns. Each act is one transaction, recorded so that it can be undone.

A claim is a lease with a fencing token. Whoever acts on a turn either holds it or nobody does; an act that names
a token is refused once that claim has lapsed. Two reviewers never hold one turn, for rows are taken with
SKIP LOCKED and every act locks its turn first.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4

from django.db import IntegrityError, connection, transaction
from django.db.models import F
from django.utils import timezone

from agentloop import audit
from agentloop.actors import Actor
from agentloop.masking import mask_of, masked, masked_text
from agentloop.models import Project
from agentloop.sql import run
from review import double, errors, gold, notices
from review.figures import pending_count
from review.filters import TurnFilter, in_order
from review.models import DISPUTED, Draft, Occurrence, Opinion, QueueAct, Skip, Status, Turn, TurnRedirect
from review.priority import rank_of

Answer = TypeVar("Answer")
DRAFT_LIFE = timedelta(days=7)
MAX_SNOOZE = timedelta(days=90)
# How many gold turns are tried against a filter, each by four queries.
GOLD_TRIES = 4

# What acts change and undoing restores. Content, signals and priority belong to intake and merging alone.
STATE = (
    "status",
    "claimed_by",
    "claimed_until",
    "claim_token",
    "draw",
    "draw_probability",
    "snoozed_until",
    "escalated_by",
    "escalation_note",
    "dismissed_reason",
    "closed_at",
    "expires_at",
)
UNCLAIMED: dict[str, Any] = {"claimed_by": "", "claimed_until": None}


@dataclass(frozen=True, slots=True)
class Done:
    """The turn after an act, and the act, which `undo` takes back."""

    turn: Turn
    act: QueueAct


def find_turn(project: Project, turn_id: UUID, *, lock: bool = False) -> Turn:
    """The turn, or the older one it was merged into. Expired turns are not found, swept or not."""
    turns = Turn.objects.with_gold(project).visible()
    if lock:
        turns = turns.select_for_update()
    turn = turns.filter(id=turn_id).first()
    if turn is None:
        redirect = TurnRedirect.objects.filter(project=project, from_id=turn_id).first()
        turn = turns.filter(id=redirect.to_turn_id).first() if redirect else None
    if turn is None:
        raise errors.TurnNotFound
    return turn


def lease_end(project: Project) -> datetime:
    return timezone.now() + timedelta(minutes=project.setting("claim_minutes"))


# --- claims ---------------------------------------------------------------------------------------------------

_STATE_JSON = "jsonb_build_object(" + ", ".join(f"'{name}', turn.{name}" for name in STATE) + ")"

_FIELDS = {field.attname: field for field in Turn._meta.concrete_fields}
_COLUMNS = list(_FIELDS)
_LAPSED = "project_id = %(project)s AND status = 'pending' AND claimed_by <> '' AND claimed_until <= now()"
# Whether leases have run out is seen on the way: returning them to the queue's index here too would cost each
# claim a quarter more. When a turn expires is spelt as in `turn_queue`, which keeps the planner from the index of
# expiry: while it doesn't know yet how many turns there are, it would read and sort them all.
_CLAIM_SQL = f"""
WITH next AS (
    SELECT turn.id, {_STATE_JSON} AS before FROM review_turn AS turn
    WHERE turn.project_id = %(project)s AND turn.status = 'pending' AND turn.claimed_by = ''
        AND coalesce(turn.expires_at, turn.expires_at) > now()
        AND (turn.snoozed_until IS NULL OR turn.snoozed_until <= now())
        AND (turn.opinions = 0 OR NOT EXISTS (
            SELECT FROM review_opinion WHERE turn_id = turn.id AND actor = %(actor)s AND NOT is_settled))
        AND turn.gold_for IN ('', %(actor)s)
        AND {{eligible}}
    ORDER BY {{order}} LIMIT 1 FOR UPDATE OF turn SKIP LOCKED
), claimed AS (
    UPDATE review_turn AS turn SET
        claimed_by = %(actor)s, claimed_until = %(until)s, claim_token = nextval('review_claim_token'),
        draw = %(draw)s, draw_probability = %(probability)s, snoozed_until = NULL,
        expires_at = greatest(turn.expires_at, %(until)s)
    FROM next WHERE turn.id = next.id RETURNING {", ".join("turn." + name for name in _COLUMNS)}
), act AS (
    INSERT INTO review_queueact (id, project_id, subject_id, actor, act, before, details, at)
    SELECT %(act)s, %(project)s, id, %(actor)s, 'claim', before, '{{{{}}}}', now() FROM next
)
SELECT claimed.*, EXISTS (SELECT FROM review_turn WHERE {_LAPSED}) FROM claimed
"""
_NOT_SKIPPED = "NOT EXISTS (SELECT FROM review_skip WHERE turn_id = turn.id AND actor = %(actor)s)"
_SKIPPED = "EXISTS (SELECT FROM review_skip WHERE turn_id = turn.id AND actor = %(actor)s)"
_BY_RANK = "turn.rank DESC, turn.id DESC"
# The same order, spelt as `turn_queue` is, which alone leaves out what others hold.
_DUE = "turn.rank DESC NULLS LAST, turn.id DESC NULLS LAST"
_BY_SKIP = "(SELECT at FROM review_skip WHERE turn_id = turn.id AND actor = %(actor)s), turn.id"


def claim_next(project: Project, actor: Actor) -> Done:
    """Takes the turn that is due: mostly the most urgent one, for a fixed share of claims one drawn at random.

    Owners get what was escalated first. Turns the reviewer has skipped come after all others.
    One query; a random draw costs up to two more, and finding nothing two for each place looked in. Where the project
    has a share of gold turns, one of those takes the place of what is due for as many claims.
    """
    done = _claim_gold(project, actor) if gold.is_drawn(project, actor) else None
    done = done or _claim_due(project, actor)
    if done is None and free_lapsed(project):
        done = _claim_due(project, actor)
    if done is None:
        raise errors.QueueEmpty
    return done


def _claim_gold(project: Project, actor: Actor, filters: TurnFilter | None = None) -> Done | None:
    """A gold turn as old and as urgent as the turn in whose place it comes, and drawn like one. None where nothing
    waits, for then it would be known by that, or where none is left for this reviewer, or the filter lets it not
    through."""
    with transaction.atomic():
        waiting = Turn.objects.of(project).pending().awake().in_queue()
        if filters is not None:
            waiting = filters.apply(waiting)
        due = waiting.order_by(F("rank").desc(nulls_last=True), F("id").desc(nulls_last=True)).first()
        turn = gold.serve(project, actor, due) if due else None
        if turn is None:
            return None
        if filters is not None:
            if filters.apply(Turn.objects.seen_by(project, actor.ref).filter(id=turn.id)).exists():
                return _take(turn, project, actor, draw="filter")
            transaction.set_rollback(True)
            return None
        share = project.setting("random_share")
        if random.random() < share:  # noqa: S311 - a sample, not a secret
            return _take(turn, project, actor, draw="random", probability=share / max(1, pending_count(project)))
        return _take(turn, project, actor, draw="next")


def _claim_due(project: Project, actor: Actor) -> Done | None:
    plain = f"turn.escalated_by = '' AND {_NOT_SKIPPED}"
    attempts = []
    if actor.is_owner:
        attempts.append((f"turn.escalated_by <> '' AND {_NOT_SKIPPED}", _BY_RANK))
    if random.random() < project.setting("random_share"):  # noqa: S311 - a sample, not a secret
        done = _claim_at_random(project, actor, plain)
        if done:
            return done
    skipped = _SKIPPED if actor.is_owner else f"turn.escalated_by = '' AND {_SKIPPED}"
    attempts += [(plain, _DUE), (skipped, _BY_SKIP)]
    for eligible, order in attempts:
        done = _claim(project, actor, eligible, order, draw="next")
        if done:
            return done
    return None


def _claim_at_random(project: Project, actor: Actor, eligible: str) -> Done | None:
    """A turn drawn alike from all that wait, and the probability with which this claim drew it.

    The content hash spreads turns evenly whatever they are about, so the first one after a random point is
    a fair draw: gaps between hashes differ, but they know nothing of the turns beside them.
    """
    waiting = max(1, pending_count(project))
    probability = project.setting("random_share") / waiting
    point = {"point": uuid4()}
    for side in ("turn.content_hash >= %(point)s", "turn.content_hash < %(point)s"):
        done = _claim(project, actor, f"{eligible} AND {side}", "turn.content_hash", "random", probability, **point)
        if done:
            return done
    return None


def _claim(
    project: Project,
    actor: Actor,
    eligible: str,
    order: str,
    draw: str,
    probability: float | None = None,
    **params: Any,
) -> Done | None:
    act = QueueAct(project=project, actor=actor.ref, act="claim")
    given = {
        "project": project.id,
        "actor": actor.ref,
        "until": lease_end(project),
        "draw": draw,
        "probability": probability,
        "act": act.id,
        **params,
    }
    rows = run(_CLAIM_SQL.format(eligible=eligible, order=order), given, keep_plan=True)
    if not rows:
        return None
    *columns, others_lapsed = rows[0]
    if others_lapsed:
        free_lapsed(project)
    turn = _turn_of(columns)
    act.subject_id = turn.id
    return Done(turn, act)


def _turn_of(row: Sequence[Any]) -> Turn:
    values = [
        field.from_db_value(value, None, connection) if hasattr(field, "from_db_value") else value
        for field, value in zip(_FIELDS.values(), row, strict=True)
    ]
    return Turn.from_db(connection.alias, _COLUMNS, values)


def claim_matching(project: Project, actor: Actor, filters: TurnFilter, sort: str = "priority") -> Done:
    """Takes the first turn that a filter lets through. Never a random one: it would not match.

    In the order of priority a gold turn that matches may take its place; in any other its age would tell it.
    """
    if sort == "priority" and gold.is_drawn(project, actor):
        for _ in range(GOLD_TRIES):
            if done := _claim_gold(project, actor, filters):
                return done
    free_lapsed(project)
    with transaction.atomic():
        turns = filters.apply(Turn.objects.seen_by(project, actor.ref).pending().unclaimed().awake())
        if not actor.is_owner:
            turns = turns.filter(escalated_by="")
        judged = Opinion.objects.filter(project=project, actor=actor.ref, is_settled=False).values("turn_id")
        turns = turns.exclude(opinions__gt=0, id__in=judged)
        turns = in_order(turns, sort).select_for_update(skip_locked=True, of=("self",))
        skipped = Skip.objects.filter(project=project, actor=actor.ref).values("turn_id")
        turn = turns.exclude(id__in=skipped).first() or turns.filter(id__in=skipped).first()
        if turn is None:
            raise errors.QueueEmpty
        return _take(turn, project, actor, draw="filter")


def claim_given(project: Project, actor: Actor, turn_id: UUID) -> Done:
    """Takes one named turn; asking again for one that the actor holds renews the lease and the token."""
    with transaction.atomic():
        turn = _pending(project, turn_id)
        if (_is_held(turn) and turn.claimed_by != actor.ref) or gold.is_of_another(turn, actor):
            raise errors.ClaimedByAnother
        if turn.escalated_by and not actor.is_owner:
            raise errors.OnlyOwners
        if double.has_judged(turn, actor):
            raise errors.AlreadyJudged
        return _take(turn, project, actor, draw="given")


def _take(turn: Turn, project: Project, actor: Actor, draw: str, probability: float | None = None) -> Done:
    until = lease_end(project)
    [(token,)] = run("SELECT nextval('review_claim_token')", [])
    return _act(
        turn,
        actor,
        "claim",
        claimed_by=actor.ref,
        claimed_until=until,
        claim_token=token,
        draw=draw,
        draw_probability=probability,
        snoozed_until=None,
        expires_at=max(turn.expires_at, until),
    )


def free_lapsed(project: Project) -> int:
    """Returns turns whose lease has run out to the queue's index. Safe to run at any time."""
    rows = run(
        f"""
        UPDATE review_turn SET claimed_by = '', claimed_until = NULL WHERE id IN (
            SELECT id FROM review_turn WHERE {_LAPSED} ORDER BY claimed_until LIMIT 1000 FOR UPDATE SKIP LOCKED
        )
        RETURNING id
        """,
        {"project": project.id},
    )
    return len(rows)


def heartbeat(project: Project, actor: Actor, turn_id: UUID, token: int) -> Turn:
    """Renews the lease from now."""
    with transaction.atomic():
        turn = _held(project, turn_id, actor, token)
        turn.claimed_until = lease_end(project)
        turn.expires_at = max(turn.expires_at, turn.claimed_until)
        turn.save(update_fields=["claimed_until", "expires_at"])
    return turn


# --- acts on pending turns ------------------------------------------------------------------------------------


def release(project: Project, actor: Actor, turn_id: UUID, token: int | None = None) -> Done:
    """Gives the turn back to everybody."""
    with transaction.atomic():
        turn = _held(project, turn_id, actor, token)
        if not _is_held(turn):
            raise errors.ClaimLost("Nobody holds this turn, so there is nothing to release.")
        return _act(turn, actor, "release", **UNCLAIMED)


def skip(project: Project, actor: Actor, turn_id: UUID, token: int | None = None) -> Done:
    """Puts the turn behind all others for this reviewer, and gives it back to everybody else."""
    with transaction.atomic():
        turn = _held(project, turn_id, actor, token)
        earlier = Skip.objects.filter(turn_id=turn.id, actor=actor.ref).first()
        details = {"skipped_before": earlier.at.isoformat() if earlier else None}
        Skip.objects.update_or_create(
            turn_id=turn.id, actor=actor.ref, defaults={"project": project, "at": timezone.now()}
        )
        return _act(turn, actor, "skip", details, **UNCLAIMED)


def snooze(project: Project, actor: Actor, turn_id: UUID, until: datetime, token: int | None = None) -> Done:
    """Hides the turn until a time; it cannot expire before a day after that."""
    now = timezone.now()
    if not now < until <= now + MAX_SNOOZE:
        raise errors.BadValue("until", f"takes a time in the future, at most {MAX_SNOOZE.days} days from now.")
    with transaction.atomic():
        turn = _held(project, turn_id, actor, token)
        expires_at = max(turn.expires_at, until + timedelta(days=1))
        return _act(turn, actor, "snooze", snoozed_until=until, expires_at=expires_at, **UNCLAIMED)


def escalate(project: Project, actor: Actor, turn_id: UUID, note: str = "", token: int | None = None) -> Done:
    """Hands the turn to the owners, before whom it comes first until one of them has closed it."""
    with transaction.atomic():
        turn = _held(project, turn_id, actor, token)
        if not turn.gold_for:
            notices.turn_escalated(project, actor, turn)
        return _act(
            turn,
            actor,
            "escalate",
            escalated_by=actor.ref,
            escalation_note=masked_text(project, note)[:2000],
            snoozed_until=None,
            **UNCLAIMED,
        )


def dismiss(project: Project, actor: Actor, turn_id: UUID, reason: str = "", token: int | None = None) -> Done:
    """Closes the turn without a verdict: it is not worth one."""
    with transaction.atomic():
        turn = _held(project, turn_id, actor, token)
        reason = masked_text(project, reason)[:500]
        audit.note(project, actor, "turn.dismiss", turn.shown_id)
        return _close(turn, actor, "dismiss", {}, status=Status.DISMISSED, dismissed_reason=reason)


def tag(project: Project, actor: Actor, turn_id: UUID, tags: Sequence[str]) -> Done:
    """Adds tags to a turn that waits, whoever holds it: it changes nothing that they are judging."""
    with transaction.atomic():
        turn = _pending(project, turn_id)
        added = [name for name in dict.fromkeys(tags) if name and name not in turn.tags]
        act = QueueAct.objects.create(
            project=project, subject_id=turn.id, actor=actor.ref, act="tag", details={"tags_added": added}
        )
        turn.tags = [*turn.tags, *added]
        turn.save(update_fields=["tags"])
        mark_stale(turn)
        return Done(turn, act)


def untag(turn: Turn, tags: Sequence[str]) -> None:
    """Takes tags away from a locked turn again."""
    turn.tags = [name for name in turn.tags if name not in tags]
    turn.save(update_fields=["tags"])
    mark_stale(turn)


def close_reviewed(turn: Turn, actor: Actor, details: dict[str, Any]) -> Done:
    """Closes a locked turn with the verdict that was just given."""
    return _close(turn, actor, "verdict", details, status=Status.REVIEWED)


def await_others(turn: Turn, actor: Actor, opinion: Opinion) -> Done:
    """Gives a locked turn with a new opinion back to the others. It lives until one of them can have seen it.

    Undoing that is undoing the opinion alone, so that it needs no state of before: others go on meanwhile.
    """
    details = {"opinion": opinion.id.hex, **_taken_draft(turn, actor)}
    act = QueueAct.objects.create(
        project_id=turn.project_id, subject_id=turn.id, actor=actor.ref, act="opinion", details=details
    )
    _change(turn, snoozed_until=None, expires_at=max(turn.expires_at, timezone.now() + DRAFT_LIFE), **UNCLAIMED)
    return Done(turn, act)


def dispute(turn: Turn, actor: Actor, details: dict[str, Any]) -> Done:
    """Puts a locked turn on which reviewers disagree before the owners. Whoever judged it is not asked again."""
    changes = {"escalated_by": DISPUTED, "escalation_note": "", "snoozed_until": None, **UNCLAIMED}
    expires_at = max(turn.expires_at, timezone.now() + DRAFT_LIFE)
    return _act(turn, actor, "dispute", {**details, **_taken_draft(turn, actor)}, expires_at=expires_at, **changes)


def _taken_draft(turn: Turn, actor: Actor) -> dict[str, Any]:
    """What a reviewer had written, which ends with their act and comes back when that is undone."""
    draft = Draft.objects.filter(turn_id=turn.id, actor=actor.ref).first()
    if draft is None:
        return {}
    draft.delete()
    return {"draft": draft.body}


def _close(turn: Turn, actor: Actor, act: str, details: dict[str, Any], **changes: Any) -> Done:
    details = {**details, **_taken_draft(turn, actor)}
    return _act(turn, actor, act, details, closed_at=timezone.now(), snoozed_until=None, **UNCLAIMED, **changes)


def reopen(project: Project, actor: Actor, turn_id: UUID) -> Done:
    """Puts a judged or dismissed turn back into the queue, with its full time ahead. Its verdicts stand."""

    def put_back() -> Done:
        turn = find_turn(project, turn_id, lock=True)
        if turn.status == Status.PENDING:
            raise errors.AlreadyPending
        twin = _absorb_twin(turn)
        changes: dict[str, Any] = {
            "status": Status.PENDING,
            "closed_at": None,
            "dismissed_reason": "",
            "escalated_by": "",
            "escalation_note": "",
            "expires_at": max(turn.expires_at, _fresh_expiry(project)),
            **UNCLAIMED,
        }
        audit.note(project, actor, "turn.reopen", turn.shown_id)
        done = _act(turn, actor, "reopen", {"absorbed": twin.shown_id if twin else None}, **changes)
        if twin is not None:
            _go_on(turn, twin)
        return done

    return against_new_twins(put_back)


# --- drafts ---------------------------------------------------------------------------------------------------


def save_draft(project: Project, actor: Actor, turn_id: UUID, body: Mapping[str, Any]) -> Draft:
    """Keeps what a reviewer is writing, masked as their verdict will be; a pending turn then lives at least seven
    days more."""
    mask = mask_of(project)
    kept = masked(dict(body), mask) if mask else dict(body)
    with transaction.atomic():
        turn = find_turn(project, turn_id, lock=True)
        if turn.status == Status.PENDING:
            turn.expires_at = max(turn.expires_at, timezone.now() + DRAFT_LIFE)
            turn.save(update_fields=["expires_at"])
        draft, _ = Draft.objects.update_or_create(
            turn_id=turn.id,
            actor=actor.ref,
            defaults={"project": project, "body": kept, "saved_at": timezone.now()},
        )
    return draft


# --- undo -----------------------------------------------------------------------------------------------------


def restore(turn: Turn, before: Mapping[str, Any], project: Project) -> dict[str, Any]:
    """Puts a locked turn back into an earlier state, merging a twin that came in the meantime.

    A state whose time is up is given a fresh one: whoever undoes wants the turn back.
    """
    state = {name: _FIELDS[name].to_python(before[name]) for name in STATE}
    twin: Turn | None = None
    if state["status"] == Status.PENDING:
        if turn.status != Status.PENDING:
            twin = _absorb_twin(turn)
        if state["expires_at"] <= timezone.now() or twin:
            state["expires_at"] = max(state["expires_at"], _fresh_expiry(project))
        # A logging since then has renewed the expiry, and that stands.
        renewed = turn.last_seen_at + timedelta(days=project.setting("ttl_days"))
        state["expires_at"] = max(state["expires_at"], min(turn.expires_at, renewed))
    _change(turn, **state)
    if twin is not None:
        _go_on(turn, twin)
    return {"absorbed": twin.shown_id if twin else None}


def against_new_twins(write: Callable[[], Answer]) -> Answer:
    """Runs a write that makes a turn pending again; a twin logged between look and update makes it look anew."""
    for _ in range(5):
        try:
            with transaction.atomic():
                return write()
        except IntegrityError as error:
            if "one_pending_twin" not in str(error):
                raise
    raise errors.Conflict("This turn is being logged again and again just now: try once more in a moment.")


def _absorb_twin(turn: Turn) -> Turn | None:
    """Merges a newer pending twin into a turn that is about to be pending again; the twin's id then redirects.

    Answers the twin as it was. The older turn counts its occurrences and unites the signals.
    """
    if turn.content_hash is None:
        return None
    twins = Turn.objects.select_for_update().filter(
        project_id=turn.project_id, content_hash=turn.content_hash, status=Status.PENDING
    )
    twin = twins.exclude(id=turn.id).first()
    if twin is None:
        return None
    if twin.expires_at <= timezone.now():
        Turn.objects.filter(id=twin.id).update(content_hash=None)
        return None
    _keep_as_occurrence(turn, twin)
    _move_to(turn, twin)
    Turn.objects.filter(id=twin.id).delete()
    _gain(turn, twin)
    return twin


def _go_on(turn: Turn, twin: Turn) -> None:
    """What reviewers did with a twin holds for the turn that took it up: its holder goes on undisturbed.

    That is an act of the holder's own, so that nobody takes the claim away by undoing what came before it.
    """
    _change(
        turn,
        expires_at=max(turn.expires_at, twin.expires_at),
        escalated_by=turn.escalated_by or twin.escalated_by,
        escalation_note=turn.escalation_note or twin.escalation_note,
    )
    if _is_held(twin):
        held = ("claimed_by", "claimed_until", "claim_token", "draw", "draw_probability")
        claim = {name: getattr(twin, name) for name in held}
        _act(turn, Actor(twin.claimed_by, "", frozenset()), "claim", snoozed_until=None, **claim)


_OF_OCCURRENCE = (
    "signals",
    "user_id",
    "session_id",
    "trace_id",
    "goal",
    "model",
    "path_id",
    "pipeline_id",
    "sample_rate",
    "occurred_at",
)


def _keep_as_occurrence(turn: Turn, twin: Turn) -> None:
    Occurrence.objects.create(
        project_id=turn.project_id, turn_id=turn.id, **{name: getattr(twin, name) for name in _OF_OCCURRENCE}
    )


def _move_to(turn: Turn, twin: Turn) -> None:
    """Everything that names the twin names the turn from now on."""
    Occurrence.objects.filter(turn_id=twin.id).update(turn_id=turn.id)
    run(
        "UPDATE review_annotation SET turn_id = %s WHERE project_id = %s AND turn_id = %s",
        [turn.id, turn.project_id, twin.id],
    )
    for table in ("review_draft", "review_skip"):
        run(
            f"""DELETE FROM {table} AS newer USING {table} AS older
            WHERE newer.turn_id = %s AND older.turn_id = %s AND newer.actor = older.actor""",
            [twin.id, turn.id],
        )
        run(f"UPDATE {table} SET turn_id = %s WHERE turn_id = %s", [turn.id, twin.id])
    run(
        """DELETE FROM review_opinion AS newer USING review_opinion AS older
        WHERE newer.turn_id = %s AND older.turn_id = %s AND newer.actor = older.actor
            AND NOT newer.is_settled AND NOT older.is_settled""",
        [twin.id, turn.id],
    )
    run("UPDATE review_opinion SET turn_id = %s WHERE turn_id = %s", [turn.id, twin.id])
    if twin.opinions:
        double.recount(turn)
    # The twin's own acts end with it: its earlier states are nothing to go back to any more.
    QueueAct.objects.filter(subject_id=twin.id).delete()
    TurnRedirect.objects.filter(to_turn_id=twin.id).update(to_turn_id=turn.id)
    TurnRedirect.objects.create(from_id=twin.id, project_id=turn.project_id, to_turn_id=turn.id)
    mark_stale(twin)


def _gain(turn: Turn, twin: Turn) -> None:
    turn.occurrences += twin.occurrences
    turn.signals = {**turn.signals, **twin.signals}
    turn.reasons = {**turn.reasons, **twin.reasons}
    turn.tags = sorted({*turn.tags, *twin.tags})
    turn.priority = round(sum(turn.reasons.values()), 3)
    turn.rank = rank_of(turn.priority, turn.occurrences, turn.logged_at)
    turn.last_seen_at = max(turn.last_seen_at, twin.last_seen_at)
    turn.save(update_fields=["occurrences", "signals", "reasons", "tags", "priority", "rank", "last_seen_at"])


# --- what all acts share --------------------------------------------------------------------------------------


def _fresh_expiry(project: Project) -> datetime:
    return timezone.now() + timedelta(days=project.setting("ttl_days"))


def _is_held(turn: Turn) -> bool:
    return bool(turn.claimed_by) and turn.claimed_until is not None and turn.claimed_until > timezone.now()


def _pending(project: Project, turn_id: UUID) -> Turn:
    turn = find_turn(project, turn_id, lock=True)
    if turn.status != Status.PENDING:
        raise errors.NotPending
    return turn


def _held(project: Project, turn_id: UUID, actor: Actor, token: int | None) -> Turn:
    """The locked turn, if the actor may act on it: with a token only while that claim lasts, without one
    while nobody else holds it."""
    turn = find_turn(project, turn_id, lock=True)
    check_hold(turn, actor, token)
    return turn


def check_hold(turn: Turn, actor: Actor, token: int | None) -> None:
    """Raises unless the actor may act on this locked turn now."""
    is_mine = _is_held(turn) and turn.claimed_by == actor.ref
    if token is not None and not (is_mine and turn.claim_token == token):
        raise errors.ClaimLost
    if turn.status != Status.PENDING:
        raise errors.NotPending
    if (_is_held(turn) and not is_mine) or gold.is_of_another(turn, actor):
        raise errors.ClaimedByAnother
    if turn.escalated_by and not actor.is_owner and not is_mine:
        raise errors.OnlyOwners
    if double.has_judged(turn, actor):
        raise errors.AlreadyJudged


def _act(turn: Turn, actor: Actor, name: str, details: dict[str, Any] | None = None, **changes: Any) -> Done:
    """Changes a locked turn and records the act with the state before it."""
    act = QueueAct.objects.create(
        project_id=turn.project_id,
        subject_id=turn.id,
        actor=actor.ref,
        act=name,
        before=state_of(turn),
        details=details or {},
    )
    _change(turn, **changes)
    return Done(turn, act)


def state_of(turn: Turn) -> dict[str, Any]:
    """What acts change of a turn, as an act keeps it."""
    state = {field: getattr(turn, field) for field in STATE}
    return {field: value.isoformat() if isinstance(value, datetime) else value for field, value in state.items()}


def _change(turn: Turn, **changes: Any) -> None:
    status = turn.status
    for field, value in changes.items():
        setattr(turn, field, value)
    turn.save(update_fields=list(changes))
    if turn.status != status:
        mark_stale(turn)


def mark_stale(turn: Turn) -> None:
    """The counters and the text index take up this turn again."""
    mark_stale_id(turn.project_id, turn.id)


def mark_stale_id(project_id: UUID, turn_id: UUID) -> None:
    """The same for a turn that nobody needs to read. A mark that is there is locked; see intake."""
    run(
        """
        INSERT INTO review_staleturn (turn_id, project_id) VALUES (%s, %s)
        ON CONFLICT (turn_id) DO UPDATE SET project_id = excluded.project_id
        """,
        [turn_id, project_id],
        keep_plan=True,
    )
