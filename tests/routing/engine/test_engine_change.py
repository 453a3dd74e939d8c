import math
import statistics
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.engine.change import (
    CARRIED_WORTH,
    Alarm,
    Detector,
    Regime,
    alarm,
    bernoulli_divergence,
    carried,
    doubt,
    observe,
    regimes_after,
    restarted,
)
from routing.engine.histogram import EMPTY, Histogram


def coins(successes, failures):
    return Histogram((float(failures), *(0.0,) * 9, float(successes)))


def watched(values, detector=None, start=0):
    detector = detector or Detector()
    for step, value in enumerate(values, start):
        detector = observe(detector, value, float(step))
    return detector


def first_alarm(detector, values, start):
    for step, value in enumerate(values):
        detector = observe(detector, value, float(start + step))
        found = alarm(detector)
        if found:
            return step + 1, found
    return None


def coin_flips(rng, rate, count):
    return [float(rng.random() < rate) for _ in range(count)]


@pytest.mark.parametrize(("after", "goal"), [(0.4, 18), (0.6, 45), (0.7, 90), (0.8, 310)])
def test_a_fall_is_found_within_one_and_a_half_times_lordens_bound(after, goal):
    delays = []
    for seed in range(25):
        rng = Random(seed)
        calm = watched(coin_flips(rng, 0.9, 1000))
        delays.append(first_alarm(calm, coin_flips(rng, after, 5000), 1000)[0])
    error = statistics.stdev(delays) / math.sqrt(len(delays))
    assert statistics.mean(delays) <= goal + 2 * error


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_false_alarms_are_rarer_than_one_in_ten_thousand(rate):
    """50,000 outcomes at rest; five are allowed, about one is expected."""
    rng, detector, alarms = Random(1), Detector(), 0
    for step in range(50_000):
        detector = observe(detector, float(rng.random() < rate), float(step))
        if alarm(detector):
            alarms, detector = alarms + 1, Detector()
    assert alarms <= 5


def test_scores_of_small_spread_are_found_to_change_sooner_than_coins():
    rng = Random(2)
    calm = watched([rng.gauss(0.6, 0.05) for _ in range(500)])
    outcomes, found = first_alarm(calm, [rng.gauss(0.5, 0.05) for _ in range(500)], 500)
    assert outcomes < 40  # coins would take about 500
    assert found.since == pytest.approx(500, abs=5)


def test_one_far_value_among_steady_scores_is_no_change():
    rng = Random(3)
    steady = [0.9 if rng.random() > 0.01 else 0.0 for _ in range(2000)]
    assert alarm(watched([*steady, 0.0])) is None


def test_scores_that_were_always_alike_are_no_change():
    assert first_alarm(Detector(), [0.8] * 500, 0) is None
    assert first_alarm(Detector(), [1.0] * 500, 0) is None


def test_the_change_point_and_both_rates_are_told():
    rng = Random(4)
    found = alarm(watched(coin_flips(rng, 0.9, 1000) + coin_flips(rng, 0.3, 60)))
    assert found.since == pytest.approx(1000, abs=8)
    assert (found.before, found.after) == (pytest.approx(0.9, abs=0.05), pytest.approx(0.3, abs=0.15))
    assert found.outcomes_before + found.outcomes_after == 1060


def test_memory_stays_bounded():
    rng, detector, longest = Random(5), Detector(), 0
    for step in range(20_000):
        detector = observe(detector, float(rng.random() < 0.5), float(step))
        longest = max(longest, len(detector.runs))
    assert longest < 130
    assert sum(run.weight for run in detector.runs) == 20_000
    assert [run.since for run in detector.runs] == sorted(run.since for run in detector.runs)


def test_a_restarted_detector_knows_only_what_came_since():
    detector = restarted(watched([1.0] * 50 + [0.0] * 20), 50.0)
    assert (detector.weight, detector.total) == (20.0, 0.0)


def test_an_outcome_without_weight_says_nothing():
    detector = observe(watched([1.0] * 10), 0.0, 10.0, weight=0.0)
    assert (detector.weight, detector.total) == (10.0, 10.0)
    assert alarm(observe(Detector(), 0.0, 0.0, weight=0.0)) is None


FALL = Alarm(since=7.0, before=0.9, after=0.3, outcomes_before=500, outcomes_after=20)


def test_a_fallen_leader_shakes_the_paths_with_evidence():
    opened = regimes_after(FALL, "a", "a", {"a": 520.0, "b": 90.0, "c": CARRIED_WORTH})
    assert opened == {"a": Regime(7.0), "b": Regime(7.0, shaken_by="a")}


def test_other_changes_concern_the_path_alone():
    rise = Alarm(since=7.0, before=0.3, after=0.9, outcomes_before=500, outcomes_after=20)
    assert regimes_after(FALL, "b", "a", {"a": 500.0, "b": 90.0}) == {"b": Regime(7.0)}
    assert regimes_after(rise, "a", "a", {"a": 500.0, "b": 90.0}) == {"a": Regime(7.0)}


def test_earlier_evidence_counts_as_far_as_the_change_is_in_doubt():
    earlier = coins(450, 50)
    at_first, settled, false = coins(4, 8), coins(12, 28), coins(60, 20)
    assert doubt(earlier, EMPTY) == 1.0
    assert carried(earlier, doubt(earlier, settled)).weight == CARRIED_WORTH
    assert CARRIED_WORTH < carried(earlier, doubt(earlier, at_first)).weight < 500
    assert carried(earlier, doubt(earlier, false)).weight > 450
    assert carried(coins(3, 2), 0.0).weight == 5.0


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=150))
def test_no_bounded_outcomes_break_the_detector(outcomes):
    detector = Detector()
    for step, (value, weight) in enumerate(outcomes):
        detector = observe(detector, value, float(step), weight)
        found = alarm(detector)
        assert found is None or (found.outcomes_before > 0 and found.outcomes_after > 0)


@settings(deadline=None)
@given(st.floats(0, 1), st.floats(0.001, 0.999))
def test_divergence_is_zero_only_at_home(q, p):
    assert bernoulli_divergence(q, p) >= -1e-12
    assert bernoulli_divergence(p, p) == pytest.approx(0.0, abs=1e-12)
