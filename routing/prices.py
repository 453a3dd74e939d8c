"""What models cost: shipped prices, each with its date, and a project's own before them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.db import transaction
from django.utils import timezone

from agentloop import audit
from agentloop.actors import Actor
from agentloop.models import Project
from agentloop.sql import run
from routing.models import NAME_LIMIT, ModelPrice


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars for a million tokens."""

    model: str
    input_usd: float
    output_usd: float
    as_of: date


def _of(as_of: date, rows: Iterable[tuple[str, float, float]]) -> tuple[Price, ...]:
    return tuple(Price(model, into, out, as_of) for model, into, out in rows)


# List prices without discounts for caching or batches, as the providers publish them.
SHIPPED = _of(
    date(2025, 6, 1),
    [
        ("gpt-4o", 2.5, 10.0),
        ("gpt-4o-mini", 0.15, 0.6),
        ("gpt-4.1", 2.0, 8.0),
        ("gpt-4.1-mini", 0.4, 1.6),
        ("gpt-4.1-nano", 0.1, 0.4),
        ("gpt-4-turbo", 10.0, 30.0),
        ("gpt-3.5-turbo", 0.5, 1.5),
        ("o3", 2.0, 8.0),
        ("o4-mini", 1.1, 4.4),
        ("claude-opus-4-20250514", 15.0, 75.0),
        ("claude-sonnet-4-20250514", 3.0, 15.0),
        ("claude-3-7-sonnet-20250219", 3.0, 15.0),
        ("claude-3-5-sonnet-20241022", 3.0, 15.0),
        ("claude-3-5-haiku-20241022", 0.8, 4.0),
        ("gemini-2.5-flash", 0.3, 2.5),
        ("gemini-2.0-flash", 0.1, 0.4),
        ("deepseek-chat", 0.27, 1.1),
        ("mistral-large-latest", 2.0, 6.0),
        ("mistral-small-latest", 0.1, 0.3),
    ],
)


def lookup(project: Project, models: list[str]) -> dict[str, tuple[float, float]]:
    """Dollars for a million tokens in and out: the project's own price before the shipped one. One query."""
    shipped = {price.model: (price.input_usd, price.output_usd) for price in SHIPPED if price.model in models}
    rows = run(
        "SELECT model, input_usd, output_usd FROM routing_modelprice WHERE project_id = %s AND model = ANY(%s)",
        [project.id, models],
    )
    return shipped | {model: (into, out) for model, into, out in rows}


def prices_of(project: Project) -> list[dict[str, Any]]:
    own = {price.model: price for price in ModelPrice.objects.filter(project=project)}
    shipped = {price.model: price for price in SHIPPED}
    return [price_shape(own.get(model) or shipped[model], is_own=model in own) for model in sorted(own | shipped)]


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
