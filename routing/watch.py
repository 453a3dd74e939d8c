"""The watch over goals: changes of a path's outcomes, rollbacks and probes, new parameter values, and old rows' end.

Everything here is safe to run twice and beside itself: a goal is watched under its row's lock, by one at a time.
"""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import takewhile
from operator import itemgetter
from typing import Any
from uuid import UUID

import orjson
from django.db import transaction

from agentloop.ids import shown
from agentloop.models import Project
from agentloop.outbox import tell
from agentloop.sql import run
from agentloop.upkeep import REST, apart, until_done
from routing.advice import insights
from routing.engine.change import Alarm, Detector, Run, alarm, observe, regimes_after, restarted
from routing.engine.choice import Standing
from routing.engine.explore import Bounds, Proposal, Trial, propose
from routing.engine.histogram import EMPTY, POINTS, Decay, Histogram, merged
from routing.engine.rollback import Change, Move, Watched, watch
from routing.evidence import make_paths
from routing.models import Cause, ChangeDetector, Goal, Origin, Path, PathStatus, Regime
from routing.outcomes import BUCKETS_SQL, FIRST_REPORTS_LAST_S, MUST_RENEW, reckon
from routing.paths import NewPath, note_change, renew_terms
from routing.standings import look
from routing.sums import HOUR

log = logging.getLogger("agentloop.watch")

# What was written a moment ago may still be under way in another transaction with a smaller number.
LAG_S = 5.0
MOST_REPORTS = 50_000
# Ages, in hours, that bound the windows: the recent one is the shortest with enough outcomes.
AGES = (1, 6, 24, 168, 336)
HOURS_KEPT = 60 * 24
URGENT = ("high", "medium")
RETENTION_SECONDS = 600.0
BATCH = 5000


def goals_to_watch() -> list[tuple[UUID, UUID]]:
    """(project, goal) of those with evidence since they were last watched, with a path out of service, or with a
    landmark to renew.

    States are read once for all goals. No index leads to the new ones: each outcome would have to keep it up.
    """
    rows = run(
        f"""
        WITH told AS MATERIALIZED (
            SELECT project_id, goal_id, max(updated_at) AS at FROM routing_pathstate GROUP BY project_id, goal_id
        )
        SELECT goal.project_id, goal.id FROM routing_goal AS goal
        LEFT JOIN told ON told.project_id = goal.project_id AND told.goal_id = goal.id
        WHERE told.at > coalesce(goal.watched_at, '-infinity') - %s * interval '1 second'
        OR EXISTS (
            SELECT FROM routing_path AS path
            WHERE path.project_id = goal.project_id AND path.goal_id = goal.id
                AND (path.status IN ('rolled_back', 'probing') OR {MUST_RENEW})
        )
        ORDER BY goal.project_id, goal.id
        """,
        [2 * LAG_S],
    )
    return [(project, goal) for project, goal in rows]


def watch_goals() -> int:
    """One round over all goals that need it; answers how many changes it made."""
    due = goals_to_watch()
    projects = Project.objects.in_bulk({project for project, _ in due})
    return sum(
        apart(partial(watch_goal, projects[project], goal), f"watching project={projects[project].slug} goal={goal}")
        for project, goal in due
        if project in projects
    )


def watch_goal(project: Project, goal_key: UUID, *, lag_s: float = LAG_S, now: float | None = None) -> int:
    """Detects changes, rolls back and probes in one goal. Leaves it to another who watches it at this moment."""
    now = time.time() if now is None else now
    with transaction.atomic():
        goal = Goal.objects.select_for_update(skip_locked=True).filter(project=project, id=goal_key).first()
        if goal is None:
            return 0
        _mend_terms(project, goal, now)
        opened = _detect(project, goal, lag_s)
        changed = _judge(project, goal, now)
        _tell_of_signals(project, goal)
        goal.watched_at = datetime.now(UTC)
        goal.save(update_fields=["watched_at", "told_signals"])
    return opened + changed


