import json
from dataclasses import replace

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


def test_sensitivity_to_a_parameter():
    insight = goal(path("a", 90, 10, params={"t": 0}), path("b", 50, 50, params={"t": 1.0}))
    (one,) = insight["param_sensitivity"]
    assert [(v["value"], v["sample_count"], v["mean"]) for v in one["values"]] == [
        (0, 100, 0.9),
        (1.0, 100, 0.5),
    ]
    assert one["effect"] == pytest.approx(0.4)
    assert one["confidence"] > 0.99
    assert "param_sensitivity_detected" in signals(insight)


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
