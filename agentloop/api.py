"""The base of every view of the JSON API."""

from typing import Any, ClassVar, cast

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.views import APIView

from agentloop import ratelimit
from agentloop.actors import Actor
from agentloop.auth import require_scope
from agentloop.errors import AppError, as_app_error, headers_of
from agentloop.models import Project
from agentloop.parsing import FastJSON, read_object
from agentloop.people import is_program
from agentloop.tenancy import Reach, reach_of

_JSON = FastJSON()


class ApiView(APIView):
    """One project's API: `scopes` says what each method needs, `rate_limited` whether the key's bucket pays."""

    scopes: ClassVar[dict[str, str]] = {}
    rate_limited: ClassVar[bool] = True

    def dispatch(self, request: HttpRequest, *args: Any, project: str | None = None, **kwargs: Any) -> HttpResponseBase:
        request.project_slug = project  # type: ignore[attr-defined]
        return super().dispatch(request, *args, **kwargs)

    def perform_content_negotiation(self, request: Request, force: bool = False) -> tuple[FastJSON, str]:
        """The answer is JSON, whatever a client says it takes: it is what it can read."""
        return _JSON, FastJSON.media_type

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if self.rate_limited:
            ratelimit.take(self.project, self.actor.ref)

    @property
    def reach(self) -> Reach:
        """What `agentloop.auth` found the request to reach: DRF's stubs know only their own kinds of it."""
        return cast("Reach", self.request.auth)

    @property
    def project(self) -> Project:
        return self.reach.project

    @property
    def actor(self) -> Actor:
        return self.reach.actor

    def body(self) -> dict[str, Any]:
        """The request's JSON object, read leniently."""
        return read_object(self.request._request)


class HotView(ApiView):
    """A view whose POST, from a program, passes DRF by: there its request and response cost as much as the work.

    `work` does the same for both ways in; `refused` hears of errors.
    """

    def dispatch(self, request: HttpRequest, *args: Any, project: str | None = None, **kwargs: Any) -> HttpResponseBase:
        if request.method != "POST" or not is_program(request):
            return super().dispatch(request, *args, project=project, **kwargs)
        reach, headers = None, {}
        try:
            reach = reach_of(request, project)
            require_scope(reach.actor, self.scopes["POST"])
            if self.rate_limited:
                ratelimit.take(reach.project, reach.actor.ref)
            status, answer = self.work(reach, request)
        except Exception as error:
            known = as_app_error(error)
            if known is None:
                raise
            self.refused(reach, known)
            status, answer, headers = known.http_status, known.body(), headers_of(known)
        return HttpResponse(_JSON.render(answer), status=status, content_type="application/json", headers=headers)

    def work(self, reach: Reach, request: HttpRequest) -> tuple[int, dict[str, Any]]:
        raise NotImplementedError

    def refused(self, reach: Reach | None, error: AppError) -> None:
        """Hook for a view that counts what it refuses."""
