"""What calls cost and took reaches the paths, under whichever of its spellings a span names the model."""

import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentloop.actors import SYSTEM
from agentloop.models import Project
from routing.decisions import Asked, Reported, decide, record_decisions
from routing.engine.choice import Constraints
from routing.engine.evidence import Source
from routing.events import ingest
from routing.evidence import Observation, record, sum_up_anew
from routing.models import EventSpan, LedgerRow, Outcome, PathBucket, PathState
from routing.paths import NewPath, register_path
from routing.rebuild import differences, rebuild
from routing.standings import look

START = 1_760_000_000.0
MODELS = ["gpt-4o", "openai/gpt-4o", "azure/gpt-4o-2024-08-06", "claude-sonnet-4"]


def span(name: str, model: str, cost: float, trace: str = "t") -> dict[str, Any]:
    return {"span_id": name, "trace_id": trace, "model_id": model, "cost_usd": cost, "latency_ms": cost * 1000}


def said(model: str, trace: str = "t", **more: Any) -> Observation:
    return Observation("book", Source.PROVIDER, trace, model=model, success=True, occurred_at=START, **more)


def costs(trace: str = "t") -> dict[str, tuple[float | None, float | None]]:
    found = Outcome.objects.filter(trace_id=trace).values_list("path__model", "cost_usd", "latency_ms")
    return {model: (cost, latency) for model, cost, latency in found}


@pytest.mark.parametrize("span_comes_first", [True, False])
@pytest.mark.parametrize(
    ("path", "called"),
    [
        ("openai/gpt-4o", "gpt-4o"),
        ("openai/gpt-4o", "gpt-4o-2024-08-06"),
        ("gpt-4o", "openai/gpt-4o"),
        ("openrouter/anthropic/claude-sonnet-4", "claude-sonnet-4-20250514"),
        ("gpt-4o", "gpt-4o"),
    ],
)
def test_a_model_is_known_by_all_its_spellings(api: Any, path: str, called: str, span_comes_first: bool) -> None:
    """As the published client's router does it: the provider is taken off a model's name before the call."""
    sent = [
        ("/api/v1/intelligence/report-outcome", {"goal": "book", "trace_id": "t", "model_id": path, "success": True}),
        ("/api/v1/traces", {"events": [span("s", called, 0.5)]}),
    ]
    for address, body in sent[::-1] if span_comes_first else sent:
        api.post(address, body)
    assert costs() == {path: (0.5, 500.0)}
    assert differences(api.project) == []


@pytest.mark.parametrize(
    ("paths", "called", "found"),
    [
        # What a span names exactly is nobody else's.
        (("gpt-4o", "openai/gpt-4o"), ("gpt-4o",), {"gpt-4o": 1.0}),
        (("gpt-4o", "openai/gpt-4o"), ("gpt-4o", "openai/gpt-4o"), {"gpt-4o": 1.0, "openai/gpt-4o": 2.0}),
        # Two that it might be: nobody's.
        (("openai/gpt-4o", "azure/gpt-4o-2024-08-06"), ("gpt-4o",), {}),
        # Two spans of one call, each by its own exporter, count once: the exact one.
        (("openai/gpt-4o",), ("openai/gpt-4o", "gpt-4o"), {"openai/gpt-4o": 1.0}),
        (("openai/gpt-4o", "claude-sonnet-4"), ("gpt-4o", "gpt-4o", "claude-sonnet-4"),
         {"openai/gpt-4o": 3.0, "claude-sonnet-4": 3.0}),
        (("openai/gpt-4o",), ("gpt-4o-mini",), {}),
    ],
)  # fmt: skip
def test_a_call_is_given_to_the_one_path_that_it_can_be_of(
    project: Project, paths: Sequence[str], called: Sequence[str], found: dict[str, float]
) -> None:
    record(project, [said(model) for model in paths])
    ingest(project, [span(f"s{place}", model, place + 1.0) for place, model in enumerate(called)])
    assert {model: cost for model, (cost, _) in costs().items() if cost is not None} == found
    assert differences(project) == []


