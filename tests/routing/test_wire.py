"""Every row of the wire table: works, stranger, missing scope, bad input, twice is safe."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from routing.engine.categories import FAILURE_CATEGORIES
from routing.engine.evidence import Source
from routing.evidence import Observation, record
from routing.models import Decision, EventSpan, LedgerRow, Outcome, Path, PathState
from routing.paths import NewPath
from routing.standings import look, with_new_paths

DECIDE = "/api/v1/routing/decide"
PATHS = "/api/v1/routing/paths"
CONFIG = "/api/v1/routing/config"
REPORT = "/api/v1/intelligence/report-outcome"
UPDATE = "/api/v1/intelligence/update-outcome"
POLICY = "/api/v1/intelligence/policy"
RECOMMEND = "/api/v1/intelligence/recommend"
INSIGHTS = "/api/v1/intelligence/insights"
SIGNALS = "/api/v1/intelligence/signals"
STATE = "/api/v1/routing/state?goal=book"
SPAN = {"trace_id": "t1", "span_id": "s1", "model_id": "gpt-4o", "cost_usd": 0.0001, "latency_ms": 120.5}

ADDRESSES: list[tuple[str, str, Any, str]] = [
    ("POST", DECIDE, {"goal": "book"}, "route"),
    ("POST", PATHS, {"goal": "book", "model_id": "a"}, "route"),
    ("GET", PATHS, None, "route"),
    ("GET", CONFIG + "?goal=book", None, "route"),
    ("POST", CONFIG, {"goal": "book", "exploration_rate": 0.1}, "route"),
    ("POST", REPORT, {"goal": "book", "success": True}, "route"),
    ("POST", "/api/v1/intelligence/outcomes", {"outcomes": []}, "route"),
    ("POST", POLICY, {"goal": "book"}, "route"),
    ("POST", RECOMMEND, {"task_type": "book"}, "route"),
    ("GET", INSIGHTS, None, "read"),
    ("POST", SIGNALS, {"signal_type": "user_accepted", "goal": "book", "trace_id": "t"}, "route"),
    ("POST", "/api/v1/signals", {"signal_type": "x"}, "route"),
    ("POST", "/api/v1/intelligence/signals/batch", {"signals": []}, "route"),
    ("POST", "/api/ingest", {"events": []}, "ingest"),
    ("POST", "/api/v1/traces", {"events": []}, "ingest"),
    ("GET", STATE, None, "route"),
    ("POST", "/api/v1/routing/decisions", {"decisions": []}, "route"),
    ("GET", "/api/v1/routing/goals", None, "read"),
    ("POST", "/api/v1/routing/goals", {"goal": "book"}, "route"),
    ("GET", "/api/v1/routing/changes", None, "read"),
    ("GET", "/api/v1/routing/prices", None, "read"),
    ("POST", "/api/v1/routing/prices", {"model": "m", "input_usd": 1, "output_usd": 2}, "admin"),
]


@pytest.mark.parametrize(("method", "path", "body", "scope"), ADDRESSES)
def test_answers_200_and_an_object_to_the_scope_alone(
    key_with: Callable[..., Any], method: str, path: str, body: Any, scope: str
) -> None:
    others = [name for name in ("ingest", "route", "read", "review", "admin") if name != scope]
    assert key_with(scope).send(method, path, body).status_code == 200
    refused = key_with(*others).send(method, path, body)
    assert refused.status_code == 403
    assert json.loads(refused.content)["code"] == "missing_scope"


@pytest.mark.parametrize(("method", "path", "body", "scope"), ADDRESSES)
def test_asks_for_a_key_and_for_the_right_tenant(api: Any, method: str, path: str, body: Any, scope: str) -> None:
    assert api.send(method, path, body, X_API_Key="nobody").status_code == 401
    assert api.send(method, path, body, X_Tenant_ID="somebody-else").status_code == 403
    assert api.send(method, path, body, X_Tenant_ID="default").status_code == 200
    assert api.send(method, path.replace("/api/", "/api//", 1), body).status_code == 200
    assert api.send(method, "/p/alice" + path, body).status_code == 200
    assert api.send(method, "/p/charlie" + path, body).status_code == 404


def test_decide_answers_for_candidates_nobody_registered(api: Any) -> None:
    decided = api.post(DECIDE, {"goal": "book", "task_risk_level": "low", "candidate_model_ids": ["a/1", "b"]})
    assert decided["model_id"] in ("a/1", "b")
    assert decided["params"] == {}
    assert len(decided["trace_id"]) == 32
    assert "cached" not in decided
    assert Decision.objects.get().trace_id == decided["trace_id"]
    assert {path["model_id"] for path in api.get(PATHS + "?goal=book")["paths"]} == {"a/1", "b"}


@pytest.mark.parametrize("pipeline", ["", "p"])
def test_a_candidate_that_is_new_is_seen_as_it_will_be_once_it_is_registered(api: Any, pipeline: str) -> None:
    api.post(REPORT, {"goal": "book", "model_id": "old", "success": True, "pipeline_id": "p"})
    before = look(api.project, "book", pipeline=pipeline)
    expected = with_new_paths(before, [NewPath(model).row(before.id) for model in ("new", "newer")])
    for risk in ("high", "low"):
        body = {"goal": "book", "candidate_model_ids": ["new", "newer"], "task_risk_level": risk}
        assert api.post(DECIDE, {**body, "pipeline_id": pipeline})["alternatives_considered"] == 2
    assert look(api.project, "book", pipeline=pipeline) == expected
    assert [path.model for path in expected.paths] == ["old", "new", "newer"]


def test_a_new_candidate_may_be_tried_under_the_goals_constraints(api: Any) -> None:
    for place in range(8):
        api.post(REPORT, {"goal": "book", "model_id": "bad", "trace_id": f"t{place}", "success": False})
    api.post("/api/v1/routing/goals", {"goal": "book", "constraints": {"min_quality": 0.9}})
    assert api.post(DECIDE, {"goal": "book"})["blocked_by"] == "min_quality"
    answer = api.post(DECIDE, {"goal": "book", "candidate_model_ids": ["bad", "new"]})
    assert answer["model_id"] == "new"
    assert Decision.objects.get(trace_id=answer["trace_id"]).path.model == "new"


def test_decide_without_any_path_says_so(api: Any) -> None:
    decided = api.post(DECIDE, {"goal": "nothing", "pipeline_id": None, "candidate_model_ids": None})
    assert decided["path_id"] is None
    assert decided["reason"] == "no path is registered"


def test_decide_needs_a_goal(api: Any) -> None:
    answer = api.send("POST", DECIDE, {"goal": None})
    assert answer.status_code == 422
    assert "goal" in json.loads(answer.content)["fields"]


def test_a_dry_run_records_nothing(api: Any) -> None:
    api.post(PATHS, {"goal": "book", "model_id": "a"})
    assert api.post(DECIDE, {"goal": "book", "dry_run": True})["model_id"] == "a"
    assert api.post(DECIDE, {"goal": "other", "dry_run": True, "candidate_model_ids": ["z"]})["path_id"] is None
    assert not Decision.objects.exists()
    assert not Path.objects.filter(model="z").exists()


def test_constraints_that_nothing_meets_are_named(api: Any) -> None:
    for step in range(6):
        api.post(REPORT, {"goal": "book", "model_id": "a", "trace_id": f"t{step}", "success": False})
    decided = api.post(DECIDE, {"goal": "book", "constraints": {"minQuality": 0.9}})
    assert decided["path_id"] is None
    assert decided["blocked_by"] == "min_quality"


def test_observe_answers_the_pinned_path_and_records_the_choice(api: Any) -> None:
    first = api.post(PATHS, {"goal": "book", "model_id": "a"})["path_id"]
    second = api.post(PATHS, {"goal": "book", "model_id": "b"})["path_id"]
    api.post("/api/v1/routing/goals", {"goal": "book", "mode": "observe"})
    decided = api.post(DECIDE, {"goal": "book"})
    assert decided["path_id"] == first
    assert decided["would_path_id"] in (first, second)
    api.post("/api/v1/routing/goals", {"goal": "book", "mode": "bypass", "pinned_path_id": second})
    assert api.post(DECIDE, {"goal": "book"})["path_id"] == second


def test_registering_a_path_twice_is_one_path(api: Any) -> None:
    body = {"goal": "book", "model_id": "a", "tool_id": None, "params": {"t": 1}, "risk_level": "low"}
    first = api.post(PATHS, body)
    again = api.post(PATHS, {**body, "params": {"t": 1.0}})
    assert first["path_id"] == again["path_id"]
    assert set(first["path_id"]) <= set("abcdefghijklmnopqrstuvwxyz0123456789_")


def test_a_disabled_path_comes_back_when_it_is_registered(api: Any, stranger: Any) -> None:
    made = api.post(PATHS, {"goal": "book", "model_id": "a"})["path_id"]
    assert stranger.send("DELETE", f"{PATHS}/{made}").status_code == 404
    assert api.delete(f"{PATHS}/{made}") == {"status": "disabled", "path_id": made}
    assert api.delete(f"{PATHS}/{made}")["status"] == "disabled"
    assert api.get(PATHS + "?goal=book")["paths"] == []
    assert api.get(PATHS + "?goal=book&include_disabled=true")["paths"][0]["status"] == "disabled"
    assert api.post(PATHS, {"goal": "book", "model_id": "a"})["status"] == "active"


def test_registering_does_not_enable_what_was_rolled_back(api: Any) -> None:
    made = api.post(PATHS, {"goal": "book", "model_id": "a"})["path_id"]
    Path.objects.update(status="rolled_back", rollback_window={"from": 0})
    api.delete(f"{PATHS}/{made}")
    assert api.post(PATHS, {"goal": "book", "model_id": "a"})["status"] == "rolled_back"


def test_config_falls_back_to_the_star_and_then_to_what_is_shipped(api: Any) -> None:
    shipped = {
        "goal": "book",
        "exploration_rate": 0.0,
        "min_samples_before_exploit": 20,
        "rollback_threshold": 0.3,
        "staleness_days": 7,
        "exploration_on_high_risk": False,
    }
    assert api.get(CONFIG + "?goal=book") == shipped
    api.post(CONFIG, {"goal": "*", "exploration_rate": 0.1})
    assert api.get(CONFIG + "?goal=book") == {**shipped, "exploration_rate": 0.1}
    own = {**shipped, "exploration_rate": 0.25, "staleness_days": 3}
    assert api.post(CONFIG, own) == own
    assert api.send("POST", CONFIG, {"goal": "book", "exploration_rate": 7}).status_code == 422


def test_an_outcome_of_an_unknown_trace_goal_and_model_is_accepted(api: Any) -> None:
    body = {"trace_id": "3f2c-never-issued", "goal": "new", "success": True, "score": 0.7, "model_id": "m"}
    assert api.post(REPORT, body) == {"status": "accepted", "trace_id": "3f2c-never-issued", "goal": "new"}
    assert Outcome.objects.get().score == 0.7
    assert PathState.objects.get().samples == 1


def test_an_outcome_without_a_trace_gets_one(api: Any) -> None:
    nulls = dict.fromkeys(("trace_id", "score", "failure_reason", "failure_category", "metadata", "model_id"))
    assert len(api.post(REPORT, {"goal": "book", "success": False, **nulls})["trace_id"]) == 32


def test_camel_case_is_read_too(api: Any) -> None:
    api.post(REPORT, {"goal": "g", "traceId": "t", "modelId": "m", "success": False, "failureCategory": "timeout"})
    assert Outcome.objects.get().failure_category == "timeout"
    assert Path.objects.get().model == "m"


@pytest.mark.parametrize(
    ("reason", "category"),
    [
        ("provider_error: RateLimitError", "rate_limited"),
        ("provider_error: TimeoutError", "timeout"),
        ("provider_error: Boom", "provider_error"),
        ("quality_fail_after_repair", "validation_failed"),
    ],
)
def test_a_failure_without_a_category_is_read_from_its_reason(api: Any, reason: str, category: str) -> None:
    api.post(REPORT, {"goal": "g", "model_id": "m", "success": False, "failure_reason": reason})
    assert Outcome.objects.get().failure_category == category


def test_an_unknown_category_is_refused_with_the_list(api: Any) -> None:
    answer = api.send("POST", REPORT, {"goal": "g", "success": False, "failure_category": "gremlins"})
    assert answer.status_code == 422
    assert all(name in json.loads(answer.content)["error"] for name in FAILURE_CATEGORIES)
    assert not LedgerRow.objects.exists()


def test_an_idempotency_key_makes_one_row(api: Any) -> None:
    body = {"goal": "g", "model_id": "m", "trace_id": "t", "success": True}
    api.post(REPORT, body, Idempotency_Key="k")
    api.post(REPORT, {**body, "success": False}, Idempotency_Key="k")
    assert Outcome.objects.get().success is True


def test_a_path_is_resolved_by_decision_then_params_then_model(api: Any) -> None:
    tooled = api.post(PATHS, {"goal": "g", "model_id": "m", "tool_id": "t", "params": {"x": 1}})["path_id"]
    api.post(REPORT, {"goal": "g", "model_id": "m", "trace_id": "only", "success": True})
    plain = api.post(PATHS, {"goal": "g", "model_id": "m"})["path_id"]
    api.post(REPORT, {"goal": "g", "model_id": "m", "trace_id": "exact", "success": True})
    api.post(REPORT, {"goal": "g", "model_id": "m", "tool_id": "t", "execution_params": {"x": 1.0}, "trace_id": "both"})
    found = {outcome.trace_id: Path(id=outcome.path_id).shown_id for outcome in Outcome.objects.all()}
    assert found == {"only": tooled, "exact": plain, "both": tooled}


def test_a_decisions_trace_resolves_an_outcome_of_its_model(api: Any) -> None:
    api.post(PATHS, {"goal": "g", "model_id": "m", "params": {"x": 1}})
    decided = api.post(DECIDE, {"goal": "g"})
    api.post(PATHS, {"goal": "g", "model_id": "m"})
    api.post(REPORT, {"goal": "g", "model_id": "m", "trace_id": decided["trace_id"], "success": True})
    assert Path(id=Outcome.objects.get().path_id).shown_id == decided["path_id"]
    api.post(REPORT, {"goal": "g", "trace_id": decided["trace_id"], "success": False})
    assert Outcome.objects.get().success is False


def test_fallbacks_are_outcomes_of_their_own_and_an_update_concerns_the_latest(api: Any) -> None:
    api.post(REPORT, {"goal": "g", "model_id": "a", "trace_id": "t", "success": False})
    api.post(REPORT, {"goal": "g", "model_id": "b", "trace_id": "t", "success": True})
    update = {"goal": "g", "trace_id": "t", "success": False, "score": None, "failure_category": "user_unsatisfied"}
    answer = api.post(UPDATE, update)
    assert answer["fields_updated"] == ["success", "failure_category"]
    found = {row.path.model: (row.success, row.source) for row in Outcome.objects.select_related("path")}
    assert found == {"a": (False, "provider"), "b": (False, "user")}


def test_updating_what_nobody_reported_is_not_found(api: Any, stranger: Any) -> None:
    api.post(REPORT, {"goal": "g", "model_id": "a", "trace_id": "t", "success": False})
    assert api.send("POST", UPDATE, {"goal": "g", "trace_id": "x", "success": True}).status_code == 404
    assert stranger.send("POST", UPDATE, {"goal": "g", "trace_id": "t", "success": True}).status_code == 404


def test_a_batch_refuses_only_what_is_bad(api: Any) -> None:
    items = [{"goal": "g", "model_id": "a", "success": True}, {"goal": "g", "failure_category": "no"}, 3]
    answer = api.post("/api/v1/intelligence/outcomes", {"outcomes": items})
    assert (answer["accepted"], answer["rejected"]) == (1, 2)
    assert [result["status"] for result in answer["results"]] == ["accepted", "refused", "refused"]


def test_a_signal_joins_its_outcome(api: Any) -> None:
    api.post(REPORT, {"goal": "g", "model_id": "a", "trace_id": "t", "success": True, "score": 0.9})
    said = {"trace_id": "t", "goal": "g", "signal_type": "user_rejected", "signal_source": "user_explicit"}
    api.post(SIGNALS, {**said, "strength": 0.0, "confidence": 1.0})
    outcome = Outcome.objects.get()
    assert (outcome.success, outcome.score, outcome.source) == (False, 0.0, "user")
    api.post("/api/v1/signals", {**said, "signal_type": "output_used_verbatim", "signal_source": "downstream"})
    assert Outcome.objects.get().source == "action"


def test_a_sessions_anchor_gives_its_signals_their_path(api: Any) -> None:
    anchor = {"trace_id": "s", "goal": "g", "signal_type": "pipeline_anchor", "signal_source": "pipeline", "model": "a"}
    api.post(SIGNALS, {**anchor, "strength": 0.5})
    assert PathState.objects.count() == 0
    said = {"trace_id": "s", "goal": "g", "signal_type": "user_accepted", "signal_source": "user_implicit"}
    api.post(SIGNALS, {**said, "strength": 0.9, "confidence": 0.8})
    outcome = Outcome.objects.select_related("path").get()
    assert (outcome.path.model, outcome.score, outcome.confidence, outcome.source) == ("a", 0.9, 0.8, "inferred")


def test_an_unknown_signal_counts_by_its_strength_and_a_half_says_nothing(api: Any) -> None:
    said = {"trace_id": "s", "goal": "g", "signal_source": "odd"}
    assert api.post(SIGNALS, {**said, "signal_type": "gaze", "strength": 0.5})["recorded"] is False
    assert api.post(SIGNALS, {**said, "signal_type": "gaze", "strength": 0.8})["recorded"] is True
    assert Outcome.objects.get().success is True


def test_spans_give_a_path_its_cost_and_latency_once(api: Any) -> None:
    api.post(REPORT, {"goal": "g", "model_id": "gpt-4o", "trace_id": "t1", "success": True})
    tokens = {**SPAN, "input_tokens": 1000, "output_tokens": 100}
    assert api.post("/api/ingest", {"events": [tokens, {**tokens}, None, 7]})["accepted"] == 2
    assert api.post("/api/v1/traces", {"events": [tokens]}) == {"status": "accepted", "accepted": 1, "rejected": 0}
    assert EventSpan.objects.count() == 1
    [path] = api.get(INSIGHTS)["goals"][0]["paths"]
    assert path["mean_cost_usd"] == pytest.approx((1000 * 2.5 + 100 * 10) / 1e6)
    assert path["p95_latency_ms"] == pytest.approx(120.5, rel=0.03)


def test_spans_may_come_before_their_outcome_and_in_lines(api: Any) -> None:
    lines = b'{"span_id": "x", "trace_id": "t", "model": "m", "cost_usd": 0.5, "duration_ms": 9}\nnonsense\n'
    answer = api.post("/api/ingest", lines, Content_Type="application/x-ndjson")
    assert (answer["accepted"], answer["rejected"]) == (1, 1)
    api.post(REPORT, {"goal": "g", "model_id": "m", "trace_id": "t", "success": True})
    outcome = Outcome.objects.get()
    assert (outcome.cost_usd, outcome.latency_ms) == (0.5, 9.0)


def test_a_span_that_only_tells_its_ends_took_the_time_between(api: Any) -> None:
    ends = {"ts_start": "2026-01-02T03:04:05+00:00Z", "ts_end": "2026-01-02T03:04:06.5+00:00"}
    api.post("/api/ingest", {"events": [{"span_id": "x", "trace_id": "t", "model_id": "m", **ends}]})
    assert EventSpan.objects.get().latency_ms == 1500.0


def test_a_router_span_costs_nothing_and_a_broken_time_is_read(api: Any) -> None:
    router = {**SPAN, "operation": "kalibr.router.completion", "timestamp": "2026-01-02T03:04:05+00:00Z"}
    api.post("/api/ingest", {"events": [{**router, "parent_span_id": "00000000deadbeef"}]})
    span = EventSpan.objects.get()
    assert (span.model, span.parent_id, span.at.isoformat()) == ("", "", "2026-01-02T03:04:05+00:00")


def test_policy_recommends_what_meets_the_constraints(api: Any) -> None:
    for step in range(8):
        api.post(REPORT, {"goal": "g", "model_id": "good", "trace_id": f"a{step}", "success": True})
        api.post(REPORT, {"goal": "g", "model_id": "bad", "trace_id": f"b{step}", "success": step % 4 == 0})
    found = api.post(POLICY, {"goal": "g", "constraints": {"minQuality": 0.5}, "window_hours": 168})
    assert found["recommended_model"] == "good"
    assert (found["outcome_success_rate"], found["outcome_sample_count"]) == (1.0, 8)
    none = api.post(POLICY, {"goal": "g", "constraints": {"max_cost_usd": 0.1}})
    assert none["recommended_model"] is None
    assert "max_cost_usd" in none["reasoning"]
    assert api.post(RECOMMEND, {"task_type": "g", "optimize_for": "quality"})["recommendation"]["model"] == "good"


def test_what_happened_before_the_window_is_no_ground_for_a_policy(api: Any) -> None:
    """Neither all of a path's outcomes nor, beside one of today, those of the weeks before."""
    long_ago = time.time() - 20 * 86400
    record(api.project, [_went_well(f"t{place}", long_ago) for place in range(50)])
    for fresh in (0, 1):
        for window in (24, 168):
            policy = api.post(POLICY, {"goal": "book", "window_hours": window})
            assert (policy["recommended_model"], policy["outcome_sample_count"]) == (None, 0)
            assert policy["blocked_by"] == "samples"
            advised = api.post(RECOMMEND, {"task_type": "book", "window_hours": window})
            assert (advised["recommendation"], advised["stats"]["outcome_sample_count"]) == (None, 0)
        [path] = api.get(STATE)["paths"]
        assert (path["figures"]["samples"], path["sample_count"]) == (fresh, 50 + fresh)
        whole = api.post(POLICY, {"goal": "book", "window_hours": 24 * 30})
        assert (whole["recommended_model"], whole["outcome_sample_count"]) == ("gpt-4o", 50 + fresh)
        record(api.project, [_went_well("today", time.time())])


