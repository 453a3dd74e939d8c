"""The shapes of the administration's JSON API: what it takes, and what it shows of each row."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers

from agentloop.fields import Choice
from agentloop.ids import shown
from agentloop.keys import DEFAULT_SCOPES
from agentloop.models import ApiKey, AuditEntry, Member, Project, Role, Scope, SigningKey
from agentloop.project_settings import SETTINGS


class Strict(serializers.Serializer[Any]):
    """Names every field that it doesn't know: a misspelt one must not look as if it had been set."""

    def to_internal_value(self, data: Any) -> Any:
        unknown = {
            name: f"is not a field; there are {', '.join(self.fields)}." for name in data if name not in self.fields
        }
        if unknown:
            raise serializers.ValidationError(unknown)
        return super().to_internal_value(data)


# --- what it takes --------------------------------------------------------------------------------------------


@extend_schema_serializer(
    examples=[OpenApiExample("Keep turns for two weeks", {"settings": {"ttl_days": 14}}, request_only=True)]
)
class ProjectChange(Strict):
    name = serializers.CharField(max_length=100, required=False, help_text="What people see. The slug stays.")
    settings = serializers.DictField(
        required=False,
        help_text="Settings to change, by name; null goes back to the default. GET lists them all with their help.",
    )


@extend_schema_serializer(
    examples=[OpenApiExample("A key for an agent", {"name": "support agent", "scopes": ["ingest"]}, request_only=True)]
)
class NewKey(Strict):
    name = serializers.CharField(max_length=100, help_text="What the key is for.")
    scopes = serializers.ListField(
        child=Choice(Scope.choices),
        required=False,
        allow_empty=False,
        default=list(DEFAULT_SCOPES),
        help_text="What it may do: no more than whoever makes it.",
    )
    expires_at = serializers.DateTimeField(required=False, allow_null=True, help_text="When it ends by itself.")


class NewSigningKey(Strict):
    secret = serializers.CharField(
        required=False,
        min_length=16,
        max_length=200,
        trim_whitespace=False,
        help_text="A secret that clients hold already; without it a new one is made.",
    )


@extend_schema_serializer(
    examples=[OpenApiExample("A reviewer", {"email": "bob@example.com", "role": "reviewer"}, request_only=True)]
)
class NewMember(Strict):
    email = serializers.CharField(max_length=150, help_text="The address the person signs in with.")
    role = Choice(Role.choices)
    password = serializers.CharField(
        required=False,
        max_length=200,
        trim_whitespace=False,
        help_text="For somebody new; a person who has an account keeps theirs.",
    )


class RoleChange(Strict):
    role = Choice(Role.choices)


# --- what it shows --------------------------------------------------------------------------------------------


class SettingOut(serializers.Serializer[Any]):
    value = serializers.JSONField(help_text="What holds now.")
    default = serializers.JSONField(help_text="What holds unless it is set.")
    help = serializers.CharField()


class ProjectOut(serializers.Serializer[Any]):
    project = serializers.CharField(help_text="The slug, as in `/p/<project>/`.")
    tenant_id = serializers.CharField(help_text="What `X-Tenant-ID` may carry; the slug is accepted too.")
    name = serializers.CharField()
    created_at = serializers.DateTimeField()
    settings = serializers.DictField(child=SettingOut())


class KeyOut(serializers.Serializer[Any]):
    id = serializers.CharField()
    name = serializers.CharField()
    prefix = serializers.CharField(help_text="The beginning of the key, to tell keys apart.")
    scopes = serializers.ListField(child=Choice(Scope.choices))
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True, help_text="To within ten minutes.")


class KeyMade(KeyOut):
    api_key = serializers.CharField(help_text="The key itself: shown this once.")


class KeysOut(serializers.Serializer[Any]):
    keys = KeyOut(many=True)


class SigningKeyOut(serializers.Serializer[Any]):
    id = serializers.CharField(help_text="The `k` that its links carry.")
    is_current = serializers.BooleanField(help_text="Whether new links are signed with it.")
    created_at = serializers.DateTimeField()
    revoked_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)


class SigningKeyMade(SigningKeyOut):
    signing_secret = serializers.CharField(help_text="The secret itself: shown this once.")


class SigningKeysOut(serializers.Serializer[Any]):
    signing_keys = SigningKeyOut(many=True)


class MemberOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    email = serializers.CharField()
    role = Choice(Role.choices)
    created_at = serializers.DateTimeField()


class MembersOut(serializers.Serializer[Any]):
    members = MemberOut(many=True)


class RemovedOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    status = serializers.CharField(help_text="`removed`")


class AuditEntryOut(serializers.Serializer[Any]):
    id = serializers.CharField()
    at = serializers.DateTimeField()
    actor = serializers.CharField(help_text="`user:<id>`, `key:<prefix>` or `system`.")
    act = serializers.CharField()
    target = serializers.CharField()
    details = serializers.DictField()
    request_id = serializers.CharField()


class AuditPage(serializers.Serializer[Any]):
    entries = AuditEntryOut(many=True)
    next_cursor = serializers.CharField(allow_null=True, help_text="Null on the last page.")


def project_shape(project: Project) -> dict[str, Any]:
    settings = {
        name: {"value": project.setting(name), "default": known.default, "help": known.help}
        for name, known in SETTINGS.items()
    }
    return {
        "project": project.slug,
        "tenant_id": project.tenant_id,
        "name": project.name,
        "created_at": project.created_at,
        "settings": settings,
    }


def key_shape(key: ApiKey) -> dict[str, Any]:
    names = ("name", "prefix", "scopes", "created_at", "expires_at", "revoked_at", "last_used_at")
    return {"id": shown("key", key.id)} | {name: getattr(key, name) for name in names}


def signing_key_shape(key: SigningKey) -> dict[str, Any]:
    names = ("is_current", "created_at", "revoked_at", "last_used_at")
    return {"id": key.key_id} | {name: getattr(key, name) for name in names}


def member_shape(member: Member) -> dict[str, Any]:
    return {"id": member.pk, "email": member.user.email, "role": member.role, "created_at": member.created_at}


def audit_shape(entry: AuditEntry) -> dict[str, Any]:
    names = ("at", "actor", "act", "target", "details", "request_id")
    return {"id": shown("audit", entry.id)} | {name: getattr(entry, name) for name in names}
