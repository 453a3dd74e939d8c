"""The pages of what was kept, below `/p/<project>/` alone."""

from django.urls import path

from review import overview
from review.pages import annotations, exports, memories, weights

pages = [
    path("first-key/", overview.first_key, name="project_overview_first_key"),
    path("annotations/", annotations.annotations_page, name="annotations_page"),
    path("memories/", memories.memories_page, name="memories_page"),
    path("memories/<str:memory_id>/edit/", memories.edit_memory, name="memories_page_edit"),
    path("memories/<str:memory_id>/revoke/", memories.revoke_memory, name="memories_page_revoke"),
    path("settings/weights/", weights.weights_page, name="settings_weights"),
    path("exports/", exports.exports_page, name="exports_page"),
]
