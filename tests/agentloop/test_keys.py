"""API keys: /v1/keys, what they may do, when they end, and how long a process remembers one."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from agentloop import keys
from agentloop.actors import SYSTEM
from agentloop.errors import UnknownKey
from agentloop.models import ApiKey, AuditEntry, Project
from tests.review.support import Caller, caller_for


def test_makes_a_key_that_works_and_keeps_only_its_hash(admin: Caller, project: Project) -> None:
    answer = admin("POST", "/v1/keys", {"name": "agent", "scopes": ["read"]})
    assert answer.status == 201
    secret = answer.body.pop("api_key")
    assert Caller(secret)("GET", "/v1/project").status == 200
    kept = ApiKey.objects.get(prefix=answer.body["prefix"])
    assert bytes(kept.secret_hash) == keys._hash(secret)
    assert secret not in str(ApiKey.objects.filter(pk=kept.pk).values().get())
    [entry] = AuditEntry.objects.filter(act="key.create", target=kept.prefix)
    assert secret not in str(entry.details)


def test_lists_the_keys_without_their_secrets(admin: Caller) -> None:
    made = admin("POST", "/v1/keys", {"name": "agent"})
    listed = admin("GET", "/v1/keys")
    assert [key["name"] for key in listed.body["keys"]] == ["agent", "key"]
    assert made.body["api_key"] not in str(listed.body)


def test_a_key_hands_out_no_scope_that_it_lacks(project: Project) -> None:
    narrow = caller_for(project, "admin", "read")
    answer = narrow("POST", "/v1/keys", {"name": "wide", "scopes": ["read", "ingest"]})
    assert (answer.status, answer.body["code"]) == (403, "missing_scope")
    assert narrow("POST", "/v1/members", {"email": "eve@example.com", "role": "owner"}).status == 403


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": " "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "x", "scopes": []}, "scopes"),
        ({"name": "x", "scopes": ["root"]}, "scopes.0"),
        ({"name": "x", "expires_at": "soon"}, "expires_at"),
        ({"name": "x", "expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "x", "scope": ["read"]}, "scope"),
    ],
)
def test_bad_input_names_the_field(admin: Caller, body: dict[str, Any], field: str) -> None:
    answer = admin("POST", "/v1/keys", body)
    assert (answer.status, list(answer.body["fields"])) == (422, [field])


def test_revoking_ends_a_key_at_once_and_twice_is_safe(admin: Caller) -> None:
    made = admin("POST", "/v1/keys", {"name": "agent"}).body
    caller = Caller(made["api_key"])
    assert caller("GET", "/v1/project").status == 200
    first = admin("DELETE", f"/v1/keys/{made['id']}")
    assert (first.status, first.body["revoked_at"] is not None) == (200, True)
    assert admin("DELETE", f"/v1/keys/{made['id']}").body == first.body
    assert caller("GET", "/v1/project").body["code"] == "unknown_key"
    assert AuditEntry.objects.filter(act="key.revoke").count() == 1


def test_another_process_forgets_a_revoked_key_within_five_seconds(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, secret = keys.create_key(project=project, actor=SYSTEM, name="agent")
    keys.credential_of(secret)
    ApiKey.objects.filter(pk=key.pk).update(revoked_at=timezone.now())
    assert keys.credential_of(secret).project == project
    later = keys.time.monotonic() + 5
    monkeypatch.setattr(keys.time, "monotonic", lambda: later)
    with pytest.raises(UnknownKey):
        keys.credential_of(secret)


def test_an_expired_key_ends_to_the_moment_though_it_is_remembered(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = timezone.now() + timedelta(seconds=1)
    _, secret = keys.create_key(project=project, actor=SYSTEM, name="agent", expires_at=ends)
    keys.credential_of(secret)
    monkeypatch.setattr(keys.timezone, "now", lambda: ends)
    with pytest.raises(UnknownKey):
        keys.credential_of(secret)


def test_a_remembered_key_costs_no_query_and_an_unknown_one_only_once(
    project: Project, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    _, secret = keys.create_key(project=project, actor=SYSTEM, name="agent")
    keys.credential_of(secret)
    with django_assert_num_queries(0):
        keys.credential_of(secret)
    with django_assert_num_queries(1):
        for _ in range(3):
            with pytest.raises(UnknownKey):
                keys.credential_of("al_nobody")


def test_the_last_use_is_recorded_coarsely(project: Project) -> None:
    key, secret = keys.create_key(project=project, actor=SYSTEM, name="agent")
    keys.credential_of(secret)
    key.refresh_from_db()
    first = key.last_used_at
    assert first is not None
    keys.forget_cached()
    keys.credential_of(secret)
    key.refresh_from_db()
    assert key.last_used_at == first


def test_a_key_without_admin_and_a_reviewer_may_not(plain: Caller, bob: Client) -> None:
    assert plain("GET", "/v1/keys").status == 403
    assert plain("POST", "/v1/keys", {"name": "x"}).status == 403
    assert bob.get("/p/acme/v1/keys").status_code == 403


def test_a_strangers_key_can_not_be_revoked(admin: Caller, stranger: Caller) -> None:
    made = admin("POST", "/v1/keys", {"name": "agent"}).body
    answer = stranger("DELETE", f"/v1/keys/{made['id']}")
    assert (answer.status, answer.body["code"]) == (404, "not_found")
    assert ApiKey.objects.get(prefix=made["prefix"]).revoked_at is None


@pytest.mark.parametrize("key_id", ["key_0", "nope", "key_" + "g" * 32, "key_%00", "%ED%A0%80"])
def test_an_odd_id_is_not_found(admin: Caller, key_id: str) -> None:
    assert admin("DELETE", f"/v1/keys/{key_id}").status == 404


def test_the_wrong_method(admin: Caller) -> None:
    assert admin("PUT", "/v1/keys").status == 405
    assert admin("GET", "/v1/keys/key_0").status == 405
