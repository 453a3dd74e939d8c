"""Middleware that only people in browsers need. A program with a key passes by: on the hot paths, sessions,
messages, sign-in and page headers cost more than all that intake itself does in Python. So does whoever opens a
feedback link: those pages know no session or cookie, and set headers of their own.

Safe to leave out: `tenancy.reach_of` looks at the key first, and never at a session beside it.
"""

import re
from collections.abc import Callable
from typing import Any

from csp.middleware import CSPMiddleware
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.csrf import CsrfViewMiddleware
from django_htmx.middleware import HtmxMiddleware
from whitenoise.middleware import WhiteNoiseMiddleware

from agentloop.errors import is_api

Respond = Callable[[HttpRequest], HttpResponseBase]
_FEEDBACK = re.compile(r"/(?:p/[^/]+/)?(?:f/.+|feedback)\Z")
HOOKS = ("process_view", "process_exception", "process_template_response")


def is_program(request: HttpRequest) -> bool:
    """A call of the API with a key. A browser behind a proxy that asks for a password sends a header too."""
    headers = request.META
    has_key = "HTTP_X_API_KEY" in headers or headers.get("HTTP_AUTHORIZATION", "")[:7].lower() == "bearer "
    return has_key and is_api(request)


def passes_by(request: HttpRequest) -> bool:
    return is_program(request) or _FEEDBACK.match(request.path_info) is not None


def _for_people(factory: Callable[[Respond], Any]) -> Callable[[Respond], Respond]:
    """The middleware, passed by when the request comes with a key or opens a feedback link."""

    def build(get_response: Respond) -> Respond:
        inner = factory(get_response)

        def middleware(request: HttpRequest) -> HttpResponseBase:
            return get_response(request) if passes_by(request) else inner(request)

        for hook in HOOKS:
            if hasattr(inner, hook):
                setattr(middleware, hook, getattr(inner, hook))
        return middleware

    return build


static_files = _for_people(WhiteNoiseMiddleware)
content_policy = _for_people(CSPMiddleware)
sessions = _for_people(SessionMiddleware)
csrf = _for_people(CsrfViewMiddleware)
signed_in = _for_people(AuthenticationMiddleware)
messages = _for_people(MessageMiddleware)
partial_pages = _for_people(HtmxMiddleware)
frames = _for_people(XFrameOptionsMiddleware)
