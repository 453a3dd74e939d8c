"""The quality pages for everybody: axe finds nothing, and nothing is wider than the window, light and dark."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from agentloop.models import Project
from review.models import DISPUTED, GoldAnswer, GoldTurn, Opinion, Rubric, Turn
from tests.dashboard.support import QUESTIONS, Reviewer, path_of
from tests.looks import SIZES, problems_of
from tests.review.support import Caller, member, say, turn_of

GOLD = "/p/acme/quality/gold/"
# Where pictures go, for whoever wants to look at them.
SHOTS = os.environ.get("SHOTS")
pytestmark = pytest.mark.usefixtures("transactional_db")


def findings(page: Any, name: str) -> list[str]:
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)
    return [f"{name}: {problem}" for problem in problems_of(page)]


def with_gold(call: Caller, project: Project, reviewers: dict[str, str]) -> Turn:
    """Gold turns with answers of both, many and few; answers a copy that one of them has judged."""
    said = {"rating": "incorrect", "root_cause": "context", "failure_category": "hallucination_detected"}
    for n in range(20):
        judged = turn_of(call.log(f"How long do I have to return order {n}?", "You have **14 days**.", goal="returns"))
        body = {**said, "correction": "Thirty days from delivery, as long as the seal is whole."}
        call("POST", f"/v1/turns/{judged.shown_id}/verdict", body)
        call("POST", "/v1/gold", {"turn_id": judged.shown_id})
    golds = list(GoldTurn.objects.order_by("id"))
    for (ref, label), count in zip(reviewers.items(), (20, 6), strict=True):
        for place, gold in enumerate(golds[:count]):
            rating = "correct" if place % 8 == 0 else "incorrect"
            GoldAnswer.objects.create(
                project=project,
                gold=gold,
                actor=ref,
                actor_label=label,
                rating=rating,
                known="incorrect",
                answered_at=timezone.now(),
            )
    GoldTurn.objects.filter(id=golds[0].id).update(retired_at=timezone.now())
    copy = turn_of(call.log("How long do I have to return it?", "You have **14 days**."))
    given = GoldAnswer.objects.filter(rating="correct").order_by("id")[:1].get()
    GoldAnswer.objects.filter(id=given.id).update(turn_id=copy.id)
    Turn.objects.filter(id=copy.id).update(gold_for=given.actor, status="reviewed", closed_at=timezone.now())
    return copy


@pytest.mark.parametrize("size", SIZES)
def test_everyone_can_use_every_page(
    call: Caller, reviewer: Callable[..., Reviewer], project: Project, size: str
) -> None:
    width, height = SIZES[size]
    owner = reviewer("alice", "owner", viewport={"width": width, "height": height})
    turn = turn_of(call.log("Can I return it?", "Yes, within 30 days.", goal="returns", signals={"thumbs_down": True}))
    problems = findings(owner.opens("/p/acme/settings/rubric/"), f"rubric-empty-{size}")
    Rubric.objects.create(project=project, version=3, questions=QUESTIONS, author="system")
    for name, path in {"rubric": "/p/acme/settings/rubric/", "desk-rubric": path_of(turn)}.items():
        problems += findings(owner.opens(path), f"{name}-{size}")
    bob, carol = (member(project, name, "reviewer").ref for name in ("bob", "carol"))
    alice = f"user:{User.objects.get(username='alice@example.com').pk}"
    problems += findings(owner.opens("/p/acme/quality/"), f"quality-empty-{size}")
    said = [("correct", "correct")] * 14 + [("incorrect", "incorrect")] * 9 + [("correct", "partial")] * 4
    say(project, *[{bob: one, carol: other} for one, other in said], tags=("refunds",))
    say(project, *[{alice: other, carol: one} for one, other in [*said, ("correct", "incorrect")]], tags=("billing",))
    say(project, *[{alice: one, bob: other} for one, other in said[12:18]])
    for actor, rating in ((bob, "correct"), (carol, "incorrect")):
        Opinion.objects.create(
            project=project,
            turn_id=turn.id,
            actor=actor,
            actor_label=actor,
            source="reviewer",
            rating=rating,
            verdict={"rating": rating, "comment": f"I say {rating}.", "correction": ""},
        )
    Turn.objects.filter(id=turn.id).update(escalated_by=DISPUTED, opinions=2)
    problems += findings(owner.opens(GOLD), f"gold-empty-{size}")
    told = with_gold(call, project, {bob: "Bob", carol: "Carol"})
    pages = {"quality": "/p/acme/quality/", "disputed": path_of(turn), "gold": GOLD, "told": path_of(told)}
    for name, path in pages.items():
        problems += findings(owner.opens(path), f"{name}-{size}")
    page = owner.opens(GOLD)
    page.get_by_text("Write one by hand").click()
    problems += findings(page, f"gold-write-{size}")
    assert problems == []
    assert owner.said == []
