"""Agreement: against published figures, at the edges, and who sees which part of it."""

import random
import subprocess
import sys
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries

from agentloop.actors import Actor
from agentloop.models import Project
from review import agreement
from review.agreement import FEWEST, SCALE, Unit
from review.models import DISPUTED, Turn
from tests.review.support import member, say

RATINGS = st.sampled_from(SCALE)


def units(*ratings: str) -> list[Unit]:
    """Turns from words such as "cp": the first reviewer said correct, the second partial."""
    names = {rating[0]: rating for rating in SCALE}
    return [{f"r{place}": names[letter] for place, letter in enumerate(word)} for word in ratings]


def test_all_alike_is_one() -> None:
    found = agreement.agreement(units(*["cc", "ii"] * 20))
    assert (found.alpha, found.low, found.high, found.alike, found.turns) == (1.0, 1.0, 1.0, 1.0, 40)


def test_chance_is_about_zero_and_the_interval_holds_it() -> None:
    chance = random.Random(1)
    found = agreement.agreement(units(*("".join(chance.choices("cpi", k=2)) for _ in range(400))))
    assert found.alpha == pytest.approx(0, abs=0.12)
    assert found.low < 0 < found.high


def test_a_figure_worked_by_hand() -> None:
    """20 turns, 16 alike, 4 of correct against incorrect: observed disagreement 4/20, expected 2·20·20/(40·39)."""
    found = agreement.agreement(units(*["cc"] * 8, *["ii"] * 8, *["ci"] * 4))
    assert found.alpha == pytest.approx(1 - (4 / 20) / (2 * 20 * 20 / (40 * 39)))
    assert found.low < found.alpha < found.high


def test_partial_is_half_way() -> None:
    """The further apart the ratings, the worse the agreement."""
    near = agreement.agreement(units(*["cc", "pp", "ii"] * 10, *["cp"] * 10))
    far = agreement.agreement(units(*["cc", "pp", "ii"] * 10, *["ci"] * 10))
    assert near.alike == far.alike
    assert near.alpha is not None
    assert far.alpha is not None
    assert near.alpha > far.alpha


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ([], "No turn was judged by two."),
        (["cc"] * (FEWEST - 1), "Too few to say: it takes 20 turns."),
        (["cc"] * FEWEST, "Every rating is the same"),
    ],
)
def test_where_nothing_can_be_said_it_says_so(said: list[str], problem: str) -> None:
    found = agreement.agreement(units(*said))
    assert found.alpha is None
    assert found.problem.startswith(problem)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(RATINGS, RATINGS), min_size=FEWEST, max_size=40), st.randoms(use_true_random=False))
def test_neither_the_order_of_reviewers_nor_names_matter(said: list[tuple[str, str]], chance: Any) -> None:
    one = agreement.agreement([{"a": first, "b": second} for first, second in said])
    swapped = [
        {"x": second, "y": first} if chance.random() < 0.5 else {"x": first, "y": second} for first, second in said
    ]
    other = agreement.agreement(swapped)
    assert one == other
    assert one.alpha is None or (one.low <= one.high <= 1 and one.alpha <= 1)


def test_start_up_needs_neither_the_library_nor_numpy() -> None:
    code = (
        "import sys, django; django.setup(); import agentloop.urls; "
        "print([name for name in ('numpy', 'krippendorff') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- whose ----------------------------------------------------------------------------------------------------


def test_by_pair_and_by_tag(project: Project) -> None:
    say(project, *[{"a": "correct", "b": "correct"}, {"a": "incorrect", "b": "incorrect"}] * 15, tags=("vip",))
    say(project, *[{"a": "correct", "c": "incorrect"}, {"a": "incorrect", "c": "correct"}] * 15)
    found = agreement.of_project(project)
    assert [(one, other, both.turns) for one, other, both in found.pairs] == [("a", "b", 30), ("a", "c", 30)]
    assert found.pairs[0][2].alpha == 1
    assert found.pairs[1][2].alpha < 0  # type: ignore[operator]
    assert [(tag, its.alpha) for tag, its in found.tags] == [("vip", 1.0)]
    assert found.whole.turns == 60


def test_one_reviewers_own(project: Project) -> None:
    say(project, {"a": "correct", "b": "correct"}, {"b": "correct", "c": "correct"})
    mine = agreement.of_project(project, only="a")
    assert (mine.whole.turns, mine.pairs) == (1, [])


def test_what_others_may_still_judge_is_not_counted(project: Project) -> None:
    say(project, {"a": "correct", "b": "incorrect"}, settled=False)
    assert agreement.of_project(project).whole.turns == 0
    assert agreement.waiting(project) == (1, 0)
    Turn.objects.update(escalated_by=DISPUTED)
    assert agreement.of_project(project).whole.turns == 1
    assert agreement.waiting(project) == (0, 1)


def opened(actor: Actor) -> Client:
    client = Client()
    client.force_login(User.objects.get(pk=actor.ref.removeprefix("user:")))
    return client


def test_who_sees_what_of_the_page(
    project: Project, alice: Actor, bob: Actor, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    carol = member(project, "carol", "reviewer")
    vera = member(project, "vera", "viewer")
    page = "/p/acme/quality/"
    assert "Nothing to compare yet" in opened(alice).get(page).text
    say(project, *[{bob.ref: "correct", carol.ref: "correct"}] * 15, tags=("vip",))
    say(project, *[{bob.ref: "incorrect", carol.ref: "incorrect"}] * 15)
    say(project, *[{alice.ref: "correct", carol.ref: "partial"}] * 5)
    owner, reviewer = opened(alice), opened(bob)
    with django_assert_max_num_queries(12):
        whole = owner.get(page).text
    assert "bob@example.com and carol@example.com" in whole
    assert "Too few to say: it takes 20 turns." in whole
    with django_assert_max_num_queries(12):
        mine = reviewer.get(page).text
    assert "Your agreement" in mine
    assert "carol" not in mine
    assert opened(vera).get(page).status_code == 403


def test_a_page_costs_the_same_however_many_were_judged(
    project: Project, alice: Actor, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    client = opened(alice)
    counts = []
    for _ in range(2):
        say(project, *[{f"r{n}": "correct", f"r{n + 1}": "partial"} for n in range(40)], tags=("vip",))
        with django_assert_max_num_queries(12) as captured:
            client.get("/p/acme/quality/")
        counts.append(len(captured.captured_queries))
    assert counts[0] == counts[1]
