"""The review side's paths. `api` stands at the root and below `/p/<project>/`."""

from django.urls import path

from review import api as views
from review import export_api as exports

api = [
    path("v1/turns", views.TurnsView.as_view(), name="turns"),
    path("v1/turns/batch", views.TurnBatchView.as_view(), name="turns_batch"),
    path("v1/turns/<str:turn_id>", views.TurnView.as_view(), name="turn"),
    path("v1/turns/<str:turn_id>/verdict", views.VerdictView.as_view(), name="turn_verdict"),
    path("v1/turns/<str:turn_id>/heartbeat", views.HeartbeatView.as_view(), name="turn_heartbeat"),
    path("v1/turns/<str:turn_id>/release", views.ReleaseView.as_view(), name="turn_release"),
    path("v1/turns/<str:turn_id>/skip", views.SkipView.as_view(), name="turn_skip"),
    path("v1/turns/<str:turn_id>/snooze", views.SnoozeView.as_view(), name="turn_snooze"),
    path("v1/turns/<str:turn_id>/escalate", views.EscalateView.as_view(), name="turn_escalate"),
    path("v1/turns/<str:turn_id>/dismiss", views.DismissView.as_view(), name="turn_dismiss"),
    path("v1/turns/<str:turn_id>/reopen", views.ReopenView.as_view(), name="turn_reopen"),
    path("v1/turns/<str:turn_id>/draft", views.DraftView.as_view(), name="turn_draft"),
    path("v1/turns/<str:turn_id>/history", views.HistoryView.as_view(), name="turn_history"),
    path("v1/queue/claim", views.ClaimView.as_view(), name="claim"),
    path("v1/acts/<str:act_id>/undo", views.UndoView.as_view(), name="undo"),
    path("v1/annotations", views.AnnotationsView.as_view(), name="annotations"),
    path("v1/annotations/<str:annotation_id>", views.AnnotationView.as_view(), name="annotation"),
    path("v1/memories/search", views.MemorySearchView.as_view(), name="memory_search"),
    path("v1/memories/<str:memory_id>", views.MemoryView.as_view(), name="memory"),
    path("v1/export/turns.<str:form>", exports.TurnExportView.as_view(), name="export_turns"),
    path("v1/export/annotations.<str:form>", exports.AnnotationExportView.as_view(), name="export_annotations"),
    path("v1/export/audit.<str:form>", exports.AuditExportView.as_view(), name="export_audit"),
    path("v1/erasure", views.ErasureView.as_view(), name="erasure"),
    path("v1/stats", views.StatsView.as_view(), name="stats"),
]
