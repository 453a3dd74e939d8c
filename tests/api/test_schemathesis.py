"""Schemathesis over the API's own description: no 500, no status or body that the description does not know.

Requests go straight into the application, in this process; the seed is fixed, so that what fails fails again.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import schemathesis
from django.core import signals
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from agentloop.actors import SYSTEM
from agentloop.ids import shown
from agentloop.keys import create_key, forget_cached
from agentloop.models import Project, Scope
from agentloop.tenancy import create_project
from review import intake, verdicts
from review.models import AnnotationSource
from routing.decisions import Asked, decide
from routing.engine.evidence import Source
from routing.events import ingest
from routing.evidence import Observation, record
from routing.paths import NewPath, disable_path, register_path

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)
# Bodies as they are sent, which no description lets anybody make.
ODD_BODIES: list[bytes] = [
    b"",
    b"{",
    b"null",
    b"[]",
    b'"text"',
    b"17",
    b"\xff\xfe",
    b'{"question": NaN, "agent_response": {"\\ud800": "\\u0000"}}',
    b"[" * 5000,
    b'{"x": ' * 2000 + b"1" + b"}" * 2000,
]
SETTINGS = settings(
    max_examples=5,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def one_connection(db: None) -> Iterator[None]:
    """A request's end would close the connection, and the test's transaction with it."""
    ends = (signals.request_started, signals.request_finished)
    for end in ends:
        end.disconnect(close_old_connections)
    yield
    for end in ends:
        end.connect(close_old_connections)


@pytest.fixture
def project(one_connection: None) -> Project:
    forget_cached()
    return create_project(name="Shop", actor=SYSTEM)


@pytest.fixture
def headers(project: Project) -> dict[str, str]:
    """A key of all scopes."""
    _, secret = create_key(project=project, actor=SYSTEM, name="k", scopes=Scope.values)
    return {"Authorization": f"Bearer {secret}"}


@pytest.fixture
def ids(project: Project) -> dict[str, str]:
    """A little of everything: a waiting turn, a judged one with its memory, and the act that judged it."""
    items = [{"question": f"q{number}", "agent_response": "a"} for number in range(3)]
    waiting, judged = [logged.turn_id for logged, _ in intake.log_turns(project, items)][:2]
    verdict = verdicts.Verdict("incorrect", "say b")
    done = verdicts.judge_turn(project, SYSTEM, judged, verdict, source=AnnotationSource.API)
    assert done.memory is not None
    return {
        "turn_id": shown("turn", waiting),
        "annotation_id": shown("ann", done.annotation.id),
        "act_id": shown("act", done.act.id),
        "memory_id": shown("mem", done.memory.memory_id),
    }


schema = schemathesis.openapi.from_wsgi("/api/schema/?format=json", get_wsgi_application())


@schema.parametrize()
@SETTINGS
def test_every_answer_is_described(case: Any, headers: dict[str, str], ids: dict[str, str]) -> None:
    # Ids that are made up find nothing; these are there until an example deletes what they name.
    case.path_parameters = {**case.path_parameters, **{name: ids[name] for name in ids if name in case.path_parameters}}
    case.call_and_validate(headers=headers, checks=CHECKS)


@pytest.fixture
def routed(project: Project) -> dict[str, Any]:
    """A goal with everything that the routing side can know of one; the values are what its requests name."""
    for place, model in enumerate(["gpt-4o", "claude-sonnet-4"]):
        new = NewPath(model, ("search",), {"temperature": 0.2 + place / 2})
        path = register_path(project, SYSTEM, "book", new)
        rows = [
            Observation(
                "book", Source.PROVIDER, f"t{place}-{n}", path_id=path.shown_id, pipeline_id="chat", success=n % 3 > 0,
                score=n / 12, failure_category=None if n % 3 else "timeout", reason="a reason", metadata={"n": n},
            )
            for n in range(12)
        ]  # fmt: skip
        record(project, rows)
    decided = decide(project, Asked("book", pipeline="chat"))
    assert decided.path is not None
    record(project, [Observation("book", Source.USER, decided.trace_id, success=False, raw_evidence="said so")])
    span = {"span_id": "s", "trace_id": decided.trace_id, "model_id": decided.path.model, "cost_usd": 0.1}
    ingest(project, [{**span, "latency_ms": 90}])
    disable_path(project, SYSTEM, register_path(project, SYSTEM, "book", NewPath("old")).shown_id)
    return {
        "goal": "book",
        "task_type": "book",
        "trace_id": decided.trace_id,
        "path_id": decided.path.shown_id,
        "pinned_path_id": decided.path.shown_id,
        "model_id": decided.path.model,
        "pipeline_id": "chat",
    }


def with_real(value: Any, real: Mapping[str, Any]) -> Any:
    """A made-up body that speaks of what there is."""
    if isinstance(value, dict):
        return {name: real.get(name, with_real(part, real)) for name, part in value.items()}
    return [with_real(part, real) for part in value] if isinstance(value, list) else value


@schema.include(path_regex="^/api/").parametrize()
@SETTINGS
def test_every_answer_about_a_goal_that_is_in_use_is_described(
    case: Any, headers: dict[str, str], routed: dict[str, Any]
) -> None:
    case.path_parameters = with_real(case.path_parameters, routed)
    case.query = with_real(case.query or {}, routed)
    if isinstance(case.body, dict):
        case.body = with_real(case.body, routed)
    case.call_and_validate(headers=headers, checks=CHECKS)


def test_odd_bodies_are_answered_in_the_shape_of_errors(
    headers: dict[str, str], ids: dict[str, str], client: Any
) -> None:
    for operation in schema.get_all_operations():
        found = operation.ok()
        if found.method.upper() not in ("POST", "PUT", "PATCH"):
            continue
        path = found.path
        for name in found.path_parameters:
            path = path.replace(f"{{{name.name}}}", ids.get(name.name, "x"))
        for body in ODD_BODIES:
            response = client.generic(
                found.method.upper(), path, body, content_type="application/json", headers=headers
            )
            assert response.status_code < 500, (path, body[:60])
            if response.status_code >= 400:
                assert response.json()["error"], (path, body[:60])
