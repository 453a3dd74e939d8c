import math
import statistics
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.engine import beta
from routing.engine.histogram import EMPTY, Histogram, contribution, merged
from routing.engine.posterior import (
    BORROWED_WORTH,
    PIPELINE_WORTH,
    believe,
    borrowed,
    pipeline_backing,
    probability_higher,
)


def coins(successes, failures):
    return Histogram((float(failures), *(0.0,) * 9, float(successes)))


def test_nothing_known_is_even():
    unknown = believe(EMPTY)
    assert unknown.mean == pytest.approx(0.5)
    assert (unknown.a, unknown.b) == pytest.approx((2.0, 2.0))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.2, 0.55, 0.9, 1.0]), max_size=200), st.integers(0, 1000))
def test_draws_have_the_posteriors_mean_and_deviation(values, seed):
    posterior, rng = believe(merged(map(contribution, values))), Random(seed)
    draws = [posterior.draw(rng) for _ in range(4000)]
    error = posterior.deviation / math.sqrt(len(draws))
    assert abs(statistics.mean(draws) - posterior.mean) < 5 * error
    assert statistics.stdev(draws) == pytest.approx(posterior.deviation, rel=0.1)


def test_ninety_per_cent_intervals_cover_about_ninety_per_cent():
    """Means as the prior has them, 0/1 outcomes and scores, little evidence and much."""
    rng, covered, cases = Random(7), 0, 0
    for outcomes in (3, 10, 30, 100, 300):
        for case in range(240):
            mean = min(0.999, max(0.001, rng.betavariate(2, 2)))
            low, high = believe(_sample(rng, mean, outcomes, scored=case % 2 == 0)).interval(0.9)
            covered += low <= mean <= high
            cases += 1
    assert covered / cases == pytest.approx(0.9, abs=0.04)


def _sample(rng, mean, outcomes, scored):
    draw = (lambda: rng.betavariate(4 * mean, 4 * (1 - mean))) if scored else (lambda: float(rng.random() < mean))
    return merged(contribution(draw()) for _ in range(outcomes))


def test_scores_of_small_spread_are_believed_sooner_than_coins():
    steady, coin = believe(merged([contribution(0.5)] * 30)), believe(coins(15, 15))
    assert steady.deviation < coin.deviation / 3


def test_what_is_borrowed_is_worth_a_few_outcomes_and_fades():
    others = [coins(90, 10), coins(900, 100)]
    assert borrowed(others).weight == pytest.approx(BORROWED_WORTH)
    assert borrowed(others).mean == pytest.approx(0.9)
    assert borrowed(others, own=coins(1, 1)).weight == pytest.approx(BORROWED_WORTH - 2)
    assert borrowed(others, own=coins(5, 5)).weight == 0
    assert borrowed([]).weight == 0


def test_a_pipeline_starts_from_the_rest_of_the_whole():
    backing = pipeline_backing(coins(80, 20), coins(0, 20))
    assert (backing.weight, backing.mean) == (pytest.approx(PIPELINE_WORTH), 1.0)


def test_probability_higher_agrees_with_draws():
    one, other, rng = believe(coins(12, 8)), believe(coins(9, 11)), Random(3)
    share = sum(one.draw(rng) > other.draw(rng) + 0.05 for _ in range(20_000)) / 20_000
    assert probability_higher(one, other, by=0.05) == pytest.approx(share, abs=0.015)
    assert probability_higher(one, one) == pytest.approx(0.5, abs=0.01)


@settings(max_examples=30, deadline=None)
@given(*[st.tuples(st.floats(0, 3000), st.floats(0, 3000))] * 2, st.sampled_from([0.0, 0.1, 0.3]))
def test_probability_higher_agrees_with_the_integral(one, other, by):
    """Against a sum of two thousand exact slices, for means at the scale's ends too."""
    one, other = believe(coins(*one)), believe(coins(*other))
    low, high = max(0.0, one.mean - 9 * one.deviation), min(1.0, one.mean + 9 * one.deviation)
    edges = [low + (high - low) * step / 2000 for step in range(2001)]
    below = [one.below(edge) for edge in edges]
    share = sum(
        (below[step + 1] - below[step]) * other.below((edges[step] + edges[step + 1]) / 2 - by) for step in range(2000)
    )
    assert probability_higher(one, other, by) == pytest.approx(share, abs=0.003)


@settings(deadline=None)
@given(st.floats(0.3, 3000), st.floats(0.3, 3000), st.floats(0.001, 0.999))
def test_quantiles_invert_the_distribution_function(a, b, share):
    assert beta.cdf(a, b, beta.quantile(a, b, share)) == pytest.approx(share, abs=1e-5)


def test_known_values_of_the_distribution_function():
    assert beta.cdf(2, 3, 0.4) == pytest.approx(0.5248)
    assert beta.cdf(0.5, 0.5, 0.25) == pytest.approx(1 / 3)
    assert (beta.cdf(2, 3, 0.0), beta.cdf(2, 3, 1.0)) == (0.0, 1.0)