def _mend_terms(project: Project, goal: Goal, now: float) -> None:
    """Renews a landmark long before anything overflows, and reckons states that were begun under older terms."""
    paths = list(Path.objects.of(project).filter(goal=goal))
    decays = [Decay(p.half_life_s, p.landmark) for p in paths if p.half_life_s and p.landmark]
    if any(decay.must_renew(now) for decay in decays):
        renew_terms(project, goal)
    behind = run(
        """
        SELECT DISTINCT path.id FROM routing_path AS path, LATERAL (
            SELECT terms FROM routing_pathstate WHERE project_id = path.project_id AND path_id = path.id OFFSET 0
        ) AS state
        WHERE path.project_id = %s AND path.goal_id = %s AND state.terms <> path.terms
        """,
        [project.id, goal.id],
    )
    if behind:
        reckon(project, sorted(path for (path,) in behind))


# --- change detection -----------------------------------------------------------------------------------------


def _detect(project: Project, goal: Goal, lag_s: float) -> int:
    """Feeds each source's first reports to its detector; an alarm opens regimes. Answers how many it opened.

    A goal's reports are read in the order of their ids, up to the first that is too young: so all up to the highest
    that any detector has read were read, and what is new begins there.
    """
    kept = {(one.path_id, one.source): one for one in ChangeDetector.objects.filter(project=project, goal=goal)}
    rows = run(
        """
        SELECT recorded_at <= now() - %s * interval '1 second', path_id, source, id, value, weight, at
        FROM routing_firstreport WHERE project_id = %s AND goal_id = %s AND id > %s ORDER BY id LIMIT %s
        """,
        [lag_s, project.id, goal.id, max((one.read_to for one in kept.values()), default=0), MOST_REPORTS],
    )
    reports: dict[tuple[UUID, str], list[tuple[Any, ...]]] = {}
    for _, path, source, *report in takewhile(itemgetter(0), rows):
        reports.setdefault((path, source), []).append(tuple(report))
    opened = 0
    for (path, source), told in sorted(reports.items()):
        one = kept.get((path, source)) or ChangeDetector(project=project, goal=goal, path_id=path, source=source)
        opened += _feed(project, goal, one, told)
    return opened


def _feed(project: Project, goal: Goal, one: ChangeDetector, told: list[tuple[Any, ...]]) -> int:
    runs = tuple(Run(*run_) for run_ in one.runs)
    detector = Detector(
        runs, sum(r.weight for r in runs), sum(r.total for r in runs), sum(r.squares for r in runs), one.seen
    )
    opened, latest = 0, runs[-1].since if runs else 0.0
    for _, value, weight, at in sorted(told, key=lambda report: (report[3], report[0])):
        if weight <= 0:
            continue
        # One that is late for its turn counts as if it came now: the detector knows one direction of time.
        latest = max(latest, at)
        detector = observe(detector, value, latest, weight)
        found = alarm(detector)
        if found is not None:
            opened += _open_regimes(project, goal, one.path_id, one.source, found)
            detector = restarted(detector, found.since)
    one.runs = [[r.since, r.weight, r.total, r.squares] for r in detector.runs]
    one.seen = detector.seen
    one.read_to = max(report[0] for report in told)
    one.save()
    return opened


def _open_regimes(project: Project, goal: Goal, path: UUID, source: str, found: Alarm) -> int:
    """Opens the regimes that an alarm calls for, as recorded rows, and reckons the paths' states by them."""
    paths = look(project, goal.name).paths
    seen = [one for one in paths if one.contender.standing is Standing.ACTIVE]
    leader = max(seen, key=lambda one: one.contender.posterior.mean, default=None)
    weights = {one.id.hex: one.own.weight for one in seen}
    regimes = regimes_after(found, path.hex, leader.id.hex if leader else "", weights)
    figures = {
        "source": source,
        "before": found.before,
        "after": found.after,
        "outcomes_before": found.outcomes_before,
        "outcomes_after": found.outcomes_after,
    }
    for key, regime in sorted(regimes.items()):
        shaken_by = UUID(hex=regime.shaken_by) if regime.shaken_by else None
        cause = Cause.SHAKEN if shaken_by else Cause.CHANGED
        _note_regime(project, goal, UUID(hex=key), regime.since, cause, figures)
        run(
            "UPDATE routing_path SET terms = terms + 1, since = %s, shaken_by = %s WHERE project_id = %s AND id = %s",
            [regime.since, shaken_by, project.id, UUID(hex=key)],
        )
    reckon(project, sorted(UUID(hex=key) for key in regimes))
    model = next(one.model for one in paths if one.id == path)
    message = f"{goal.name}: {model} went from {found.before:.2f} to {found.after:.2f}."
    told = {"message": message, "goal": goal.name, "path_id": shown("path", path), "model_id": model, **figures}
    tell(project, "drift", [told])
    return len(regimes)