def _went_well(trace: str, at: float) -> Observation:
    return Observation("book", Source.PROVIDER, trace, model="gpt-4o", success=True, occurred_at=at)


def test_recommend_takes_the_task_for_the_goal_and_needs_one_of_them(api: Any) -> None:
    for step in range(6):
        api.post(REPORT, {"goal": "g", "model_id": "m", "trace_id": f"t{step}", "success": True, "pipeline_id": "p"})
    found = api.post(RECOMMEND, {"task_type": "g"})
    assert (found["goal"], found["recommendation"]["model"]) == ("g", "m")
    assert api.post(RECOMMEND, {"goal": "g", "pipeline_id": "p"})["recommendation"]["model"] == "m"
    assert api.post(RECOMMEND, {"goal": "g", "pipeline_id": "q"})["recommendation"] is None
    assert api.send("POST", RECOMMEND, {"optimize_for": "cost"}).status_code == 422


def test_insights_of_a_pipeline_lean_on_the_whole_as_choosing_does(api: Any) -> None:
    """In its own pipeline b is ahead by one outcome; what all pipelines know says that it is a."""
    items = [
        {"goal": "g", "model_id": model, "trace_id": f"{model}{step}", "success": model == "a"}
        for model in "ab"
        for step in range(60)
    ]
    api.post("/api/v1/intelligence/outcomes", {"outcomes": items})
    api.post(REPORT, {"goal": "g", "model_id": "b", "trace_id": "own", "success": True, "pipeline_id": "p"})
    [goal] = api.get(f"{INSIGHTS}?pipeline_id=p")["goals"]
    best = {path["model_id"]: path["probability_best"] for path in goal["paths"]}
    assert goal["pipeline_id"] == "p"
    assert best["a"] > 0.95
    state = api.get("/api/v1/routing/state?goal=g&pipeline_id=p")["paths"]
    assert {path["model_id"]: path["posterior"]["mean"] > 0.5 for path in state} == {"a": True, "b": False}
    assert {path["model_id"]: path["sample_count"] for path in goal["paths"]} == {"a": 0, "b": 1}


