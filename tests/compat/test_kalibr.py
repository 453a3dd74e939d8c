"""The published routing client, unchanged, against a running server: judged by the server's state, not its word."""

import json
import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path as FilePath
from typing import Any

import pytest

from agentloop.actors import SYSTEM
from agentloop.keys import create_signing_key
from agentloop.models import Project
from routing.advice import insights
from routing.models import Decision, EventSpan, Goal, LedgerRow, Outcome, Path, PathState
from routing.rebuild import differences
from tests.compat.conftest import ROOT, clean_environment, environment_of
from tests.routing.goals_support import columns_with

LOCKED = ROOT / "requirements" / "compat-kalibr.txt"

pytestmark = pytest.mark.compat


@pytest.fixture(scope="session")
def kalibr_python() -> FilePath:
    return environment_of("kalibr", LOCKED)


def environment(base_url: str, key: str, project: Project, home: FilePath) -> dict[str, str]:
    return {
        **{name: value for name, value in clean_environment().items() if not name.endswith("_API_KEY")},
        "HOME": str(home),
        "TMPDIR": str(home),
        "TOLD": str(home / "told.json"),
        "SIGNING_SECRET": create_signing_key(project=project, actor=SYSTEM)[1],
        "KALIBR_API_KEY": key,
        "KALIBR_TENANT_ID": project.tenant_id,
        "KALIBR_INTELLIGENCE_URL": base_url,
        "KALIBR_COLLECTOR_URL": f"{base_url}/api/ingest",
        "KALIBR_API_ENDPOINT": f"{base_url}/api/v1/traces",
        "KALIBR_ENDPOINT": f"{base_url}/api/v1/traces",
        "KALIBR_AUTO_INSTRUMENT": "false",
        "OPENAI_API_KEY": "unused",
    }


