"""GET and PATCH /v1/project."""

import pytest
from django.test import Client

from agentloop.models import AuditEntry, Project
from agentloop.project_settings import SETTINGS
from tests.review.support import Caller


def test_shows_the_project_and_every_setting_with_its_help(plain: Caller, project: Project) -> None:
    answer = plain("GET", "/v1/project")
    assert answer.status == 200
    assert {name: answer.body[name] for name in ("project", "tenant_id", "name")} == {
        "project": "acme",
        "tenant_id": str(project.id),
        "name": "Acme",
    }
    assert answer.body["settings"]["ttl_days"] == {
        "value": 30,
        "default": 30,
        "help": "Days until a turn that nobody reviewed expires.",
    }
    assert set(answer.body["settings"]) == set(SETTINGS)


def test_changes_what_is_given_and_keeps_the_rest(admin: Caller, project: Project) -> None:
    answer = admin("PATCH", "/v1/project", {"name": "Acme Ltd", "settings": {"ttl_days": 14}})
    assert (answer.status, answer.body["name"], answer.body["settings"]["ttl_days"]["value"]) == (200, "Acme Ltd", 14)
    project.refresh_from_db()
    assert (project.name, project.slug, project.settings) == ("Acme Ltd", "acme", {"random_share": 0, "ttl_days": 14})
    assert set(AuditEntry.objects.values_list("act", flat=True)) >= {"project.rename", "project.settings"}


def test_null_goes_back_to_the_default(admin: Caller, project: Project) -> None:
    admin("PATCH", "/v1/project", {"settings": {"ttl_days": 14}})
    assert admin("PATCH", "/v1/project", {"settings": {"ttl_days": None}}).status == 200
    project.refresh_from_db()
    assert "ttl_days" not in project.settings


def test_twice_is_safe_and_noted_once(admin: Caller) -> None:
    for _ in range(2):
        assert admin("PATCH", "/v1/project", {"settings": {"ttl_days": 14}}).status == 200
    assert AuditEntry.objects.filter(act="project.settings").count() == 1


def test_a_bad_value_names_the_setting_and_changes_nothing(admin: Caller, project: Project) -> None:
    answer = admin("PATCH", "/v1/project", {"name": "New", "settings": {"ttl_days": 0, "claim_minutes": 5}})
    assert (answer.status, answer.body) == (
        422,
        {
            "error": "ttl_days takes a whole number from 1 to 3650.",
            "code": "invalid",
            "fields": {"ttl_days": "ttl_days takes a whole number from 1 to 3650."},
        },
    )
    project.refresh_from_db()
    assert (project.name, project.settings) == ("Acme", {"random_share": 0})


def test_an_unknown_setting_is_named_even_when_it_is_null(admin: Caller) -> None:
    answer = admin("PATCH", "/v1/project", {"settings": {"ttl_dayz": None}})
    assert (answer.status, list(answer.body["fields"])) == (422, ["ttl_dayz"])


def test_an_unknown_field_is_named(admin: Caller) -> None:
    answer = admin("PATCH", "/v1/project", {"title": "x"})
    assert (answer.status, list(answer.body["fields"])) == (422, ["title"])


def test_a_key_without_admin_may_read_and_not_change(plain: Caller) -> None:
    answer = plain("PATCH", "/v1/project", {"name": "x"})
    assert (answer.status, answer.body["code"]) == (403, "missing_scope")


def test_an_owners_session_may_and_a_reviewers_may_not(alice: Client, bob: Client) -> None:
    change = {"data": {"name": "Ours"}, "content_type": "application/json"}
    assert alice.patch("/p/acme/v1/project", **change).status_code == 200
    refused = bob.patch("/p/acme/v1/project", **change)
    assert (refused.status_code, refused.json()["code"]) == (403, "not_allowed")
    assert bob.get("/p/acme/v1/project").status_code == 200


def test_a_session_needs_the_csrf_token(alice: Client) -> None:
    alice.handler.enforce_csrf_checks = True
    refused = alice.patch("/p/acme/v1/project", {"name": "x"}, content_type="application/json")
    assert (refused.status_code, refused.json()["code"]) == (403, "csrf_failed")


def test_a_session_names_the_project_in_the_path(alice: Client) -> None:
    answer = alice.get("/v1/project")
    assert (answer.status_code, answer.json()["error"]) == (404, "Name the project in the path: /p/<project>/…")


def test_strangers_find_nothing(stranger: Caller, charlie: Client, project: Project) -> None:
    assert stranger("GET", "/p/acme/v1/project").status == 404
    assert charlie.get("/p/acme/v1/project").status_code == 404
    assert Client().get("/p/acme/v1/project").status_code == 401


def test_the_wrong_method_is_told_which_are_right(admin: Caller) -> None:
    answer = admin("DELETE", "/v1/project")
    assert (answer.status, answer.body["code"], answer.headers["Allow"]) == (
        405,
        "method_not_allowed",
        "GET, PATCH, HEAD, OPTIONS",
    )


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        (r"(?<!\d)\d{9}", "it looks behind, and RE2, which never takes for ever, has no such thing"),
        (r"\d{9}(?!\d)", "it looks ahead, and RE2"),
        (r"(\d)\1", "it refers back to a group, and RE2"),
        (r"\d+\Z", "has to say \\z"),
        ("(", "missing )"),
        (r"\bJosé\b", "know ASCII alone"),
        (r"\d*", "matches the empty text"),
        (r"\b", "matches the empty text"),
    ],
)
def test_a_mask_pattern_that_cannot_be_used_is_refused_with_the_reason(
    admin: Caller, project: Project, pattern: str, reason: str
) -> None:
    answer = admin("PATCH", "/v1/project", {"settings": {"mask_patterns": ["fine", pattern]}})
    assert (answer.status, reason in answer.body["fields"]["mask_patterns"]) == (422, True), answer.body
    project.refresh_from_db()
    assert "mask_patterns" not in project.settings
