"""The law: outcomes, states and buckets depend on the set of evidence alone."""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentloop.models import Project
from routing.engine.evidence import Source
from routing.evidence import Observation, record, withdraw
from routing.models import LedgerRow, Outcome, Path, PathBucket, PathState
from routing.rebuild import differences

MODELS = ["a", "b", None]
START = 1_760_000_000.0


def observations(max_size: int = 7) -> st.SearchStrategy[list[Observation]]:
    one = st.builds(
        Observation,
        goal=st.sampled_from(["book", "pay"]),
        source=st.sampled_from(list(Source)),
        trace_id=st.sampled_from(["t1", "t2"]),
        model=st.sampled_from(MODELS),
        pipeline_id=st.sampled_from(["", "p"]),
        success=st.sampled_from([True, False, None]),
        score=st.sampled_from([None, 0.0, 0.37, 1.0]),
        confidence=st.sampled_from([0.5, 1.0]),
        attribution=st.sampled_from([None, 0.0, 0.5, 1.0]),
        at_random=st.sampled_from([None, True, False]),
        failure_category=st.sampled_from([None, "timeout", "healed"]),
        occurred_at=st.integers(0, 6).map(lambda step: START + 1800 * step),
        key=st.integers(0, 10**6).map(str),
        withdraws=st.none(),
    )
    return st.lists(one, max_size=max_size, unique_by=lambda row: row.key).flatmap(_with_withdrawals)


def _with_withdrawals(rows: list[Observation]) -> st.SearchStrategy[list[Observation]]:
    if not rows:
        return st.just(rows)
    return st.lists(st.sampled_from(rows), max_size=2, unique_by=lambda row: row.key).map(
        lambda taken: [*rows, *(_withdrawal(row) for row in taken)]
    )


def _withdrawal(row: Observation) -> Observation:
    return Observation(
        row.goal, row.source, row.trace_id, model=row.model, key=f"w{row.key}", withdraws=row.key, occurred_at=START
    )


def state_of(project: Project) -> dict[str, Any]:
    """Everything that the law is about."""
    outcomes = Outcome.objects.filter(project=project).values_list(
        "goal_id", "trace_id", "path_id", "pipeline_id", "success", "score", "confidence", "attribution",
        "failure_category", "source", "at",
    )  # fmt: skip
    states = PathState.objects.filter(project=project).values_list(
        "path_id", "pipeline_id", "own", "samples", "tries", "earlier", "own_decayed", "earlier_decayed"
    )
    buckets = PathBucket.objects.filter(project=project).values_list(
        "goal_id", "path_id", "pipeline_id", "start", "samples", "successes", "rated", "counts", "failures"
    )
    return {
        "outcomes": {row[:3]: row[3:] for row in outcomes},
        "states": {row[:2]: row[2:] for row in states if row[3]},
        "buckets": {row[:4]: row[4:] for row in buckets if any(row[4:7]) or any(map(abs, row[7]))},
    }


