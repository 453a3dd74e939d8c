"""The helpers of the five patterns, on tables of cases; docs/clients.md states the figures that are asserted here."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from agentloop_client.patterns import agent_punted, is_rephrase, makes_factual_claim, recurrence, reverted_quickly

CASES = json.loads((Path(__file__).parents[1] / "data" / "client-patterns.json").read_text())
HELPERS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "is_rephrase": lambda case: is_rephrase(case["question"], case["history"]),
    "agent_punted": lambda case: agent_punted(case["response"]),
    "makes_factual_claim": lambda case: makes_factual_claim(case["response"]),
}
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("name", HELPERS)
def test_precision_and_recall_on_the_table(name: str) -> None:
    said = [(HELPERS[name](case), case["right"]) for case in CASES[name]]
    hits = sum(found and right for found, right in said)
    assert hits / sum(found for found, _ in said) >= 0.95
    assert hits / sum(right for _, right in said) >= 0.95


@pytest.mark.parametrize("name", HELPERS)
def test_every_language_has_cases_of_both_kinds(name: str) -> None:
    kinds = {(case["language"], case["right"]) for case in CASES[name]}
    assert kinds == {(language, right) for language in ("en", "es", "pt", "fr", "de") for right in (True, False)}


@pytest.mark.parametrize("text", ["", " ", "?", "🌙", "你好", "a" * 100_000, "1" * 10_000, "i " * 10_000])
def test_any_text_is_taken(text: str) -> None:
    assert isinstance(agent_punted(text) or makes_factual_claim(text) or is_rephrase(text, [text, ""]), bool)


def test_the_same_question_is_a_rephrase_and_no_history_is_none() -> None:
    assert is_rephrase("Where is my order?", ["where is my order"])
    assert not is_rephrase("Where is my order?", [])


def test_recurrence_tells_the_gap() -> None:
    earlier = [NOON - timedelta(hours=30), NOON - timedelta(hours=5), NOON + timedelta(hours=1)]
    assert recurrence(NOON, earlier) == {"recurrence": True, "gap_hours": 5.0}
    assert recurrence(NOON.timestamp(), [NOON.timestamp() - 5400]) == {"recurrence": True, "gap_hours": 1.5}
    assert recurrence(NOON, [NOON - timedelta(days=4)]) == {}
    assert recurrence(NOON, []) == {}


def test_reverted_quickly_is_within_the_hour() -> None:
    assert reverted_quickly(NOON, NOON + timedelta(minutes=20))
    assert not reverted_quickly(NOON, NOON + timedelta(hours=2))
    assert reverted_quickly(NOON, NOON + timedelta(hours=2), within_hours=3)
    assert not reverted_quickly(NOON, None)
    assert not reverted_quickly(NOON, NOON - timedelta(minutes=1))
