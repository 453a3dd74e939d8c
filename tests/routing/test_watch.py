"""Regimes, rollback and recovery, auto-explore, decay, retention: over the database."""

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from django.db import connection

from agentloop.actors import SYSTEM
from agentloop.celery import app
from agentloop.models import OutboxMessage, Project
from agentloop.outbox import add_webhook
from agentloop.tenancy import change_settings
from routing import watch
from routing.decisions import Asked, decide
from routing.engine.evidence import Source
from routing.engine.histogram import Histogram, contribution, merged
from routing.events import ingest
from routing.evidence import Observation, record, withdraw
from routing.models import (
    WHOLE_GOAL,
    ChangeDetector,
    Decision,
    EventSpan,
    FirstReport,
    Goal,
    Outcome,
    Path,
    PathBucket,
    PathChange,
    PathState,
    Regime,
)
from routing.paths import NewPath, change_goal, disable_path, register_path
from routing.rebuild import differences, rebuild
from routing.standings import look

HOUR = 3600.0


def report(project: Project, model: str, values: list[float], *, begin: float, end: float, **more: Any) -> None:
    """Outcomes spread evenly over a time."""
    step = (end - begin) / len(values)
    rows = [
        Observation(
            "book",
            more.get("source", Source.PROVIDER),
            f"{model}{begin:.0f}-{place}",
            model=model,
            success=value >= 0.5,
            score=value,
            occurred_at=begin + place * step,
            at_random=more.get("at_random"),
        )
        for place, value in enumerate(values)
    ]
    for start in range(0, len(rows), 500):
        record(project, rows[start : start + 500])


def goal_of(project: Project) -> Goal:
    return Goal.objects.get(project=project, name="book")


def statuses(project: Project) -> dict[str, str]:
    return dict(Path.objects.filter(project=project).values_list("model", "status"))


def test_a_path_that_falls_is_rolled_back_and_recovers_by_its_probe(project: Project) -> None:
    now = time.time()
    report(project, "good", [1.0] * 90 + [0.0] * 10, begin=now - 48 * HOUR, end=now)
    report(project, "bad", [1.0] * 60, begin=now - 48 * HOUR, end=now - 5 * HOUR)
    report(project, "bad", [0.0] * 60, begin=now - 4 * HOUR, end=now)
    assert watch.watch_goal(project, goal_of(project).id, lag_s=0) > 0
    assert statuses(project) == {"good": "active", "bad": "rolled_back"}
    change = PathChange.objects.get(change="roll_back")
    assert change.figures["probability"] > 0.95
    assert all(decide(project, Asked("book")).path.model == "good" for _ in range(20))
    later = now + 2 * HOUR
    watch.watch_goal(project, goal_of(project).id, lag_s=0, now=later)
    assert statuses(project)["bad"] == "probing"
    Path.objects.filter(model="bad").update(probing_since=datetime.fromtimestamp(now + 0.001, UTC))
    report(project, "bad", [1.0] * 12, begin=now + 0.001, end=time.time())
    watch.watch_goal(project, goal_of(project).id, lag_s=0, now=later + 60)
    assert statuses(project)["bad"] == "active"
    assert PathChange.objects.filter(change="recover").exists()


def collapse(project: Project, now: float) -> None:
    """The better of two paths is down for four hours, and rolled back for it."""
    report(project, "steady", [1.0, 1.0, 1.0, 0.0, 0.0] * 40, begin=now - 48 * HOUR, end=now)
    report(project, "better", [1.0] * 150 + [0.0] * 10, begin=now - 48 * HOUR, end=now - 5 * HOUR)
    report(project, "better", [0.0, 0.0, 0.0, 0.0, 1.0] * 12, begin=now - 4 * HOUR, end=now)
    watch.watch_goal(project, goal_of(project).id, lag_s=0, now=now)
    assert statuses(project)["better"] == "rolled_back"


