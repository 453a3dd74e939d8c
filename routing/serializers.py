"""The shapes of the routing API, for the reference. What comes in is read leniently by `routing.reports` and others."""

from typing import Any

from rest_framework import serializers as s

from agentloop.fields import Choice
from routing.engine.categories import FAILURE_CATEGORIES
from routing.engine.insights import SIGNALS, Status
from routing.engine.trend import Direction
from routing.models import EvidenceSource, Mode, Origin, PathStatus

RISKS = ["low", "medium", "high"]


class ConstraintsIn(s.Serializer[Any]):
    max_cost_usd = s.FloatField(required=False, allow_null=True)
    max_latency_ms = s.FloatField(required=False, allow_null=True)
    min_quality = s.FloatField(required=False, allow_null=True)
    min_confidence = s.FloatField(required=False, allow_null=True)
    max_risk = s.FloatField(required=False, allow_null=True)


class DecideIn(s.Serializer[Any]):
    goal = s.CharField()
    task_risk_level = Choice(RISKS, required=False)
    pipeline_id = s.CharField(required=False, allow_null=True)
    candidate_model_ids = s.ListField(child=s.CharField(), required=False, allow_null=True)
    constraints = ConstraintsIn(required=False, allow_null=True)
    window_hours = s.FloatField(required=False, help_text="Of the figures that constraints are judged by; 168.")
    dry_run = s.BooleanField(required=False, help_text="Choose, and record nothing.")


class DecideOut(s.Serializer[Any]):
    trace_id = s.CharField()
    path_id = s.CharField(allow_null=True)
    model_id = s.CharField(allow_null=True)
    tool_id = s.CharField(allow_null=True)
    tools = s.ListField(child=s.CharField())
    params = s.DictField()
    goal = s.CharField()
    reason = s.CharField()
    confidence = s.FloatField(help_text="The probability that this path is the best one.")
    probability = s.FloatField(allow_null=True, help_text="The probability with which this path was chosen.")
    exploration = s.BooleanField()
    success_rate = s.FloatField(allow_null=True)
    sample_count = s.IntegerField()
    decided_at = s.DateTimeField()
    alternatives_considered = s.IntegerField()
    blocked_by = s.CharField(allow_null=True)
    mode = Choice(Mode.choices)
    would_path_id = s.CharField(allow_null=True)


class DecisionIn(s.Serializer[Any]):
    goal = s.CharField()
    trace_id = s.CharField()
    path_id = s.CharField()
    pipeline_id = s.CharField(required=False, allow_null=True)
    task_risk_level = Choice(RISKS, required=False)
    exploration = s.BooleanField(required=False)
    probability = s.FloatField(required=False, allow_null=True)
    confidence = s.FloatField(required=False, allow_null=True)
    decided_at = s.CharField(required=False, allow_null=True)


class DecisionsIn(s.Serializer[Any]):
    decisions = DecisionIn(many=True)


# An answer beyond the project's quota of reports says no more than that: the rest can't be required of it.
ACCEPTED = ["accepted", "set_aside"]
_ASIDE = "`set_aside`: the project's quota of reports is used up, and nothing was recorded."


class Reported(s.Serializer[Any]):
    """What every answer to reports may say."""

    reason = s.CharField(required=False, help_text="Why it was set aside.")


class ItemResult(s.Serializer[Any]):
    status = Choice(["accepted", "duplicate", "ignored", "refused", "set_aside"])
    trace_id = s.CharField(required=False)
    goal = s.CharField(required=False)
    error = s.CharField(required=False, help_text="Why it was refused.")
    code = s.CharField(required=False)


class BatchOut(Reported):
    status = Choice(["set_aside"], required=False, help_text=_ASIDE)
    accepted = s.IntegerField()
    rejected = s.IntegerField()
    results = ItemResult(many=True, help_text="One for each item, in their order.")


class PathIn(s.Serializer[Any]):
    goal = s.CharField()
    model_id = s.CharField()
    tool_id = s.CharField(required=False, allow_null=True)
    tools = s.ListField(child=s.CharField(), required=False, allow_null=True)
    params = s.DictField(required=False, allow_null=True)
    risk_level = Choice(RISKS, required=False)


