import json
import math
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.engine.choice import Standing
from routing.engine.histogram import EMPTY, Histogram
from routing.engine.insights import (
    GoalReport,
    PathReport,
    Window,
    cross_goal_summary,
    goal_insight,
    param_sensitivity,
    score_quantiles,
)
from routing.engine.sketch import Sketch, bucket_of, merged, sketch

PATH_KEYS = {
    *(
        "path_id",
        "model_id",
        "tool_id",
        "tools",
        "params",
        "status",
        "origin",
        "sample_count",
        "success_rate",
    ),
    *("interval", "mean_score", "score_quantiles", "trend", "probability_best", "mean_cost_usd"),
    *("p50_latency_ms", "p95_latency_ms", "top_failure_modes", "last_outcome_at", "current_mean"),
}
GOAL_KEYS = {
    *("goal", "pipeline_id", "status", "sample_count", "success_rate", "interval", "mean_score", "trend"),
    *("top_failure_modes", "paths", "param_sensitivity", "actionable_signals"),
}


def coins(successes, failures):
    return Histogram((float(failures), *(0.0,) * 9, float(successes)))


def window(successes, failures, category="timeout"):
    modes = {category: float(failures)} if failures else {}
    count = successes + failures
    return Window(count, float(successes), float(count), coins(successes, failures), modes)


def path(name, successes, failures, **fields):
    seen = window(successes, failures)
    report = PathReport(name, f"model-{name}", ("search",), {}, Standing.ACTIVE, "client", seen, current=seen.values)
    return replace(report, **fields)


def goal(*paths, whole=None, **fields):
    total = whole or window(*(int(sum(p.window.values.counts[end] for p in paths)) for end in (10, 0)))
    return goal_insight(GoalReport("book_flight", total, paths, **fields))


def signals(insight):
    return {signal["type"] for signal in insight["actionable_signals"]}


def test_the_shapes_are_the_apis_and_go_into_json():
    insight = goal(path("a", 90, 10), path("b", 2, 1))
    assert set(insight) == GOAL_KEYS
    assert set(insight["paths"][0]) == PATH_KEYS
    assert json.loads(json.dumps(insight)) == insight
    low, high = insight["interval"]
    assert low < insight["success_rate"] < high


@pytest.mark.parametrize(
    ("counts", "status"),
    [((2, 2), "insufficient_data"), ((95, 5), "healthy"), ((65, 35), "degraded"), ((20, 80), "failing")],
)
def test_the_status_of_a_goal(counts, status):
    assert goal(path("a", *counts))["status"] == status


def scores(value, count):
    """Outcomes that state no success."""
    values = Histogram(tuple(float(count) if place == round(10 * value) else 0.0 for place in range(11)))
    return Window(count, 0.0, 0.0, values)


@pytest.mark.parametrize(
    ("whole", "status"),
    [
        (scores(0.1, 500), "failing"),
        (scores(0.6, 500), "degraded"),
        (scores(0.9, 500), "healthy"),
        (scores(0.9, 4), "insufficient_data"),
        (replace(scores(0.1, 500), successes=4.0, rated=4.0), "failing"),
        (replace(scores(0.1, 500), successes=400.0, rated=400.0), "healthy"),
    ],
)
def test_a_goal_whose_outcomes_have_scores_alone_has_a_status(whole, status):
    assert goal(path("a", 0, 0), whole=whole)["status"] == status


def test_scores_alone_have_an_interval_and_signals():
    good, bad = (path(name, 0, 0, window=scores(value, 200)) for name, value in (("a", 0.9), ("b", 0.2)))
    insight = goal(good, bad, whole=scores(0.9, 400))
    assert insight["success_rate"] is None
    low, high = insight["interval"]
    assert low < insight["mean_score"] < high
    assert insight["paths"][1]["interval"][1] < 0.3
    assert signals(insight) >= {"path_underperforming", "goal_healthy"}


