"""The administration of a project as JSON: for a key with the scope `admin`, or an owner's session."""

from typing import Any, ClassVar, TypeVar

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer

from agentloop import admin_shapes as shapes
from agentloop import keys, tenancy
from agentloop.api import ApiView
from agentloop.errors import Invalid, NotFound
from agentloop.ids import read, shown
from agentloop.models import ApiKey, AuditEntry, Member, Project, Scope, SigningKey

PAGE, MAX_PAGE = 50, 200
# A list that is not cut into pages: nobody keeps more of these, and an installation that does sees the newest.
MOST_ROWS = 1000
Row = TypeVar("Row", ApiKey, SigningKey, Member)


class AdminView(ApiView):
    def read(self, shape: type[Serializer[Any]]) -> dict[str, Any]:
        given = shape(data=self.body())
        given.is_valid(raise_exception=True)
        return given.validated_data

    def one(self, rows: QuerySet[Row], **which: Any) -> Row:
        found = rows.filter(**which).first()
        if found is None:
            raise NotFound
        return found


class ProjectView(AdminView):
    scopes: ClassVar = {"GET": Scope.READ, "PATCH": Scope.ADMIN}

    @extend_schema(
        operation_id="get_project",
        summary="Read the project and its settings",
        description="Each setting with its value, its default and what it does.",
        responses=shapes.ProjectOut,
    )
    def get(self, request: Request) -> Response:
        # Not the one kept with the key: another process may have changed it a moment ago.
        return Response(shapes.project_shape(Project.objects.get(pk=self.project.pk)))

    @extend_schema(
        operation_id="change_project",
        summary="Change the project's name and settings",
        description="What is left out stays. Where one value is refused, nothing is changed.",
        request=shapes.ProjectChange,
        responses=shapes.ProjectOut,
    )
    def patch(self, request: Request) -> Response:
        changed = tenancy.change_project(project=self.project, actor=self.actor, **self.read(shapes.ProjectChange))
        return Response(shapes.project_shape(changed))


class KeysView(AdminView):
    scopes: ClassVar = {"GET": Scope.ADMIN, "POST": Scope.ADMIN}

    @extend_schema(
        operation_id="list_keys",
        summary="List API keys",
        description="Newest first, the revoked ones too. The keys themselves are not kept and can't be shown.",
        responses=shapes.KeysOut,
    )
    def get(self, request: Request) -> Response:
        found = self.project.api_keys.order_by("-id")[:MOST_ROWS]
        return Response({"keys": [shapes.key_shape(key) for key in found]})

    @extend_schema(
        operation_id="create_key",
        summary="Make an API key",
        description="The answer holds the key, this once.",
        request=shapes.NewKey,
        responses={201: shapes.KeyMade},
    )
    def post(self, request: Request) -> Response:
        key, secret = keys.create_key(project=self.project, actor=self.actor, **self.read(shapes.NewKey))
        return Response({**shapes.key_shape(key), "api_key": secret}, status=201)


class KeyView(AdminView):
    scopes: ClassVar = {"DELETE": Scope.ADMIN}

    @extend_schema(
        operation_id="revoke_key",
        summary="Revoke an API key",
        description="It ends within five seconds, on every machine. Twice is safe.",
        responses=shapes.KeyOut,
    )
    def delete(self, request: Request, key_id: str) -> Response:
        key = self.one(self.project.api_keys.all(), pk=read("key", key_id))
        keys.revoke_key(key=key, actor=self.actor)
        key.refresh_from_db()
        return Response(shapes.key_shape(key))


class SigningKeysView(AdminView):
    scopes: ClassVar = {"GET": Scope.ADMIN, "POST": Scope.ADMIN}

    @extend_schema(
        operation_id="list_signing_keys",
        summary="List signing keys",
        description="Newest first. Every one that is not revoked still opens its feedback links.",
        responses=shapes.SigningKeysOut,
    )
    def get(self, request: Request) -> Response:
        found = self.project.signing_keys.order_by("-id")[:MOST_ROWS]
        return Response({"signing_keys": [shapes.signing_key_shape(key) for key in found]})

    @extend_schema(
        operation_id="rotate_signing_key",
        summary="Make a signing key and sign with it from now on",
        description="The earlier ones still open their links until they are revoked. The answer holds the secret, "
        "this once.",
        request=shapes.NewSigningKey,
        responses={201: shapes.SigningKeyMade},
    )
    def post(self, request: Request) -> Response:
        given = self.read(shapes.NewSigningKey)
        key, secret = keys.create_signing_key(project=self.project, actor=self.actor, **given)
        return Response({**shapes.signing_key_shape(key), "signing_secret": secret}, status=201)


