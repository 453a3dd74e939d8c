"""One turn on the reviewer's desk: what the page shows of it and of all that stands around it."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.utils import timezone

from agentloop.actors import Actor
from agentloop.ids import shown
from agentloop.models import Project, Scope
from review import gold, memories
from review.alike import alike
from review.around import Around, around
from review.markdown import rendered
from review.models import Status, Turn
from review.pages.listing import signal_chips
from review.pages.rubric_form import answers_told, asked_questions
from review.pages.verdict_form import CHOICES, form_of
from review.priority import explain
from review.verdicts import may_change
from review.words import folded

# More memories than are shown: some say the same.
SIMILAR, SOUGHT = 3, 10
FOLD_FROM = 2_400
ACT_WORDS = {
    "claim": "looked at it",
    "skip": "skipped it",
    "snooze": "snoozed it",
    "escalate": "flagged it for the owners",
    "dismiss": "dismissed it",
    "reopen": "put it back into the queue",
    "verdict": "judged it",
    "opinion": "judged it",
    "dispute": "judged it: reviewers disagree",
    "annotate": "said what they think",
    "edit": "changed a verdict",
    "tag": "tagged it",
}


@dataclass(frozen=True, slots=True)
class Hold:
    """Whether this reader may act on the turn now. `kind`: mine, free, other, owners, judged, closed, or reader."""

    kind: str
    holder: str = ""
    token: int | None = None

    @property
    def may_act(self) -> bool:
        return self.kind in ("mine", "free")


def hold_of(turn: Turn, actor: Actor, people: dict[str, str], *, has_judged: bool) -> Hold:
    is_held = bool(turn.claimed_by) and turn.claimed_until is not None and turn.claimed_until > timezone.now()
    if turn.status != Status.PENDING:
        return Hold("closed")
    if has_judged:
        return Hold("judged")
    if is_held and turn.claimed_by != actor.ref:
        return Hold("other", people.get(turn.claimed_by, turn.claimed_by))
    if not actor.may(Scope.REVIEW):
        return Hold("reader")
    if is_held:
        return Hold("mine", token=turn.claim_token)
    if turn.escalated_by and not actor.is_owner:
        return Hold("owners", people.get(turn.escalated_by, turn.escalated_by))
    return Hold("free")


@dataclass(frozen=True, slots=True)
class Why:
    reason: str
    points: float
    share: float


def why(turn: Turn) -> tuple[list[Why], float]:
    """Each reason's points and its share of all points, with the priority that they add up to."""
    points = explain(turn.reasons, turn.occurrences, turn.logged_at, timezone.now())
    whole = sum(abs(amount) for _, amount in points) or 1.0
    reasons = [Why(reason, amount, round(100 * abs(amount) / whole, 1)) for reason, amount in points if amount]
    return reasons, round(sum(amount for _, amount in points), 2)


def work(project: Project, actor: Actor, turn: Turn, people: dict[str, str], *, is_raw: bool = False) -> dict[str, Any]:
    """What `review/queue/_work.html` shows. Three queries: all around the turn, and what is like it."""
    context = around(project, turn, actor.ref)
    past = _past(context)
    reasons, priority = why(turn)
    has_judged = any(one["actor"] == actor.ref for one in context.opinions)
    draft = context.draft or {}
    return {
        "turn": turn,
        "hold": hold_of(turn, actor, people, has_judged=has_judged),
        # Nobody who may still judge it blind sees what others said.
        "opinions": context.opinions if turn.is_disputed and actor.is_owner else [],
        "around": context,
        "past": past,
        "is_raw": is_raw,
        "question_html": rendered(turn.question),
        "response_html": rendered(turn.response),
        "folds_question": len(turn.question) > FOLD_FROM,
        "folds_response": len(turn.response) > FOLD_FROM,
        "signals": signal_chips(turn),
        "why": reasons,
        "priority": priority,
        "similar": _similar(project, turn, past),
        "alike": alike(project, turn),
        "told": gold.told(turn, actor),
        "acts": _history(context.acts, people),
        "undoable": _undoable(context, actor),
        "given": _given(turn, context, actor, people),
        "form": form_of(draft.get("body") or {}, turn.response, draft.get("saved_at")),
        "known_tags": context.known_tags,
        "rubric": context.rubric,
        "questions": asked_questions(context.rubric, context.draft),
        "escalated_by": people.get(turn.escalated_by, turn.escalated_by),
        **CHOICES,
    }


def _past(context: Around) -> list[dict[str, Any]]:
    """What was said of this text; a correction that was given several times over stands once."""
    told: dict[Any, dict[str, Any]] = {}
    for one in context.verdicts:
        same = (one["rating"], folded(one["correction"]), one["comment"]) if one["correction"] else one["id"]
        first = told.setdefault(same, {**one, "answers": answers_told(one), "times": 0})
        first["times"] += 1
    return list(told.values())


def _given(turn: Turn, context: Around, actor: Actor, people: dict[str, str]) -> list[dict[str, Any]]:
    """The verdicts on this very turn, with what each said before, and whether this reader may change it."""
    given: list[dict[str, Any]] = []
    for one in context.verdicts:
        if one["turn_id"] == str(turn.id):
            may_edit = actor.may(Scope.REVIEW) and may_change(actor, one["author"])
            earlier = [{**told, "who": people.get(told["author"], told["author"])} for told in one["versions"][1:]]
            has_key = may_edit and not any(other["may_edit"] for other in given)
            key = shown("ann", UUID(one["id"]))
            more = {"key": key, "may_edit": may_edit, "has_key": has_key, "earlier": earlier}
            given.append({**one, **more, "answers": answers_told(one)})
    return given


def _similar(project: Project, turn: Turn, past: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Corrections of like questions, each once; what shares only a few words with this one says little about it."""
    found = memories.search(project, turn.question[:2_000], limit=SOUGHT, counts=False)
    telling = {shown("mem", one) for one in gold.memories_of_original(project, turn)} if turn.gold_for else set()
    told: dict[str, dict[str, Any]] = {}
    for memory in found:
        if memory["score"] >= 0.4 and memory["id"] not in telling:
            first = told.setdefault(folded(memory["fact"]), {**memory, "times": 0})
            first["times"] += 1
    said = {folded(one["correction"]) for one in past}
    return [memory for fact, memory in told.items() if fact not in said][:SIMILAR]


def _history(acts: list[dict[str, Any]], people: dict[str, str]) -> list[dict[str, Any]]:
    """What was done, the latest first, without the coming and going around it."""
    lines: list[dict[str, Any]] = []
    for act in acts:
        looked_before = act["act"] == "claim" and lines and lines[-1]["actor"] == act["actor"]
        if act["act"] != "release" and not looked_before:
            who, did = people.get(act["actor"], act["actor"]), ACT_WORDS.get(act["act"], act["act"])
            lines.append({**act, "who": who, "did": did})
    return lines


def _undoable(context: Around, actor: Actor) -> str | None:
    """The latest act that this reader may take back: their own, or anybody's for an owner. End users' words stand."""
    team = {one["id"].replace("-", "") for one in context.verdicts}
    standing = [
        act for act in context.acts if not act["undone_at"] and (not act["is_word"] or act["annotation"] in team)
    ]
    latest = standing[0] if standing else None
    if latest is None or latest["act"] == "claim" or not actor.may(Scope.REVIEW):
        return None
    return f"act_{latest['id'].replace('-', '')}" if latest["actor"] == actor.ref or actor.is_owner else None