def run(command: Sequence[str], given: dict[str, str], home: FilePath) -> str:
    done = subprocess.run(command, env=given, cwd=home, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(120)
def test_the_published_client_leaves_the_state_that_it_should(
    kalibr_python: FilePath,
    live_server: Any,
    project: Project,
    new_key: Callable[[Sequence[str]], str],
    tmp_path: FilePath,
) -> None:
    """One test, for the client's start costs more than all that it does."""
    given = environment(live_server.url, new_key(["ingest", "route", "read", "review"]), project, tmp_path)
    printed = run([str(kalibr_python), "-I", str(ROOT / "tests" / "compat" / "routing_client.py")], given, tmp_path)
    told = json.loads((tmp_path / "told.json").read_text())
    _check_paths(told["paths"])
    _check_outcomes(told["outcomes"])
    _check_cached(told["cached"])
    _check_routers(told["routers"])
    _check_router_spans(told["routers"])
    _check_reactions(told["reactions"])
    _check_emitted(told["emitted"])
    _check_sessions(told["sessions"])
    _check_events(printed)
    _check_advice(told["advice"])
    _check_insights(told["advice"])
    assert "Live round-trip" in run([str(kalibr_python.parent / "kalibr"), "verify"], given, tmp_path)
    _check_verified(project)
    assert columns_with("PRIVATE") == set()
    assert differences(project) == []


Said = tuple[bool | None, float | None, str | None, str]


def said_of(goal: str) -> dict[tuple[str, str | None], Said]:
    """By trace and model: success, score, category, and whose word it is."""
    found = Outcome.objects.filter(goal__name=goal).select_related("path")
    return {
        (row.trace_id, row.path.model if row.path else None): (
            row.success,
            row.score,
            row.failure_category,
            row.source,
        )
        for row in found
    }


def counted(goal: str) -> dict[str, int]:
    """How many outcomes choosing counts for each model, in all pipelines together."""
    found = PathState.objects.filter(goal__name=goal, pipeline_id="").select_related("path")
    return {state.path.model: state.samples for state in found}


def _check_paths(told: dict[str, Any]) -> None:
    kept = told["kept"]
    assert (kept["goal"], kept["model_id"], kept["tool_id"]) == ("paths", "gpt-4o", "search")
    assert (kept["params"], kept["risk_level"]) == ({"temperature": 0.5}, "high")
    assert re.fullmatch(r"[A-Za-z0-9_-]+", kept["path_id"])
    assert told["again"]["path_id"] == kept["path_id"]
    assert told["disabled"] == {"status": "disabled", "path_id": told["dropped"]["path_id"]}
    assert {path["model_id"] for path in told["listed"]["paths"]} == {"gpt-4o", "mistral-large"}
    assert {path["model_id"] for path in told["all"]["paths"]} == {"gpt-4o", "mistral-large", "claude-3-opus"}
    stored = {path.model: path for path in Path.objects.filter(goal__name="paths")}
    assert {model: path.status for model, path in stored.items()} == {
        "gpt-4o": "active",
        "claude-3-opus": "disabled",
        "mistral-large": "active",
    }
    path = stored["gpt-4o"]
    assert (path.shown_id, path.tools, path.params, path.risk_level, path.origin) == (
        kept["path_id"],
        ["search"],
        {"temperature": 0.5},
        "high",
        "registered",
    )
    assert told["set"] == told["read"]
    goal = Goal.objects.get(name="paths")
    six = (goal.exploration_rate, goal.min_samples_before_exploit, goal.rollback_threshold, goal.staleness_days)
    assert (*six, goal.exploration_on_high_risk) == (0.2, 20, 0.3, 7, False)


def _check_outcomes(told: dict[str, Any]) -> None:
    decided = told["decided"]
    trace = decided["trace_id"]
    assert re.fullmatch("[0-9a-f]{32}", trace)
    assert (decided["model_id"], decided["tool_id"], decided["params"]) == ("gpt-4o", "search", {"temperature": 0.5})
    assert decided["reason"]
    assert 0 <= decided["confidence"] <= 1
    assert "cached" not in decided
    assert decided.keys() >= {
        *("trace_id", "path_id", "model_id", "tool_id", "params", "goal", "reason", "confidence", "exploration"),
        *("success_rate", "sample_count", "decided_at", "alternatives_considered"),
    }
    decision = Decision.objects.get(goal__name="outcomes")
    assert (decision.trace_id, decision.path.shown_id, decision.risk, decision.pipeline_id) == (
        trace,
        decided["path_id"],
        "high",
        "nightly",
    )
    assert told["reported"] == {"status": "accepted", "trace_id": trace, "goal": "outcomes"}
    # The later score is the user's word; what it leaves out stands as it was reported.
    assert said_of("outcomes") == {(trace, "gpt-4o"): (False, 0.1, "tool_error", "user")}
    assert told["scored"]["fields_updated"] == ["score", "metadata"]
    outcome = Outcome.objects.get(goal__name="outcomes")
    assert (outcome.path_id, outcome.pipeline_id) == (decision.path_id, "nightly")
    first, late = LedgerRow.objects.filter(goal__name="outcomes").order_by("id")
    assert (first.reason, first.metadata, first.score) == ("calendar conflict", {"attempt": 2}, 0.3)
    assert (late.source, late.success, late.score, late.metadata) == ("user", None, 0.1, {"seen_by": "support"})
    assert said_of("traceless") == {(told["traceless"]["trace_id"], "gpt-4o"): (True, None, None, "provider")}
    assert told["reopened"]["fields_updated"] == ["success", "failure_reason", "failure_category"]
    assert said_of("updated") == {
        ("reopened", "gpt-4o"): (False, None, "user_unsatisfied", "user"),
        ("kept", "gpt-4o"): (True, 0.9, None, "provider"),
    }
    assert counted("updated") == {"gpt-4o": 2}


def _check_cached(told: list[dict[str, Any]]) -> None:
    """The second decision comes out of the client's cache, with a trace id of the client's own."""
    first, second = told
    assert first["trace_id"] != second["trace_id"]
    assert [row.trace_id for row in Decision.objects.filter(goal__name="cached")] == [first["trace_id"]]
    assert said_of("cached") == {
        (one["trace_id"], first["model_id"]): (True, None, None, "provider") for one in (first, second)
    }
    assert counted("cached")[first["model_id"]] == 2


GOOD: Said = (True, None, None, "provider")
TIMED_OUT: Said = (False, None, "timeout", "provider")


def _check_routers(told: dict[str, Any]) -> None:
    decided = {row.trace_id: row.path.model for row in Decision.objects.filter(goal__name="binary")}
    assert set(told["binary"]) == {trace for trace, _ in said_of("binary")}
    assert {model for _, model in said_of("binary")} == set(decided.values())
    assert set(said_of("binary").values()) == {GOOD}
    assert said_of("scored") == {(told["scored"], "gpt-4o"): (False, 0.25, None, "provider")}
    assert Outcome.objects.get(goal__name="scored").pipeline_id == "nightly"
    trace, score = told["guessed"]
    assert said_of("guessed") == {(trace, "gpt-4o"): (True, score, None, "provider")}
    # What failed and what stood in for it are two outcomes of one trace, whether or not the server chose the first.
    trace = told["forced"]
    assert said_of("forced") == {(trace, "broken"): TIMED_OUT, (trace, "gpt-4o"): GOOD}
    assert counted("forced") == {"broken": 1, "gpt-4o": 1}
    trace, first, second = told["decided"]
    assert Decision.objects.get(goal__name="decided").path.model == first
    assert said_of("decided") == {(trace, first): TIMED_OUT, (trace, second): GOOD}
    assert counted("decided") == {first: 1, second: 1}
    trace = told["judged"]
    assert said_of("judged") == {
        (trace, "gpt-4o-mini"): (False, None, "validation_failed", "provider"),
        (trace, "gpt-4o"): (True, 0.9, None, "provider"),
    }
    assert said_of("healed") == {(told["healed"], "gpt-4o"): (True, 0.8, "healed", "provider")}
    assert said_of("exhausted") == {(told["exhausted"], "broken"): TIMED_OUT}
    reasons = LedgerRow.objects.filter(goal__name__in=["forced", "exhausted"], success=False)
    assert {row.reason for row in reasons} == {"provider_error: TimeoutError"}
    assert said_of("elsewhere") == {
        (told["elsewhere"], "my/own-model"): (False, 0.2, "hallucination_detected", "provider")
    }
    named = Path.objects.filter(goal__name="elsewhere").order_by("model", "tools")
    assert list(named.values_list("model", "tools", "params", "origin")) == [
        ("gpt-4o", [], {}, "registered"),
        ("gpt-4o", ["search"], {}, "registered"),
        ("gpt-4o-mini", ["search"], {"temperature": 0}, "registered"),
        ("my/own-model", [], {}, "outcome"),
    ]


def _check_router_spans(told: dict[str, Any]) -> None:
    """The router's span has the goal, the provider's the model; cost and latency join their outcome by the trace."""
    trace = told["forced"]
    spans = {span.model or "router": span for span in EventSpan.objects.filter(trace_id=trace)}
    assert spans.keys() == {"router", "broken", "gpt-4o"}
    router, broken, answered = spans["router"], spans["broken"], spans["gpt-4o"]
    assert (router.operation, router.goal_name, router.parent_id) == ("kalibr.router.completion", "forced", "")
    assert broken.parent_id == answered.parent_id == router.span_id
    assert (broken.status, broken.error_type, broken.cost_usd) == ("error", "TimeoutError", None)
    assert (answered.status, answered.provider) == ("success", "openai")
    assert (answered.input_tokens, answered.output_tokens) == (1000, 100)
    [outcome] = Outcome.objects.filter(goal__name="forced", path__model="gpt-4o")
    assert outcome.cost_usd == answered.cost_usd == pytest.approx(GPT_4O_USD)
    assert outcome.latency_ms == answered.latency_ms
    routed = Outcome.objects.filter(goal__name="scored", trace_id=told["scored"]).get()
    assert routed.cost_usd == pytest.approx(GPT_4O_USD)


def _check_reactions(told: dict[str, Any]) -> None:
    assert told == {"accepted": True, "rejected": True, "unknown": False}
    assert said_of("reactions") == {
        ("accepted", "gpt-4o"): (True, 0.85, None, "user"),
        ("rejected", "gpt-4o"): (False, None, "user_unsatisfied", "user"),
    }
    assert LedgerRow.objects.get(trace_id="rejected", source="user").reason == "too short"
    assert counted("reactions") == {"gpt-4o": 2}


def _check_emitted(told: list[bool]) -> None:
    assert told == [True] * 9
    assert said_of("emitted") == {
        ("user_rejected", "gpt-4o"): (False, 0.1, "user_unsatisfied", "user"),
        ("user_accepted", "gpt-4o"): (True, 0.9, None, "user"),
        ("downstream_use", "gpt-4o"): (True, 0.8, None, "action"),
        ("edit_small", "gpt-4o"): (True, 0.7, None, "action"),
        ("edit_large", "gpt-4o"): (False, 0.3, "user_unsatisfied", "action"),
        ("abandonment", "gpt-4o"): (False, 0.2, "user_unsatisfied", "action"),
        ("retry", "gpt-4o"): (False, 0.0, "user_unsatisfied", "action"),
        ("never_heard_of", "gpt-4o"): (True, 0.6, None, "inferred"),
        ("says_nothing", "gpt-4o"): GOOD,
    }
    row = LedgerRow.objects.get(trace_id="retry", source="action")
    assert row.raw_evidence == "in short"
    assert row.metadata == {
        "signal_type": "retry",
        "signal_source": "user_implicit",
        "strength": 0.0,
        "dimension": "tone",
        "pipeline_step": 2,
    }


def _check_sessions(told: dict[str, str]) -> None:
    """Each on the path that its anchor names; what is guessed of the user weighs less, what was seen done wins."""
    found = {row.goal.name: row for row in Outcome.objects.filter(goal__name__in=told).select_related("goal", "path")}
    assert {
        goal: (row.success, row.score, row.source, row.confidence) for goal, row in found.items() if row.source
    } == {
        "used": (True, 1.0, "action", 1.0),
        "copied": (True, 0.9, "action", 1.0),
        "edited": (False, 0.4, "action", 1.0),
        "turned down": (False, 0.0, "inferred", pytest.approx(0.9)),
        "thanked": (True, 1.0, "inferred", pytest.approx(0.95)),
        "scolded and used": (True, 1.0, "action", 1.0),
        "given up": (False, 0.25, "inferred", 0.4),
        "content": (True, 0.65, "inferred", 0.4),
    }
    assert {goal: row.trace_id for goal, row in found.items()} == {goal: told[goal] for goal in found}
    assert {row.path.model for row in found.values() if row.path} == {"gpt-4o"}
    for silent in ("only anchored", "silent"):
        assert [row.success for row in LedgerRow.objects.filter(goal__name=silent)] == [None]
        assert counted(silent) in ({}, {"gpt-4o": 0})
    assert LedgerRow.objects.get(goal__name="edited", source="action").raw_evidence == "-one +two"


GPT_4O_USD = (1000 * 2.5 + 100 * 10) / 1e6


def _check_events(printed: str) -> None:
    said = {row.path.model: row for row in Outcome.objects.filter(goal__name="events").select_related("path")}
    assert (said["gpt-4o"].trace_id, said["gpt-4o"].latency_ms) == ("run-1", 250), printed
    assert said["gpt-4o"].cost_usd == pytest.approx(GPT_4O_USD)
    # Of a model whose price nobody knows, what the exporter says it cost.
    assert (said["my-own"].cost_usd, said["my-own"].latency_ms) == (0.0123, 12.5)
    span = EventSpan.objects.get(model="my-own")
    assert (span.operation, span.goal_name, span.provider, span.input_tokens) == ("exported", "events", "mine", 7)
    assert span.trace_id == said["my-own"].trace_id
    signed = EventSpan.objects.get(operation__in=["signed", "forged"])
    assert (signed.operation, signed.provider, signed.model, signed.status) == ("signed", "openai", "gpt-4o", "success")


def _check_advice(told: dict[str, Any]) -> None:
    path = Path.objects.get(goal__name="advised", model="gpt-4o")
    policy = told["policy"]
    assert (policy["goal"], policy["recommended_model"], policy["recommended_provider"], policy["path_id"]) == (
        "advised",
        "gpt-4o",
        "openai",
        path.shown_id,
    )
    assert (policy["outcome_success_rate"], policy["outcome_sample_count"]) == (1.0, 6)
    assert policy["confidence"] > 0.9
    assert 0 < policy["risk_score"] < 1
    assert "6 outcomes" in policy["reasoning"]
    [other] = policy["alternatives"]
    assert (other["model"], other["outcome_sample_count"]) == ("gpt-4o-mini", 6)
    assert other["outcome_success_rate"] == pytest.approx(1 / 6)
    assert told["cheap"]["recommended_model"] == "gpt-4o-mini"
    assert told["impossible"]["recommended_model"] is None
    assert "max_latency_ms" in told["impossible"]["reasoning"]
    assert told["unknown"]["recommended_model"] is None
    assert {aim: found["recommendation"]["model"] for aim, found in told["recommended"].items()} == {
        "cost": "gpt-4o-mini",
        "quality": "gpt-4o",
        "latency": "gpt-4o-mini",
        "balanced": "gpt-4o",
        "cost_efficiency": "gpt-4o-mini",
        "outcome": "gpt-4o",
    }
    assert all(found["reasoning"] for found in told["recommended"].values())
    asked = told["for a goal"]
    assert (asked["task_type"], asked["goal"], asked["recommendation"]["model"]) == ("summarize", "advised", "gpt-4o")
    assert asked["stats"] == {"outcome_success_rate": 1.0, "outcome_sample_count": 6, "window_hours": 168}
    assert [one["model"] for one in asked["alternatives"]] == ["gpt-4o-mini"]
    assert told["nothing known"]["recommendation"] is None
    assert told["nothing known"]["reasoning"]


SIGNALS = {
    "path_underperforming",
    "failure_mode_dominant",
    "param_sensitivity_detected",
    "drift_detected",
    "cost_inefficiency",
    "low_confidence",
    "goal_healthy",
}


def _check_insights(told: dict[str, Any]) -> None:
    whole, one = told["insights"], told["insights of one"]
    assert {goal["goal"] for goal in whole["goals"]} == set(Goal.objects.values_list("name", flat=True))
    assert whole["schema_version"]
    assert whole["cross_goal_summary"]["goal_count"] == len(whole["goals"])
    assert whole["cross_goal_summary"]["sample_count"] == Outcome.objects.exclude(source="").count()
    [goal] = one["goals"]
    assert (goal["goal"], goal["pipeline_id"], goal["status"], goal["sample_count"]) == (
        "advised",
        None,
        "degraded",
        12,
    )
    assert goal["success_rate"] == pytest.approx(7 / 12)
    assert goal["interval"][0] < 7 / 12 < goal["interval"][1]
    assert goal["top_failure_modes"] == [{"category": "malformed_output", "count": 5, "share": 1.0}]
    paths = {path["model_id"]: path for path in goal["paths"]}
    assert {model: path["sample_count"] for model, path in paths.items()} == {"gpt-4o": 6, "gpt-4o-mini": 6}
    assert {model: path["mean_cost_usd"] for model, path in paths.items()} == {
        "gpt-4o": pytest.approx(GPT_4O_USD),
        "gpt-4o-mini": pytest.approx(0.00021),
    }
    assert {model: path["p95_latency_ms"] for model, path in paths.items()} == {
        "gpt-4o": pytest.approx(120, rel=0.05),
        "gpt-4o-mini": pytest.approx(90.5, rel=0.05),
    }
    assert sum(path["probability_best"] for path in paths.values()) == pytest.approx(1, abs=0.02)
    assert paths["gpt-4o"]["probability_best"] > 0.9
    signals = {signal["type"]: signal["data"] for signal in goal["actionable_signals"]}
    assert signals.keys() <= SIGNALS
    assert signals["failure_mode_dominant"] == goal["top_failure_modes"][0]
    assert goal.keys() >= {
        *("goal", "pipeline_id", "status", "sample_count", "success_rate", "interval", "mean_score", "trend"),
        *("top_failure_modes", "paths", "param_sensitivity", "actionable_signals"),
    }
    assert paths["gpt-4o"].keys() >= {
        *("path_id", "model_id", "tool_id", "tools", "params", "status", "origin", "sample_count", "success_rate"),
        *("interval", "mean_score", "score_quantiles", "trend", "probability_best", "mean_cost_usd"),
        *("p50_latency_ms", "p95_latency_ms", "top_failure_modes", "last_outcome_at"),
    }


def _check_verified(project: Project) -> None:
    """`kalibr verify` goes the whole way round, and its goal stays out of sight."""
    goal = Goal.objects.get(name__startswith="__verify__")
    path = Path.objects.get(goal=goal)
    assert (path.model, path.status) == ("gpt-4o-mini", "disabled")
    decision = Decision.objects.get(goal=goal)
    assert said_of(goal.name) == {(decision.trace_id, "gpt-4o-mini"): GOOD}
    assert goal.name not in {one["goal"] for one in insights(project)["goals"]}
    assert goal not in Goal.objects.shown()
