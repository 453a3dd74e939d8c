"""What every request passes: an id, single slashes, one shape of errors, and its time in the metrics."""

import re
import time
from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from uuid_utils import uuid7

from agentloop import error_pages, metrics
from agentloop.errors import as_app_error, in_one_shape
from agentloop.logs import begin_request

_SLASHES = re.compile("//+")


class RequestScope:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        began = time.perf_counter()
        request_id = begin_request(request.META.get("HTTP_X_REQUEST_ID", ""), uuid7().hex)
        if "//" in request.path_info:
            # Published clients join a base that ends in a slash with a path that begins with one.
            request.path_info = _SLASHES.sub("/", request.path_info)
            request.path = _SLASHES.sub("/", request.path)
        response = self.get_response(request)
        if response.status_code >= 400:
            response = in_one_shape(request, response)
        response["X-Request-ID"] = request_id
        metrics.count_request(request, response.status_code, time.perf_counter() - began)
        return response

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponseBase | None:
        """A known error that a page's view raised. What remains is a defect: handler500 answers and logs it."""
        known = as_app_error(error)
        return error_pages.answer(request, known) if known else None
