"""/api/schema/ and /api/docs/: the description is valid, whole, and readable."""

import json
import os
from typing import Any

import pytest
import yaml
from django.core.management import call_command
from django.test import Client
from django.utils.html import escape
from drf_spectacular.validation import validate_schema

from agentloop.schema import described, examples

OPERATIONS = [
    (path, method, operation)
    for path, methods in described().get("paths", {}).items()
    for method, operation in methods.items()
]


def test_it_is_made_without_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    """A clash of names is mended by ENUM_NAME_OVERRIDES, a missing answer by @extend_schema."""
    call_command("spectacular", "--validate", "--fail-on-warn", file=os.devnull)
    assert capsys.readouterr().err == ""


def test_an_answer_beyond_the_quota_is_described() -> None:
    for path in ("intelligence/report-outcome", "intelligence/outcomes", "intelligence/signals", "traces"):
        answer = described()["paths"][f"/api/v1/{path}"]["post"]["responses"]["200"]
        name = answer["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        status = described()["components"]["schemas"][name]["properties"]["status"]
        assert "set_aside" in status["description"], path


def test_it_is_valid_openapi_3_1() -> None:
    assert described()["openapi"] == "3.1.0"
    validate_schema(described())


@pytest.mark.parametrize("query", ["", "?format=json"])
def test_it_comes_as_json_without_a_key(query: str) -> None:
    answer = Client().get(f"/api/schema/{query}")
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/json; charset=utf-8")
    assert json.loads(answer.content) == described()


def test_it_comes_as_yaml() -> None:
    assert yaml.safe_load(Client().get("/api/schema/?format=yaml").content) == described()


def test_the_prefixed_twins_are_said_once() -> None:
    assert not [path for path, _, _ in OPERATIONS if path.startswith("/p/")]
    assert [server["url"] for server in described()["servers"]] == ["/", "/p/{project}/"]


def test_every_operation_has_a_name_of_its_own_a_summary_and_a_group() -> None:
    names = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert sorted(names) == sorted(set(names))
    bare = [f"{method} {path}" for path, method, one in OPERATIONS if not one.get("summary") or not one.get("tags")]
    assert not bare, f"Give each a summary with @extend_schema: {bare}"


def test_every_operation_says_what_it_refuses() -> None:
    for path, method, operation in OPERATIONS:
        statuses = set(operation["responses"])
        wanted = {"404", "405", "422", "503"}
        wanted |= {"401", "403"} if operation.get("security") else set()
        wanted |= {"400", "409", "413"} if method != "get" else set()
        assert wanted <= statuses, f"{method} {path} lacks {wanted - statuses}"


def test_an_error_has_one_shape_and_an_example() -> None:
    components = described()["components"]
    assert components["schemas"]["Error"]["required"] == ["error", "code", "fields"]
    for answer in components["responses"].values():
        content = answer["content"]["application/json"]
        assert content["schema"] == {"$ref": "#/components/schemas/Error"}
        assert set(content["example"]) == {"error", "code", "fields"}


def test_both_ways_to_send_a_key_are_described() -> None:
    schemes = described()["components"]["securitySchemes"]
    assert (schemes["bearer"]["scheme"], schemes["apiKey"]["name"]) == ("bearer", "X-API-Key")


def test_the_reference_shows_every_operation_with_a_command() -> None:
    page = Client().get("/api/docs/")
    assert page.status_code == 200
    for path, _, operation in OPERATIONS:
        assert f'id="{operation["operationId"]}"' in page.text
        assert path in page.text
    assert page.text.count("curl ") == len(OPERATIONS)


def test_the_reference_needs_no_script_and_no_style_of_its_own() -> None:
    page = Client().get("/api/docs/")
    assert not [word for word in ("<script", "<style", 'style="', "https://") if word in page.text]
    policy = page["Content-Security-Policy"]
    assert "unsafe" not in policy


def test_examples_fit_a_shell(admin: Any) -> None:
    """Single quotes hold the example body, so none may stand in it."""
    for _, _, operation in OPERATIONS:
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        assert "'" not in json.dumps(content.get("examples", {})), operation["operationId"]


def test_the_reference_shows_the_examples_of_answers_and_refusals() -> None:
    page = Client().get("/api/docs/").text
    for one in examples().values():
        for value in (one["answer"], one["refused"]["answer"]):
            assert escape(json.dumps(value, ensure_ascii=False, indent=2)) in page
