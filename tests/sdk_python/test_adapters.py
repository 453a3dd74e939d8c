"""The adapters with the real libraries, against a provider's stand-in: cost and time are told, content is not."""

import json
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.compat.conftest import ROOT, clean_environment, environment_of
from tests.sdk_python import unkind as u

LOCKED = ROOT / "requirements" / "client-adapters.txt"
USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
CALLS = [{"index": 0, "id": "1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}]


def provider(connection: socket.socket, seen: u.Seen, server: u.Unkind) -> None:
    asked = seen.json
    if asked["model"] == "limited":
        u.send(connection, 429, b'{"error": {"message": "SECRET"}}', "Content-Type: application/json")
        return
    of_openai = seen.path.endswith("/chat/completions")
    if asked.get("stream"):
        events = openai_events(asked["model"]) if of_openai else anthropic_events(asked["model"])
        u.send(connection, 200, events.encode(), "Content-Type: text/event-stream")
    else:
        answer = openai_answer(asked["model"]) if of_openai else anthropic_answer(asked["model"])
        u.send(connection, 200, json.dumps(answer).encode(), "Content-Type: application/json")


provider.ends = False  # type: ignore[attr-defined]


def openai_answer(model: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None if model == "tools" else "SECRET answer"}
    if model == "tools":
        message["tool_calls"] = CALLS
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    return {"id": "1", "object": "chat.completion", "created": 1, "model": model, "choices": choices, "usage": USAGE}


def openai_events(model: str) -> str:
    pieces: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    pieces += [{"tool_calls": CALLS}] if model == "tools" else [{"content": "SECRET "}, {"content": "answer"}]
    head = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": model}
    events = [{**head, "choices": [{"index": 0, "delta": piece, "finish_reason": None}]} for piece in pieces]
    events.append({**head, "choices": [], "usage": USAGE})
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"


def anthropic_answer(model: str) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "text", "text": "SECRET answer"}
    if model == "tools":
        block = {"type": "tool_use", "id": "1", "name": "look_up", "input": {}}
    usage = {"input_tokens": 1000, "output_tokens": 100}
    head = {"id": "1", "type": "message", "role": "assistant", "model": model, "stop_sequence": None}
    return {**head, "content": [block], "stop_reason": "end_turn", "usage": usage}


def anthropic_events(model: str) -> str:
    start = {**anthropic_answer(model), "content": [], "stop_reason": None}
    start["usage"] = {"input_tokens": 1000, "output_tokens": 1}
    block, delta = {"type": "text", "text": ""}, {"type": "text_delta", "text": "SECRET answer"}
    if model == "tools":
        block = {"type": "tool_use", "id": "1", "name": "look_up", "input": {}}  # type: ignore[dict-item]
        delta = {"type": "input_json_delta", "partial_json": "{}"}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 100},
        },
        {"type": "message_stop"},
    ]
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)


@pytest.fixture(scope="module")
def ran() -> tuple[list[Any], list[dict[str, Any]]]:
    """What `on_call` was told, and the spans that reached our server."""
    python = environment_of("client-adapters", LOCKED)
    with u.unkind(always=provider) as stand_in, u.unkind() as server:
        done = subprocess.run(
            [str(python), "-I", str(Path(__file__).with_name("adapters.py"))],
            env={
                **clean_environment(),
                "CLIENT_SOURCE": str(ROOT / "sdk" / "python" / "src"),
                "PROVIDER": stand_in.url,
                "SERVER": server.url,
                "LANGSMITH_TRACING": "false",
                "NO_PROXY": "127.0.0.1",
            },
            cwd=os.path.dirname(python),
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "SECRET" not in done.stderr
        assert all(b"SECRET" not in seen.body for seen in server.seen)
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
