"""The one door from a request to a project's rows: keys, tenants, prefixes, sessions."""

import uuid

import pytest
from django.test import Client

from agentloop.actors import SYSTEM
from agentloop.keys import create_key
from agentloop.models import Project
from tests.review.support import Caller, make_project, member


@pytest.fixture
def secret(project: Project) -> str:
    return create_key(project=project, actor=SYSTEM, name="agent", scopes=["read"])[1]


@pytest.mark.parametrize(
    "headers", [{"Authorization": "Bearer {}"}, {"Authorization": "bearer  {} "}, {"X-API-Key": "{}"}]
)
def test_a_key_comes_as_bearer_or_as_x_api_key(secret: str, headers: dict[str, str]) -> None:
    named = {name: value.format(secret) for name, value in headers.items()}
    assert Client(headers=named).get("/v1/project").status_code == 200


def test_without_a_key_the_answer_says_how_to_send_one(project: Project) -> None:
    answer = Client().get("/v1/project")
    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "Bearer")
    assert answer.json() == {
        "error": "No API key came with this request: send it as `Authorization: Bearer <key>` or `X-API-Key: <key>`.",
        "code": "no_key",
        "fields": {},
    }


@pytest.mark.parametrize("given", ["al_nobody", "\xff\xfe", "x" * 5000, "al_\x00"])
def test_an_unknown_key_is_refused_however_odd(project: Project, given: str) -> None:
    answer = Client().get("/v1/project", HTTP_X_API_KEY=given)
    assert (answer.status_code, answer.json()["code"]) == (401, "unknown_key")


def test_a_members_session_does_not_help_a_wrong_key(alice: Client) -> None:
    answer = alice.get("/p/acme/v1/project", HTTP_AUTHORIZATION="Bearer al_nobody")
    assert (answer.status_code, answer.json()["code"]) == (401, "unknown_key")


def test_the_tenant_that_is_named_must_be_the_keys(secret: str, project: Project) -> None:
    other = make_project("other")
    statuses = {
        tenant: Client().get("/v1/project", HTTP_X_API_KEY=secret, HTTP_X_TENANT_ID=tenant).status_code
        for tenant in (
            "",
            "default",
            "acme",
            str(project.id),
            project.id.hex,
            str(other.id),
            "other",
            str(uuid.uuid4()),
        )
    }
    assert list(statuses.values()) == [200, 200, 200, 200, 200, 403, 403, 403]


def test_the_wrong_tenant_has_its_own_code(secret: str) -> None:
    answer = Client().get("/v1/project", HTTP_X_API_KEY=secret, HTTP_X_TENANT_ID="other")
    assert answer.json()["code"] == "wrong_tenant"


def test_below_p_the_key_must_be_that_projects(secret: str) -> None:
    make_project("other")
    statuses = [
        Client().get(f"/p/{slug}/v1/project", HTTP_X_API_KEY=secret).status_code for slug in ("acme", "other", "nobody")
    ]
    assert statuses == [200, 404, 404]


def test_doubled_slashes_are_one(secret: str) -> None:
    assert Client().get("/", PATH_INFO="//v1//project", HTTP_X_API_KEY=secret).status_code == 200


def test_a_trailing_slash_is_not_redirected(secret: str) -> None:
    assert Client().get("/v1/project/", HTTP_X_API_KEY=secret).status_code == 404


def test_one_person_reaches_each_project_in_its_own_role(alice: Client, stranger: Caller) -> None:
    member(Project.objects.get(slug="elsewhere"), "alice", "viewer")
    assert alice.get("/p/acme/v1/keys").status_code == 200
    assert alice.get("/p/elsewhere/v1/keys").status_code == 403
    assert alice.get("/p/elsewhere/v1/project").status_code == 200
