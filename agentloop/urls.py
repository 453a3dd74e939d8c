"""Every path, with and without the `/p/<project>` prefix. Nothing here ever redirects an API call."""

from django.urls import include, path

import review.urls

api = [
    *review.urls.api,
]

urlpatterns = [
    *api,
    path("p/<slug:project>/", include(api)),
]