class PathOut(s.Serializer[Any]):
    path_id = s.CharField()
    goal = s.CharField()
    model_id = s.CharField()
    tool_id = s.CharField(allow_null=True)
    tools = s.ListField(child=s.CharField())
    params = s.DictField()
    risk_level = s.CharField()
    status = Choice(PathStatus.choices)
    disabled_by = s.CharField()
    origin = s.CharField()
    probe_at = s.DateTimeField(allow_null=True)
    created_at = s.DateTimeField()


class PathsOut(s.Serializer[Any]):
    paths = PathOut(many=True)


class PathDisabled(s.Serializer[Any]):
    status = Choice(["disabled"])
    path_id = s.CharField()


class ConfigShape(s.Serializer[Any]):
    goal = s.CharField(help_text='"*" stands for the defaults of the project.')
    exploration_rate = s.FloatField(required=False)
    min_samples_before_exploit = s.IntegerField(required=False)
    rollback_threshold = s.FloatField(required=False)
    staleness_days = s.FloatField(required=False)
    exploration_on_high_risk = s.BooleanField(required=False)


class GoalIn(s.Serializer[Any]):
    goal = s.CharField()
    description = s.CharField(required=False)
    mode = Choice(Mode.choices, required=False)
    pinned_path_id = s.CharField(required=False, allow_null=True)
    half_life_hours = s.FloatField(required=False, allow_null=True)
    constraints = s.DictField(
        required=False, help_text='What every decision must keep, such as {"max_cost_usd": 0.02, "min_quality": 0.7}'
    )
    auto_explore = s.BooleanField(required=False)
    max_untested = s.IntegerField(required=False)
    bounds = s.DictField(required=False, help_text='{"temperature": {"low": 0, "high": 1, "whole": false}}')
    exploration_rate = s.FloatField(required=False, allow_null=True)
    min_samples_before_exploit = s.IntegerField(required=False, allow_null=True)
    rollback_threshold = s.FloatField(required=False, allow_null=True)
    staleness_days = s.FloatField(required=False, allow_null=True)
    exploration_on_high_risk = s.BooleanField(required=False, allow_null=True)


class GoalOut(GoalIn):
    created_at = s.DateTimeField()


class GoalsOut(s.Serializer[Any]):
    goals = GoalOut(many=True)


class OutcomeIn(s.Serializer[Any]):
    trace_id = s.CharField(required=False, allow_null=True)
    goal = s.CharField()
    success = s.BooleanField(required=False, allow_null=True)
    score = s.FloatField(required=False, allow_null=True)
    failure_reason = s.CharField(required=False, allow_null=True)
    failure_category = Choice(list(FAILURE_CATEGORIES), required=False, allow_null=True)
    metadata = s.DictField(required=False, allow_null=True)
    tool_id = s.CharField(required=False, allow_null=True)
    execution_params = s.DictField(required=False, allow_null=True)
    model_id = s.CharField(required=False, allow_null=True)
    path_id = s.CharField(required=False, allow_null=True)
    pipeline_id = s.CharField(required=False, allow_null=True)
    occurred_at = s.CharField(required=False, allow_null=True)
    idempotency_key = s.CharField(required=False, allow_null=True)


class OutcomeOut(Reported):
    status = Choice(ACCEPTED, help_text=_ASIDE)
    trace_id = s.CharField(required=False)
    goal = s.CharField(required=False)


class OutcomesIn(s.Serializer[Any]):
    outcomes = OutcomeIn(many=True)


class UpdateIn(s.Serializer[Any]):
    trace_id = s.CharField()
    goal = s.CharField()
    success = s.BooleanField(required=False, allow_null=True)
    score = s.FloatField(required=False, allow_null=True)
    failure_reason = s.CharField(required=False, allow_null=True)
    failure_category = Choice(list(FAILURE_CATEGORIES), required=False, allow_null=True)
    metadata = s.DictField(required=False, allow_null=True)


class UpdateOut(Reported):
    status = Choice(["updated", "set_aside"], help_text=_ASIDE)
    trace_id = s.CharField(required=False)
    goal = s.CharField(required=False)
    fields_updated = s.ListField(child=s.CharField(), required=False)


class PolicyIn(s.Serializer[Any]):
    goal = s.CharField()
    task_type = s.CharField(required=False, allow_null=True)
    pipeline_id = s.CharField(required=False, allow_null=True)
    constraints = ConstraintsIn(required=False, allow_null=True)
    window_hours = s.FloatField(required=False)


