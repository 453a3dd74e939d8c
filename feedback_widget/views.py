"""The pages behind feedback links. Opening one writes nothing: mail programs open links to scan them."""

import time
from collections.abc import Callable

from django.core.signing import BadSignature, Signer
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from agentloop.addresses import client_address
from agentloop.errors import as_app_error
from agentloop.signing import Link, open_query, open_token
from feedback_widget import limits, pages
from feedback_widget.errors import NoRating, TooMuchText, TooQuick
from feedback_widget.submissions import Opened, Said, look, read_said, submit
from review.models import Rating

MAX_FORM = 64 * 1024
# From when the page was made: no person reads, taps and sends in less.
QUICKEST_SECONDS = 0.8
_stamps = Signer(salt="agentloop.feedback.opened")


@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
def short(request: HttpRequest, token: str, project: str | None = None) -> HttpResponse:
    return _answer(request, lambda: open_token(token, project))


@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
def published(request: HttpRequest, project: str | None = None) -> HttpResponse:
    return _answer(request, lambda: open_query(request.META.get("QUERY_STRING", ""), project))


def _answer(request: HttpRequest, open_link: Callable[[], Link]) -> HttpResponse:
    """Shows the form or takes it; a failure is told on a page of its own, in the reader's language."""
    link, address = None, client_address(request)
    try:
        if request.method != "POST":
            limits.take_opening(address)
            link = open_link()
            return _show(request, look(link))
        limits.take_post(address)
        _check_size(request)
        link = open_link()
        limits.take_submission(link, address)
        return _take(request, link, address)
    except Exception as error:
        known = as_app_error(error)
        if known is None:
            raise
        return pages.failure(request, known, link.project if link else getattr(error, "project", None))


def _show(request: HttpRequest, opened: Opened) -> HttpResponse:
    if opened.said is not None and opened.is_final:
        return pages.thanks(request, opened, opened.said)
    asked = request.GET.get("rating", "")
    said = opened.said or Said(asked if asked in Rating.values else "")
    return pages.form(request, opened, said, _stamp(opened.link))


def _take(request: HttpRequest, link: Link, address: str) -> HttpResponse:
    sent = request.POST
    texts = {name: sent.get(name, "") for name in ("rating", "correction", "comment")}
    reasons = sent.getlist("reason")
    try:
        said = read_said(**texts, reasons=reasons)
        _check_pace(link, sent.get("opened"))
    except (NoRating, TooQuick) as error:
        said = Said(texts["rating"], texts["correction"], tuple(reasons), texts["comment"])
        problem = "choose" if isinstance(error, NoRating) else "quick"
        return pages.form(request, look(link), said, _stamp(link), problem, error.http_status)
    if sent.get("website"):
        # Nobody sees this field, so a program filled it: it is told what it wants to hear.
        return pages.thanks(request, look(link), said)
    opened = submit(link, said, address)
    return pages.thanks(request, opened, opened.said or said)


def _check_size(request: HttpRequest) -> None:
    length = request.META.get("CONTENT_LENGTH") or "0"
    if not length.isdecimal() or int(length) > MAX_FORM:
        raise TooMuchText


def _stamp(link: Link) -> str:
    return _stamps.sign(f"{link.identity.hex()[:16]}.{int(time.time() * 1000)}")


def _check_pace(link: Link, stamp: str | None) -> None:
    """Raises TooQuick for a form that comes back at once. A program of the owner's that sends no form has no stamp."""
    if stamp is None:
        return
    try:
        identity, _, at = _stamps.unsign(stamp).partition(".")
    except BadSignature as error:
        raise TooQuick from error
    if identity != link.identity.hex()[:16] or time.time() - int(at) / 1000 < QUICKEST_SECONDS:
        raise TooQuick
