"""The review side's paths. `api` stands at the root and below `/p/<project>/`."""

from django.urls import path

from review import api as views
from review import export_api as exports
from review import overview
from review.pages import annotations, gold, lists, memories, quality, queue, rubric, verdict, weights
from review.pages import exports as exports_page

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
    path("v1/gold", views.GoldTurnsView.as_view(), name="gold_turns"),
    path("v1/gold/accuracy", views.GoldAccuracyView.as_view(), name="gold_accuracy"),
    path("v1/gold/<str:gold_id>", views.GoldTurnView.as_view(), name="gold_turn"),
    path("v1/gold/<str:gold_id>/retire", views.RetireGoldView.as_view(), name="gold_retire"),
    path("v1/rubric", views.RubricView.as_view(), name="rubric"),
    path("v1/erasure", views.ErasureView.as_view(), name="erasure"),
    path("v1/stats", views.StatsView.as_view(), name="stats"),
]

# Below `/p/<project>/` alone: pages for members.
pages = [
    path("queue/", queue.queue_page, name="queue"),
    path("queue/next/", queue.queue_next, name="queue_next"),
    path("queue/turns/<str:turn_id>/", queue.queue_turn, name="queue_turn"),
    path("queue/turns/<str:turn_id>/claim/", queue.queue_claim, name="queue_claim"),
    path("queue/turns/<str:turn_id>/heartbeat/", queue.queue_heartbeat, name="queue_heartbeat"),
    path("queue/turns/<str:turn_id>/release/", queue.queue_release, name="queue_release"),
    path("queue/turns/<str:turn_id>/draft/", queue.queue_draft, name="queue_draft"),
    path("queue/turns/<str:turn_id>/verdict/", queue.queue_verdict, name="queue_verdict"),
    path("queue/turns/<str:turn_id>/skip/", queue.queue_skip, name="queue_skip"),
    path("queue/turns/<str:turn_id>/snooze/", queue.queue_snooze, name="queue_snooze"),
    path("queue/turns/<str:turn_id>/escalate/", queue.queue_escalate, name="queue_escalate"),
    path("queue/turns/<str:turn_id>/dismiss/", queue.queue_dismiss, name="queue_dismiss"),
    path("queue/turns/<str:turn_id>/reopen/", queue.queue_reopen, name="queue_reopen"),
    path("queue/views/", lists.queue_views, name="queue_views"),
    path("queue/views/<str:view_id>/delete/", lists.queue_view_delete, name="queue_view_delete"),
    path("queue/bulk/", lists.queue_bulk, name="queue_bulk"),
    path("queue/bulk/run/", lists.queue_bulk_run, name="queue_bulk_run"),
    path("queue/bulk/<str:bulk_id>/", lists.queue_bulk_job, name="queue_bulk_job"),
    path("queue/bulk/<str:bulk_id>/undo/", lists.queue_bulk_undo, name="queue_bulk_undo"),
    path("quality/", quality.quality_page, name="quality"),
    path("quality/gold/", gold.gold_page, name="quality_gold"),
    path("quality/gold/<str:gold_id>/retire/", gold.gold_retire, name="quality_gold_retire"),
    path("quality/gold/<str:gold_id>/remove/", gold.gold_remove, name="quality_gold_remove"),
    path("queue/turns/<str:turn_id>/gold/", gold.gold_make, name="quality_gold_make"),
    path("settings/rubric/", rubric.rubric_page, name="settings_rubric"),
    path("queue/acts/<str:act_id>/undo/", queue.queue_undo, name="queue_undo"),
    path("first-key/", overview.first_key, name="project_overview_first_key"),
    path("annotations/", annotations.annotations_page, name="annotations_page"),
    path("annotations/<str:annotation_id>/", verdict.annotations_page_verdict, name="annotations_page_verdict"),
    path("memories/", memories.memories_page, name="memories_page"),
    path("memories/<str:memory_id>/edit/", memories.edit_memory, name="memories_page_edit"),
    path("memories/<str:memory_id>/revoke/", memories.revoke_memory, name="memories_page_revoke"),
    path("settings/weights/", weights.weights_page, name="settings_weights"),
    path("exports/", exports_page.exports_page, name="exports_page"),
]