def kept(project: Project) -> dict[Any, Any]:
    outcomes = Outcome.objects.filter(project=project).values_list("trace_id", "path__model", "cost_usd", "latency_ms")
    buckets = PathBucket.objects.filter(project=project).values_list(
        "path_id", "start", "samples", "cost_usd", "costs", "latencies"
    )
    return {
        **{row[:2]: row[2:] for row in outcomes},
        **{row[:2]: (row[2], round(row[3], 9), *row[4:]) for row in buckets if any(row[2:])},
    }


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_costs_depend_on_what_came_and_not_on_when(project: Project, data: st.DataObject) -> None:
    for model in MODELS:
        register_path(project, SYSTEM, "book", NewPath(model))
    traces = st.sampled_from(["t", "u"])
    models = st.sampled_from(MODELS)
    reports = st.builds(said, models, traces, key=st.integers(0, 10**6).map(str))
    spans = st.builds(span, st.integers(0, 10**6).map(str), models | st.just("gpt-4o-2024-08-06"),
                      st.sampled_from([0.1, 0.25, 2.0]), traces)  # fmt: skip
    told = st.lists(reports, min_size=1, max_size=4, unique_by=lambda row: row.key)
    called = st.lists(spans, max_size=5, unique_by=lambda one: one["span_id"])
    everything = [*data.draw(told), *data.draw(called)]
    shuffled = data.draw(st.permutations([*everything, *everything[::2]]))
    ends = []
    for order in (everything, shuffled):
        for table in (LedgerRow, Outcome, PathState, PathBucket, EventSpan):
            table.objects.filter(project=project).delete()
        for one in order:
            if isinstance(one, Observation):
                record(project, [one])
            else:
                ingest(project, [one])
        assert differences(project) == []
        ends.append(kept(project))
    assert ends[0] == ends[1]
    sum_up_anew(project, ["t", "u"])
    assert kept(project) == ends[0]
    rebuild(project)
    assert kept(project) == ends[0]


@pytest.mark.parametrize("decision_comes_first", [True, False])
def test_a_call_reaches_the_decided_path_of_a_report_that_names_none(
    project: Project, decision_comes_first: bool
) -> None:
    path = register_path(project, SYSTEM, "book", NewPath("openai/gpt-4o"))
    ingest(project, [span("s", "gpt-4o", 0.5)])
    steps = [
        lambda: record_decisions(project, [Reported("book", "t", path.shown_id, decided_at=START)]),
        lambda: record(project, [Observation("book", Source.PROVIDER, "t", success=True, occurred_at=START + 1)]),
    ]
    for step in steps if decision_comes_first else steps[::-1]:
        step()
    assert costs()["openai/gpt-4o"] == (0.5, 500.0)
    assert differences(project) == []


def test_constraints_see_what_a_path_with_a_provider_costs(project: Project) -> None:
    now = time.time()
    for model in ("openai/gpt-4o", "deepseek/deepseek-chat"):
        for place in range(6):
            trace = f"{model}{place}"
            record(project, [Observation("book", Source.PROVIDER, trace, model=model, success=True, occurred_at=now)])
            cost = 0.5 if model == "openai/gpt-4o" else 0.01
            ingest(project, [span(trace, model.partition("/")[2], cost, trace)])
    seen = {one.model: one.contender.figures for one in look(project, "book", window_hours=24).paths}
    assert {model: round(figures.mean_cost_usd or 0, 6) for model, figures in seen.items()} == {
        "openai/gpt-4o": 0.5,
        "deepseek/deepseek-chat": 0.01,
    }
    asked = Asked("book", constraints=Constraints(max_cost_usd=0.1))
    taken = {decided.path.model for decided in (decide(project, asked) for _ in range(20)) if decided.path}
    assert taken == {"deepseek/deepseek-chat"}


def test_what_a_call_cost_stays_when_its_span_goes(project: Project) -> None:
    record(project, [said("openai/gpt-4o")])
    ingest(project, [span("s", "gpt-4o", 0.5)])
    EventSpan.objects.all().delete()
    record(project, [said("openai/gpt-4o", key="more"), said("claude-sonnet-4")])
    rebuild(project)
    assert costs() == {"openai/gpt-4o": (0.5, 500.0), "claude-sonnet-4": (None, None)}
    assert differences(project) == []
