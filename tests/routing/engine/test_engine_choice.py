from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.engine.choice import (
    ENOUGH_OBSERVATIONS,
    IDLE_SHARE,
    Chance,
    Constraints,
    Contender,
    Figures,
    Risk,
    Standing,
    Terms,
    chances,
    choose,
    field_of,
    probabilities_best,
    tried,
)
from routing.engine.histogram import EMPTY, Histogram, contribution, merged
from routing.engine.posterior import believe
from routing.engine.recommendation import Aim, recommend, risk_score

NOW = 1_000_000.0


def coins(successes, failures):
    return Histogram((float(failures), *(0.0,) * 9, float(successes)))


def path(name, successes=0, failures=0, **fields):
    evidence = coins(successes, failures)
    samples = evidence.weight
    seen = Figures(samples=samples, mean_value=evidence.mean if samples else None)
    return Contender(**{"path_id": name, "model_id": name, "posterior": believe(evidence), "figures": seen} | fields)


def costing(name, successes, failures, cost, latency=100.0, samples=50):
    contender = path(name, successes, failures)
    seen = replace(
        contender.figures,
        mean_cost_usd=cost,
        cost_samples=samples,
        p95_latency_ms=latency,
        latency_samples=samples,
    )
    return replace(contender, figures=seen)


def shares_of(contenders, terms, decisions=20_000, now=NOW):
    rng, taken = Random(5), dict.fromkeys((c.path_id for c in contenders), 0)
    for _ in range(decisions):
        taken[choose(contenders, terms, rng, now).path_id] += 1
    return {name: count / decisions for name, count in taken.items()}


def test_the_same_generator_makes_the_same_choices():
    contenders = [path("a", 5, 5), path("b", 6, 4)]
    one, other = ([choose(contenders, Terms(), rng, NOW) for _ in range(50)] for rng in (Random(1), Random(1)))
    assert one == other


def test_choices_fall_as_often_as_computed():
    contenders = [path("a", 5, 5), path("b", 7, 4), path("c"), path("d", 300, 290)]
    terms = Terms(exploration_rate=0.1)
    computed, counted = chances(contenders, terms, NOW), shares_of(contenders, terms)
    assert {name: chance.chosen for name, chance in computed.items()} == pytest.approx(counted, abs=0.02)
    assert sum(chance.best for chance in computed.values()) == pytest.approx(1)


histograms = st.lists(st.sampled_from([0.0, 0.3, 0.5, 0.8, 1.0]), max_size=60).map(
    lambda values: merged(map(contribution, values))
)


@settings(max_examples=15, deadline=None)
@given(st.lists(histograms, min_size=1, max_size=8))
def test_probability_best_agrees_with_moment_matched_draws(evidence):
    posteriors, rng = [believe(h) for h in evidence], Random(11)
    wins = [0] * len(posteriors)
    for _ in range(6000):
        draws = [rng.betavariate(p.a, p.b) for p in posteriors]
        wins[draws.index(max(draws))] += 1
    assert probabilities_best(posteriors) == pytest.approx([win / 6000 for win in wins], abs=0.03)


def test_probability_best_of_narrow_beside_wide():
    shares = probabilities_best([believe(coins(50_000, 50_000)), believe(coins(1, 1)), believe(coins(1, 900))])
    assert shares == pytest.approx([0.5, 0.5, 0.0], abs=0.02)


def test_exploration_is_a_draw_that_beat_a_better_mean():
    contenders, rng = [path("good", 9, 3), path("fair", 7, 5)], Random(1)
    choices = [choose(contenders, Terms(), rng, NOW) for _ in range(300)]
    assert {(c.path_id, c.exploration) for c in choices} == {("good", False), ("fair", True)}


def test_confidence_and_probability_are_the_callers():
    choice = choose([path("a")], Terms(), Random(1), NOW, {"a": Chance(best=0.7, chosen=0.6)})
    assert (choice.confidence, choice.probability) == (0.7, 0.6)


def test_only_candidates_are_taken():
    contenders = [path("a", 90, 10), path("b", 10, 90)]
    assert shares_of(contenders, Terms(models=frozenset("b")), 100) == {"a": 0.0, "b": 1.0}


@pytest.mark.parametrize("standing", [Standing.DISABLED, Standing.ROLLED_BACK, Standing.PROBING])
def test_paths_out_of_service_are_not_drawn(standing):
    contenders = [path("a", 1, 9), path("b", 9, 1, standing=standing, probe_at=NOW + 1)]
    assert shares_of(contenders, Terms(), 200)["b"] == 0


def test_a_due_probe_gets_a_small_share():
    contenders = [path("a", 9, 1), path("b", 0, 90, standing=Standing.PROBING, probe_at=NOW - 1)]
    assert shares_of(contenders, Terms())["b"] == pytest.approx(IDLE_SHARE, abs=0.005)


def test_all_stale_paths_together_get_one_decision_in_fifty():
    stale = [path(name, 1, 99, tried_at=0.0) for name in "bcde"]
    shares = shares_of([path("a", 99, 1, tried_at=NOW), *stale], Terms())
    assert 1 - shares["a"] == pytest.approx(IDLE_SHARE, abs=0.005)


def test_a_path_is_stale_by_its_twentieth_last_try():
    times = ()
    for at in (5.0, 3.0, *range(10, 29)):
        times = tried(times, float(at))
    assert (len(times), times[0], times[-1]) == (20, 5.0, 28.0)