def _note_regime(
    project: Project, goal: Goal, path: UUID, since: float, cause: Cause, figures: Mapping[str, Any]
) -> None:
    Regime.objects.create(project=project, goal=goal, path_id=path, since=since, cause=cause, figures=figures)


def _begin_anew(project: Project, goal: Goal, path: UUID, since: float, figures: Mapping[str, Any]) -> None:
    """Opens the regime of a path that recovered: of what came before its probe nothing counts any more, nor is it
    what the detectors compare with. Paths that its fall had shaken are judged by their own outcomes again."""
    _note_regime(project, goal, path, since, Cause.RECOVERED, figures)
    run(
        "UPDATE routing_path SET terms = terms + 1, since = %s, forgets_before = %s, shaken_by = NULL "
        "WHERE project_id = %s AND id = %s",
        [since, since, project.id, path],
    )
    run(
        "UPDATE routing_path SET shaken_by = NULL WHERE project_id = %s AND goal_id = %s AND shaken_by = %s",
        [project.id, goal.id, path],
    )
    for one in ChangeDetector.objects.filter(project=project, goal=goal, path_id=path):
        one.runs = [run_ for run_ in one.runs if run_[0] >= since]
        one.save(update_fields=["runs"])
    reckon(project, [path])


# --- rollback -------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Windows:
    """One path's outcomes by age, in the classes that `AGES` bounds."""

    classes: list[Histogram] = field(default_factory=lambda: [EMPTY] * len(AGES))

    def add(self, place: int, counts: Histogram) -> None:
        self.classes[place] = self.classes[place] + counts

    def shortest(self, min_samples: float) -> int:
        """The shortest recent window with twice the samples that a judgement takes; else the longest."""
        for place in range(len(AGES) - 1):
            if merged(self.classes[: place + 1]).weight >= 2 * min_samples:
                return place
        return len(AGES) - 2

    def recent(self, place: int) -> Histogram:
        return merged(self.classes[: place + 1])

    def earlier(self, place: int) -> Histogram:
        """What came before, up to a week back; for the longest window the week before that."""
        return merged(self.classes[place + 1 : max(place + 2, len(AGES) - 1)])


def _judge(project: Project, goal: Goal, now: float) -> int:
    """Rolls back what is surely worse by its sources' first reports and not cleared by what is known now; puts
    back what recovered. Answers how many paths changed."""
    paths = list(Path.objects.of(project).filter(goal=goal).exclude(status=PathStatus.DISABLED).order_by("id"))
    due, places = _due(project, goal, paths, look(project, goal.name).config, now)
    by_id = {path.id.hex: path for path in paths}
    return sum(
        _change(project, goal, by_id[change.path_id], change, places[by_id[change.path_id].id], now) for change in due
    )


def rollbacks_under(
    project: Project, goal: Goal, config: Mapping[str, Any], *, now: float | None = None
) -> list[Change]:
    """The paths that the watch would roll back by these settings at its next look. Three queries; changes nothing."""
    active = list(Path.objects.of(project).filter(goal=goal, status=PathStatus.ACTIVE).order_by("id"))
    return _due(project, goal, active, config, time.time() if now is None else now)[0]


