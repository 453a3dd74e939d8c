"""The base of every page for members: who may open it, and what each of them shows around its content."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django_htmx.middleware import HtmxDetails

from agentloop.actors import Actor
from agentloop.errors import NotAllowed
from agentloop.models import Member, Project
from agentloop.navigation import links_of
from agentloop.tenancy import reach_among


class MemberRequest(HttpRequest):
    """A member's request for a page of one of their projects."""

    user: User
    htmx: HtmxDetails
    memberships: list[Member]
    project: Project
    actor: Actor


PageView = Callable[..., HttpResponse]


def member_page(scope: str) -> Callable[[PageView], Callable[..., HttpResponse]]:
    """For `/p/<project>/…`: signs in whoever isn't, hides strangers' projects, and asks the role for `scope`."""

    def decorate(view: PageView) -> Callable[..., HttpResponse]:
        @login_required
        @wraps(view)
        def page(request: Any, project: str, *args: Any, **kwargs: Any) -> HttpResponse:
            request.memberships = list(memberships_of(request.user))
            reach = reach_among(request.memberships, project)
            if not reach.actor.may(scope):
                raise NotAllowed
            request.project, request.actor = reach.project, reach.actor
            return view(request, *args, **kwargs)

        return page

    return decorate


def memberships_of(user: User) -> QuerySet[Member]:
    """What the project switcher lists. One query."""
    members = Member.objects.filter(user=user).select_related("project", "user")
    return members.order_by("project__name", "project__slug")


def render_page(
    request: HttpRequest, template: str, known: Mapping[str, Any], *, partial: str | None = None
) -> HttpResponse:
    """A page inside the site's frame: navigation, project switcher, account. No query beside the page's own.

    `partial` is the template of the piece that a request of htmx replaces: at the same address it gets that alone.
    """
    project, actor = getattr(request, "project", None), getattr(request, "actor", None)
    frame: dict[str, Any] = {"project": project, "actor": actor}
    htmx: HtmxDetails = request.htmx  # type: ignore[attr-defined]
    if partial and htmx and not htmx.boosted and not htmx.history_restore_request:
        response = render(request, partial, {**frame, **known})
    else:
        mine = getattr(request, "memberships", None)
        frame["memberships"] = mine if mine is not None else list(memberships_of(request.user))  # type: ignore[arg-type]
        frame["nav"] = links_of(request, project, actor) if project and actor else []
        response = render(request, template, {**frame, **known})
    if partial:
        patch_vary_headers(response, ["HX-Request"])
    return response


def site_address(request: HttpRequest) -> str:
    """Where clients reach this site: as the operator said, else as this browser came."""
    if settings.BASE_URL_IS_GIVEN:
        return settings.BASE_URL
    return request.build_absolute_uri("/").rstrip("/")


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a chart drawn on the server: the attributes of an SVG rectangle and what it stands for."""

    label: str
    value: int
    x: float
    y: float
    width: float
    height: float


def bars_of(values: list[tuple[str, int]], *, width: float, height: float, gap: float = 3) -> list[Bar]:
    """Upright bars that fill the box; a value above zero is never too small to be seen."""
    most = max((value for _, value in values), default=0) or 1
    step = width / max(len(values), 1)
    bars = []
    for index, (label, value) in enumerate(values):
        tall = max(2.0, height * value / most) if value else 0.0
        x, y = round(index * step, 2), round(height - tall, 2)
        bars.append(Bar(label, value, x, y, round(step - gap, 2), round(tall, 2)))
    return bars