def test_high_risk_takes_the_best_mean_that_is_known():
    contenders = [path("new"), path("poor", 30, 70), path("fair", 45, 55)]
    safe = Terms(risk=Risk.HIGH, exploration_rate=0.5)
    assert shares_of(contenders, safe, 100)["fair"] == 1.0
    assert chances(contenders, safe, NOW)["fair"].chosen == 1.0
    bold = replace(safe, exploration_on_high_risk=True)
    assert shares_of(contenders, bold, 100)["fair"] < 1.0


def test_the_exploration_floor_is_uniform():
    contenders = [path("a", 900, 100), path("b", 100, 900)]
    assert shares_of(contenders, Terms(exploration_rate=0.2))["b"] == pytest.approx(0.1, abs=0.01)


def test_a_path_known_to_break_a_constraint_is_out_and_an_unknown_one_may_be_explored():
    dear, cheap = costing("dear", 90, 10, 0.9), costing("cheap", 10, 90, 0.01)
    unknown = costing("unknown", 3, 1, 0.9, samples=ENOUGH_OBSERVATIONS - 1)
    terms = Terms(constraints=Constraints(max_cost_usd=0.1))
    shares = shares_of([dear, cheap, unknown], terms, 500)
    assert shares["dear"] == 0
    assert shares["unknown"] > 0
    assert recommend([dear, cheap, unknown], terms.constraints).path_id == "cheap"


def test_where_nothing_is_eligible_the_answer_names_what_rules_out_the_most():
    contenders = [costing("a", 9, 1, 0.9, 900.0), costing("b", 9, 1, 0.9, 90.0), costing("c", 9, 1, 0.9)]
    choice = choose(contenders, Terms(constraints=Constraints(0.1, 500.0)), Random(1), NOW)
    assert (choice.path_id, choice.blocked_by) == (None, "max_cost_usd")
    assert "max_cost_usd" in choice.reason
    assert choose([], Terms(), Random(1), NOW).path_id is None


figures = st.builds(
    Figures,
    samples=st.sampled_from([0, 4, 5, 50]),
    mean_value=st.none() | st.floats(0, 1),
    mean_cost_usd=st.none() | st.floats(0, 1),
    cost_samples=st.sampled_from([0, 4, 5]),
    p95_latency_ms=st.none() | st.floats(0, 1000),
    latency_samples=st.sampled_from([0, 4, 5]),
    risk_score=st.none() | st.floats(0, 1),
    probability_best=st.none() | st.floats(0, 1),
)
bounds = st.builds(
    Constraints,
    max_cost_usd=st.none() | st.floats(0, 1),
    max_latency_ms=st.none() | st.floats(0, 1000),
    min_quality=st.none() | st.floats(0, 1),
    min_confidence=st.none() | st.floats(0, 1),
    max_risk=st.none() | st.floats(0, 1),
)


def holds(constraints, seen):
    """Written out a second time, apart from the engine's own way to say it."""
    rules = [
        (constraints.max_cost_usd, seen.mean_cost_usd, seen.cost_samples, -1),
        (constraints.max_latency_ms, seen.p95_latency_ms, seen.latency_samples, -1),
        (constraints.min_quality, seen.mean_value, seen.samples, 1),
        (constraints.min_confidence, seen.probability_best, seen.samples, 1),
        (constraints.max_risk, seen.risk_score, seen.samples, -1),
    ]
    return all(
        bound is None or (figure is not None and samples >= 5 and sign * figure >= sign * bound)
        for bound, figure, samples, sign in rules
    )


@settings(deadline=None)
@given(st.lists(figures, max_size=6), bounds, st.sampled_from(list(Aim)))
def test_no_recommendation_breaks_a_constraint(seen, constraints, aim):
    contenders = [path(str(i), figures=one) for i, one in enumerate(seen)]
    advice = recommend(contenders, constraints, aim)
    fit = {str(i) for i, one in enumerate(seen) if one.samples >= 5 and holds(constraints, one)}
    assert set(advice.ranked) == fit
    assert advice.path_id in fit or (advice.path_id is None and not fit)


@settings(deadline=None)
@given(st.lists(figures, max_size=6), bounds)
def test_no_decision_takes_a_path_known_to_break_a_constraint(seen, constraints):
    contenders = [path(str(i), figures=one) for i, one in enumerate(seen)]
    for contender in field_of(contenders, Terms(constraints=constraints), NOW).racing:
        assert not constraints.broken_by(contender.figures)


@pytest.mark.parametrize(
    ("aim", "taken"),
    [
        (Aim.QUALITY, "dear"),
        (Aim.OUTCOME, "dear"),
        (Aim.COST, "cheap"),
        (Aim.LATENCY, "quick"),
        (Aim.COST_EFFICIENCY, "cheap"),
        (Aim.BALANCED, "quick"),
    ],
)
def test_what_a_recommendation_aims_at(aim, taken):
    contenders = [
        costing("dear", 95, 5, 0.5, 900.0),
        costing("cheap", 60, 40, 0.01, 800.0),
        costing("quick", 80, 20, 0.1, 50.0),
    ]
    assert recommend(contenders, Constraints(), aim).path_id == taken


def test_nothing_to_recommend_says_why():
    assert recommend([], Constraints()).path_id is None
    assert recommend([path("a", 2, 2)], Constraints()).blocked_by == "samples"
    advice = recommend([costing("a", 9, 1, 0.9)], Constraints(max_cost_usd=0.1))
    assert (advice.path_id, advice.blocked_by) == (None, "max_cost_usd")


def test_risk_falls_with_evidence():
    assert risk_score(believe(EMPTY)) > risk_score(believe(coins(9, 1))) > risk_score(believe(coins(900, 100)))