@given(st.integers(0, 40), st.integers(0, 40))
def test_ones_and_zeros_say_the_same_as_successes_and_failures(successes, failures):
    rated = window(successes, failures)
    scored = replace(rated, successes=0.0, rated=0.0)
    ours, theirs = goal(path("a", 0, 0), whole=scored), goal(path("a", 0, 0), whole=rated)
    assert (ours["status"], ours["mean_score"]) == (theirs["status"], theirs["mean_score"])
    assert ours["interval"] == theirs["interval"]


def test_a_goal_that_gets_worse_is_not_healthy():
    insight = goal(path("a", 900, 100), recent=coins(80, 20), earlier=coins(820, 80))
    assert (insight["trend"], insight["status"]) == ("degrading", "degraded")


def test_a_healthy_goal_says_so():
    assert signals(goal(path("a", 95, 5))) == {"goal_healthy", "failure_mode_dominant"}


def test_an_underperforming_path_comes_with_the_data_to_act_on():
    insight = goal(path("a", 95, 5), path("b", 30, 70))
    (signal,) = [s for s in insight["actionable_signals"] if s["type"] == "path_underperforming"]
    assert set(signal) == {"type", "severity", "message", "data"}
    assert (signal["data"]["path_id"], signal["data"]["best_path_id"]) == ("b", "a")


def test_a_drift_comes_first():
    drifting = path("a", 60, 40, drift={"since": 5.0, "before": 0.9, "after": 0.5})
    first = goal(drifting)["actionable_signals"][0]
    assert (first["type"], first["data"]["before"]) == ("drift_detected", 0.9)


def test_a_dear_path_beside_one_as_good():
    insight = goal(path("a", 900, 100, mean_cost_usd=0.9), path("b", 895, 105, mean_cost_usd=0.1))
    assert "cost_inefficiency" in signals(insight)
    assert "cost_inefficiency" not in signals(goal(path("a", 900, 100, mean_cost_usd=0.9)))


def test_no_path_stands_out():
    assert "low_confidence" in signals(goal(path("a", 50, 50), path("b", 50, 50)))
    assert "low_confidence" not in signals(goal(path("a", 90, 10), path("b", 10, 90)))


def at(model, successes, failures, **params):
    """A path of a model, known by its parameters."""
    return path(f"{model}{params}", successes, failures, model_id=model, params=params)


def test_sensitivity_to_a_parameter():
    insight = goal(at("a", 90, 10, t=0), at("a", 50, 50, t=1.0))
    (one,) = insight["param_sensitivity"]
    assert [(v["value"], v["sample_count"], v["mean"]) for v in one["values"]] == [
        (0, 100, 0.9),
        (1.0, 100, 0.5),
    ]
    assert one["effect"] == pytest.approx(0.4)
    assert one["confidence"] > 0.99
    assert "param_sensitivity_detected" in signals(insight)


def test_what_a_model_does_is_not_put_down_to_its_parameter():
    insight = goal(at("good", 95, 5, t=0.2), at("bad", 50, 50, t=0.8))
    assert insight["param_sensitivity"] == []
    assert "param_sensitivity_detected" not in signals(insight)
    tools = goal(at("a", 95, 5, t=0.2), replace(at("a", 50, 50, t=0.8), tools=("search", "browse")))
    assert tools["param_sensitivity"] == []
    other = goal(at("a", 95, 5, t=0.2, k=1), at("a", 50, 50, t=0.8, k=2))
    assert other["param_sensitivity"] == []


def test_values_are_compared_over_the_same_mix_of_models():
    """The value that was mostly tried with the good model is the worse one with either."""
    good = (at("good", 850, 150, t=0.2), at("good", 19, 1, t=0.8))
    bad = (at("bad", 4, 16, t=0.2), at("bad", 300, 700, t=0.8))
    (one,) = goal(*good, *bad)["param_sensitivity"]
    assert [value["value"] for value in one["values"]] == [0.8, 0.2]
    assert one["effect"] == pytest.approx(0.1)
    assert [value["sample_count"] for value in one["values"]] == [1020, 1020]


