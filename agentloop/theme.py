"""Light or dark, where a reader prefers otherwise than their system: kept in a cookie of their browser."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

COOKIE = "theme"
THEMES = ("light", "dark")
YEAR_SECONDS = 365 * 86_400


def theme_of(request: HttpRequest) -> dict[str, Any]:
    """For every template: `theme` is light, dark, or empty where the system decides."""
    chosen = request.COOKIES.get(COOKIE)
    return {"theme": chosen if chosen in THEMES else ""}


@require_POST
def set_theme(request: HttpRequest) -> HttpResponse:
    """Keeps the choice and goes back to where it was made; any other value leaves it to the system again."""
    came_from = request.POST.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(came_from, allowed_hosts={request.get_host()})
    response = redirect(came_from if is_ours else "/")
    chosen = request.POST.get("theme")
    if chosen in THEMES:
        response.set_cookie(COOKIE, chosen, max_age=YEAR_SECONDS, samesite="Lax", secure=request.is_secure())
    else:
        response.delete_cookie(COOKIE)
    return response