def _due(
    project: Project, goal: Goal, paths: Sequence[Path], config: Mapping[str, Any], now: float
) -> tuple[list[Change], dict[UUID, int]]:
    """The changes that are due, and the window that each path was judged on."""
    needed = config["min_samples_before_exploit"]
    first, known = _first_windows(project, goal, now), _known_windows(project, goal, now)
    places = {path.id: first.get(path.id, _Windows()).shortest(needed) for path in paths}
    told = {path.id.hex: _watched(path, first.get(path.id, _Windows()), places[path.id]) for path in paths}
    now_known = {
        path.id.hex: _as_known(project, path, known.get(path.id, _Windows()), places[path.id]) for path in paths
    }
    threshold = config["rollback_threshold"]
    by_reports = watch(told, threshold=threshold, min_samples=needed, now=now)
    by_knowledge = watch(now_known, threshold=threshold, min_samples=needed, now=now)
    both = {change.path_id for change in by_knowledge if change.move is Move.ROLL_BACK}
    due = [change for change in by_reports if change.move is Move.ROLL_BACK and change.path_id in both]
    due += [change for change in by_knowledge if change.move is not Move.ROLL_BACK]
    return due, places


_CLASS = "CASE " + " ".join(f"WHEN age < {age} THEN {place}" for place, age in enumerate(AGES)) + " END"


# From the rows themselves: hourly sums would be one more table for each outcome to keep up, and would blur the moment
# at which a path began anew. A million rows of one goal take a second (measured on one core), at most once a minute; of
# a goal that has more, the newest million are compared.
MOST_COMPARED = 1_000_000
_FIRST_SQL = f"""
SELECT path_id, source, {_CLASS}, least(floor(value * 10)::int, 9), sum(weight),
    sum(weight * (value * 10 - least(floor(value * 10), 9)))
FROM (SELECT *, (%(now)s - at) / 3600 AS age FROM routing_firstreport
    WHERE project_id = %(project)s AND goal_id = %(goal)s AND at > %(now)s - {AGES[-1]} * 3600
    ORDER BY at DESC LIMIT {MOST_COMPARED}) AS report
JOIN routing_path AS path ON path.id = path_id AND at >= coalesce(path.forgets_before, 0)
GROUP BY 1, 2, 3, 4
"""


def _first_windows(project: Project, goal: Goal, now: float) -> dict[UUID, _Windows]:
    """By path, what its most talkative source first said. Each value is split between its neighbouring points."""
    rows = run(_FIRST_SQL, {"project": project.id, "goal": goal.id, "now": now})
    by_source: dict[UUID, dict[str, _Windows]] = {}
    for path, source, place, below, weight, upper in rows:
        counts = [0.0] * len(POINTS)
        counts[below], counts[below + 1] = weight - upper, upper
        windows = by_source.setdefault(path, {}).setdefault(source, _Windows())
        windows.add(place, Histogram(tuple(counts)))
    return {
        path: max(sources.values(), key=lambda windows: windows.recent(len(AGES) - 2).weight)
        for path, sources in by_source.items()
    }


# The age of an hour is that of its end. The oldest hour is named outright, so that the index bounds the look. An hour
# in which a path began anew is left out whole.
_KNOWN_SQL = f"""
SELECT path_id, {_CLASS}, ARRAY[{", ".join(f"sum(counts[{place}])" for place in range(1, len(POINTS) + 1))}]
FROM (SELECT *, (%(now)s - start * {HOUR}) / {HOUR} - 1 AS age FROM routing_pathbucket) AS bucket
JOIN routing_path AS path ON path.id = path_id AND start * {HOUR} >= coalesce(path.forgets_before, 0)
WHERE bucket.project_id = %(project)s AND bucket.goal_id = %(goal)s AND pipeline_id = '' AND age < {AGES[-1]}
    AND start >= %(from)s::int
GROUP BY 1, 2
"""


def _known_windows(project: Project, goal: Goal, now: float) -> dict[UUID, _Windows]:
    """By path, what is known now of the outcomes of the same time."""
    found: dict[UUID, _Windows] = {}
    given = {"project": project.id, "goal": goal.id, "now": now, "from": int(now / HOUR) - AGES[-1] - 1}
    for path, place, counts in run(_KNOWN_SQL, given):
        found.setdefault(path, _Windows()).add(place, _positive(counts))
    return found


def _positive(counts: Iterable[float]) -> Histogram:
    return Histogram(tuple(max(0.0, count) for count in counts))


def _watched(path: Path, windows: _Windows, place: int) -> Watched:
    return Watched(path.id.hex, Standing(path.status), windows.recent(place), windows.earlier(place))