@given(st.lists(st.tuples(st.integers(5, 60), st.integers(5, 60)), min_size=2, max_size=6), st.data())
def test_paths_that_are_not_alike_change_nothing(counts, data):
    """Other models of one value each, however good or bad; and whatever the order."""
    alike = [at("a", *pair, t=place) for place, pair in enumerate(counts)]
    strange = [at(f"m{place}", 500 * (place % 2), 500 * (1 - place % 2), t=place) for place in range(len(counts))]
    mixed = data.draw(st.permutations([*alike, *strange]))
    assert goal(*mixed)["param_sensitivity"] == goal(*alike)["param_sensitivity"]
    (one,) = goal(*alike)["param_sensitivity"]
    assert 0 <= one["confidence"] <= 1
    assert one["effect"] == pytest.approx(max(v["mean"] for v in one["values"]) - min(v["mean"] for v in one["values"]))


@pytest.mark.parametrize(("values", "outcomes"), [(2, 20), (2, 200), (6, 5), (6, 20), (6, 200)])
def test_values_that_are_all_alike_are_seldom_told_apart(values, outcomes):
    """However many of them the best and the worst are picked from."""
    rng = Random(7)
    told = 0
    for _ in range(400):
        wins = [sum(rng.random() < 0.7 for _ in range(outcomes)) for _ in range(values)]
        (one,) = param_sensitivity([at("a", won, outcomes - won, t=t) for t, won in enumerate(wins)])
        told += one["confidence"] > 0.95
    assert told <= 0.05 * 400 + 3 * math.sqrt(400 * 0.05 * 0.95)


def test_failure_modes_by_share():
    whole = Window(10, 4.0, 10.0, coins(4, 6), {"timeout": 2.0, "tool_error": 4.0})
    modes = goal(path("a", 4, 6), whole=whole)["top_failure_modes"]
    assert [(m["category"], m["count"], round(m["share"], 2)) for m in modes] == [
        ("tool_error", 4.0, 0.67),
        ("timeout", 2.0, 0.33),
    ]


def test_a_path_out_of_service_is_not_the_best():
    insight = goal(path("a", 90, 10, standing=Standing.ROLLED_BACK), path("b", 10, 90))
    assert [p["probability_best"] for p in insight["paths"]] == [0.0, 1.0]


def test_nothing_known_is_said_as_such():
    insight = goal(path("a", 0, 0))
    assert (insight["success_rate"], insight["interval"], insight["mean_score"]) == (None, None, None)
    assert insight["actionable_signals"] == []
    assert score_quantiles(EMPTY) is None


def test_the_summary_across_goals():
    summary = cross_goal_summary([goal(path("a", 95, 5)), goal(path("b", 10, 90))])
    assert (summary["goal_count"], summary["sample_count"]) == (2, 200)
    assert summary["needs_attention"] == ["book_flight"]


@settings(deadline=None)
@given(st.lists(st.floats(0.1, 1e7), min_size=1, max_size=200), st.floats(0.01, 1))
def test_quantiles_of_a_sketch_are_within_three_per_cent(figures, share):
    exact = sorted(figures)[max(0, -int(-share * len(figures) // 1) - 1)]
    assert sketch(figures).quantile(share) == pytest.approx(exact, rel=0.03)


@settings(deadline=None)
@given(st.lists(st.lists(st.floats(0, 1e9), max_size=20), max_size=5))
def test_sketches_merge_and_travel_exactly(parts):
    whole = sketch([figure for part in parts for figure in part])
    together = merged(map(sketch, parts))
    assert together == whole
    assert Sketch.from_json(json.loads(json.dumps(together.to_json()))) == whole


def test_a_sketch_of_nothing_and_of_odd_figures():
    assert (Sketch().p50, Sketch().p95) == (None, None)
    assert bucket_of(0.0) == bucket_of(-5.0) == bucket_of(float("nan"))
    assert (sketch([1.0]) + sketch([1.0])).weight == 2