def like(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(like(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(like, one, other))
    return bool(one == other)


def forget(project: Project) -> None:
    for model in (LedgerRow, Outcome, PathState, PathBucket):
        model.objects.filter(project=project).delete()


def in_batches(project: Project, rows: Sequence[Observation], size: int) -> None:
    for start in range(0, len(rows), size):
        record(project, rows[start : start + size])


@pytest.fixture
def project(db: None) -> Project:
    project = Project.objects.create(slug="law", name="Law")
    # Both paths stand from the start: what is made on the fly depends on what was named before.
    record(
        project, [Observation(goal, Source.PROVIDER, "t0", model=model) for goal in ("book", "pay") for model in "ab"]
    )
    forget(project)
    return project


TERMS = st.fixed_dictionaries(
    {
        "since": st.sampled_from([None, START + 5400]),
        "forgets_before": st.sampled_from([None, START + 1800]),
        "half_life_s": st.sampled_from([None, 3600.0]),
        "landmark": st.just(START),
    }
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), rows=observations())
def test_order_doubling_and_batching_change_nothing(project: Project, data: st.DataObject, rows: Any) -> None:
    """For given regimes: the path may have begun one, have recovered, or decay."""
    forget(project)
    Path.objects.filter(project=project, model="a").update(**data.draw(TERMS))
    in_batches(project, rows, 100)
    once = state_of(project)
    shuffled = data.draw(st.permutations([*rows, *data.draw(st.lists(st.sampled_from(rows or [None]), max_size=3))]))
    forget(project)
    in_batches(project, [row for row in shuffled if row], data.draw(st.integers(1, 4)))
    assert like(once, state_of(project))
    assert differences(project) == []


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=observations(), undone=st.lists(observations(), min_size=1, max_size=1))
def test_what_is_undone_was_never_said(project: Project, rows: Any, undone: Any) -> None:
    """Of executions that were known already: what is made on the fly stays, and a retraction moves no time."""
    forget(project)
    record(project, rows)
    before = state_of(project)
    known = {(row.goal, row.trace_id, row.model) for row in rows if row.withdraws is None}
    said = [
        replace(row, key=f"undone {row.key}", ref="undone", occurred_at=START + 86400, pipeline_id="")
        for row in undone[0]
        if row.withdraws is None and (row.goal, row.trace_id, row.model) in known
    ]
    record(project, said)
    assert withdraw(project, ref="undone") == len(said)
    after = state_of(project)
    assert like({key: word[0:8] for key, word in after["outcomes"].items()}, before["outcomes"])
    assert like(after["states"], before["states"])
    assert like(_sums(after), _sums(before))
    assert differences(project) == []


def _sums(state: dict[str, Any]) -> dict[str, Any]:
    """Buckets that add up to nothing but rounding are as good as none."""
    return {key: row for key, row in state["buckets"].items() if row[0]}


@pytest.mark.django_db(transaction=True)
@settings(max_examples=6, deadline=None)
@given(rows=observations(max_size=24), data=st.data())
def test_writers_at_once_end_where_one_would_whatever_they_write(rows: Any, data: st.DataObject) -> None:
    project, _ = Project.objects.get_or_create(slug="law", defaults={"name": "Law"})
    record(project, [Observation("book", Source.PROVIDER, "t0", model=model) for model in "ab"])
    record(project, [Observation("pay", Source.PROVIDER, "t0", model=model) for model in "ab"])
    forget(project)
    doubled = data.draw(st.permutations([*rows, *rows[::3]]))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda part: _write(project, doubled[part::4]), range(4)))
    at_once = state_of(project)
    assert differences(project) == []
    forget(project)
    record(project, rows)
    assert like(at_once, state_of(project))


@pytest.mark.django_db(transaction=True)
def test_writers_at_once_end_where_one_would() -> None:
    project = Project.objects.create(slug="law", name="Law")
    rows = [
        Observation(
            "book",
            list(Source)[step % 5],
            f"t{step % 7}",
            model=("a", "b", None)[step % 3],
            success=step % 2 == 0,
            score=(step % 11) / 10,
            pipeline_id=("", "p", "q")[step % 3],
            occurred_at=START + 900 * (step % 13),
            key=f"k{step}",
        )
        for step in range(120)
    ]
    record(project, [Observation("book", Source.PROVIDER, "t0", model=model, key=f"m{model}") for model in "ab"])
    forget(project)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda part: _write(project, rows[part::6]), [0, 1, 2, 3, 4, 5, 0, 3]))
    at_once = state_of(project)
    assert differences(project) == []
    forget(project)
    record(project, rows)
    assert like(at_once, state_of(project))


def _write(project: Project, rows: Sequence[Observation]) -> None:
    try:
        for start in range(0, len(rows), 3):
            record(project, rows[start : start + 3])
    finally:
        connection.close()
