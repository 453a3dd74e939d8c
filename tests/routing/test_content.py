"""No prompt, response or tool content reaches a routing table; the short fields that may hold text are masked."""

import json
from typing import Any

from django.apps import apps
from django.db import connection

from agentloop.actors import SYSTEM
from agentloop.tenancy import change_settings
from routing.models import Decision, EventSpan, LedgerRow, Outcome

MARKER = "MARKER-of-content"
# The only free texts, by specification: a reason, a raw evidence and scalar metadata.
MAY_HOLD_TEXT = {("routing_ledgerrow", name) for name in ("reason", "raw_evidence", "metadata")}


def columns_with(text: str) -> set[tuple[str, str]]:
    """Every column of every routing table in which a text stands."""
    found = set()
    with connection.cursor() as cursor:
        for model in apps.get_app_config("routing").get_models():
            for column in model._meta.concrete_fields:
                table, name = model._meta.db_table, column.column
                cursor.execute(f'SELECT count(*) FROM {table} WHERE "{name}"::text LIKE %s', [f"%{text}%"])
                if cursor.fetchone()[0]:
                    found.add((table, name))
    return found


def test_no_endpoint_lets_content_into_a_table(api: Any) -> None:
    content = dict.fromkeys(
        ("prompt", "response", "input", "output", "messages", "content", "tool_input", "tool_output", "question"),
        MARKER,
    )
    nested = {"metadata": {"input": {"text": MARKER}, "output": [MARKER]}, **content}
    about = {"goal": "g", "trace_id": "t", "model_id": "m"}
    api.post("/api/v1/routing/decide", {**about, **nested})
    api.post("/api/v1/routing/paths", {**about, **nested})
    api.post("/api/v1/routing/goals", {**about, **nested})
    api.post("/api/v1/routing/config", {**about, **nested})
    api.post("/api/v1/intelligence/report-outcome", {**about, "success": True, **nested})
    api.post("/api/v1/intelligence/update-outcome", {**about, "success": False, **nested})
    signal = {**about, "signal_type": "user_accepted", "strength": 0.9, "dimensions": {"x": {"y": MARKER}}}
    api.post("/api/v1/intelligence/signals", {**signal, **nested})
    span = {"span_id": "s", "trace_id": "t", "model_id": "m", "error_message": MARKER, **nested}
    api.post("/api/ingest", {"events": [span]})
    api.post("/api/v1/traces", {"events": [{**span, "span_id": "s2"}]})
    batched = {"outcomes": [{**about, "trace_id": "t2", "success": True, **nested}]}
    api.post("/api/v1/intelligence/outcomes", batched)
    api.post("/api/v1/intelligence/signals/batch", {"signals": [{**signal, "trace_id": "t3", **nested}]})
    path = api.get("/api/v1/routing/paths?goal=g")["paths"][0]["path_id"]
    api.post("/api/v1/routing/decisions", {"decisions": [{**about, "trace_id": "t4", "path_id": path, **nested}]})
    api.post("/api/v1/intelligence/policy", {**about, **nested})
    api.post("/api/v1/intelligence/recommend", {**about, **nested})
    line = json.dumps({**span, "span_id": "s3"}).encode()
    api.post("/api/ingest", line, Content_Type="application/x-ndjson")
    turn = {"question": MARKER, "agent_response": MARKER, "goal": "g", "trace_id": "t", "model": "m"}
    logged = api.send("POST", "/v1/turns", turn).json()
    verdict = {"rating": "incorrect", "correction": MARKER, "comment": MARKER, "tags": [MARKER]}
    assert api.send("POST", f"/v1/turns/{logged['turn_id']}/verdict", verdict).status_code in (200, 201)
    more = api.send("POST", "/v1/turns/batch", {"turns": [{**turn, "trace_id": "t5", "metadata": nested}]}).json()
    assert more["results"][0]["status"] == "pending"
    assert columns_with(MARKER) == set()
    assert Outcome.objects.count() == 3
    assert EventSpan.objects.count() == 3
    assert Decision.objects.filter(trace_id="t4").exists()


def test_the_short_texts_are_cut_and_masked(api: Any) -> None:
    change_settings(project=api.project, actor=SYSTEM, changes={"mask": ["email"]})
    said = {
        "goal": "g",
        "model_id": "m",
        "success": False,
        "metadata": {"note": "x" * 300 + MARKER, "n": 1, "jo@example.com": 2},
    }
    api.post("/api/v1/intelligence/report-outcome", {**said, "failure_reason": "wrote to jo@example.com " + "y" * 600})
    signal = {"goal": "g", "trace_id": "t", "signal_type": "user_rejected", "raw_evidence": "I am jo@example.com"}
    api.post("/api/v1/signals", signal)
    assert columns_with("jo@example.com") == set()
    assert columns_with(MARKER) == set()
    assert columns_with("[email]") <= MAY_HOLD_TEXT
    first = LedgerRow.objects.order_by("id").first()
    assert first is not None
    assert len(first.reason or "") == 500
    assert first.metadata == {"note": "x" * 100, "n": 1, "[email]": 2}
