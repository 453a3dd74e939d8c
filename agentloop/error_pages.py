"""Errors outside the JSON API's views: JSON for programs, a plain page that says what to do for people."""

import sys

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string

from agentloop.errors import AppError, CsrfFailed, as_app_error, headers_of, json_answer, log_defect, wants_json
from agentloop.logs import request_id

TITLES = {
    400: "That request could not be read",
    401: "Please sign in",
    403: "This is not allowed",
    404: "There is nothing here",
    409: "This has changed",
    410: "This link has ended",
    413: "That is too large",
    422: "Something is not right",
    429: "Too fast",
    500: "Something broke on our side",
    503: "Back in a moment",
}
SENTENCES = {
    400: "What your browser sent could not be understood. Go back and try again.",
    403: "Your account may not open this. An owner of the project can change that.",
    404: "The address may be mistyped, or what it named is gone, or it belongs to a project you are not a member of.",
    500: "It has been logged. Please try again; if it keeps happening, tell your operator the request id below.",
}


def page(request: HttpRequest, status: int, sentence: str | None = None) -> HttpResponse:
    """Rendered without a session or a query: the page must stand when the database does not."""
    known = {
        "status": status,
        "title": TITLES.get(status, "That did not work"),
        "sentence": sentence or SENTENCES.get(status, "Please try again."),
        "request_id": request_id(),
    }
    return HttpResponse(render_to_string("agentloop/error.html", known), status=status)


def answer(request: HttpRequest, error: AppError) -> HttpResponse:
    """An AppError that no API view rendered."""
    response: HttpResponse
    if getattr(request, "htmx", False):
        response = notice(error)
    elif wants_json(request):
        response = JsonResponse(error.body(), status=error.http_status)
    else:
        response = page(request, error.http_status, error.sentence)
    for name, value in headers_of(error).items():
        response[name] = value
    return response


def notice(error: AppError) -> HttpResponse:
    """What went wrong, as a line beside a page that stays as it is."""
    text = render_to_string("agentloop/_notice.html", {"kind": "error", "text": error.sentence})
    response = HttpResponse(text, status=error.http_status)
    response["HX-Retarget"], response["HX-Reswap"] = "#notices", "beforeend"
    return response


def _of_status(request: HttpRequest, status: int) -> HttpResponse:
    return json_answer(status) if wants_json(request) else page(request, status)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django calls a body that is too large a bad request; its status is 413."""
    known = as_app_error(exception)
    return answer(request, known) if known else _of_status(request, 400)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _of_status(request, 403)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _of_status(request, 404)


def server_error(request: HttpRequest) -> HttpResponse:
    """A middleware's known error, or a defect, which is logged without its message."""
    error = sys.exc_info()[1]
    known = as_app_error(error) if error else None
    if known:
        return answer(request, known)
    log_defect(request)
    return _of_status(request, 500)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return answer(request, CsrfFailed())
