"""Trend, rollback and auto-explore."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.engine.choice import Standing
from routing.engine.explore import Bounds, Trial, propose
from routing.engine.histogram import EMPTY, Histogram
from routing.engine.identity import path_identity
from routing.engine.rollback import (
    FIRST_COOL_DOWN_S,
    LONGEST_COOL_DOWN_S,
    Move,
    Watched,
    cool_down_s,
    watch,
)
from routing.engine.trend import Direction, trend

NOW = 1_000_000.0


def coins(successes, failures):
    return Histogram((float(failures), *(0.0,) * 9, float(successes)))


@pytest.mark.parametrize(
    ("recent", "earlier", "direction"),
    [
        (coins(90, 10), coins(60, 40), Direction.IMPROVING),
        (coins(60, 40), coins(90, 10), Direction.DEGRADING),
        (coins(60, 40), coins(62, 38), Direction.STABLE),
        (coins(3, 1), coins(60, 40), Direction.INSUFFICIENT_DATA),
    ],
)
def test_the_trend(recent, earlier, direction):
    assert trend(recent, earlier).direction is direction


def path(name, recent, earlier=EMPTY, standing=Standing.ACTIVE, **fields):
    return Watched(name, standing, recent, earlier, **fields)


def seen(*paths, threshold=0.3, min_samples=20, now=NOW):
    return watch({p.path_id: p for p in paths}, threshold=threshold, min_samples=min_samples, now=now)


GOOD = path("good", coins(90, 10))


def test_a_path_far_below_its_past_is_rolled_back():
    (change,) = seen(GOOD, path("fallen", coins(10, 40), coins(90, 10)))
    assert (change.path_id, change.move, change.standing) == ("fallen", Move.ROLL_BACK, Standing.ROLLED_BACK)
    assert change.probe_at == NOW + FIRST_COOL_DOWN_S
    assert change.probability > 0.95
    assert change.reason == "below its own earlier mean: 0.206 against 0.896"


def test_a_path_far_below_the_best_is_rolled_back():
    (change,) = seen(GOOD, path("poor", coins(10, 40)))
    assert (change.path_id, change.reason[:25]) == ("poor", "below the goal's best pat")


@pytest.mark.parametrize(
    "other",
    [
        path("few", coins(0, 19)),
        path("near", coins(70, 30)),
        path("unsure", coins(11, 9)),
        path("off", coins(0, 90), standing=Standing.DISABLED),
    ],
)
def test_a_path_is_left_alone_with_few_samples_or_without_certainty(other):
    assert seen(GOOD, other) == []


def test_the_last_active_path_is_never_rolled_back():
    assert seen(path("only", coins(1, 99), coins(99, 1))) == []
    rolled_back = [change.path_id for change in seen(*(path(n, coins(1, 99), coins(99, 1)) for n in "abc"))]
    assert len(rolled_back) == 2


histograms = st.builds(coins, st.integers(0, 60), st.integers(0, 60))
watched = st.builds(
    Watched,
    path_id=st.just(""),
    standing=st.sampled_from(list(Standing)),
    recent=histograms,
    earlier=histograms,
    probes=histograms,
    probe_at=st.none() | st.sampled_from([NOW - 1, NOW + 1]),
    failures=st.integers(0, 3),
)


@settings(deadline=None)
@given(st.lists(watched, min_size=1, max_size=5))
def test_some_path_stays_active_whatever_happens(paths):
    named = [replace(p, path_id=str(i)) for i, p in enumerate(paths)]
    standings = {p.path_id: p.standing for p in named}
    changes = seen(*named)
    after = standings | {change.path_id: change.standing for change in changes}
    assert len({change.path_id for change in changes}) == len(changes)
    assert Standing.ACTIVE in after.values() or Standing.ACTIVE not in standings.values()


@settings(deadline=None)
@given(
    others=st.lists(watched, min_size=1, max_size=4),
    was=st.tuples(histograms, histograms),
    failed=st.integers(0, 4),
    threshold=st.floats(0.05, 0.9),
)
def test_a_path_that_does_well_again_is_back_after_one_more_probe(others, was, failed, threshold):
    """Whatever the others do, whatever it did, and however often it failed before."""
    named = [replace(p, path_id=str(i)) for i, p in enumerate(others)]
    down = path("down", *was, Standing.ROLLED_BACK, probe_at=NOW, failures=1)
    now = NOW
    for probes in [coins(0, 12)] * failed + [coins(12, 0)]:
        now = max(now, down.probe_at)
        for _ in ("it is probed", "its probe is judged"):
            for change in seen(*named, down, threshold=threshold, now=now):
                if change.path_id == "down":
                    down = replace(
                        down,
                        standing=change.standing,
                        probe_at=change.probe_at,
                        failures=change.failures,
                        probes=probes,
                    )
        if down.standing is Standing.ACTIVE:
            return
    raise AssertionError(f"still {down.standing}")


def test_the_cool_down_doubles_up_to_a_week():
    assert [cool_down_s(n) / FIRST_COOL_DOWN_S for n in (1, 2, 3)] == [1, 2, 4]
    assert cool_down_s(500) == LONGEST_COOL_DOWN_S


DOWN = path("down", coins(10, 40), coins(90, 10), Standing.ROLLED_BACK, probe_at=NOW, failures=1)


def test_a_rolled_back_path_waits_is_probed_and_recovers():
    assert seen(GOOD, replace(DOWN, probe_at=NOW + 1)) == []
    (probe,) = seen(GOOD, DOWN)
    assert (probe.move, probe.standing) == (Move.PROBE, Standing.PROBING)
    probing = replace(DOWN, standing=Standing.PROBING)
    assert seen(GOOD, replace(probing, probes=coins(5, 4))) == []
    (recovery,) = seen(GOOD, replace(probing, probes=coins(9, 1)))
    assert (recovery.move, recovery.standing, recovery.failures) == (Move.RECOVER, Standing.ACTIVE, 0)
    assert recovery.begins_anew


def test_a_failed_probe_doubles_the_cool_down():
    (failure,) = seen(GOOD, replace(DOWN, standing=Standing.PROBING, probes=coins(2, 8)))
    assert (failure.move, failure.standing) == (Move.FAIL_PROBE, Standing.ROLLED_BACK)
    assert failure.probe_at == NOW + 2 * FIRST_COOL_DOWN_S


def test_a_path_returns_when_corrections_remove_the_grounds():
    corrected = replace(DOWN, recent=coins(45, 5), probe_at=NOW + 900)
    for standing in (Standing.ROLLED_BACK, Standing.PROBING):
        (change,) = seen(GOOD, replace(corrected, standing=standing))
        assert (change.move, change.reason) == (Move.RECOVER, "the grounds of its rollback are gone")
        assert not change.begins_anew


def trial(value, successes, failures, **params):
    return Trial("m", ("t",), {"temperature": value, **params}, coins(successes, failures))


WITHIN = {"temperature": Bounds(0.0, 1.0)}


def values_proposed(*trials, within=WITHIN, max_untested=3):
    return [p.params[p.param] for p in propose(trials, within, max_untested=max_untested)]


def test_the_midpoint_between_the_best_value_and_its_better_neighbour():
    assert values_proposed(trial(0.2, 50, 50), trial(0.4, 90, 10), trial(0.8, 60, 40)) == [0.6]


def test_one_step_beyond_an_edge_and_no_further_than_the_bound():
    assert values_proposed(trial(0.2, 50, 50), trial(0.4, 90, 10)) == [0.6]
    assert values_proposed(trial(0.2, 50, 50), trial(0.7, 90, 10)) == [1.0]
    assert values_proposed(trial(0.2, 50, 50), trial(1.0, 90, 10)) == [0.6]


def test_a_single_value_takes_a_first_step():
    assert values_proposed(trial(0.2, 90, 10)) == [0.6]


def test_whole_numbers_stay_whole_and_untested_neighbours_are_not_doubled():
    whole = {"temperature": Bounds(1, 3, whole=True)}
    assert values_proposed(trial(1, 90, 10), trial(3, 50, 50), within=whole) == [2]
    assert values_proposed(trial(1, 90, 10), trial(2, 50, 50), within=whole) == []


@pytest.mark.parametrize("trials", [[], [trial(0.2, 1, 1)], [trial("hot", 50, 50)], [trial(1.5, 50, 50)]])
def test_nothing_is_proposed_without_a_tested_value_in_bounds(trials):
    assert values_proposed(*trials) == []


trials = st.builds(
    trial,
    st.sampled_from([0, 0.0, 0.25, 0.5, 0.75, 1, 1.0, True, None]),
    st.integers(0, 9),
    st.integers(0, 9),
)


@settings(deadline=None)
@given(st.lists(trials, max_size=8), st.floats(0, 1), st.floats(0, 1), st.booleans(), st.integers(0, 3))
def test_proposals_are_new_in_bounds_and_few(known, one, other, whole, max_untested):
    low, high = sorted((one, other))
    untested = sum(t.evidence.weight < 5 for t in known)
    proposals = propose(known, {"temperature": Bounds(low, high, whole)}, max_untested=max_untested)
    there = {path_identity(t.model, t.tools, t.params) for t in known}
    assert not there & {path_identity(p.model, p.tools, p.params) for p in proposals}
    assert all(low <= p.params["temperature"] <= high for p in proposals)
    assert len(proposals) <= max(0, max_untested - untested)
