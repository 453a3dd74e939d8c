"""How turns come and go, what follows from it, and what signals are worth: plain numbers."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from review.flow import Day, Loss, Pace, days_of, loss_of, pace_of
from review.plots import columns_of, forest_of
from review.worth import FEW, Finding, Judged, Share, worths_of

TODAY = date(2026, 11, 21)


def day(ago: int, **counts: int) -> Day:
    return Day(TODAY - timedelta(days=ago), **counts)


def test_days_are_whole_weeks_of_what_was_counted() -> None:
    counts = {(TODAY, "came"): 3, (TODAY - timedelta(days=1), "incorrect"): 2, (TODAY, "partial"): -1}
    assert days_of(counts, TODAY, 3) == [day(2), day(1, incorrect=2), day(0, came=3)]


def test_the_pace_is_of_whole_days_since_the_first() -> None:
    days = [day(3), day(2, came=10, correct=4), day(1, came=20, incorrect=5, dismissed=1, expired=7), day(0, came=99)]
    assert pace_of(days) == Pace(come=15, done=5, days=2)
    assert pace_of([day(1), day(0, came=9)]) is None
    assert pace_of([day(ago, came=ago) for ago in reversed(range(10))]).come == pytest.approx(4)


def test_a_queue_that_shrinks_is_empty_one_day() -> None:
    assert Pace(10, 14, 7).days_until_empty(20) == 5
    assert Pace(10, 10, 7).days_until_empty(20) is None
    assert Pace(10, 4, 7).days_until_empty(0) == 0


def test_what_is_lost_at_the_least() -> None:
    pace = Pace(come=0, done=10, days=7)
    assert loss_of([5, 5, 5], pace) is None
    assert loss_of([5, 20, 0], pace) == Loss(5, 2)
    assert loss_of([15, 0, 25], pace) == Loss(10, 1)
    assert loss_of([500], None) is None


@given(st.lists(st.integers(0, 50), min_size=1, max_size=9), st.integers(0, 40))
def test_nobody_who_judges_the_first_to_expire_first_loses_more(due: list[int], done: int) -> None:
    lost = 0
    # Whatever expires on a day can be judged until then: serve the days in order.
    spare = 0
    for count in due:
        spare += done
        judged = min(spare, count)
        spare -= judged
        lost += count - judged
    found = loss_of(due, Pace(0, done, 7))
    assert (found.turns if found else 0) == lost


def test_wilsons_interval_is_the_published_one() -> None:
    # Newcombe 1998, table I: 81 of 263 and 0 of 20 and 1 of 29.
    shares = [Share(81, 263), Share(0, 20), Share(1, 29)]
    found = [(round(share.low, 4), round(share.high, 4)) for share in shares]
    assert found == [(0.2553, 0.3662), (0.0, 0.1611), (0.0061, 0.1718)]
    assert (Share(0, 0).low, Share(0, 0).high, Share(0, 0).rate) == (0, 1, 0)


def judged(count: int, incorrect: int, *, random: bool = False, **signals: object) -> list[Judged]:
    return [Judged(place < incorrect, random, signals) for place in range(count)]


def test_what_signals_are_worth_against_the_random_share() -> None:
    found = worths_of(
        [
            *judged(100, 20, random=True),
            *judged(50, 40, thumbs_down=True),
            *judged(60, 12, factual_claim=True),
            *judged(80, 2, thumbs_up=1),
            *judged(FEW - 1, 19, user_correction=True),
            *judged(30, 24, confidence=0.3),
            *judged(30, 0, confidence=0.9, rephrase=False),
        ]
    )
    assert found.random == Share(20, 100)
    assert [(one.signal, one.share, one.finding) for one in found.signals] == [
        ("confidence", Share(24, 30), Finding.MORE),
        ("thumbs_down", Share(40, 50), Finding.MORE),
        ("factual_claim", Share(12, 60), Finding.UNCLEAR),
        ("thumbs_up", Share(2, 80), Finding.LESS),
        ("user_correction", Share(19, 19), Finding.FEW),
    ]


def test_where_there_are_enough_random_draws_they_decide() -> None:
    found = worths_of(
        [
            *judged(60, 6, random=True, factual_claim=True),
            *judged(60, 6, random=True),
            # What is judged because of louder signals is mostly wrong.
            *judged(100, 80, thumbs_down=True, factual_claim=True),
        ]
    )
    told = {one.signal: (one.share, one.random, one.finding) for one in found.signals}
    assert told == {
        "factual_claim": (Share(86, 160), Share(6, 60), Finding.UNCLEAR),
        "thumbs_down": (Share(80, 100), Share(0, 0), Finding.MORE),
    }


def test_few_random_draws_tell_nothing() -> None:
    found = worths_of([*judged(FEW - 1, 0, random=True), *judged(90, 90, thumbs_down=True)])
    assert [one.finding for one in found.signals] == [Finding.FEW]


def test_a_column_holds_all_of_its_day_and_the_axis_holds_every_column() -> None:
    drawn = columns_of([day(1, came=7, correct=3, expired=2), day(0, came=37)], ("came",), ("correct", "expired"))
    assert (drawn.top, drawn.bottom) == (38, 6)
    [first, second] = drawn.columns
    assert [(block.kind, block.count) for block in first.blocks] == [("came", 7), ("correct", 3), ("expired", 2)]
    assert [block.kind for block in second.blocks] == ["came"]
    assert float(first.blocks[0].y[:-1]) + float(first.blocks[0].height[:-1]) == pytest.approx(float(drawn.line[:-1]))
    assert columns_of([day(0)], ("came",)).top == 2


def test_the_forest_ends_where_its_highest_interval_does() -> None:
    drawn = forest_of(worths_of([*judged(100, 20, random=True), *judged(50, 10, rephrase=True)]))
    assert drawn.end == 0.4
    assert [label for _, label in drawn.ticks] == ["0%", "10%", "20%", "30%", "40%"]
    assert drawn.random.middle == "50%"
    assert len(drawn.signals) == 1
