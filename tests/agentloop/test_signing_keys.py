"""Signing keys: /v1/signing-keys, rotation and rest."""

import hashlib

import pytest
from django.db import IntegrityError
from django.test import Client, override_settings

from agentloop import keys
from agentloop.actors import SYSTEM
from agentloop.models import Project, SigningKey
from agentloop.secrets_box import Unsealable
from tests.review.support import Caller


def test_rotating_reveals_the_secret_once_and_signs_with_it(admin: Caller, project: Project) -> None:
    answer = admin("POST", "/v1/signing-keys")
    assert answer.status == 201
    secret = answer.body["signing_secret"]
    assert answer.body["id"] == hashlib.sha256(secret.encode()).hexdigest()[:12]
    assert keys.current_signing_secret(project) == (answer.body["id"], secret)
    listed = admin("GET", "/v1/signing-keys")
    assert secret not in str(listed.body)
    assert [key["is_current"] for key in listed.body["signing_keys"]] == [True]


def test_several_stay_active_and_one_is_current(admin: Caller) -> None:
    first, second = (admin("POST", "/v1/signing-keys").body["id"] for _ in range(2))
    listed = admin("GET", "/v1/signing-keys").body["signing_keys"]
    assert [(key["id"], key["is_current"], key["revoked_at"]) for key in listed] == [
        (second, True, None),
        (first, False, None),
    ]


def test_a_secret_that_clients_hold_can_be_brought_once(admin: Caller) -> None:
    given = {"secret": "a secret of the old service"}
    assert admin("POST", "/v1/signing-keys", given).body["signing_secret"] == given["secret"]
    again = admin("POST", "/v1/signing-keys", given)
    assert (again.status, again.body["code"]) == (409, "conflict")
    short = admin("POST", "/v1/signing-keys", {"secret": "short"})
    assert (short.status, list(short.body["fields"])) == (422, ["secret"])


def test_the_current_key_stays_and_an_earlier_one_goes_twice_safely(admin: Caller) -> None:
    first = admin("POST", "/v1/signing-keys").body["id"]
    assert admin("DELETE", f"/v1/signing-keys/{first}").status == 409
    admin("POST", "/v1/signing-keys")
    gone = admin("DELETE", f"/v1/signing-keys/{first}")
    assert (gone.status, gone.body["revoked_at"] is not None) == (200, True)
    assert admin("DELETE", f"/v1/signing-keys/{first}").body == gone.body


def test_secrets_are_sealed_at_rest_and_need_the_secret_key(project: Project) -> None:
    key, secret = keys.create_signing_key(project=project, actor=SYSTEM)
    assert secret.encode() not in bytes(key.encrypted_secret)
    with override_settings(SECRET_KEY="another", SECRET_KEY_FALLBACKS=[]), pytest.raises(Unsealable):
        keys.current_signing_secret(project)


def test_the_database_allows_one_current_key(project: Project) -> None:
    keys.create_signing_key(project=project, actor=SYSTEM)
    with pytest.raises(IntegrityError, match="one_current_signing_key"):
        SigningKey.objects.create(project=project, key_id="0" * 12, encrypted_secret=b"x", is_current=True)


def test_only_owners_and_admin_keys(plain: Caller, bob: Client, alice: Client) -> None:
    assert plain("GET", "/v1/signing-keys").status == 403
    assert bob.post("/p/acme/v1/signing-keys").status_code == 403
    assert alice.post("/p/acme/v1/signing-keys", content_type="application/json").status_code == 201


def test_a_stranger_can_not_revoke(admin: Caller, stranger: Caller) -> None:
    first = admin("POST", "/v1/signing-keys").body["id"]
    admin("POST", "/v1/signing-keys")
    assert stranger("DELETE", f"/v1/signing-keys/{first}").status == 404
    assert SigningKey.objects.get(key_id=first).revoked_at is None


def test_the_wrong_method(admin: Caller) -> None:
    assert admin("PATCH", "/v1/signing-keys").status == 405