def _as_known(project: Project, path: Path, windows: _Windows, place: int) -> Watched:
    """The path by what is known now; one out of service by the windows that it was judged on, as corrected since."""
    if path.status == PathStatus.ACTIVE or not path.rollback_window:
        return _watched(path, windows, place)
    since = path.probing_since.timestamp() if path.probing_since else None
    return Watched(
        path.id.hex,
        Standing(path.status),
        _between(project, path, path.rollback_window["recent"]),
        _between(project, path, path.rollback_window["earlier"]),
        probes=_between(project, path, [since, None]) if since is not None else EMPTY,
        probe_at=path.probe_at.timestamp() if path.probe_at else None,
        failures=path.failures,
    )


def _between(project: Project, path: Path, bounds: list[float | None]) -> Histogram:
    """The path's outcomes of a time, as they are known now. From the outcomes themselves, for exact bounds."""
    rows = run(
        """
        SELECT below, sum(weight), sum(weight * (value * 10 - below)) FROM (
            SELECT least(floor(value * 10)::int, 9) AS below, value, weight FROM (
                SELECT coalesce(score, success::int) AS value, attribution * confidence AS weight FROM routing_outcome
                WHERE project_id = %s AND goal_id = %s AND path_id = %s AND at >= %s AND at < %s
            ) AS counted WHERE value IS NOT NULL AND weight > 0
        ) AS placed GROUP BY below
        """,
        [project.id, path.goal_id, path.id, bounds[0], bounds[1] if bounds[1] is not None else 1e18],
    )
    counts = [0.0] * len(POINTS)
    for below, weight, upper in rows:
        counts[below] += weight - upper
        counts[below + 1] += upper
    return Histogram(tuple(counts))


def _change(project: Project, goal: Goal, path: Path, change: Change, place: int, now: float) -> bool:
    """Writes one change of standing, with its reason and figures, and tells of it. Leaves a path alone that no longer
    stands as it was judged: a person who disables it meanwhile has the last word."""
    judged, path.status = path.status, change.standing.value
    path.probe_at = datetime.fromtimestamp(change.probe_at, UTC) if change.probe_at is not None else None
    path.failures = change.failures
    if change.move is Move.ROLL_BACK:
        path.rollback_window = _window_judged(path, place, now)
    begun = path.probing_since
    path.probing_since = datetime.fromtimestamp(now, UTC) if change.move is Move.PROBE else None
    if change.move is Move.RECOVER:
        path.rollback_window = None
    columns = ("status", "probe_at", "failures", "rollback_window", "probing_since")
    standing = Path.objects.of(project).filter(id=path.id, status=judged)
    if not standing.update(**{name: getattr(path, name) for name in columns}):
        return False
    given = {"probability": change.probability, "mean": change.mean, "compared_mean": change.compared_mean}
    figures = {name: figure for name, figure in given.items() if figure is not None}
    note_change(path, change.move.value, change.reason, figures={**figures, "failures": change.failures})
    if change.begins_anew and begun is not None:
        _begin_anew(project, goal, path.id, begun.timestamp(), figures)
    if change.move in (Move.ROLL_BACK, Move.RECOVER):
        event = "rollback" if change.move is Move.ROLL_BACK else "recovery"
        done = "is rolled back" if change.move is Move.ROLL_BACK else "is back"
        told = {
            "message": f"{goal.name}: {path.model} {done}: {change.reason}.",
            "goal": goal.name,
            "path_id": path.shown_id,
            "model_id": path.model,
            "reason": change.reason,
        }
        tell(project, event, [{**told, **figures}])
    log.info("path changed project=%s path=%s change=%s", project.slug, path.shown_id, change.move.value)
    return True


def _window_judged(path: Path, place: int, now: float) -> dict[str, list[float]]:
    """The times that a rollback was decided on, never reaching back beyond the path's last recovery."""
    is_longest = place >= len(AGES) - 2
    recent, earlier = (AGES[-2], AGES[-1]) if is_longest else (AGES[place], AGES[-2])
    first = path.forgets_before or 0.0
    begin = max(now - recent * HOUR, first)
    return {"recent": [begin, now], "earlier": [max(now - earlier * HOUR, first), begin]}