class Alternative(s.Serializer[Any]):
    model = s.CharField()
    model_id = s.CharField()
    provider = s.CharField(allow_null=True)
    path_id = s.CharField()
    tool_id = s.CharField(allow_null=True)
    params = s.DictField()
    outcome_success_rate = s.FloatField(allow_null=True)
    outcome_sample_count = s.IntegerField()
    mean_value = s.FloatField(allow_null=True)
    mean_cost_usd = s.FloatField(allow_null=True)
    p95_latency_ms = s.FloatField(allow_null=True)
    probability_best = s.FloatField(allow_null=True)
    risk_score = s.FloatField(allow_null=True)


class PolicyOut(s.Serializer[Any]):
    goal = s.CharField()
    recommended_model = s.CharField(allow_null=True)
    recommended_provider = s.CharField(allow_null=True)
    path_id = s.CharField(allow_null=True)
    tool_id = s.CharField(allow_null=True)
    params = s.DictField()
    outcome_success_rate = s.FloatField(allow_null=True)
    outcome_sample_count = s.IntegerField()
    confidence = s.FloatField()
    risk_score = s.FloatField(allow_null=True)
    reasoning = s.CharField()
    blocked_by = s.CharField(allow_null=True)
    alternatives = Alternative(many=True)


class RecommendIn(s.Serializer[Any]):
    task_type = s.CharField(required=False, help_text="Taken for the goal where none is named.")
    goal = s.CharField(required=False, allow_null=True)
    pipeline_id = s.CharField(required=False, allow_null=True)
    optimize_for = s.CharField(required=False)
    constraints = ConstraintsIn(required=False, allow_null=True)
    window_hours = s.FloatField(required=False)


class Recommended(s.Serializer[Any]):
    model = s.CharField()
    model_id = s.CharField()
    provider = s.CharField(allow_null=True)
    path_id = s.CharField()
    tool_id = s.CharField(allow_null=True)
    params = s.DictField()
    confidence = s.FloatField()


class RecommendStats(s.Serializer[Any]):
    outcome_success_rate = s.FloatField(allow_null=True)
    outcome_sample_count = s.IntegerField()
    window_hours = s.FloatField()


class RecommendOut(s.Serializer[Any]):
    task_type = s.CharField(allow_blank=True)
    goal = s.CharField()
    optimize_for = s.CharField()
    recommendation = Recommended(allow_null=True)
    alternatives = Alternative(many=True)
    stats = RecommendStats()
    reasoning = s.CharField()


# --- insights -------------------------------------------------------------------------------------------------

TRENDS = [direction.value for direction in Direction]


class FailureMode(s.Serializer[Any]):
    category = Choice(list(FAILURE_CATEGORIES))
    count = s.FloatField(help_text="A path's failures weigh as much as they are its doing.")
    share = s.FloatField()


class ScoreQuantiles(s.Serializer[Any]):
    p5 = s.FloatField()
    p25 = s.FloatField()
    p50 = s.FloatField()
    p75 = s.FloatField()
    p95 = s.FloatField()


_INTERVAL = "Of the success rate, 90 %; of the mean score where no outcome states a success."


class PathInsight(s.Serializer[Any]):
    path_id = s.CharField()
    model_id = s.CharField()
    tool_id = s.CharField(allow_null=True)
    tools = s.ListField(child=s.CharField())
    params = s.DictField()
    status = Choice(PathStatus.choices)
    origin = Choice(Origin.choices)
    sample_count = s.IntegerField()
    success_rate = s.FloatField(allow_null=True)
    interval = s.ListField(child=s.FloatField(), allow_null=True, help_text=_INTERVAL)
    mean_score = s.FloatField(allow_null=True)
    current_mean = s.FloatField(allow_null=True, help_text="What choosing goes by: this regime's, decayed.")
    score_quantiles = ScoreQuantiles(allow_null=True)
    trend = Choice(TRENDS)
    probability_best = s.FloatField()
    mean_cost_usd = s.FloatField(allow_null=True)
    p50_latency_ms = s.FloatField(allow_null=True)
    p95_latency_ms = s.FloatField(allow_null=True)
    top_failure_modes = FailureMode(many=True)
    last_outcome_at = s.DateTimeField(allow_null=True)


class ParamValue(s.Serializer[Any]):
    value = s.JSONField()
    sample_count = s.IntegerField()
    mean = s.FloatField()


