"""Errors as data: a code, a status, and a docstring that is the sentence a person reads.

Functions raise them; faces do not catch them; `answer` renders each as the one shape of the JSON API.
"""

import logging
import math
import sys
import traceback
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import DataError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, JsonResponse, UnreadablePostError
from django.http.response import HttpResponseBase
from rest_framework import exceptions as drf
from rest_framework.response import Response

log = logging.getLogger("agentloop.errors")


class AppError(Exception):
    """Something went wrong."""

    code = "error"
    http_status = 400

    def __init__(
        self,
        sentence: str | None = None,
        *,
        fields: dict[str, str] | None = None,
        retry_after: float | None = None,
        **extra: Any,
    ) -> None:
        self.sentence = sentence or (type(self).__doc__ or "").strip()
        self.fields = fields or {}
        self.retry_after = retry_after
        self.extra = extra
        super().__init__(self.sentence)

    def body(self) -> dict[str, Any]:
        return {"error": self.sentence, "code": self.code, "fields": self.fields, **self.extra}


class NoKey(AppError):
    """No API key came with this request: send it as `Authorization: Bearer <key>` or `X-API-Key: <key>`."""

    code, http_status = "no_key", 401


class UnknownKey(AppError):
    """This API key is unknown, expired or revoked: an owner can make a new one."""

    code, http_status = "unknown_key", 401


class MissingScope(AppError):
    """This API key may not do that."""

    code, http_status = "missing_scope", 403


class NotAllowed(AppError):
    """Your role in this project does not allow that."""

    code, http_status = "not_allowed", 403


class WrongTenant(AppError):
    """The tenant that the request names is not the one this API key belongs to."""

    code, http_status = "wrong_tenant", 403


class NotFound(AppError):
    """There is nothing here by that name."""

    code, http_status = "not_found", 404


class Conflict(AppError):
    """Something else has changed this in the meantime."""

    code, http_status = "conflict", 409


class Invalid(AppError):
    """The request is not valid."""

    code, http_status = "invalid", 422


class TooLarge(AppError):
    """The request is larger than 5 MB: send less at once."""

    code, http_status = "too_large", 413


class TooManyRequests(AppError):
    """Too many requests with this key: slow down and try again after the time in Retry-After."""

    code, http_status = "rate_limited", 429


class CsrfFailed(AppError):
    """This page is too old or came from elsewhere: load it again and repeat what you did."""

    code, http_status = "csrf_failed", 403


class Unreadable(AppError):
    """The request ended before all of it had arrived: send it again."""

    code, http_status = "unreadable", 400


class Unstorable(AppError):
    """A value cannot be stored: a number is out of range, a date does not exist, or a text holds U+0000."""

    code, http_status = "unstorable", 422


class DatabaseAway(AppError):
    """The database cannot be reached just now: try again in a few seconds."""

    code, http_status = "database_away", 503


class DatabaseBusy(AppError):
    """The database could not do this just now: try again in a few seconds."""

    code, http_status = "database_busy", 503


class BadJSON(AppError):
    """The body is not JSON."""

    code, http_status = "bad_json", 400


SENTENCES = {
    400: ("bad_request", "The request could not be read."),
    403: ("forbidden", "This is not allowed."),
    404: ("not_found", "There is nothing at this address."),
    405: ("method_not_allowed", "This address does not take that method."),
    406: ("not_acceptable", "The answer is JSON; nothing else can be had here."),
    413: ("too_large", "The request is larger than 5 MB: send less at once."),
    415: ("unsupported_media_type", "The body must be JSON, sent as `Content-Type: application/json`."),
    414: ("too_long", "The address is too long."),
    500: ("server_error", "Something broke on our side. It has been logged; please try again."),
}


def plain(status: int, sentence: str | None = None, **extra: Any) -> dict[str, Any]:
    code, default = SENTENCES.get(status, ("error", "The request failed."))
    return {"error": sentence or default, "code": code, "fields": {}, **extra}