class SigningKeyView(AdminView):
    scopes: ClassVar = {"DELETE": Scope.ADMIN}

    @extend_schema(
        operation_id="revoke_signing_key",
        summary="Revoke a signing key",
        description="Every link that it signed is refused from then on. The current key can't go: make another first.",
        responses=shapes.SigningKeyOut,
    )
    def delete(self, request: Request, key_id: str) -> Response:
        key = self.one(self.project.signing_keys.all(), key_id=key_id)
        keys.revoke_signing_key(key=key, actor=self.actor)
        key.refresh_from_db()
        return Response(shapes.signing_key_shape(key))


class MembersView(AdminView):
    scopes: ClassVar = {"GET": Scope.ADMIN, "POST": Scope.ADMIN}

    @extend_schema(
        operation_id="list_members",
        summary="List members",
        responses=shapes.MembersOut,
    )
    def get(self, request: Request) -> Response:
        found = self.project.members.select_related("user").order_by("id")[:MOST_ROWS]
        return Response({"members": [shapes.member_shape(member) for member in found]})

    @extend_schema(
        operation_id="add_member",
        summary="Add a member",
        description="Somebody who is a member already gets the role. Without a password, a new person sets one "
        "through the link that resets it.",
        request=shapes.NewMember,
        responses={201: shapes.MemberOut},
    )
    def post(self, request: Request) -> Response:
        member = tenancy.add_member(project=self.project, actor=self.actor, **self.read(shapes.NewMember))
        return Response(shapes.member_shape(member), status=201)


class MemberView(AdminView):
    scopes: ClassVar = {"PATCH": Scope.ADMIN, "DELETE": Scope.ADMIN}

    @extend_schema(
        operation_id="change_role",
        summary="Change a member's role",
        description="A project keeps one owner at least.",
        request=shapes.RoleChange,
        responses=shapes.MemberOut,
    )
    def patch(self, request: Request, member_id: int) -> Response:
        member = self.one(self.project.members.select_related("user", "project"), pk=member_id)
        changed = tenancy.change_role(member=member, actor=self.actor, **self.read(shapes.RoleChange))
        return Response(shapes.member_shape(changed))

    @extend_schema(
        operation_id="remove_member",
        summary="Remove a member",
        description="The person keeps their account and their other projects. A project keeps one owner at least.",
        responses=shapes.RemovedOut,
    )
    def delete(self, request: Request, member_id: int) -> Response:
        member = self.one(self.project.members.select_related("user", "project"), pk=member_id)
        tenancy.remove_member(member=member, actor=self.actor)
        return Response({"id": member_id, "status": "removed"})


class AuditView(AdminView):
    scopes: ClassVar = {"GET": Scope.ADMIN}

    @extend_schema(
        operation_id="list_audit",
        summary="Read the audit log",
        description="Newest first: every administrative act and every verdict. The log can't be changed.",
        parameters=[
            OpenApiParameter("limit", int, description=f"1 to {MAX_PAGE}, {PAGE} if left out."),
            OpenApiParameter("cursor", str, description="`next_cursor` of the page before."),
        ],
        responses=shapes.AuditPage,
    )
    def get(self, request: Request) -> Response:
        limit = _limit(request.query_params.get("limit", str(PAGE)))
        found = AuditEntry.objects.filter(project=self.project).order_by("-id")
        cursor = request.query_params.get("cursor")
        if cursor:
            found = found.filter(id__lt=_cursor(cursor))
        page = list(found[: limit + 1])
        more = shown("audit", page[limit - 1].id) if len(page) > limit else None
        return Response({"entries": [shapes.audit_shape(entry) for entry in page[:limit]], "next_cursor": more})


def _limit(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= MAX_PAGE:
        sentence = f"limit takes a whole number from 1 to {MAX_PAGE}."
        raise Invalid(sentence, fields={"limit": sentence})
    return int(text[:9])


def _cursor(text: str) -> Any:
    found = read("audit", text)
    if found is None:
        sentence = "cursor is not one that this list gave: take `next_cursor` of the page before, as it is."
        raise Invalid(sentence, fields={"cursor": sentence})
    return found