class ParamSensitivity(s.Serializer[Any]):
    param = s.CharField()
    values = ParamValue(many=True, help_text="The best first, of paths that are alike but for the parameter.")
    effect = s.FloatField(help_text="The best value's mean less the worst one's.")
    confidence = s.FloatField(help_text="That values all alike would not lie so far apart.")


class ActionableSignal(s.Serializer[Any]):
    type = Choice(SIGNALS)
    severity = Choice(["high", "medium", "low", "info"])
    message = s.CharField()
    data = s.DictField(help_text="The figures and ids to act on.")  # type: ignore[assignment]


class GoalInsight(s.Serializer[Any]):
    goal = s.CharField()
    pipeline_id = s.CharField(allow_null=True)
    status = Choice([status.value for status in Status])
    sample_count = s.IntegerField()
    success_rate = s.FloatField(allow_null=True)
    interval = s.ListField(child=s.FloatField(), allow_null=True, help_text=_INTERVAL)
    mean_score = s.FloatField(allow_null=True)
    trend = Choice(TRENDS)
    top_failure_modes = FailureMode(many=True)
    paths = PathInsight(many=True)
    param_sensitivity = ParamSensitivity(many=True)
    actionable_signals = ActionableSignal(many=True, help_text="The most pressing first.")


class CrossGoalSummary(s.Serializer[Any]):
    goal_count = s.IntegerField()
    sample_count = s.IntegerField()
    by_status = s.DictField(child=s.IntegerField())
    needs_attention = s.ListField(child=s.CharField())


class InsightsOut(s.Serializer[Any]):
    schema_version = s.CharField()
    tenant_id = s.CharField()
    generated_at = s.DateTimeField()
    window_hours = s.FloatField()
    goals = GoalInsight(many=True)
    cross_goal_summary = CrossGoalSummary()


# --- signals and spans ----------------------------------------------------------------------------------------


class SignalIn(s.Serializer[Any]):
    trace_id = s.CharField(required=False, allow_null=True)
    signal_type = s.CharField()
    signal_source = s.CharField(required=False, allow_null=True)
    strength = s.FloatField(required=False, allow_null=True)
    confidence = s.FloatField(required=False, allow_null=True)
    goal = s.CharField(required=False, allow_null=True)
    session_id = s.CharField(required=False, allow_null=True)
    model = s.CharField(required=False, allow_null=True)
    raw_evidence = s.CharField(required=False, allow_null=True)


class SignalOut(Reported):
    status = Choice(ACCEPTED, help_text=_ASIDE)
    trace_id = s.CharField(required=False)
    signal_type = s.CharField(required=False)
    recorded = s.BooleanField(required=False)


class SignalsIn(s.Serializer[Any]):
    signals = SignalIn(many=True)


class EventsIn(s.Serializer[Any]):
    events = s.ListField(child=s.DictField())


class EventsOut(Reported):
    status = Choice(ACCEPTED, help_text=_ASIDE)
    accepted = s.IntegerField()
    rejected = s.IntegerField()


class HealthOut(s.Serializer[Any]):
    status = s.CharField()
    database = s.CharField()
    redis = s.CharField()


# --- snapshots and traces -------------------------------------------------------------------------------------


class GoalConfig(s.Serializer[Any]):
    exploration_rate = s.FloatField()
    min_samples_before_exploit = s.IntegerField()
    rollback_threshold = s.FloatField()
    staleness_days = s.FloatField()
    exploration_on_high_risk = s.BooleanField()


class PosteriorOut(s.Serializer[Any]):
    mean = s.FloatField()
    deviation = s.FloatField()
    a = s.FloatField(help_text="Draw from Beta(a, b).")
    b = s.FloatField()
    counts = s.ListField(child=s.FloatField(), help_text="Outcomes at 0, 0.1, …, 1.")


class FiguresOut(s.Serializer[Any]):
    samples = s.FloatField()
    mean_value = s.FloatField(allow_null=True)
    mean_cost_usd = s.FloatField(allow_null=True)
    cost_samples = s.FloatField()
    p95_latency_ms = s.FloatField(allow_null=True)
    latency_samples = s.FloatField()
    risk_score = s.FloatField(allow_null=True)


