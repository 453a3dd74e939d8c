import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.engine.histogram import EMPTY, POINTS, Decay, Histogram, contribution, corrected, merged

values = st.floats(0, 1)
weights = st.floats(0.001, 1)
outcomes = st.lists(st.tuples(values, weights), min_size=1, max_size=40)


@settings(deadline=None)
@given(values, weights)
def test_a_contribution_keeps_weight_and_mean_exactly(value, weight):
    vector = contribution(value, weight)
    assert vector.weight == pytest.approx(weight, rel=1e-12)
    assert vector.mean == pytest.approx(value, abs=1e-12)
    assert sum(count > 0 for count in vector.counts) <= 2


def test_successes_and_failures_sit_on_the_ends():
    assert contribution(1.0).counts == (*(0.0,) * 10, 1.0)
    assert contribution(0.0).counts == (1.0, *(0.0,) * 10)


@pytest.mark.parametrize("value", [-0.01, 1.01, math.nan])
def test_values_beyond_the_scale_are_refused(value):
    with pytest.raises(ValueError, match="between 0 and 1"):
        contribution(value)


@settings(deadline=None)
@given(outcomes, st.randoms(use_true_random=False))
def test_the_state_depends_neither_on_order_nor_on_batches(rows, shuffler):
    one_by_one = EMPTY
    for value, weight in rows:
        one_by_one = one_by_one + contribution(value, weight)
    shuffler.shuffle(rows)
    cut = shuffler.randrange(len(rows) + 1)
    batches = [merged(contribution(*row) for row in part) for part in (rows[:cut], rows[cut:])]
    assert merged(batches).counts == pytest.approx(one_by_one.counts, rel=1e-9, abs=1e-12)


@settings(deadline=None)
@given(outcomes, values, values)
def test_a_correction_is_as_if_the_outcome_had_always_been_so(rows, wrong, right):
    rest = merged(contribution(*row) for row in rows)
    state = corrected(rest + contribution(wrong), contribution(wrong), contribution(right))
    assert state.counts == pytest.approx((rest + contribution(right)).counts, rel=1e-9, abs=1e-12)


@settings(deadline=None)
@given(outcomes)
def test_taking_everything_out_again_leaves_nothing(rows):
    state = merged(contribution(*row) for row in rows)
    for row in rows:
        state = corrected(state, contribution(*row), EMPTY)
    assert state.counts == pytest.approx(EMPTY.counts, abs=1e-9)


timed = st.lists(st.tuples(values, weights, st.floats(0, 5e6)), min_size=1, max_size=30)


@settings(deadline=None)
@given(timed, st.floats(3600, 1e6))
def test_decayed_state_equals_the_brute_force_sum_across_landmarks(rows, half_life):
    decay, state, end = Decay(half_life, 0.0), EMPTY, 5e6
    for value, weight, at in sorted(rows, key=lambda row: row[2]):
        if decay.must_renew(at):
            state, decay = decay.renewed(state, at)
        state = state + decay.stored(contribution(value, weight), at)
    brute = merged(contribution(v, w * 0.5 ** ((end - at) / half_life)) for v, w, at in rows)
    assert decay.worth(state, end).counts == pytest.approx(brute.counts, rel=1e-9, abs=1e-12 * brute.weight + 1e-250)


def test_a_correction_under_decay_is_exact_whenever_it_comes():
    decay = Decay(100.0, 0.0)
    wrong, right = (decay.stored(contribution(v), 250.0) for v in (0.0, 1.0))
    state = corrected(decay.stored(contribution(0.5), 10.0) + wrong, wrong, right)
    assert decay.worth(state, 350.0).counts[-1] == pytest.approx(0.5)


def test_quantiles_run_through_the_scores():
    scores = merged(contribution(point) for point in POINTS)
    assert [round(scores.quantile(q), 2) for q in (0.05, 0.5, 0.95)] == [0.0, 0.5, 1.0]
    assert EMPTY.quantile(0.5) == 0.5


def test_capping_keeps_the_shape():
    capped = Histogram((30.0, *(0.0,) * 9, 10.0)).capped(4.0)
    assert (capped.weight, capped.mean) == (4.0, 0.25)
    assert EMPTY.capped(4.0) == EMPTY