def test_insights_show_each_goal_once_and_leave_out_the_connection_check(api: Any) -> None:
    for goal in ("g", "__verify__1"):
        api.post(REPORT, {"goal": goal, "model_id": "a", "success": False, "failure_category": "timeout"})
    api.post(CONFIG, {"goal": "*"})
    found = api.get(INSIGHTS + "?window_hours=24")
    assert [goal["goal"] for goal in found["goals"]] == ["g"]
    assert found["goals"][0]["top_failure_modes"] == [{"category": "timeout", "count": 1.0, "share": 1.0}]
    assert found["tenant_id"] == api.project.tenant_id


def test_a_snapshot_has_an_etag_that_changes_with_the_state(api: Any) -> None:
    api.post(REPORT, {"goal": "book", "model_id": "a", "success": True})
    first = api.send("GET", STATE)
    etag = first.headers["ETag"]
    assert json.loads(first.content)["paths"][0]["posterior"]["mean"] > 0.5
    assert api.send("GET", STATE, If_None_Match=etag).status_code == 304
    api.post(REPORT, {"goal": "book", "model_id": "a", "success": True})
    assert api.send("GET", STATE, If_None_Match=etag).status_code == 200


def test_decisions_made_elsewhere_are_kept_whenever_they_come(api: Any) -> None:
    path = api.post(PATHS, {"goal": "g", "model_id": "a"})["path_id"]
    api.post(REPORT, {"goal": "g", "trace_id": "t", "success": True})
    assert Outcome.objects.get().path_id is None
    made = {"goal": "g", "trace_id": "t", "path_id": path, "probability": 0.5}
    lost = {"goal": "other", "trace_id": "t2", "path_id": path}
    answer = api.post("/api/v1/routing/decisions", {"decisions": [made, lost, made]})
    assert [result["status"] for result in answer["results"]] == ["accepted", "refused", "accepted"]
    outcome = Outcome.objects.get()
    assert (Path(id=outcome.path_id).shown_id, outcome.success) == (path, True)