class SnapshotPath(s.Serializer[Any]):
    path_id = s.CharField()
    model_id = s.CharField()
    tool_id = s.CharField(allow_null=True)
    tools = s.ListField(child=s.CharField())
    params = s.DictField()
    status = Choice(PathStatus.choices)
    risk_level = s.CharField()
    posterior = PosteriorOut()
    figures = FiguresOut(help_text="Of the last week: what constraints are judged by.")
    sample_count = s.IntegerField()
    tried_at = s.FloatField(allow_null=True, help_text="When the twentieth-last try was, in seconds since 1970.")
    probe_at = s.FloatField(allow_null=True)


class StateOut(s.Serializer[Any]):
    goal = s.CharField()
    pipeline_id = s.CharField(allow_null=True)
    mode = Choice(Mode.choices)
    pinned_path_id = s.CharField(allow_null=True)
    config = GoalConfig()
    constraints = s.DictField()
    idle_share = s.FloatField()
    tries_kept = s.IntegerField()
    paths = SnapshotPath(many=True)
    version = s.CharField()


class TraceDecision(s.Serializer[Any]):
    goal = s.CharField()
    path_id = s.CharField()
    would_path_id = s.CharField(allow_null=True)
    pipeline_id = s.CharField(allow_blank=True)
    risk = s.CharField()
    mode = Choice(Mode.choices)
    exploration = s.BooleanField()
    probability = s.FloatField(allow_null=True)
    confidence = s.FloatField(allow_null=True)
    reason = s.CharField()
    is_reported = s.BooleanField()
    decided_at = s.DateTimeField()


class TraceOutcome(s.Serializer[Any]):
    goal = s.CharField()
    path_id = s.CharField(allow_null=True)
    model_id = s.CharField(allow_null=True)
    pipeline_id = s.CharField(allow_blank=True)
    success = s.BooleanField(allow_null=True)
    score = s.FloatField(allow_null=True)
    confidence = s.FloatField()
    attribution = s.FloatField()
    failure_category = Choice(list(FAILURE_CATEGORIES), allow_null=True)
    source = s.CharField(allow_blank=True, help_text="Whose word it is, if any.")  # type: ignore[assignment]
    at = s.DateTimeField()
    cost_usd = s.FloatField(allow_null=True)
    latency_ms = s.FloatField(allow_null=True)


class TraceEvidence(s.Serializer[Any]):
    key = s.CharField()
    goal = s.CharField()
    path_id = s.CharField(allow_null=True)
    source = Choice(EvidenceSource.choices)  # type: ignore[assignment]
    success = s.BooleanField(allow_null=True)
    score = s.FloatField(allow_null=True)
    confidence = s.FloatField()
    failure_category = Choice(list(FAILURE_CATEGORIES), allow_null=True)
    attribution = s.FloatField(allow_null=True)
    reason = s.CharField(allow_null=True)
    raw_evidence = s.CharField(allow_null=True)
    metadata = s.DictField(allow_null=True)
    occurred_at = s.DateTimeField()
    decided_at = s.DateTimeField(allow_null=True)
    pipeline_id = s.CharField(allow_blank=True)
    withdraws = s.CharField(allow_null=True, help_text="The key of the row that this one takes back.")
    at_random = s.BooleanField(allow_null=True, help_text="Of a review: whether chance chose what was reviewed.")
    recorded_at = s.DateTimeField()


class TraceOut(s.Serializer[Any]):
    trace_id = s.CharField()
    decisions = TraceDecision(many=True)
    outcomes = TraceOutcome(many=True)
    evidence = TraceEvidence(many=True, help_text="All of it, in the order in which it came.")


class ChangeOut(s.Serializer[Any]):
    change = s.CharField()
    goal = s.CharField()
    path_id = s.CharField()
    model_id = s.CharField()
    reason = s.CharField()
    figures = s.DictField()
    actor = s.CharField()
    at = s.DateTimeField()


class ChangesOut(s.Serializer[Any]):
    changes = ChangeOut(many=True)


class PriceShape(s.Serializer[Any]):
    model = s.CharField()
    input_usd = s.FloatField(min_value=0, help_text="Dollars for a million tokens in.")
    output_usd = s.FloatField(min_value=0, help_text="Dollars for a million tokens out.")


class PriceOut(PriceShape):
    as_of = s.DateField()
    is_own = s.BooleanField()


class PricesOut(s.Serializer[Any]):
    prices = PriceOut(many=True)