def probe(project: Project, values: list[float], now: float) -> None:
    """The cool-down is over, the path is tried again, and the watch looks."""
    Path.objects.filter(model="better").update(probe_at=datetime.fromtimestamp(now - 1, UTC))
    watch.watch_goal(project, goal_of(project).id, lag_s=0, now=now)
    assert statuses(project)["better"] == "probing"
    report(project, "better", values, begin=now + 0.001, end=now + 0.002)
    watch.watch_goal(project, goal_of(project).id, lag_s=0, now=now + 1)


def decided_and_told(project: Project, rates: dict[str, float], rng: Random) -> str:
    """One turn of the loop: which path was taken."""
    taken = decide(project, Asked("book"))
    assert taken.path is not None
    said = Observation("book", Source.PROVIDER, taken.trace_id, success=rng.random() < rates[taken.path.model])
    record(project, [said])
    return taken.path.model


def test_a_path_that_recovered_has_its_share_back_within_forty_outcomes(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The better path again: what it did while it was down counts no more, and no look of the watch takes it out."""
    monkeypatch.setattr("routing.decisions._rng", Random(1))
    now = time.time()
    collapse(project, now)
    probe(project, [1.0, 1.0, 1.0, 1.0, 0.0] * 2, now)
    assert statuses(project)["better"] == "active"
    rng, rates = Random(2), {"steady": 0.6, "better": 0.95}
    for _ in range(40):
        decided_and_told(project, rates, rng)
    assert watch.watch_goal(project, goal_of(project).id, lag_s=0) == 0
    taken = [decided_and_told(project, rates, rng) for _ in range(40)]
    assert taken.count("better") >= 34
    assert differences(project) == []


def test_recovery_opens_a_regime_from_the_probe_on(project: Project) -> None:
    now = time.time()
    collapse(project, now)
    Path.objects.filter(model="steady").update(shaken_by=Path.objects.get(model="better").id)
    probe(project, [1.0] * 12, now)
    path, regime = Path.objects.get(model="better"), Regime.objects.get(cause="recovered")
    assert (regime.path_id, regime.since) == (path.id, path.forgets_before)
    [seen] = [one for one in look(project, "book").paths if one.model == "better"]
    assert (seen.own.weight, seen.own.mean, seen.samples) == (12.0, 1.0, 232)
    assert all(run[0] >= regime.since for one in ChangeDetector.objects.filter(path=path) for run in one.runs)
    assert Path.objects.get(model="steady").shaken_by is None
    assert differences(project) == []
    rebuild(project)
    assert differences(project) == []


def test_late_corrections_of_what_a_recovery_forgot_change_figures_and_not_the_choice(project: Project) -> None:
    now = time.time()
    collapse(project, now)
    probe(project, [1.0] * 12, now)
    before = PathState.objects.get(path__model="better")
    trace = f"better{now - 4 * HOUR:.0f}-0"
    record(project, [Observation("book", Source.USER, trace, success=True, key="word", occurred_at=now)])
    assert Outcome.objects.get(trace_id=trace).success is True
    after = PathState.objects.get(path__model="better")
    assert (after.own, after.samples, after.version) == (before.own, before.samples, before.version)
    assert differences(project) == []
    withdraw(project, keys=["word"])
    assert Outcome.objects.get(trace_id=trace).success is False
    assert differences(project) == []


def test_a_path_that_recovered_is_rolled_back_by_what_came_since(project: Project) -> None:
    change_goal(project, "book", {"rollback_threshold": 0.2})
    now = time.time() - 3 * HOUR
    collapse(project, now)
    probe(project, [1.0] * 10, now)
    since = time.time() - 1.9 * HOUR
    report(project, "better", [0.0] * 40, begin=since, end=since + HOUR)
    watch.watch_goal(project, goal_of(project).id, lag_s=0)
    path = Path.objects.get(model="better")
    assert path.status == "rolled_back"
    assert path.forgets_before == pytest.approx(now, abs=1)
    assert path.rollback_window is not None
    assert path.rollback_window["recent"][0] >= path.forgets_before


@pytest.mark.django_db(transaction=True)
def test_who_disables_a_path_while_the_watch_judges_it_has_the_last_word(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    change_goal(project, "book", {"rollback_threshold": 1})
    report(project, "good", [1.0] * 100, begin=now - 48 * HOUR, end=now)
    report(project, "bad", [1.0] * 60, begin=now - 48 * HOUR, end=now - 5 * HOUR)
    report(project, "bad", [0.0] * 60, begin=now - 4 * HOUR, end=now)
    watch.watch_goal(project, goal_of(project).id, lag_s=0)
    change_goal(project, "book", {"rollback_threshold": 0.3})
    judge = watch._due

    def judge_slowly(*given: Any) -> Any:
        found = judge(*given)
        elsewhere(lambda: disable_path(project, SYSTEM, Path.objects.get(model="bad").shown_id))
        return found

    monkeypatch.setattr(watch, "_due", judge_slowly)
    assert watch.watch_goal(project, goal_of(project).id, lag_s=0) == 0
    path = Path.objects.get(model="bad")
    assert (path.status, path.disabled_by, path.rollback_window) == ("disabled", "system", None)
    assert not PathChange.objects.filter(change="roll_back").exists()


def elsewhere(act: Callable[[], Any]) -> None:
    """Done and committed on another connection."""

    def in_thread() -> None:
        act()
        connection.close()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(in_thread).result(10)


def test_a_goal_that_cannot_be_watched_holds_up_no_other(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    """Neither in its own project nor in those after it."""
    projects = [project, Project.objects.create(slug="bob", name="Bob")]
    for one in projects:
        for goal in ("a", "b"):
            record(one, [Observation(goal, Source.PROVIDER, f"{goal}t", model="m", success=True)])
    watch.watch_goals()
    FirstReport.objects.update(recorded_at="2020-01-01T00:00:00Z")
    watch.watch_goals()
    Goal.objects.update(watched_at=None)
    first = Goal.objects.order_by("project_id", "id")[0]
    ChangeDetector.objects.filter(goal=first).update(runs=[["no run"]], read_to=0)
    watch.watch_goals()
    assert list(Goal.objects.filter(watched_at=None)) == [first]
    assert f"goal={first.id}" in caplog.text
    assert "TypeError" in caplog.text


def test_a_goal_that_cannot_be_explored_holds_up_no_other(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a", "b"):
        change_goal(project, name, {"auto_explore": True, "bounds": {"temperature": {"low": 0.0, "high": 1.0}}})
        for value in (0.2, 0.6):
            path = register_path(project, SYSTEM, name, NewPath("m", params={"temperature": value}))
            rows = [
                Observation(name, Source.PROVIDER, f"{value}-{place}", path_id=path.shown_id, score=value, success=True)
                for place in range(6)
            ]
            record(project, rows)
    first = Goal.objects.order_by("id")[0]
    Goal.objects.filter(id=first.id).update(bounds={"temperature": {}})
    assert watch.explore_goals() == 1
    assert f"goal={first.id}" in caplog.text


def test_the_last_path_is_never_rolled_back(project: Project) -> None:
    now = time.time()
    report(project, "only", [1.0] * 80, begin=now - 48 * HOUR, end=now - 5 * HOUR)
    report(project, "only", [0.0] * 80, begin=now - 4 * HOUR, end=now)
    watch.watch_goal(project, goal_of(project).id, lag_s=0)
    assert statuses(project) == {"only": "active"}


def test_corrections_that_remove_the_grounds_bring_a_path_back(project: Project) -> None:
    now = time.time()
    report(project, "good", [1.0] * 90, begin=now - 48 * HOUR, end=now)
    report(project, "bad", [1.0] * 60, begin=now - 48 * HOUR, end=now - 5 * HOUR)
    report(project, "bad", [0.0] * 60, begin=now - 4 * HOUR, end=now)
    watch.watch_goal(project, goal_of(project).id, lag_s=0)
    assert statuses(project)["bad"] == "rolled_back"
    told = PathState.objects.filter(path__model="bad").exists()
    assert told
    corrections = [
        Observation("book", Source.REVIEW, f"bad{now - 4 * HOUR:.0f}-{place}", success=True, score=1.0, attribution=1.0)
        for place in range(60)
    ]
    record(project, corrections)
    watch.watch_goal(project, goal_of(project).id, lag_s=0)
    assert statuses(project)["bad"] == "active"


def test_a_change_opens_a_regime_and_states_follow_it(project: Project) -> None:
    now = time.time()
    report(project, "a", [1.0, 1.0, 1.0, 1.0, 0.0] * 60, begin=now - 20 * HOUR, end=now - 10 * HOUR)
    report(project, "a", [0.0, 0.0, 0.0, 1.0, 0.0] * 12, begin=now - 9 * HOUR, end=now)
    watch.watch_goal(project, goal_of(project).id, lag_s=0)
    regime = Regime.objects.filter(cause="changed").get()
    assert abs(regime.since - (now - 9 * HOUR)) < 2 * HOUR
    assert look(project, "book").paths[0].own.weight < 80
    assert differences(project) == []
    assert watch.watch_goal(project, goal_of(project).id, lag_s=0) == 0


def test_corrections_by_reviewers_open_no_regime(project: Project) -> None:
    now = time.time()
    report(project, "a", [1.0] * 300, begin=now - 20 * HOUR, end=now)
    watch.watch_goal(project, goal_of(project).id, lag_s=0)
    rows = [
        Observation("book", Source.REVIEW, f"a{now - 20 * HOUR:.0f}-{place}", success=False, score=0.0, attribution=1.0)
        for place in range(0, 300, 6)
    ]
    record(project, rows)
    watch.watch_goal(project, goal_of(project).id, lag_s=0)
    assert not Regime.objects.exists()


@pytest.mark.parametrize(("at_random", "regimes"), [(False, 0), (True, 1)])
def test_what_reviewers_chose_is_no_change_and_what_chance_chose_is(
    project: Project, at_random: bool, regimes: int
) -> None:
    """Two hundred reviews that find little, then a burst that looks where it is bad."""
    now = time.time()
    bad_last = [1.0, 1.0, 1.0, 1.0, 0.0] * 40 + [0.0, 0.0, 0.0, 0.0, 1.0] * 12
    report(project, "a", bad_last, begin=now - 20 * HOUR, end=now, source=Source.REVIEW, at_random=at_random)
    watch.watch_goal(project, goal_of(project).id, lag_s=0)
    assert Regime.objects.count() == regimes
    assert FirstReport.objects.count() == (260 if at_random else 0)


def test_reviews_from_elsewhere_are_watched_where_nobody_else_spoke(project: Project) -> None:
    now = time.time()
    report(project, "alone", [1.0] * 5, begin=now - HOUR, end=now, source=Source.REVIEW)
    report(project, "spoken", [1.0] * 5, begin=now - HOUR, end=now)
    report(project, "spoken", [0.0] * 5, begin=now - HOUR, end=now, source=Source.REVIEW)
    said = FirstReport.objects.values_list("path__model", "source").distinct()
    assert sorted(said) == [("alone", "review"), ("spoken", "provider")]


def test_decay_equals_the_sum_over_all_outcomes(project: Project) -> None:
    now = time.time()
    change_goal(project, "book", {"half_life_hours": 6})
    values = [0.0, 0.25, 1.0, 0.7, 0.9, 0.4] * 5
    report(project, "a", values, begin=now - 30 * HOUR, end=now)
    record(project, [Observation("book", Source.USER, f"a{now - 30 * HOUR:.0f}-3", success=False, score=0.1)])
    values[3] = 0.1
    [path] = look(project, "book").paths
    asked, step = time.time(), 30 * HOUR / len(values)
    brute = merged(
        contribution(value).scaled(0.5 ** ((asked - (now - 30 * HOUR + place * step)) / (6 * HOUR)))
        for place, value in enumerate(values)
    )
    pairs = zip(path.own.counts, brute.counts, strict=True)
    assert all(math.isclose(one, other, rel_tol=1e-5, abs_tol=1e-9) for one, other in pairs)
    assert differences(project) == []
    change_goal(project, "book", {"half_life_hours": None})
    assert math.isclose(look(project, "book").paths[0].own.weight, len(values))


def test_changes_of_paths_and_new_signals_of_a_goal_are_told_once(project: Project) -> None:
    add_webhook(project, SYSTEM, url="https://example.com", secret="s" * 16)
    now = time.time()
    report(project, "good", [1.0] * 90, begin=now - 48 * HOUR, end=now)
    report(project, "bad", [1.0] * 60, begin=now - 48 * HOUR, end=now - 5 * HOUR)
    report(project, "bad", [0.0] * 60, begin=now - 4 * HOUR, end=now)
    for _ in range(2):
        watch.watch_goal(project, goal_of(project).id, lag_s=0)
    told = [(one.event, one.body["data"]) for one in OutboxMessage.objects.order_by("id")]
    assert [event for event, _ in told] == ["drift", "rollback", "goal.signal", "goal.signal"]
    assert told[0][1]["message"] == "book: bad went from 1.00 to 0.00."
    assert told[1][1]["message"].startswith("book: bad is rolled back: below ")
    assert [data["type"] for _, data in told[2:]] == ["drift_detected", "failure_mode_dominant"]
    assert told[2][1]["message"] == "book: bad no longer does what it did."


def test_auto_explore_stays_in_bounds_and_makes_no_duplicate(project: Project) -> None:
    bounds = {"temperature": {"low": 0.0, "high": 1.0}}
    goal = change_goal(project, "book", {"auto_explore": True, "bounds": bounds, "max_untested": 2})
    for value, score in ((0.2, 0.6), (0.6, 0.9)):
        path = register_path(project, SYSTEM, "book", NewPath("m", params={"temperature": value}))
        rows = [
            Observation("book", Source.PROVIDER, f"{value}-{place}", path_id=path.shown_id, score=score, success=True)
            for place in range(6)
        ]
        record(project, rows)
    assert watch.explore_goals() == 1
    made = Path.objects.get(origin="auto_explore")
    assert 0.0 <= made.params["temperature"] <= 1.0
    assert PathChange.objects.get(change="propose").path_id == made.id
    for _ in range(5):
        watch.explore_goal(project, goal)
    assert Path.objects.count() <= 4
    assert len({path.identity for path in Path.objects.all()}) == Path.objects.count()


def test_merged_buckets_hold_the_same_sums(project: Project) -> None:
    now = time.time()
    report(project, "a", [0.5, 1.0] * 40, begin=now - 100 * 24 * HOUR, end=now - 70 * 24 * HOUR)
    before = PathBucket.objects.count()
    while watch.merge_buckets(project):
        pass
    assert PathBucket.objects.count() < before
    assert differences(project) == []
    record(project, [Observation("book", Source.USER, f"a{now - 100 * 24 * HOUR:.0f}-0", success=False, score=0.0)])
    assert differences(project) == []
    rebuild(project)
    assert differences(project) == []


def test_decisions_go_and_what_was_said_of_them_stays(project: Project) -> None:
    decided = decide(project, Asked("book", models=("a",)))
    record(project, [Observation("book", Source.PROVIDER, decided.trace_id, success=True)])
    Decision.objects.update(decided_at="2020-01-01T00:00:00Z")
    watch.end_old_rows()
    assert not Decision.objects.exists()
    assert differences(project) == []


def old_decisions(project: Project, count: int) -> None:
    path = register_path(project, SYSTEM, "book", NewPath("m"))
    taken = [Decision(project=project, goal_id=path.goal_id, path=path, trace_id=f"t{n}") for n in range(count)]
    Decision.objects.bulk_create(taken)
    Decision.objects.filter(project=project).update(decided_at="2020-01-01T00:00:00Z")


def test_old_rows_go_every_hour_until_none_is_left(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    assert app.conf.beat_schedule["end old routing rows"]["schedule"].hour == set(range(24))
    old_decisions(project, 250)
    monkeypatch.setattr(watch, "BATCH", 1)
    monkeypatch.setattr(watch, "REST", 0)
    watch.end_old_rows()
    assert not Decision.objects.exists()


def test_a_round_of_retention_ends_when_its_time_is_up(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    old_decisions(project, 3)
    monkeypatch.setattr(watch, "BATCH", 1)
    monkeypatch.setattr(watch, "RETENTION_SECONDS", 0)
    watch.end_old_rows()
    assert Decision.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_old_rows_of_a_project_that_cannot_be_read_hold_up_no_other(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    """Here a setting that was spoiled in the database."""
    projects = sorted([project, Project.objects.create(slug="bob", name="Bob")], key=lambda one: one.id)
    for one in projects:
        old_decisions(one, 1)
    Project.objects.filter(id=projects[0].id).update(settings={"decision_days": "spoiled"})
    watch.end_old_rows()
    assert [one.project_id for one in Decision.objects.all()] == [projects[0].id]
    assert f"end_decisions project={projects[0].slug}" in caplog.text


def test_old_rows_go_goal_by_goal_and_young_ones_stay(project: Project) -> None:
    for goal in ("a", "b"):
        for age in (1, 100):
            decided = decide(project, Asked(goal, models=("m",)))
            record(project, [Observation(goal, Source.PROVIDER, decided.trace_id, success=True)])
            moment = time.time() - age * 86400
            Decision.objects.filter(trace_id=decided.trace_id).update(decided_at=datetime.fromtimestamp(moment, UTC))
            FirstReport.objects.filter(trace_id=decided.trace_id).update(at=moment)
    for end in (watch.end_decisions, watch.end_first_reports):
        assert [end(project, limit=1) for _ in range(3)] == [1, 1, 0]
    assert sorted(Decision.objects.values_list("goal__name", flat=True)) == ["a", "b"]
    assert sorted(FirstReport.objects.values_list("goal__name", flat=True)) == ["a", "b"]


def test_spans_go_and_what_calls_cost_stays(project: Project) -> None:
    """Also when more is said of the trace afterwards, and when everything is made anew."""
    record(project, [Observation("book", Source.PROVIDER, "t", model="a", success=True)])
    ingest(project, [{"span_id": "s", "trace_id": "t", "model_id": "a", "cost_usd": 0.5, "latency_ms": 40}])
    EventSpan.objects.update(received_at="2020-01-01T00:00:00Z")
    watch.end_old_rows()
    assert not EventSpan.objects.exists()
    record(project, [Observation("book", Source.REVIEW, "t", success=False)])
    rebuild(project)
    outcome = Outcome.objects.get()
    assert (outcome.success, outcome.cost_usd, outcome.latency_ms) == (False, 0.5, 40.0)
    [bucket] = PathBucket.objects.exclude(path_id=WHOLE_GOAL)
    assert (bucket.cost_usd, bucket.costs) == (0.5, 1)
    assert differences(project) == []


def test_spans_are_kept_as_long_as_the_project_says(project: Project) -> None:
    ingest(project, [{"span_id": name, "trace_id": "t", "model_id": "a", "cost_usd": 1} for name in ("old", "new")])
    EventSpan.objects.filter(span_id="old").update(received_at=datetime.now(UTC) - timedelta(days=8))
    assert watch.end_spans(project) == 0
    assert watch.end_spans(change_settings(project=project, actor=SYSTEM, changes={"span_days": 7})) == 1
    assert EventSpan.objects.get().span_id == "new"


def test_histograms_are_never_negative() -> None:
    assert min(watch._positive([-1e-17, 1.0]).counts) == 0.0
    assert isinstance(watch._positive([0.0]), Histogram)
