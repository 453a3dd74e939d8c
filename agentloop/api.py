"""The base of every view of the JSON API."""

from typing import Any, ClassVar

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.views import APIView

from agentloop import ratelimit
from agentloop.actors import Actor
from agentloop.models import Project
from agentloop.parsing import read_object


class ApiView(APIView):
    """One project's API: `scopes` says what each method needs, `rate_limited` whether the key's bucket pays."""

    scopes: ClassVar[dict[str, str]] = {}
    rate_limited: ClassVar[bool] = True

    def dispatch(self, request: HttpRequest, *args: Any, project: str | None = None, **kwargs: Any) -> HttpResponseBase:
        request.project_slug = project  # type: ignore[attr-defined]
        return super().dispatch(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if self.rate_limited:
            ratelimit.take(self.project, self.actor.ref)

    @property
    def project(self) -> Project:
        return self.request.auth.project

    @property
    def actor(self) -> Actor:
        return self.request.user

    def body(self) -> dict[str, Any]:
        """The request's JSON object, read leniently."""
        return read_object(self.request._request)
