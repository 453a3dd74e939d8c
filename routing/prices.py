"""What models cost: shipped prices, dated and with their source, and a project's own before them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import orjson
from django.db import transaction
from django.utils import timezone

from agentloop import audit
from agentloop.actors import Actor
from agentloop.models import Project
from agentloop.sql import run
from routing.models import NAME_LIMIT, ModelPrice

# The date or the word at the end of a model's name that says which edition it is.
_EDITION = re.compile(r"-(?:20\d{6}|20\d\d-\d\d-\d\d|latest)\Z")


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars for a million tokens."""

    model: str
    input_usd: float
    output_usd: float
    as_of: date


@cache
def shipped() -> dict[str, Price]:
    """`prices.json` says where they are from and what they leave out."""
    listed = orjson.loads(Path(__file__).with_name("prices.json").read_bytes())
    as_of = date.fromisoformat(listed["as_of"])
    return {model: Price(model, into, out, as_of) for model, (into, out) in listed["prices"].items()}


def spellings(model: str) -> Iterator[str]:
    """The names under which a model's price may stand, the most exact first: as it is, without the provider before a
    slash, and without its edition, whose price is the model's unless it is listed by itself."""
    yield model
    yield _without_provider(model)
    yield from (bare_name(model), f"{bare_name(model)}-latest")


def bare_name(model: str) -> str:
    """A model's name without its provider and its edition: what all its spellings have in common."""
    return _EDITION.sub("", _without_provider(model))


def _without_provider(model: str) -> str:
    return model.rpartition("/")[2].lower()


def lookup(project: Project, models: list[str]) -> dict[str, tuple[float, float]]:
    """Dollars for a million tokens in and out: the project's own price before the shipped one. One query."""
    own = {
        name: (into, out)
        for name, into, out in run(
            "SELECT model, input_usd, output_usd FROM routing_modelprice WHERE project_id = %s AND model = ANY(%s)",
            [project.id, [name for model in models for name in spellings(model)]],
        )
    }
    known = {name: (price.input_usd, price.output_usd) for name, price in shipped().items()} | own
    found = {model: next((known[name] for name in spellings(model) if name in known), None) for model in models}
    return {model: price for model, price in found.items() if price is not None}


def prices_of(project: Project) -> list[dict[str, Any]]:
    own = {price.model: price for price in ModelPrice.objects.filter(project=project)}
    listed: dict[str, Price | ModelPrice] = {**shipped(), **own}
    return [price_shape(listed[model], is_own=model in own) for model in sorted(listed)]


def price_shape(price: Price | ModelPrice, *, is_own: bool) -> dict[str, Any]:
    return {
        "model": price.model,
        "input_usd": price.input_usd,
        "output_usd": price.output_usd,
        "as_of": price.as_of,
        "is_own": is_own,
    }


def set_price(project: Project, actor: Actor, *, model: str, input_usd: float, output_usd: float) -> dict[str, Any]:
    """A project's own price, for spans that arrive from now on."""
    with transaction.atomic():
        price, _ = ModelPrice.objects.update_or_create(
            project=project,
            model=model[:NAME_LIMIT],
            defaults={"input_usd": input_usd, "output_usd": output_usd, "as_of": timezone.now().date()},
        )
        audit.note(project, actor, "price.set", price.model)
    return price_shape(price, is_own=True)
