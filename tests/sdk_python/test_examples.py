"""The examples that all clients and the server share: what is sent, and what is answered."""

import dataclasses
import json
import math
import re
import uuid
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
from agentloop_client import FAILURE_CATEGORIES, AgentLoop, AgentLoopError, Router, errors, patterns, routing
from agentloop_client._choice import Race, Terms, read_snapshot
from agentloop_client._messages import _place, is_sampled
from agentloop_client._outbox import LANES

from routing.engine.categories import FAILURE_CATEGORIES as server_categories
from tests.sdk_python import unkind as u
from tests.sdk_python.conftest import Home

EXAMPLES = json.loads((Path(__file__).parents[1] / "data" / "client-examples.json").read_text())
EXCHANGES = pytest.mark.parametrize("example", EXAMPLES["exchanges"], ids=lambda one: one["name"])
ANY = "<any>"


def fits(expected: Any, found: Any) -> bool:
    """Whether what was sent is what the example says, where it says something."""
    if expected == ANY:
        return found not in (None, "")
    if isinstance(expected, dict):
        return expected.keys() == found.keys() and all(fits(expected[name], found[name]) for name in expected)
    if isinstance(expected, list):
        return len(expected) == len(found) and all(map(fits, expected, found))
    return bool(expected == found)


@EXCHANGES
def test_the_client_sends_and_understands(example: dict[str, Any]) -> None:
    body = json.dumps(example["response"]["body"]).encode()
    with u.unkind(always=u.status(example["response"]["status"], body=body)) as server:
        loop = AgentLoop("al_key", server.url, strict=True)
        try:
            answer: Any = call(loop, example)
            assert loop.flush(5)
        except AgentLoopError as error:
            answer = {"error": error.code}
        loop.close()
        [seen] = server.seen
    request = example["request"]
    assert (seen.method, seen.path) == (request["method"], request["path"])
    assert fits(request["body"], seen.json), seen.json
    assert seen.headers["authorization"] == "Bearer al_key"
    assert all(fits(value, seen.headers[name.lower()]) for name, value in request.get("headers", {}).items())
    assert answer == example["answer"]


def call(loop: AgentLoop, example: dict[str, Any]) -> Any:
    given = example["arguments"]
    if example["client"] == "routing":
        return getattr(routing, example["call"])(**given, client=loop)
    answer = getattr(loop, example["call"])(**given)
    if isinstance(answer, list):
        return [json.loads(json.dumps(dataclasses.asdict(one))) for one in answer]
    return dataclasses.asdict(answer) if answer is not None else None


def shape(value: Any) -> Any:
    """What kind of thing this is: figures, ids and texts of the same kind are alike, and so are times."""
    if isinstance(value, dict):
        return {name: shape(part) for name, part in sorted(value.items())}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    if isinstance(value, str):
        prefix = re.match(r"(turn|ann|mem|act|path)_[0-9a-f]{32}$", value)
        return prefix[1] if prefix else "text"
    return "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__


def filled(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: filled(part) for name, part in value.items()}
    if isinstance(value, list):
        return [filled(part) for part in value]
    return uuid.uuid4().hex if value == ANY else value


# What an answer may leave open at any time: there was no turn to close yet, or there is one now.
OPEN = {"turn_id", "memory_id", "duplicate_score", "success_rate", "risk_score", "outcome_success_rate", "tool_id"}


@EXCHANGES
def test_the_server_answers_as_the_examples_say(example: dict[str, Any], home: Home) -> None:
    """In the order of the file each on a project that others have written to: kinds are compared, not values."""
    prepare(home)
    request, response = example["request"], example["response"]
    headers = {"Authorization": f"Bearer {home.api_key}", **filled(request.get("headers", {}))}
    answer = httpx.request(request["method"], home.url + request["path"], json=filled(request["body"]), headers=headers)
    # A turn that stands already is counted into it, with 200 instead of 201.
    assert answer.status_code == response["status"] or {answer.status_code, response["status"]} == {200, 201}
    found, expected = answer.json(), response["body"]
    assert found.keys() == expected.keys()
    for name in expected.keys() - OPEN:
        if expected[name] not in ([], {}) and found[name] not in ([], {}):
            assert shape(found[name]) == shape(expected[name]), name
    if response["status"] >= 400:
        assert found["code"] == expected["code"]


def prepare(home: Home) -> None:
    """What the examples speak of is there: a memory, an outcome to correct, and enough of them to recommend a path."""
    with AgentLoop(home.api_key, home.url, strict=True) as loop:
        loop.annotate(
            "Where is my order?", "On its way.", "Name the day it arrives.", rating="partial", tags=["orders"]
        )
        for number in range(6):
            trace = "0af7651916cd43dd8448eb211c80319c" if number == 0 else f"example-{number}"
            said = {"trace_id": trace, "goal": "book_meeting", "success": True, "model_id": "gpt-4o"}
            loop.post("outcomes", {**said, "idempotency_key": f"example-{number}"})
        assert loop.flush()


@pytest.mark.parametrize("example", EXAMPLES["sampling"], ids=lambda one: one["key"][:12])
def test_a_key_is_drawn_alike_everywhere(example: dict[str, Any]) -> None:
    assert _place(example["key"]) == example["place"]
    assert is_sampled(example["place"] + 1e-9, example["key"])
    assert not is_sampled(example["place"], example["key"])


def test_samples_are_fair() -> None:
    for rate in (0.01, 0.05, 0.5):
        drawn = sum(is_sampled(rate, f"session-{number}") for number in range(20_000)) / 20_000
        assert abs(drawn - rate) < 5 * (rate * (1 - rate) / 20_000) ** 0.5
    assert sum(is_sampled(0.5) for _ in range(1000)) in range(400, 600)
    assert is_sampled(1.0, "any")
    assert not is_sampled(0.0, "any")


@pytest.mark.parametrize("example", EXAMPLES["choosing"], ids=lambda one: one["name"])
def test_a_snapshot_is_drawn_from_as_the_engine_would(example: dict[str, Any]) -> None:
    """`taken` is the engine's own probability that each path is taken."""
    snapshot = read_snapshot(example["state"])
    terms = Terms(frozenset(example["models"]), example["constraints"], example["risk"])
    race, draws = Race(snapshot, terms, example["now"], Random(5)), 4000
    drawn = Counter(path.path_id for _ in range(draws) if (path := race.draw().path))
    assert drawn.keys() <= example["taken"].keys()
    for path_id, share in example["taken"].items():
        assert abs(drawn[path_id] / draws - share) <= 5 * math.sqrt(share * (1 - share) / draws) + 0.001


def test_names_and_codes_are_those_of_the_examples() -> None:
    assert {name: getattr(errors, name).code for name in errors.__all__} == EXAMPLES["errors"]
    assert list(FAILURE_CATEGORIES) == EXAMPLES["failure_categories"] == list(server_categories)
    shown = {lane.name: {"path": lane.path, "field": lane.field, "most": lane.most} for lane in LANES.values()}
    assert shown == EXAMPLES["lanes"]
    places = {"AgentLoop": AgentLoop, "Router": Router, "routing": routing, "patterns": patterns}
    for place, owner in places.items():
        assert [name for name in EXAMPLES["names"][place] if not hasattr(owner, name)] == []
    trace = Router("goal", ["m"], client=AgentLoop("al_key", "http://127.0.0.1:9")).start_trace()
    assert [name for name in EXAMPLES["names"]["Trace"] if not hasattr(trace, name)] == []
