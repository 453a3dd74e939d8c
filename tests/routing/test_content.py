"""No prompt, response or tool content reaches a routing table; the short fields that may hold text are masked."""

import json
import time
from random import randrange
from typing import Any
from urllib.parse import urlsplit

from django.test import Client

from agentloop import keyring
from agentloop.actors import SYSTEM
from agentloop.keys import create_signing_key, signing_key_id
from agentloop.signing import make_token
from agentloop.tenancy import change_settings
from review.models import Annotation
from routing.models import Decision, EventSpan, LedgerRow, Outcome
from tests.routing.goals_support import columns_with

MARKER = "MARKER-of-content"
# The only free texts, by specification: a reason, a raw evidence and scalar metadata.
MAY_HOLD_TEXT = {("routing_ledgerrow", name) for name in ("reason", "raw_evidence", "metadata")}
CONTENT = dict.fromkeys(
    ("prompt", "response", "input", "output", "messages", "content", "tool_input", "tool_output", "question"), MARKER
)


def test_no_endpoint_lets_content_into_a_table(api: Any) -> None:
    nested = {"metadata": {"input": {"text": MARKER}, "output": [MARKER]}, **CONTENT}
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
    assert columns_with(MARKER) == set()
    assert Outcome.objects.count() == 3
    assert EventSpan.objects.count() == 3
    assert Decision.objects.filter(trace_id="t4").exists()


SAID = {"tags": [MARKER], "comment": MARKER, "correction": MARKER}
JUDGED = {
    **SAID,
    "rating": "incorrect",
    "scores": {"overall": 0.1, MARKER: 1},
    "rubric": {"answers": {"why": MARKER}},
    "metadata": {"note": MARKER, "input": {"text": MARKER}, "output": [MARKER]},
    **CONTENT,
}
TURN = {
    "question": MARKER,
    "agent_response": MARKER,
    "goal": "g",
    "model": "m",
    "signals": {"note": MARKER},
    "tags": [MARKER],
    "metadata": {"note": MARKER, "steps": [{"input": MARKER}], "trace": MARKER},
}


def logged(api: Any, trace: str, **more: Any) -> dict[str, Any]:
    answer = api.send("POST", "/v1/turns", {**TURN, "trace_id": trace, **more})
    assert answer.status_code in (200, 201), answer.content
    return answer.json()


def sources_of(trace: str) -> list[str]:
    return list(LedgerRow.objects.filter(trace_id=trace, withdraws=None).values_list("source", flat=True))


def test_no_verdict_lets_content_into_a_table(api: Any) -> None:
    asked = {"questions": [{"key": "why", "text": "Why?", "kind": "text"}]}
    assert api.send("PUT", "/v1/rubric", asked).status_code == 200
    turn = logged(api, "judged")
    assert api.send("POST", f"/v1/turns/{turn['turn_id']}/verdict", JUDGED).status_code == 201
    logged(api, "annotated")
    given = {**JUDGED, "question": MARKER, "agent_response": MARKER}
    answer = api.send("POST", "/v1/annotations", given)
    assert answer.status_code == 201, answer.content
    edited = {**JUDGED, "rating": "partial", "comment": f"{MARKER} again"}
    path = f"/v1/annotations/{answer.json()['annotation_id']}"
    assert api.send("PATCH", path, edited).status_code == 200
    batch = {"turns": [{**TURN, "question": f"{MARKER} of a batch", "trace_id": "batched"}]}
    more = api.send("POST", "/v1/turns/batch", batch).json()
    assert more["results"][0]["status"] == "pending"
    assert columns_with(MARKER) == set()
    assert sources_of("judged") == ["review"]
    assert sources_of("annotated") == ["review", "review"]
    assert Annotation.objects.filter(comment__contains=MARKER, rubric__icontains=MARKER).count() == 2


def test_no_feedback_form_lets_content_into_a_table(api: Any) -> None:
    """Neither the form of a turn, nor one whose link has the texts in it."""
    keyring.forget()
    _, secret = create_signing_key(project=api.project, actor=SYSTEM)
    turn = logged(api, "asked", want_feedback_url=True)
    texts = {"k": signing_key_id(secret), "q": MARKER, "a": MARKER, "goal": "g", "trace": "linked"}
    token = make_token(secret, texts, int(time.time()))
    # An address of its own: limits outlive a test.
    visitor = Client(REMOTE_ADDR=f"198.18.{randrange(256)}.{randrange(256)}")
    for link in (urlsplit(turn["feedback_url"]).path, f"/p/alice/f/{token}"):
        for rating in ("incorrect", "partial"):
            sent = visitor.post(link, {"rating": rating, **SAID, "reason": ["wrong_facts", MARKER], **CONTENT})
            assert sent.status_code == 200, sent.content
    assert columns_with(MARKER) == set()
    assert sources_of("asked") == sources_of("linked") == ["user", "user"]
    assert Annotation.objects.filter(comment=MARKER, correction=MARKER, source="end_user").count() == 2


def test_the_short_texts_are_cut_and_masked(api: Any) -> None:
    """Whatever brings them: these fields alone may hold words, at most so many, and none that the project masks."""
    change_settings(project=api.project, actor=SYSTEM, changes={"mask": ["email"]})
    words = {
        "failure_reason": "wrote to jo@example.com " + "y" * 600,
        "metadata": {"note": "x" * 300 + MARKER, "n": 1, "jo@example.com": 2},
    }
    about = {"goal": "g", "model_id": "m", "success": False, **words}
    api.post("/api/v1/intelligence/report-outcome", {**about, "trace_id": "reported"})
    api.post("/api/v1/intelligence/update-outcome", {**about, "trace_id": "reported"})
    api.post("/api/v1/intelligence/outcomes", {"outcomes": [{**about, "trace_id": "batched"}]})
    signal = {"goal": "g", "signal_type": "user_rejected", "raw_evidence": "I am jo@example.com " + "z" * 600}
    api.post("/api/v1/signals", {**signal, "trace_id": "signalled"})
    api.post("/api/v1/intelligence/signals", {**signal, "trace_id": "signalled"})
    api.post("/api/v1/intelligence/signals/batch", {"signals": [{**signal, "trace_id": "signalled"}]})
    assert columns_with("jo@example.com") == set()
    assert columns_with(MARKER) == set()
    assert columns_with("[email]") == MAY_HOLD_TEXT
    reported = LedgerRow.objects.exclude(trace_id="signalled")
    assert [len(row.reason or "") for row in reported] == [500] * 3
    assert [row.metadata for row in reported] == [{"note": "x" * 100, "n": 1, "[email]": 2}] * 3
    assert [len(row.raw_evidence or "") for row in LedgerRow.objects.filter(trace_id="signalled")] == [500] * 3