def _tell_of_signals(project: Project, goal: Goal) -> None:
    """Tells of the urgent signals that the goal did not have at the last look. No query where nobody takes them."""
    if "goal.signal" not in project.told_events:
        return
    for found in insights(project, goal_name=goal.name)["goals"]:
        urgent = {_signal_key(one): one for one in found["actionable_signals"] if one["severity"] in URGENT}
        new = [urgent[key] for key in sorted(urgent.keys() - set(goal.told_signals))]
        goal.told_signals = sorted(urgent)
        told = [{"goal": goal.name, **one, "message": f"{goal.name}: {one['message']}"} for one in new]
        tell(project, "goal.signal", told)


def _signal_key(one: Mapping[str, Any]) -> str:
    about = (str(one["data"][name]) for name in ("path_id", "category", "param") if name in one["data"])
    return ":".join((one["type"], *about))


# --- new parameter values -------------------------------------------------------------------------------------


def explore_goals() -> int:
    """Proposes new values in every goal that asks for it; answers how many paths were made."""
    goals = Goal.objects.filter(auto_explore=True).select_related("project").order_by("id")
    return sum(
        apart(partial(explore_goal, goal.project, goal), f"exploring project={goal.project.slug} goal={goal.id}")
        for goal in goals
    )


def explore_goal(project: Project, goal: Goal) -> int:
    """Registers the engine's proposals as paths. Under the goal's lock, so that two runs don't exceed the bound."""
    with transaction.atomic():
        goal = Goal.objects.select_for_update().get(id=goal.id)
        rows = {}
        for one in proposals_under(project, goal, goal.bounds, goal.max_untested):
            row = NewPath(one.model, one.tools, one.params, origin=Origin.AUTO_EXPLORE).row(goal.id)
            rows[row["id"]] = (row, one)
        made = make_paths(project, [row for row, _ in rows.values()])
        for path in Path.objects.of(project).filter(id__in=made):
            note_change(path, "propose", f"{rows[path.id][1].param}: {rows[path.id][1].reason}")
    return len(made)


def proposals_under(
    project: Project, goal: Goal, bounds: Mapping[str, Mapping[str, Any]], max_untested: int
) -> list[Proposal]:
    """The values that auto-explore would try next within these bounds. Two queries; changes nothing."""
    paths = {path.id: path for path in Path.objects.of(project).filter(goal=goal)}
    trials = [_trial(path, seen) for path, seen in _evidence_of(project, goal, paths).items()]
    within = {name: Bounds(one["low"], one["high"], one["whole"]) for name, one in bounds.items()}
    return propose([trial for trial in trials if trial], within, max_untested=max_untested)


def _evidence_of(project: Project, goal: Goal, paths: Mapping[UUID, Path]) -> dict[Path, Histogram]:
    rows = run(
        "SELECT path_id, own, earlier FROM routing_pathstate "
        "WHERE project_id = %s AND path_id = ANY(%s) AND pipeline_id = ''",
        [project.id, list(paths)],
    )
    seen = {path: _positive(own) + _positive(earlier) for path, own, earlier in rows}
    return {path: seen.get(key, EMPTY) for key, path in paths.items()}


def _trial(path: Path, seen: Histogram) -> Trial | None:
    """A disabled path that was never tested is nobody's proposal any more."""
    if path.status == PathStatus.DISABLED and seen.weight == 0:
        return None
    return Trial(path.model, tuple(path.tools), path.params, seen)


# --- old rows -------------------------------------------------------------------------------------------------
# `= ANY(ARRAY(…))` picks a batch once; with `IN (…)` the planner may pick anew for each row, and go beyond the limit.


def end_decisions(project: Project, limit: int = BATCH) -> int:
    """Deletes up to `limit` decisions that the project no longer keeps; the ledger has copied what it needs."""
    return len(
        run(
            """
            DELETE FROM routing_decision WHERE id = ANY(ARRAY(
                SELECT old.id FROM routing_goal AS goal CROSS JOIN LATERAL (
                    SELECT id FROM routing_decision AS taken
                    WHERE taken.project_id = %(project)s AND taken.goal_id = goal.id
                        AND decided_at < now() - %(days)s * interval '1 day'
                    ORDER BY decided_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
                ) AS old WHERE goal.project_id = %(project)s LIMIT %(limit)s
            )) RETURNING id
            """,
            {"project": project.id, "days": project.setting("decision_days"), "limit": limit},
        )
    )


