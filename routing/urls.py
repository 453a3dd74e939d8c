"""The routing side's paths. `api` stands at the root and below `/p/<project>/`, `pages` below the latter alone."""

from django.urls import path

from routing import api as views
from routing import goal_pages

api = [
    path("api/v1/routing/decide", views.DecideView.as_view(), name="decide"),
    path("api/v1/routing/decisions", views.DecisionsView.as_view(), name="decisions"),
    path("api/v1/routing/state", views.StateView.as_view(), name="routing_state"),
    path("api/v1/routing/paths", views.PathsView.as_view(), name="paths"),
    path("api/v1/routing/paths/<str:path_id>", views.PathView.as_view(), name="path"),
    path("api/v1/routing/config", views.ConfigView.as_view(), name="routing_config"),
    path("api/v1/routing/goals", views.GoalsView.as_view(), name="goals"),
    path("api/v1/routing/goals/<path:goal>", views.GoalView.as_view(), name="goal"),
    path("api/v1/routing/changes", views.ChangesView.as_view(), name="path_changes"),
    path("api/v1/routing/prices", views.PricesView.as_view(), name="prices"),
    path("api/v1/routing/traces/<path:trace_id>", views.TraceView.as_view(), name="trace"),
    path("api/v1/intelligence/report-outcome", views.ReportOutcomeView.as_view(), name="report_outcome"),
    path("api/v1/intelligence/outcomes", views.OutcomesView.as_view(), name="report_outcomes"),
    path("api/v1/intelligence/update-outcome", views.UpdateOutcomeView.as_view(), name="update_outcome"),
    path("api/v1/intelligence/policy", views.PolicyView.as_view(), name="policy"),
    path("api/v1/intelligence/recommend", views.RecommendView.as_view(), name="recommend"),
    path("api/v1/intelligence/insights", views.InsightsView.as_view(), name="insights"),
    path("api/v1/intelligence/signals", views.SignalsView.as_view(), name="intelligence_signals"),
    path("api/v1/intelligence/signals/batch", views.SignalBatchView.as_view(), name="signals_batch"),
    path("api/v1/signals", views.FeedbackSignalsView.as_view(), name="signals"),
    path("api/v1/intelligence/health", views.IntelligenceHealthView.as_view(), name="intelligence_health"),
    path("api/health", views.HealthView.as_view(), name="routing_health"),
    path("api/ingest", views.EventsView.as_view(), name="ingest"),
    path("api/v1/traces", views.TracesView.as_view(), name="traces"),
]

pages = [
    path("goals/", goal_pages.project_goals, name="project_goals"),
    path("goals/<str:goal_key>/", goal_pages.project_goals_goal, name="project_goals_goal"),
    path("goals/<str:goal_key>/log/", goal_pages.project_goals_log, name="project_goals_log"),
    path("goals/<str:goal_key>/settings/", goal_pages.project_goals_settings, name="project_goals_settings"),
    path("goals/<str:goal_key>/preview/", goal_pages.project_goals_preview, name="project_goals_preview"),
    path("goals/<str:goal_key>/paths/<str:path_id>/", goal_pages.project_goals_path, name="project_goals_path"),
]
