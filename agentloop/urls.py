"""Every path, with and without the `/p/<project>` prefix. Nothing here ever redirects an API call."""

from django.urls import include, path

import agentloop.account_urls
import agentloop.admin_urls
import agentloop.settings_urls
import feedback_widget.urls
import review.urls
import routing.urls
from agentloop import health, metrics, reference, schema, theme
from review import backlog, overview
from routing import sampling

api = [
    *review.urls.api,
    *routing.urls.api,
    *agentloop.admin_urls.api,
    *feedback_widget.urls.api,
]

urlpatterns = [
    *feedback_widget.urls.pages,
    *api,
    path("p/<slug:project>/", include([*feedback_widget.urls.pages, *api])),
    path("", overview.overview, name="overview"),
    path("p/<slug:project>/", include(review.urls.pages)),
    path("p/<slug:project>/", include(routing.urls.pages)),
    path("p/<slug:project>/", overview.project_overview, name="project_overview"),
    path("p/<slug:project>/", include(agentloop.settings_urls.pages)),
    path("theme/", theme.set_theme, name="theme"),
    *feedback_widget.urls.owners,
    path("accounts/", include(agentloop.account_urls)),
    path("api/schema/", schema.schema, name="schema"),
    path("api/docs/", reference.reference, name="reference"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", metrics.metrics, name="metrics"),
]

metrics.add_gauges(backlog.gauges)
metrics.add_gauges(sampling.gauges)

handler400 = "agentloop.error_pages.bad_request"
handler403 = "agentloop.error_pages.forbidden"
handler404 = "agentloop.error_pages.not_found"
handler500 = "agentloop.error_pages.server_error"
