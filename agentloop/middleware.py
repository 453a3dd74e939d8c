"""What every request passes: an id, a path without doubled slashes, and its time in the metrics."""

import re
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from uuid_utils import uuid7

from agentloop.logs import begin_request

_SLASHES = re.compile("//+")


class RequestScope:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request_id = begin_request(request.META.get("HTTP_X_REQUEST_ID", ""), uuid7().hex)
        if "//" in request.path_info:
            # Published clients join a base that ends in a slash with a path that begins with one.
            request.path_info = _SLASHES.sub("/", request.path_info)
            request.path = _SLASHES.sub("/", request.path)
        response = self.get_response(request)
        response["X-Request-ID"] = request_id
        return response
