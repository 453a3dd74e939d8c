"""A project, a key for it, and one call to the API."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from django.http import HttpResponse
from django.test import Client

from agentloop import sql
from agentloop.actors import SYSTEM
from agentloop.keys import create_key
from agentloop.models import Project


@dataclass
class Api:
    """What a program sees of one project."""

    project: Project
    client: Client

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> HttpResponse:
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        kind = given.pop("Content-Type", "application/json")
        return self.client.generic(method, path, content, content_type=kind, headers=given)

    def post(self, path: str, body: Any = None, **headers: str) -> dict[str, Any]:
        return self._ok("POST", path, body, **headers)

    def get(self, path: str, **headers: str) -> dict[str, Any]:
        return self._ok("GET", path, None, **headers)

    def delete(self, path: str) -> dict[str, Any]:
        return self._ok("DELETE", path)

    def _ok(self, method: str, path: str, body: Any = None, **headers: str) -> dict[str, Any]:
        answer = self.send(method, path, body, **headers)
        assert answer.status_code == 200, answer.content
        found = json.loads(answer.content)
        assert isinstance(found, dict)
        return found


def api_of(project: Project, *scopes: str) -> Api:
    named = list(scopes) or ["ingest", "route", "read", "review", "admin"]
    _, secret = create_key(project=project, actor=SYSTEM, name="test", scopes=named)
    return Api(project, Client(headers={"X-API-Key": secret}))


@pytest.fixture
def project(db: None) -> Project:
    return Project.objects.create(slug="alice", name="Alice")


@pytest.fixture
def api(project: Project) -> Api:
    return api_of(project)


@pytest.fixture
def key_with(project: Project) -> Callable[..., Api]:
    return lambda *scopes: api_of(project, *scopes)


@pytest.fixture
def stranger(db: None) -> Api:
    return api_of(Project.objects.create(slug="charlie", name="Charlie"))


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Rows read by table, whether they were wanted or not, by PostgreSQL's own account."""
    found: Counter[str] = Counter()
    execute = sql._execute

    def walk(node: dict[str, Any]) -> None:
        if "Relation Name" in node:
            rows = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
            found[node["Relation Name"].removeprefix("routing_")] += rows * node["Actual Loops"]
        for inner in node.get("Plans", ()):
            walk(inner)

    def explained(cursor_class: type[psycopg.Cursor[Any]], statement: str, params: Any, keep_plan: bool) -> Any:
        if statement.lstrip().startswith(("SELECT", "WITH")) and not keep_plan:
            [(plan,)] = execute(cursor_class, f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", params, keep_plan=False)
            walk(plan[0]["Plan"])
        return execute(cursor_class, statement, params, keep_plan)

    monkeypatch.setattr(sql, "_execute", explained)
    return found
