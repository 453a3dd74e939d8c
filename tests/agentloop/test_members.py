"""Members: /v1/members, roles, and who may become what."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from agentloop.actors import SYSTEM
from agentloop.models import AuditEntry, Member, Project
from agentloop.tenancy import add_member
from tests.review.support import Caller, make_project, member


def test_adds_a_person_who_can_sign_in(admin: Caller, project: Project) -> None:
    body = {"email": " Dora@Example.com", "role": "reviewer", "password": "quite-a-long-word"}
    answer = admin("POST", "/v1/members", body)
    assert (answer.status, answer.body["email"], answer.body["role"]) == (201, "dora@example.com", "reviewer")
    assert Client().login(email="dora@example.com", password="quite-a-long-word")
    [entry] = AuditEntry.objects.filter(act="member.add")
    assert (entry.details, entry.target) == ({"role": "reviewer"}, f"user:{project.members.get().user_id}")


def test_a_person_with_an_account_keeps_their_password(admin: Caller) -> None:
    member(make_project("theirs"), "erin", "owner")
    taken = admin("POST", "/v1/members", {"email": "erin@example.com", "role": "viewer", "password": "taken-over-now"})
    assert taken.status == 201
    assert not Client().login(email="erin@example.com", password="taken-over-now")
    assert Client().login(email="erin@example.com", password="a-long-password")


def test_the_operator_may_set_a_password_anew(project: Project) -> None:
    member(project, "erin", "viewer")
    add_member(project=project, actor=SYSTEM, email="erin@example.com", role="viewer", password="new-password")
    assert Client().login(email="erin@example.com", password="new-password")


def test_adding_twice_changes_the_role_and_makes_one_member(admin: Caller, project: Project) -> None:
    for role in ("viewer", "reviewer", "reviewer"):
        assert admin("POST", "/v1/members", {"email": "dora@example.com", "role": role}).body["role"] == role
    assert project.members.count() == 1
    assert AuditEntry.objects.filter(act="member.role").count() == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"role": "viewer"}, "email"),
        ({"email": "dora", "role": "viewer"}, "email"),
        ({"email": "do ra@example.com", "role": "viewer"}, "email"),
        ({"email": "dora@example.com", "role": "king"}, "role"),
        ({"email": "dora@example.com", "role": "viewer", "password": "short"}, "password"),
        ({"email": "dora@example.com", "role": "viewer", "name": "x"}, "name"),
    ],
)
def test_bad_input_names_the_field_and_makes_nobody(admin: Caller, body: dict[str, Any], field: str) -> None:
    answer = admin("POST", "/v1/members", body)
    assert (answer.status, list(answer.body["fields"])) == (422, [field])
    assert User.objects.count() == 0


def test_changes_a_role_and_twice_is_safe(admin: Caller, project: Project) -> None:
    member(project, "bob", "reviewer")
    [bob] = project.members.all()
    for _ in range(2):
        assert admin("PATCH", f"/v1/members/{bob.pk}", {"role": "viewer"}).body["role"] == "viewer"
    assert AuditEntry.objects.filter(act="member.role").count() == 1


def test_a_project_keeps_one_owner(admin: Caller, project: Project) -> None:
    member(project, "alice", "owner")
    [alice] = project.members.all()
    for method, body in (("PATCH", {"role": "viewer"}), ("DELETE", None)):
        answer = admin(method, f"/v1/members/{alice.pk}", body)
        assert (answer.status, answer.body["error"]) == (
            409,
            "A project needs an owner: make somebody else one first.",
        )
    member(project, "dora", "owner")
    assert admin("DELETE", f"/v1/members/{alice.pk}").status == 200


def test_removing_ends_what_the_session_reaches(admin: Caller, bob: Client, project: Project) -> None:
    assert bob.get("/p/acme/v1/project").status_code == 200
    [row] = project.members.all()
    assert admin("DELETE", f"/v1/members/{row.pk}").body == {"id": row.pk, "status": "removed"}
    assert bob.get("/p/acme/v1/project").status_code == 404
    assert admin("DELETE", f"/v1/members/{row.pk}").status == 404


def test_lists_members(admin: Caller, alice: Client, bob: Client) -> None:
    listed = admin("GET", "/v1/members").body["members"]
    assert [(row["email"], row["role"]) for row in listed] == [
        ("alice@example.com", "owner"),
        ("bob@example.com", "reviewer"),
    ]


def test_only_owners_and_admin_keys(plain: Caller, alice: Client, bob: Client) -> None:
    assert plain("GET", "/v1/members").status == 403
    assert bob.get("/p/acme/v1/members").status_code == 403
    assert alice.get("/p/acme/v1/members").status_code == 200


def test_a_strangers_member_is_not_found(stranger: Caller, bob: Client) -> None:
    row = Member.objects.get()
    assert stranger("PATCH", f"/v1/members/{row.pk}", {"role": "viewer"}).status == 404
    assert stranger("DELETE", f"/v1/members/{row.pk}").status == 404
    assert stranger("DELETE", "/v1/members/99999999999999999999").status == 404
    row.refresh_from_db()
    assert row.role == "reviewer"


def test_the_wrong_method(admin: Caller) -> None:
    assert admin("DELETE", "/v1/members").status == 405