def end_spans(project: Project, limit: int = BATCH) -> int:
    """Deletes up to `limit` spans that the project no longer keeps; outcomes keep what their calls cost and took."""
    return len(
        run(
            """
            DELETE FROM routing_eventspan WHERE id = ANY(ARRAY(
                SELECT id FROM routing_eventspan WHERE project_id = %s AND received_at < now() - %s * interval '1 day'
                ORDER BY received_at LIMIT %s FOR UPDATE SKIP LOCKED
            )) RETURNING id
            """,
            [project.id, project.setting("span_days"), limit],
        )
    )


def end_first_reports(project: Project, limit: int = BATCH) -> int:
    return len(
        run(
            """
            DELETE FROM routing_firstreport WHERE id = ANY(ARRAY(
                SELECT old.id FROM routing_goal AS goal CROSS JOIN LATERAL (
                    SELECT id FROM routing_firstreport AS report
                    WHERE report.project_id = %(project)s AND report.goal_id = goal.id AND at < %(before)s
                    ORDER BY at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
                ) AS old WHERE goal.project_id = %(project)s LIMIT %(limit)s
            )) RETURNING id
            """,
            {"project": project.id, "before": time.time() - FIRST_REPORTS_LAST_S - 86400, "limit": limit},
        )
    )


def merge_buckets(project: Project, limit: int = BATCH, *, now: float | None = None) -> int:
    """Merges up to `limit` hours older than two months into their days. The sums stay the same."""
    before = int((time.time() if now is None else now) / HOUR) - HOURS_KEPT
    with transaction.atomic():
        rows = run(
            """
            DELETE FROM routing_pathbucket WHERE id = ANY(ARRAY(
                SELECT id FROM routing_pathbucket WHERE project_id = %s AND hours = 1 AND start < %s
                ORDER BY start LIMIT %s FOR UPDATE SKIP LOCKED
            )) RETURNING goal_id, path_id, pipeline_id, start, samples, successes, rated, counts, failures, cost_usd,
                costs, latencies::text
            """,
            [project.id, before // 24 * 24, limit],
        )
        days: dict[tuple[Any, ...], dict[str, Any]] = {}
        for row in rows:
            _merge(days, row)
        if days:
            ordered = [days[key] for key in sorted(days, key=str)]
            run(BUCKETS_SQL, {"project": project.id, "buckets": orjson.dumps(ordered).decode(), "hours": 24})
    return len(rows)


def _merge(days: dict[tuple[Any, ...], dict[str, Any]], row: tuple[Any, ...]) -> None:
    goal, path, pipeline, start, samples, successes, rated, counts, failures, cost, costs, latencies = row
    key = (goal, path, pipeline, start // 24 * 24)
    day = days.setdefault(
        key,
        {
            **dict(zip(("goal_id", "path_id", "pipeline_id", "start"), key, strict=True)),
            **dict.fromkeys(("samples", "successes", "rated", "cost_usd", "costs"), 0),
            "counts": [0.0] * len(counts),
            "failures": [0.0] * len(failures),
            "latencies": {},
        },
    )
    for name, figure in (
        ("samples", samples), ("successes", successes), ("rated", rated), ("cost_usd", cost), ("costs", costs),
    ):  # fmt: skip
        day[name] += figure
    day["counts"] = [one + other for one, other in zip(day["counts"], counts, strict=True)]
    day["failures"] = [one + other for one, other in zip(day["failures"], failures, strict=True)]
    for place, count in orjson.loads(latencies).items():
        day["latencies"][place] = day["latencies"].get(place, 0) + count


def end_old_rows() -> None:
    """Retention and merging over all projects, each table until nothing is left to do; when the round's time is up, a
    batch of each. The projects come in an order by chance, so that none is always the one that there is no time for."""
    end = time.monotonic() + RETENTION_SECONDS
    for project in Project.objects.order_by("?"):
        for step in (end_decisions, end_spans, end_first_reports, merge_buckets):
            batch = partial(step, project, BATCH)
            left = end - time.monotonic()
            apart(partial(until_done, batch, left, REST), f"{step.__name__} project={project.slug}")
