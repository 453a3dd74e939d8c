"""From a request of the JSON API to what it reaches and may do."""

from typing import Any, cast

from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from agentloop.actors import Actor
from agentloop.errors import CsrfFailed, MissingScope, NotAllowed
from agentloop.tenancy import Reach, reach_of


class KeyOrSession(BaseAuthentication):
    """An API key, or the session of a member. A session's writes carry the CSRF token."""

    def authenticate(self, request: Request) -> tuple[Actor, Reach]:
        reach = reach_of(request._request, getattr(request._request, "project_slug", None))
        if reach.actor.is_member:
            try:
                SessionAuthentication().enforce_csrf(request)
            except PermissionDenied as error:
                raise CsrfFailed from error
        return reach.actor, reach

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class HasScope(BasePermission):
    """The view names a scope for each method; the actor must have it."""

    def has_permission(self, request: Request, view: Any) -> bool:
        wanted = view.scopes.get("GET" if request.method == "HEAD" else request.method)
        if wanted is not None:
            require_scope(cast("Reach", request.auth).actor, wanted)
        return True


def require_scope(actor: Actor, wanted: str) -> None:
    if actor.may(wanted):
        return
    if actor.is_member:
        raise NotAllowed
    raise MissingScope(f"This API key lacks the scope `{wanted}`: an owner can make one that has it.")
