"""The examples in the API's description are what the API takes and answers: they are replayed, as one story."""

import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from agentloop.keys import forget_cached
from agentloop.schema import described, examples
from tests.review.support import Caller, caller_for, make_project

# What is new each time: ids, times, the model that chance took, and a claim's token.
_NEW = re.compile(
    r"(turn|act|ann|mem|path)_[0-9a-f]{32}|key:al_[0-9a-f]{8}|[0-9a-f]{32}|\d{4}-\d\d-\d\dT[\d:.]+Z|gpt-4o|claude-sonnet-4"
)
TOKEN = 48213
MAIN = {
    *("log_turn", "log_turns", "claim_turn", "judge_turn", "annotate"),
    *("search_memories", "decide", "report_outcome"),
}
OPERATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    operation["operationId"]: (path, operation)
    for path, methods in described()["paths"].items()
    for operation in methods.values()
}


def filled(value: Any, known: dict[str | int, Any]) -> Any:
    """The example's ids as those that this run was given."""
    if isinstance(value, dict):
        return {name: filled(part, known) for name, part in value.items()}
    if isinstance(value, list):
        return [filled(part, known) for part in value]
    return known.get(value, value) if isinstance(value, str | int) else value


def check(shown: Any, answer: Any, known: dict[str | int, Any], where: str) -> None:
    """The same members and values; where a value is new each time, one of the same kind, which is learnt."""
    if isinstance(shown, dict):
        assert isinstance(answer, dict), where
        assert set(shown) == set(answer), where
        for name, part in shown.items():
            check(part, answer[name], known, f"{where}.{name}")
    elif isinstance(shown, list):
        assert len(shown) == len(answer), where
        for place, (part, other) in enumerate(zip(shown, answer, strict=True)):
            check(part, other, known, f"{where}[{place}]")
    elif isinstance(shown, str) and (kind := _NEW.fullmatch(shown)):
        found = _NEW.fullmatch(answer)
        assert found is not None, where
        assert found[1] == kind[1], where
        known[shown] = answer
    elif shown == TOKEN:
        assert isinstance(answer, int), where
        known[shown] = answer
    else:
        assert (shown, type(shown)) == (answer, type(answer)), where


@pytest.mark.django_db
def test_they_are_answered_as_they_say() -> None:
    forget_cached()
    call: Caller = caller_for(make_project("acme"))
    known: dict[str | int, Any] = {}
    for name, one in examples().items():
        path = OPERATIONS[name][0].format(**filled(one.get("path", {}), known))
        answer = call("POST", path, filled(one["request"], known))
        assert answer.status == one["status"], name
        check(one["answer"], answer.body, known, name)
        refused = call("POST", path, filled(one["refused"]["request"], known))
        assert (refused.status, refused.body) == (one["refused"]["status"], one["refused"]["answer"]), name


def test_every_main_operation_shows_a_request_an_answer_and_a_refusal() -> None:
    assert set(examples()) == MAIN
    for name, one in examples().items():
        operation = OPERATIONS[name][1]
        responses = operation["responses"]
        places = [
            (operation["requestBody"], one["request"]),
            (responses[str(one["status"])], one["answer"]),
            (responses[str(one["refused"]["status"])], one["refused"]["answer"]),
        ]
        for body, value in places:
            content = body["content"]["application/json"]
            assert content["examples"]["example"]["value"] == value
            schema = {**content["schema"], "components": described()["components"]}
            problems = [error.message for error in Draft202012Validator(schema).iter_errors(value)]
            assert not problems, name
