"""A model provider's stand-in: answers as OpenAI and Anthropic do. What it does goes by the model's name."""

import json
import socket
import subprocess
from pathlib import Path
from typing import Any

from tests.compat.conftest import ROOT, clean_environment
from tests.sdk_python import unkind as u

# How OpenAI's newer API answers, whole and in events: JavaScript's tests read the same.
RESPONSES = json.loads((Path(__file__).parents[1] / "data" / "openai-responses.json").read_text("utf-8"))
USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
CALLS = [{"index": 0, "id": "1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}]


def run_with(
    python: Path, script: str, stand_in: u.Unkind, server: u.Unkind, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs a script of this folder in an environment of its own, with the stand-in for provider and our server beside
    it. Nothing that was said reaches our server."""
    done = subprocess.run(
        [str(python), "-I", str(Path(__file__).with_name(script))],
        env={
            **clean_environment(),
            "CLIENT_SOURCE": str(ROOT / "sdk" / "python" / "src"),
            "PROVIDER": stand_in.url,
            "SERVER": server.url,
            "NO_PROXY": "127.0.0.1",
            **environment,
        },
        cwd=python.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert all(b"SECRET" not in seen.body for seen in server.seen)
    return done


def provider(connection: socket.socket, seen: u.Seen, server: u.Unkind) -> None:
    asked = seen.json
    if asked["model"] == "limited":
        u.send(connection, 429, b'{"error": {"message": "SECRET"}}', "Content-Type: application/json")
        return
    whole, in_events = SHAPES[seen.path.rpartition("/v1/")[2]]
    if asked.get("stream"):
        u.send(connection, 200, in_events(asked["model"]).encode(), "Content-Type: text/event-stream")
    else:
        u.send(connection, 200, json.dumps(whole(asked["model"])).encode(), "Content-Type: application/json")


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


def response_answer(model: str) -> dict[str, Any]:
    answer: dict[str, Any] = RESPONSES[model if model in RESPONSES else "plain"]["answer"]
    return answer


def response_events(model: str) -> str:
    events = RESPONSES[model if model in RESPONSES else "plain"]["events"]
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)


SHAPES = {
    "chat/completions": (openai_answer, openai_events),
    "responses": (response_answer, response_events),
    "messages": (anthropic_answer, anthropic_events),
}
