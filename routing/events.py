"""What calls cost and how long they took, from the spans that clients export. What was said in them is dropped."""

import contextlib
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from django.db import transaction
from django.utils import timezone

from agentloop.errors import AppError
from agentloop.ids import new_id
from agentloop.keys import current_signing_secret
from agentloop.models import Project
from agentloop.parsing import read_json
from agentloop.sql import run, with_retries
from routing.errors import BadField, BadSignature
from routing.evidence import lock_traces
from routing.models import NAME_LIMIT, TRACE_LIMIT
from routing.outcomes import recost
from routing.prices import lookup
from routing.reports import moment_of, number_of, text_of

MAX_EVENTS = 5000
NO_PARENT = ("", "00000000deadbeef")
# Routers report their own span around the provider's, with the same time in it.
ROUTER_OPERATION = "kalibr.router.completion"


@dataclass(frozen=True, slots=True)
class Ingested:
    accepted: int
    rejected: int


def read_events(body: bytes, content_type: str) -> list[Any]:
    """The events of a body: `{"events": […]}`, a list, one event, or one event a line. A bad line is None."""
    if "ndjson" in content_type:
        return [_line(line) for line in body.splitlines() if line.strip()]
    value = read_json(body) if body.strip() else {}
    if isinstance(value, dict) and isinstance(value.get("events"), list):
        return list(value["events"])
    return value if isinstance(value, list) else [value] if value else []


def _line(line: bytes) -> Any:
    try:
        return read_json(line)
    except AppError:
        return None


def check_signature(project: Project, given: str, body: bytes) -> None:
    """A signature is optional; one that is sent must fit the body, or the payload as Python writes it."""
    signing = current_signing_secret(project) if given else None
    if signing is None:
        return
    secret = signing[1].encode()
    forms = [body]
    with contextlib.suppress(ValueError):
        forms.append(json.dumps(json.loads(body)).encode())
    fits = [hmac.compare_digest(hmac.new(secret, form, hashlib.sha256).hexdigest(), given.strip()) for form in forms]
    if not any(fits):
        raise BadSignature


def ingest(project: Project, events: Sequence[Any]) -> Ingested:
    """Stores spans, each once by its id, and gives the outcomes of their traces what they cost. One transaction."""
    if len(events) > MAX_EVENTS:
        raise BadField("events", f"takes at most {MAX_EVENTS} events at once.")
    rows = [row for row in map(_row, events) if row is not None]
    if rows:
        prices = lookup(project, sorted({row["model"] for row in rows if row["model"]}))
        for row in rows:
            row["cost_usd"] = _cost(row, prices)
        with_retries(lambda: _store(project, rows))
    return Ingested(len(rows), len(events) - len(rows))


_SPAN_RECORD = (
    "span_id text, trace_id text, parent_id text, goal_name text, provider text, model text, operation text, "
    "status text, error_type text, input_tokens bigint, output_tokens bigint, cost_usd float8, latency_ms float8, "
    "at timestamptz"
)
_SPAN_NAMES = ", ".join(part.split()[0] for part in _SPAN_RECORD.split(", "))


def _store(project: Project, rows: Sequence[Mapping[str, Any]]) -> None:
    traces = sorted({row["trace_id"] for row in rows if row["trace_id"]})
    with transaction.atomic(savepoint=False):
        lock_traces(project, traces)
        run(
            f"""
            INSERT INTO routing_eventspan (project_id, received_at, {_SPAN_NAMES})
            SELECT %s, now(), {_SPAN_NAMES} FROM json_to_recordset(%s::json) AS given({_SPAN_RECORD})
            ORDER BY span_id ON CONFLICT (project_id, span_id) DO NOTHING
            """,
            [project.id, orjson.dumps(list(rows)).decode()],
            keep_plan=True,
        )
        if traces:
            recost(project, traces)


def _row(event: Any) -> dict[str, Any] | None:
    """A span's figures and names. Unknown fields are ignored, missing ones tolerated."""
    if not isinstance(event, dict) or not event:
        return None
    parent = text_of(event.get("parent_id") or event.get("parent_span_id"), TRACE_LIMIT)
    operation = text_of(event.get("operation"))
    model = "" if operation == ROUTER_OPERATION else text_of(event.get("model_id") or event.get("model"))
    begun, ended = moment_of(event.get("ts_start")), moment_of(event.get("ts_end"))
    took = (ended - begun).total_seconds() * 1000 if begun and ended else None
    at = begun or moment_of(event.get("timestamp")) or ended
    latency = _first_of(event, "latency_ms", "duration_ms")
    now = timezone.now()
    return {
        "span_id": text_of(event.get("span_id"), TRACE_LIMIT) or new_id().hex,
        "trace_id": text_of(event.get("trace_id"), TRACE_LIMIT),
        "parent_id": "" if parent in NO_PARENT else parent,
        "goal_name": text_of(event.get("goal")),
        "provider": text_of(event.get("provider")),
        "model": model,
        "operation": operation[:NAME_LIMIT],
        "status": text_of(event.get("status"), 50),
        "error_type": text_of(event.get("error_type"), 100),
        "input_tokens": _tokens(event.get("input_tokens")),
        "output_tokens": _tokens(event.get("output_tokens")),
        "cost_usd": _positive(_first_of(event, "cost_usd", "total_cost_usd")),
        "latency_ms": _positive(took if latency is None else latency),
        "at": at if at is not None and at <= now else now,
    }


def _first_of(event: Mapping[str, Any], *names: str) -> Any:
    return next((event[name] for name in names if event.get(name) is not None), None)


def _positive(value: Any) -> float | None:
    number = number_of(value)
    return number if number is not None and 0 <= number < 1e12 else None


def _tokens(value: Any) -> int | None:
    number = _positive(value)
    return None if number is None else int(number)


def _cost(row: Mapping[str, Any], prices: Mapping[str, tuple[float, float]]) -> float | None:
    """From the tokens where the model's price is known: what exporters send is rounded to a hundredth of a cent."""
    price = prices.get(row["model"])
    into, out = row["input_tokens"] or 0, row["output_tokens"] or 0
    if price is None or not (into or out):
        # Nothing for nothing is an exporter that knew of no cost.
        return row["cost_usd"] or (0.0 if row["cost_usd"] is not None and (into or out) else None)
    return (into * price[0] + out * price[1]) / 1e6
