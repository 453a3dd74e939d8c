"""What the web server loads."""

import io
import os
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "agentloop.settings")
site = get_wsgi_application()
# Everything that views need is imported before the first request rather than by it.
_ = get_resolver().url_patterns


def application(request: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    if "HTTP_TRANSFER_ENCODING" in request:
        _measure(request)
    return site(request, start_response)


def _measure(request: dict[str, Any]) -> None:
    """A body in chunks names no length, and Django would take it for empty. One byte too many is still refused."""
    body = request["wsgi.input"].read(settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)
    request["wsgi.input"], request["CONTENT_LENGTH"] = io.BytesIO(body), str(len(body))
