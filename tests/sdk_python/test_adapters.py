"""The adapters with the real libraries, against a provider's stand-in: cost and time are told, content is not."""

import json
from typing import Any

import pytest

from tests.compat.conftest import ROOT, environment_of
from tests.sdk_python import unkind as u
from tests.sdk_python.provider import provider, run_with

LOCKED = ROOT / "requirements" / "client-adapters.txt"


@pytest.fixture(scope="module")
def ran() -> tuple[list[Any], list[dict[str, Any]]]:
    """What `on_call` was told, and the spans that reached our server."""
    python = environment_of("client-adapters", LOCKED)
    with u.unkind(always=provider) as stand_in, u.unkind() as server:
        done = run_with(python, "adapters.py", stand_in, server, LANGSMITH_TRACING="false")
        assert "SECRET" not in done.stderr
        spans = [span for seen in server.seen for span in seen.json["events"]]
        return json.loads(done.stdout.splitlines()[-1]), spans


Ran = tuple[list[Any], list[dict[str, Any]]]
PLAIN = ["SECRET question", "SECRET answer", [], 1000, 100, None]
TOOLS = ["SECRET question", "", ["look_up"], 1000, 100, None]
# The environment is made by whichever test comes first, which may take a minute.
pytestmark = [pytest.mark.compat, pytest.mark.timeout(300)]


def test_openai(ran: Ran) -> None:
    told, spans = ran
    assert told[:4] == [["openai", "plain", *PLAIN], ["openai", "tools", *TOOLS]] * 2
    assert told[4][:3] == ["openai", "left early", "SECRET question"]
    assert told[5:7] == [["openai", "limited", "SECRET question", "", [], None, None, "rate_limited"], "raised"]
    ours = [span for span in spans if span.get("goal") == "answer" and span["provider"] == "openai"]
    assert [(span["model_id"], span.get("input_tokens"), span["status"]) for span in ours] == [
        ("plain", 1000, "ok"),
        ("tools", 1000, "ok"),
        ("plain", 1000, "ok"),
        ("tools", 1000, "ok"),
        ("left early", None, "ok"),
        ("limited", None, "error"),
    ]
    assert all(span["latency_ms"] > 0 for span in ours)


def test_openai_awaited(ran: Ran) -> None:
    told, spans = ran
    assert told[7:10] == [["openai", "plain", *PLAIN], ["openai", "plain", *PLAIN], True]
    assert sum(span.get("goal") == "async" for span in spans) == 2


def test_anthropic(ran: Ran) -> None:
    told, spans = ran
    assert told[10:14] == [["anthropic", "plain", *PLAIN], ["anthropic", "tools", *TOOLS]] * 2
    assert told[14:16] == [["anthropic", "limited", "SECRET question", "", [], None, None, "rate_limited"], "raised"]
    assert [span["output_tokens"] for span in spans if span["provider"] == "anthropic" and span["status"] == "ok"] == [
        100
    ] * 4


def test_langchain(ran: Ran) -> None:
    told, spans = ran
    counted, streamed, failed, raised = told[16:20]
    assert counted[1:] == ["counted-1", "SECRET question", "SECRET answer", ["look_up"], 11, 7, None]
    assert streamed[2:4] == ["SECRET question", "SECRET streamed"]
    assert (failed[-1], raised) == ("timeout", "raised")
    ours = [span for span in spans if span.get("goal") == "chain"]
    assert [span["status"] for span in ours] == ["ok", "ok", "error"]
    assert {span["trace_id"] for span in ours} == {"0" * 31 + "7"}


def test_opentelemetry(ran: Ran) -> None:
    told, spans = ran
    [span] = [span for span in spans if span.get("goal") == "traced"]
    assert span["trace_id"] == told[20]
    assert (span["model_id"], span["provider"], span["status"]) == ("gpt-4o", "openai", "error")
    assert (span["input_tokens"], span["output_tokens"]) == (1000, 100)
    assert span["parent_span_id"]


FAILED = ["openai", "failed", "SECRET question", "", [], None, None, "rate_limited"]


def test_openai_responses(ran: Ran) -> None:
    told, spans = ran
    plain, tools = ["openai", "plain", *PLAIN], ["openai", "tools", *TOOLS]
    # Whole and in events, by `stream`, by `parse`, raw, and left early; then what failed.
    assert told[21:28] == [plain, tools, plain, tools, plain, plain, plain]
    assert told[28][:5] == ["openai", "left early", "SECRET question", "", []]
    assert told[29:33] == [FAILED, FAILED, ["openai", "limited", *FAILED[2:]], "raised"]
    ours = [span for span in spans if span.get("goal") == "respond"]
    assert [span["status"] for span in ours] == ["ok"] * 8 + ["error"] * 3
    assert [span.get("error_type") for span in ours[8:]] == ["ResponseFailed", "ResponseFailed", "RateLimitError"]


def test_openai_responses_awaited(ran: Ran) -> None:
    told, spans = ran
    plain = ["openai", "plain", *PLAIN]
    assert told[33:38] == [plain, plain, plain, ["openai", "tools", *TOOLS], ["SECRET answer", "SECRET answer"]]
    assert sum(span.get("goal") == "respond awaited" for span in spans) == 4


def test_openai_parsed_completions(ran: Ran) -> None:
    told, _ = ran
    assert told[38:] == [["openai", "plain", *PLAIN]] * 2
