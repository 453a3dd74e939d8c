"""Geometry of the charts: what is drawn stays in its box, fills it, and keeps its gaps."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.charts import band, line, runs, scale_around, stacked, upright, widest

SHARES = st.floats(0, 1)
COUNTS = st.integers(0, 1000).map(float)


def points(shape: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", shape)]


@given(st.lists(st.none() | SHARES, max_size=40))
def test_lines_stay_in_their_box_and_go_forward(values: list[float | None]) -> None:
    drawn = points(line(values))
    assert all(0 <= x <= 1000 and 0 <= y <= 100 for x, y in drawn)
    assert [x for x, _ in drawn] == sorted(x for x, _ in drawn)
    lone = sum(len(run) == 1 for run in runs(values))
    assert len(drawn) == sum(value is not None for value in values) - lone


def test_one_empty_step_is_bridged_and_two_are_a_gap() -> None:
    assert line([0, None, 1]) == "M0 100L1000 0"
    assert line([0, 1, None, None, 1, 0]) == "M0 100L200 0M800 0L1000 100"
    assert [[place for place, _ in run] for run in runs([1, None, None, 1])] == [[0], [3]]
    assert line([None, 1]) == line([]) == ""


def test_a_band_goes_there_and_back() -> None:
    assert band([0.2, 0.3], [0.4, 0.5]) == "M0 60L1000 50L1000 70L0 80Z"


@given(st.integers(1, 5).flatmap(lambda n: st.lists(st.lists(COUNTS, min_size=8, max_size=8), min_size=n, max_size=n)))
def test_stacked_areas_fill_the_height_wherever_there_is_something(series: list[list[float]]) -> None:
    areas = stacked(series)
    assert len(areas) == len(series)
    for place, total in enumerate(map(sum, zip(*series, strict=True))):
        tops = [y for x, y in points(areas[-1]) if x == pytest.approx(1000 * place / 7, abs=0.01)]
        if tops:
            assert min(tops) == pytest.approx(0, abs=0.01) or total == 0


def test_a_name_stands_where_its_area_has_most_room() -> None:
    series = [[9.0, 1.0, 1.0, 1.0, 0.0], [1.0, 1.0, 9.0, 9.0, 9.0]]
    assert widest(series, 1) == (3, pytest.approx(0.55), pytest.approx(0.9))
    assert widest(series, 0)[0] == 1
    assert widest([[0.0, 0.0, 0.0]], 0) == (0, 0, 0)


def test_bars_are_seen_when_small_and_absent_when_nothing() -> None:
    assert [height for *_, height in upright([0, 1, 1000])] == ["0", "4", "100"]
    assert upright([]) == []


@given(st.lists(SHARES, min_size=1))
def test_a_scale_holds_its_values_and_is_never_narrow(values: list[float]) -> None:
    scale = scale_around(values)
    assert 0 <= scale.low <= min(values)
    assert max(values) <= scale.high <= 1
    assert scale.high - scale.low >= 0.3 - 1e-9
    assert scale.ticks()[0].at == "0%"
    assert scale.ticks()[-1].at == "100%"
