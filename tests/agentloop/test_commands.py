"""The management commands: project, member, key, signing-key."""

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from agentloop.keys import current_signing_secret
from agentloop.models import ApiKey, AuditEntry, Project
from tests.review.support import Caller

pytestmark = pytest.mark.django_db


def run(*words: str) -> str:
    said = io.StringIO()
    call_command(*words, stdout=said)
    return said.getvalue()


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda text: monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_project_create_prints_one_line_of_json_that_clients_can_use(settings: Any) -> None:
    said = run("project", "create", "My Shop", "--json")
    made = json.loads(said.splitlines()[-1])
    assert list(made) == ["project", "tenant_id", "api_key", "signing_secret", "base_url"]
    project = Project.objects.get(slug="my-shop")
    assert (made["project"], made["tenant_id"], made["base_url"]) == ("my-shop", str(project.id), settings.BASE_URL)
    assert Caller(made["api_key"])("GET", "/p/my-shop/v1/project").status == 200
    assert ApiKey.objects.get().scopes == ["ingest", "route", "read", "review"]
    current = current_signing_secret(project)
    assert current is not None
    assert current[1] == made["signing_secret"]


def test_project_create_refuses_a_taken_name_and_a_blank_one() -> None:
    run("project", "create", "My Shop")
    with pytest.raises(CommandError, match="There is already a project called my-shop"):
        run("project", "create", "My  shop!")
    with pytest.raises(CommandError, match="needs at least one letter"):
        run("project", "create", "!")
    assert json.loads(run("project", "list", "--json"))[0]["name"] == "My Shop"


def test_member_add_sets_a_password_to_sign_in_with(project: Project, typed: Any) -> None:
    typed("open sesame\n")
    said = run("member", "add", "Alice@Example.com", "--project", "acme", "--role", "owner", "--password-stdin")
    assert said == "alice@example.com is owner in acme.\n"
    assert Client().login(email="alice@example.com", password="open sesame")


def test_member_add_again_changes_role_and_password(project: Project, typed: Any) -> None:
    add = ("member", "add", "alice@example.com", "--project", "acme", "--role")
    typed("first\nsecond\n")
    run(*add, "viewer", "--password-stdin")
    run(*add, "reviewer", "--password-stdin")
    run(*add, "owner")
    assert Client().login(email="alice@example.com", password="second")
    assert run("member", "list", "--project", "acme").split() == ["alice@example.com", "owner"]


def test_member_add_needs_a_line_and_a_project(project: Project, typed: Any) -> None:
    typed("")
    with pytest.raises(CommandError, match="No password came in"):
        run("member", "add", "a@example.com", "--project", "acme", "--password-stdin")
    with pytest.raises(CommandError, match="There is no project called nope"):
        run("member", "add", "a@example.com", "--project", "nope")


def test_member_remove(project: Project, typed: Any) -> None:
    typed("")
    run("member", "add", "a@example.com", "--project", "acme", "--role", "viewer")
    assert "no longer" in run("member", "remove", "a@example.com", "--project", "acme")
    with pytest.raises(CommandError, match="is no member"):
        run("member", "remove", "a@example.com", "--project", "acme")


def test_key_create_list_and_revoke(project: Project) -> None:
    secret = run("key", "create", "agent", "--project", "acme", "--scope", "read", "--days", "3").strip()
    assert Caller(secret)("GET", "/v1/project").status == 200
    assert f"{secret[:11]}…  active   read" in run("key", "list", "--project", "acme")
    run("key", "revoke", secret[:11], "--project", "acme")
    assert Caller(secret)("GET", "/v1/project").status == 401
    assert "revoked" in run("key", "list", "--project", "acme")
    with pytest.raises(CommandError, match="No key of acme begins"):
        run("key", "revoke", "al_nobody", "--project", "acme")


def test_signing_key_rotate_list_and_revoke(project: Project, typed: Any) -> None:
    first = run("signing-key", "rotate", "--project", "acme").strip()
    typed("a secret of the old service\n")
    assert run("signing-key", "rotate", "--project", "acme", "--secret-stdin").strip() == "a secret of the old service"
    lines = run("signing-key", "list", "--project", "acme").splitlines()
    assert [line.split("  ")[1] for line in lines] == ["opens links", "current"]
    run("signing-key", "revoke", lines[0].split()[0], "--project", "acme")
    with pytest.raises(CommandError, match="signs new links now"):
        run("signing-key", "revoke", lines[1].split()[0], "--project", "acme")
    with pytest.raises(CommandError, match="has no signing key"):
        run("signing-key", "revoke", first[:12], "--project", "acme")


def test_the_operator_is_named_in_the_audit_log(project: Project) -> None:
    run("key", "create", "--project", "acme")
    assert AuditEntry.objects.get(act="key.create").actor == "system"


def test_an_act_is_needed() -> None:
    with pytest.raises(CommandError, match="required: ACT"):
        run("key")
