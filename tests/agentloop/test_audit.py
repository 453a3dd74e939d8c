"""The audit log: /v1/audit, and that the database keeps it as it is."""

import pytest
from django.db import IntegrityError, transaction
from django.test import Client

from agentloop import audit
from agentloop.actors import SYSTEM
from agentloop.models import AuditEntry, Project
from tests.review.support import Caller, make_project


def test_pages_run_from_the_newest_to_the_oldest_without_gap(admin: Caller, project: Project) -> None:
    for number in range(5):
        audit.note(project, SYSTEM, "test.act", str(number), number=number)
    seen, cursor = [], ""
    for _ in range(3):
        page = admin("GET", f"/v1/audit?limit=2{cursor}")
        seen += [entry["target"] for entry in page.body["entries"]]
        cursor = f"&cursor={page.body['next_cursor']}"
    assert seen[:5] == ["4", "3", "2", "1", "0"]
    assert page.body["next_cursor"] is None


def test_an_entry_says_who_did_what_in_which_request(admin: Caller) -> None:
    admin("PATCH", "/v1/project", {"name": "New"}, X_Request_ID="request-of-mine")
    [entry] = admin("GET", "/v1/audit?limit=1").body["entries"]
    key = admin("GET", "/v1/keys").body["keys"][0]
    assert {name: entry[name] for name in ("actor", "act", "target", "details", "request_id")} == {
        "actor": f"key:{key['prefix']}",
        "act": "project.rename",
        "target": "acme",
        "details": {"name": "New"},
        "request_id": "request-of-mine",
    }


@pytest.mark.parametrize("change", [lambda rows: rows.update(act="other"), lambda rows: rows.delete()])
def test_the_database_refuses_to_change_or_delete(project: Project, change: object) -> None:
    audit.note(project, SYSTEM, "test.act")
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        change(AuditEntry.objects.all())  # type: ignore[operator]
    assert AuditEntry.objects.filter(act="test.act").count() == 1


@pytest.mark.parametrize(
    ("query", "field"), [("limit=0", "limit"), ("limit=201", "limit"), ("limit=x", "limit"), ("cursor=x", "cursor")]
)
def test_bad_input_names_the_field(admin: Caller, query: str, field: str) -> None:
    answer = admin("GET", f"/v1/audit?{query}")
    assert (answer.status, list(answer.body["fields"])) == (422, [field])


def test_another_projects_entries_are_never_shown(admin: Caller, stranger: Caller, project: Project) -> None:
    audit.note(make_project("third"), SYSTEM, "secret.act")
    assert "secret.act" not in str(admin("GET", "/v1/audit").body)
    assert "acme" not in str(stranger("GET", "/v1/audit").body)


def test_only_owners_and_admin_keys(plain: Caller, alice: Client, bob: Client) -> None:
    assert plain("GET", "/v1/audit").status == 403
    assert bob.get("/p/acme/v1/audit").status_code == 403
    assert alice.get("/p/acme/v1/audit").status_code == 200


def test_the_wrong_method(admin: Caller) -> None:
    assert admin("DELETE", "/v1/audit").status == 405
