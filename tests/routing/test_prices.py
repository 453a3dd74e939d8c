"""Model prices: shipped with their date and source, a project's own before them, found under the usual spellings."""

from datetime import date
from pathlib import Path
from typing import Any

import orjson
import pytest

from agentloop.actors import SYSTEM
from agentloop.models import Project
from routing import prices

PRICES = "/api/v1/routing/prices"


def test_shipped_prices_say_when_and_where_they_are_from() -> None:
    listed = orjson.loads((Path(prices.__file__).parent / "prices.json").read_bytes())
    assert date.fromisoformat(listed["as_of"]) <= date.today()
    assert listed["source"].startswith("genai-prices ")
    assert len(listed["prices"]) > 300
    assert all(0 <= into <= 200 and 0 < out <= 700 for into, out in listed["prices"].values())


@pytest.mark.parametrize(
    ("name", "price"),
    [
        ("gpt-4o", (2.5, 10)),
        # Listed by itself, since it costs more than its successors.
        ("gpt-4o-2024-05-13", (5, 15)),
        ("gpt-4o-2024-08-06", (2.5, 10)),
        ("openai/gpt-4o-mini", (0.15, 0.6)),
        ("claude-sonnet-4-20250514", (3, 15)),
        ("anthropic/claude-3-7-sonnet-20250219", (3, 15)),
        ("GPT-4.1-mini", (0.4, 1.6)),
    ],
)
def test_a_model_is_found_by_its_usual_spellings(project: Project, name: str, price: tuple[float, float]) -> None:
    assert prices.lookup(project, [name]) == {name: price}


def test_an_unknown_model_has_no_price(project: Project) -> None:
    assert prices.lookup(project, ["my-own-llama", "", "/"]) == {}


def test_a_projects_own_price_goes_before_the_shipped_one(api: Any, project: Project) -> None:
    api.post(PRICES, {"model": "gpt-4o", "input_usd": 1, "output_usd": 2})
    prices.set_price(project, SYSTEM, model="gpt-4o-2024-05-13", input_usd=7, output_usd=8)
    found = prices.lookup(project, ["gpt-4o", "openai/gpt-4o", "gpt-4o-2024-11-20", "gpt-4o-2024-05-13"])
    assert found == {
        "gpt-4o": (1, 2), "openai/gpt-4o": (1, 2), "gpt-4o-2024-11-20": (1, 2), "gpt-4o-2024-05-13": (7, 8),
    }  # fmt: skip
    listed = {price["model"]: price for price in api.get(PRICES)["prices"]}
    assert (listed["gpt-4o"]["input_usd"], listed["gpt-4o"]["is_own"]) == (1.0, True)
    assert listed["gpt-4.1"]["as_of"] == "2026-11-21"


def test_another_projects_price_is_not_ours(project: Project, stranger: Any) -> None:
    prices.set_price(stranger.project, SYSTEM, model="gpt-4o", input_usd=99, output_usd=99)
    assert prices.lookup(project, ["gpt-4o"]) == {"gpt-4o": (2.5, 10.0)}