def answer(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler: every error of the JSON API in its one shape. An unknown one is left to raise."""
    known = as_app_error(error)
    if known is not None:
        return Response(known.body(), status=known.http_status, headers=headers_of(known))
    if isinstance(error, drf.APIException):
        headers = {}
        if isinstance(error, drf.MethodNotAllowed):
            view = context.get("view")
            headers["Allow"] = ", ".join(view.allowed_methods) if view else ""
        return Response(plain(error.status_code), status=error.status_code, headers=headers)
    return None


def headers_of(error: AppError) -> dict[str, str]:
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    if error.http_status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return headers


def as_app_error(error: BaseException) -> AppError | None:
    """What a framework's or the database's exception means to a client; None for one that is a defect of ours."""
    if isinstance(error, AppError):
        return error
    if isinstance(error, OperationalError | InterfaceError):
        return _of_database(error)
    if isinstance(error, DataError | UnicodeEncodeError):
        return Unstorable()
    if isinstance(error, UnreadablePostError):
        return Unreadable()
    if isinstance(error, Http404):
        return NotFound()
    if isinstance(error, PermissionDenied):
        return NotAllowed()
    if isinstance(error, RequestDataTooBig):
        return TooLarge()
    if isinstance(error, drf.ValidationError):
        fields = _flat(error.detail)
        sentence = next(iter(fields.values()), Invalid.__doc__ or "")
        return Invalid(sentence, fields=fields)
    return None


def _of_database(error: Exception) -> AppError:
    """An SQLSTATE says that the server is there and refused: a lock timeout, a deadlock, a full disk."""
    state = getattr(error.__cause__, "sqlstate", None) or ""
    log.error("database_error sqlstate=%s kind=%s", state or "none", type(error.__cause__ or error).__name__)
    is_there = state and not state.startswith(("08", "57P", "53300"))
    return DatabaseBusy(retry_after=2) if is_there else DatabaseAway(retry_after=5)


def _flat(detail: Any, path: str = "") -> dict[str, str]:
    """DRF's nested details as `{"signals.0": "sentence"}`."""
    if isinstance(detail, dict):
        items = detail.items()
    elif isinstance(detail, list) and any(isinstance(part, dict | list) for part in detail):
        items = {str(index): part for index, part in enumerate(detail) if part}.items()
    else:
        first = detail[0] if isinstance(detail, list) and detail else detail
        return {path or "body": _sentence(path, str(first))}
    flat: dict[str, str] = {}
    for name, part in items:
        label = path if name == "non_field_errors" else f"{path}.{name}".strip(".")
        flat.update(_flat(part, label))
    return flat


def _sentence(field: str, text: str) -> str:
    """DRF's "This field is required." with the field named, for a client that reads the sentence alone."""
    if text.startswith("This field "):
        return f"{field or 'The body'} {text.removeprefix('This field ')}"
    return text if not field or field in text else f"{field}: {text}"


def wants_json(request: HttpRequest) -> bool:
    """Whether an error here is told as JSON: always below an API's path, elsewhere unless a browser asks."""
    if is_api(request) or request.path.startswith("/api/docs"):
        return is_api(request)
    accepts = request.META.get("HTTP_ACCEPT", "")
    return not ("text/html" in accepts or "HTTP_HX_REQUEST" in request.META or request.META.get("HTTP_COOKIE"))


def is_api(request: HttpRequest) -> bool:
    path = request.path.lstrip("/")
    if path.startswith("p/"):
        path = path.partition("/")[2].partition("/")[2]
    return path.startswith(("v1/", "api/")) and not path.startswith("api/docs")


def json_answer(status: int, sentence: str | None = None) -> JsonResponse:
    return JsonResponse(plain(status, sentence), status=status)


def in_one_shape(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """The same answer, with a body in the one shape where a framework answered an API's path without."""
    is_json = response.get("Content-Type", "").startswith("application/json")
    if response.status_code < 400 or is_json or response.streaming:
        return response
    is_bare = not getattr(response, "content", b"")
    if not (is_api(request) or (is_bare and wants_json(request))):
        return response
    shaped = json_answer(response.status_code)
    for name in ("Allow", "Retry-After"):
        if name in response:
            shaped[name] = response[name]
    return shaped


def log_defect(request: HttpRequest) -> None:
    """The exception at hand: its kind and where it arose. Never its message, which may quote what a user wrote."""
    kind, error, trace = sys.exc_info()
    match = request.resolver_match
    frames = traceback.extract_tb(trace)[-6:]
    log.error(
        "defect kind=%s sqlstate=%s method=%s route=%s at=%s",
        kind.__name__ if kind else "none",
        getattr(getattr(error, "__cause__", None), "sqlstate", None) or "none",
        request.method,
        match.route if match else "none",
        " < ".join(f"{frame.filename}:{frame.lineno}:{frame.name}" for frame in reversed(frames)),
    )