def test_a_trace_tells_all_that_was_said_of_it(api: Any, stranger: Any) -> None:
    api.post(
        REPORT, {"goal": "g", "model_id": "a", "trace_id": "t/1", "success": False, "failure_reason": "quality_fail"}
    )
    found = api.get("/api/v1/routing/traces/t/1")
    assert found["outcomes"][0]["failure_category"] == "validation_failed"
    assert found["evidence"][0]["reason"] == "quality_fail"
    assert stranger.send("GET", "/api/v1/routing/traces/t/1").status_code == 404


@pytest.mark.parametrize("path", ["/api/health", "/api/v1/intelligence/health"])
def test_health_needs_no_key(api: Any, path: str) -> None:
    answer = api.get(path, X_API_Key="")
    assert answer["database"] == "ok"


def test_a_signature_that_is_sent_must_fit(api: Any) -> None:
    import hashlib
    import hmac

    from agentloop.actors import SYSTEM
    from agentloop.keys import create_signing_key

    create_signing_key(project=api.project, actor=SYSTEM, secret="s3cret")
    body = json.dumps({"events": [SPAN]}, separators=(",", ":")).encode()
    spaced = json.dumps({"events": [SPAN]}).encode()
    signed = [hmac.new(b"s3cret", form, hashlib.sha256).hexdigest() for form in (body, spaced)]
    assert [api.send("POST", "/api/ingest", body, X_Signature=one).status_code for one in signed] == [200, 200]
    assert api.send("POST", "/api/ingest", body, X_Signature="0" * 64).status_code == 403
