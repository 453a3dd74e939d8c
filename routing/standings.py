"""A goal as the engine sees it: its settings, its paths, and what is believed of each, read in one statement."""

import math
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from uuid import UUID

import orjson

from agentloop.ids import shown
from agentloop.models import Project
from agentloop.sql import run
from routing.engine import sketch
from routing.engine.change import carried, doubt
from routing.engine.choice import UNCONSTRAINED, Chance, Constraints, Contender, Figures, Risk, Standing, chances
from routing.engine.choice import Terms as Wishes
from routing.engine.histogram import EMPTY, POINTS, Decay, Histogram
from routing.engine.posterior import BORROWED_WORTH, Posterior, believe, borrowed, pipeline_backing
from routing.engine.recommendation import risk_score
from routing.models import goal_id
from routing.sums import HOUR

WINDOW_HOURS = 168
DEFAULTS: dict[str, Any] = {
    "exploration_rate": 0.0,
    "min_samples_before_exploit": 20,
    "rollback_threshold": 0.3,
    "staleness_days": 7,
    "exploration_on_high_risk": False,
}
CONFIG = tuple(DEFAULTS)
Kept = TypeVar("Kept")


@dataclass(frozen=True, slots=True)
class PathView:
    """A path with its figures. `own` and `earlier` are as choosing goes by them: decayed where the goal decays."""

    id: UUID
    model: str
    tools: tuple[str, ...]
    params: Mapping[str, Any]
    risk_level: str
    origin: str
    contender: Contender
    own: Histogram
    version: tuple[int, ...]
    samples: int
    successes: float = 0.0
    rated: float = 0.0
    failures: int = 0
    latest_at: float | None = None

    @property
    def shown_id(self) -> str:
        return shown("path", self.id)

    @property
    def tool(self) -> str | None:
        return self.tools[0] if self.tools else None


@dataclass(frozen=True, slots=True)
class GoalView:
    id: UUID
    name: str
    exists: bool
    config: Mapping[str, Any]
    mode: str
    pinned: UUID | None
    paths: tuple[PathView, ...]
    constraints: Constraints = UNCONSTRAINED

    def wishes(
        self,
        *,
        risk: Risk = Risk.MEDIUM,
        models: frozenset[str] | None = None,
        constraints: Constraints | None = None,
    ) -> Wishes:
        return Wishes(
            constraints=self.constraints.and_also(constraints or UNCONSTRAINED),
            models=models,
            risk=risk,
            exploration_rate=self.config["exploration_rate"],
            exploration_on_high_risk=self.config["exploration_on_high_risk"],
            min_samples_before_exploit=self.config["min_samples_before_exploit"],
            staleness_s=self.config["staleness_days"] * 86400.0,
        )

    def path(self, path: UUID | None) -> PathView | None:
        return next((one for one in self.paths if one.id == path), None)

    def shown_path(self, shown_id: str | None) -> PathView | None:
        return next((one for one in self.paths if one.shown_id == shown_id), None)


_PATH_COLUMNS = (
    "path.id, path.model, path.tools, path.params::text, path.risk_level, path.origin, path.status, "
    "extract(epoch FROM path.probe_at)::float8, path.failures, path.terms, path.since, path.shaken_by, "
    "path.half_life_s, path.landmark"
)
_GOAL = ", ".join(f"coalesce(goal.{name}, fallback.{name})" for name in CONFIG)
_STATE = (
    "{0}.version, {0}.own::text, {0}.earlier::text, {0}.own_decayed::text, {0}.earlier_decayed::text, {0}.samples, "
    "{0}.tries"
)
_SUMS = ", ".join(f"sum(bucket.counts[{place}])" for place in range(1, len(POINTS) + 1))
_WINDOW_JOIN = f"""
LEFT JOIN LATERAL (
    SELECT sum(samples)::bigint AS samples, sum(successes) AS successes, sum(rated) AS rated,
        ARRAY[{_SUMS}] AS counts, sum(cost_usd) AS cost_usd, sum(costs)::bigint AS costs,
        json_agg(latencies) FILTER (WHERE latencies <> '{{}}') AS latencies
    FROM routing_pathbucket AS bucket
    WHERE bucket.project_id = %(project)s AND bucket.goal_id = path.goal_id AND bucket.pipeline_id = %(pipeline)s
        AND bucket.path_id = path.id AND bucket.start >= %(from)s
) AS seen ON true
"""
_GOALS = """
(SELECT %(goal)s::uuid AS id) AS asked
LEFT JOIN routing_goal AS goal ON goal.id = asked.id
LEFT JOIN routing_goal AS fallback ON fallback.id = %(fallback)s
"""
# OFFSET leaves the planner no choice: before it knows the table's size, it would read a project's states for each path.
_STATE_OF = """
LEFT JOIN LATERAL (
    SELECT * FROM routing_pathstate WHERE project_id = %(project)s AND path_id = path.id AND pipeline_id = {} OFFSET 0
) AS {} ON {}
"""
_WHOLE = _STATE_OF.format("''", "whole", "true")
_OWN = _STATE_OF.format("%(pipeline)s", "own", "%(pipeline)s <> ''")
_GOAL_COLUMNS = f"goal.name, {_GOAL}, goal.mode, goal.pinned_path_id, goal.constraints::text"
_WHOLE_COLUMNS = f"{_PATH_COLUMNS}, {_STATE.format('whole')}"
_COLUMNS = f"{_WHOLE_COLUMNS}, {_STATE.format('own')}"


def _look_sql(columns: str, states: str, window: str = "") -> str:
    """The goal, and its paths, each as one JSON text. Forty columns cost more to tell of than to read; and a view that
    was made of the same texts is at hand already."""
    return f"""
    SELECT (SELECT json_build_array({_GOAL_COLUMNS})::text FROM {_GOALS}), (
        SELECT json_agg(json_build_array({columns}) ORDER BY path.created_at, path.id)::text
        FROM routing_path AS path {states}
        WHERE path.project_id = %(project)s AND path.goal_id = %(goal)s
    ) {window}
    """


# Each path's figures of the window, in the same order: where they are asked for, or the goal's constraints need them.
_FIGURES = f"""
, (
    SELECT json_agg(json_build_array(seen.samples, seen.successes, seen.rated, seen.counts, seen.cost_usd, seen.costs,
        seen.latencies) ORDER BY path.created_at, path.id)::text
    FROM routing_path AS path {_WINDOW_JOIN}
    WHERE path.project_id = %(project)s AND path.goal_id = %(goal)s
        AND (%(always)s OR (SELECT constraints <> '{{}}' FROM routing_goal WHERE id = %(goal)s))
)
"""
LOOK_SQL, LOOK_PIPELINE_SQL = _look_sql(_WHOLE_COLUMNS, _WHOLE), _look_sql(_COLUMNS, _WHOLE + _OWN)
LOOK_WINDOW_SQL = _look_sql(_WHOLE_COLUMNS, _WHOLE, _FIGURES)
LOOK_WINDOW_PIPELINE_SQL = _look_sql(_COLUMNS, _WHOLE + _OWN, _FIGURES)
_LOOK_ALL_SQL = f"""
SELECT path.goal_id, {_COLUMNS}
FROM routing_path AS path
{_WHOLE} {_OWN}
WHERE path.project_id = %(project)s AND path.goal_id = ANY(%(goals)s)
ORDER BY path.created_at, path.id
"""


def window_start(hours: float, now: float) -> int:
    """The first hour of a window, whole hours only."""
    return math.floor((now - hours * HOUR) / HOUR)


def look(
    project: Project, name: str, *, pipeline: str = "", window_hours: float | None = None, at_need: bool = False
) -> GoalView:
    """A goal with its paths. One query; figures of a window come along where one is asked for, and where that is only
    `at_need`, if the goal's own constraints are judged by them."""
    now = time.time()
    key = goal_id(project.id, name)
    params: dict[str, Any] = {
        "project": project.id,
        "goal": key,
        "fallback": goal_id(project.id, "*"),
        "pipeline": pipeline,
    }
    if window_hours is None:
        [texts] = run(LOOK_PIPELINE_SQL if pipeline else LOOK_SQL, params, keep_plan=True)
        return _kept_view(key, name, pipeline, texts, now)
    sql = LOOK_WINDOW_PIPELINE_SQL if pipeline else LOOK_WINDOW_SQL
    asked = {**params, "from": window_start(window_hours, now), "always": not at_need}
    [(goal, paths, figures)] = run(sql, asked, keep_plan=True)
    view = _kept_view(key, name, pipeline, (goal, paths), now)
    if figures is None:
        return view
    seen = zip(view.paths, orjson.loads(figures), strict=True)
    return replace(view, paths=tuple(_with_figures(path, of_path) for path, of_path in seen))


def look_to_choose(project: Project, name: str, *, pipeline: str, window_hours: float) -> GoalView:
    """A goal as a decision sees it that brings no constraints: with figures where the goal's own are judged by them.

    One query. What was kept tells whether to ask for figures, which even unread make the statement slower by a tenth;
    so the first look after a goal got its first constraints takes two, once in each process.
    """
    kept = _goals.get((goal_id(project.id, name), pipeline))
    if kept is not None and not kept[1].constraints:
        view = look(project, name, pipeline=pipeline)
        if not view.constraints:
            return view
    return look(project, name, pipeline=pipeline, window_hours=window_hours, at_need=True)


def _kept_view(key: UUID, name: str, pipeline: str, texts: tuple[Any, ...], now: float) -> GoalView:
    kept = _goals.get((key, pipeline))
    if kept is not None and kept[0] == texts:
        return kept[1]
    goal, paths = orjson.loads(texts[0]), [_typed(row) for row in orjson.loads(texts[1] or "[]")]
    goal[_PINNED] = goal[_PINNED] and UUID(goal[_PINNED])
    view = _goal_view(key, name, pipeline, goal, paths, now)
    # What decays is worth less at the next look, whether anything was written or not.
    if not any(row[_HALF_LIFE] for row in paths):
        _goals.keep((key, pipeline), (texts, view))
    return view


def with_new_paths(goal: GoalView, rows: Sequence[Mapping[str, Any]]) -> GoalView:
    """As the goal will be once these paths are made: of models that it knows nothing of."""
    nothing = ("active", None, 0, 0, None, None, None, None)
    new = [
        _Read((row["id"], row["model"], row["tools"], "{}", row["risk_level"], row["origin"], *nothing), _State())
        for row in rows
    ]
    return replace(goal, exists=True, paths=(*goal.paths, *_views(new)))


def _typed(row: list[Any]) -> list[Any]:
    """A path's row that came as JSON: its ids as ids."""
    for place in (_ID, _SHAKEN_BY):
        row[place] = row[place] and UUID(row[place])
    return row


def look_at_paths(project: Project, goals: Sequence[UUID], *, pipeline: str = "") -> dict[UUID, tuple[PathView, ...]]:
    """The paths of several goals, each as choosing in that pipeline sees it. One query."""
    now = time.time()
    read: dict[UUID, list[_Read]] = {}
    for goal, *row in run(_LOOK_ALL_SQL, {"project": project.id, "goals": list(goals), "pipeline": pipeline}):
        read.setdefault(goal, []).append(_read(row, pipeline, now))
    return {goal: _views(of_goal) for goal, of_goal in read.items()}


def _goal_view(
    key: UUID, name: str, pipeline: str, goal: Sequence[Any], paths: Sequence[Sequence[Any]], now: float
) -> GoalView:
    said, *given, mode, pinned, constraints = goal
    known = zip(DEFAULTS.items(), given, strict=True)
    config = {setting: default if value is None else value for (setting, default), value in known}
    views = _views([_read(row, pipeline, now) for row in paths])
    bounds = Constraints(**orjson.loads(constraints)) if constraints else UNCONSTRAINED
    return GoalView(key, name, said is not None, config, mode or "apply", pinned, views, bounds)


@dataclass(frozen=True, slots=True)
class _State:
    """A state as choosing goes by it now."""

    version: int = 0
    own: Histogram = EMPTY
    earlier: Histogram = EMPTY
    samples: int = 0
    tries: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class _Read:
    columns: tuple[Any, ...]
    whole: _State
    own: _State | None = None


_PATH, _STATE_SIZE = 14, 7
_ID, _SHAKEN_BY, _HALF_LIFE = 0, 11, 12
_PINNED = 2 + len(CONFIG)


def _read(row: Sequence[Any], pipeline: str, now: float) -> _Read:
    path = tuple(row[:_PATH])
    whole = _state(path, "", row[_PATH : _PATH + _STATE_SIZE], now)
    own = _state(path, pipeline, row[_PATH + _STATE_SIZE : _PATH + 2 * _STATE_SIZE], now) if pipeline else None
    return _Read(path, whole, own)


class _Recent(OrderedDict[Any, Kept]):
    """The latest few thousand things that were worked out, by what they were worked out from."""

    def keep(self, key: Any, value: Kept) -> Kept:
        if len(self) >= 20_000:
            self.popitem(last=False)
        self[key] = value
        return value


_goals: _Recent[tuple[tuple[Any, ...], GoalView]] = _Recent()
_states: _Recent[_State] = _Recent()
_posteriors: _Recent[Posterior] = _Recent()


def _state(path: tuple[Any, ...], pipeline: str, row: Sequence[Any], now: float) -> _State:
    """Parsed once for a version; with forward decay its worth is reckoned anew at each look."""
    version, own, earlier, own_decayed, earlier_decayed, samples, tries = row
    if version is None:
        return _State()
    terms, _, _, half_life, landmark = path[9:14]
    key = (path[0], pipeline, version, terms)
    if half_life is None and (kept := _states.get(key)) is not None:
        return kept
    counts, before = _histogram(own), _histogram(earlier)
    if half_life is not None and own_decayed is not None:
        decay = Decay(half_life, landmark)
        counts, before = decay.worth(_histogram(own_decayed), now), decay.worth(_histogram(earlier_decayed), now)
    state = _State(version, counts, before, samples, tuple(sorted(tries)))
    return state if half_life is not None else _states.keep(key, state)


def _histogram(text: str) -> Histogram:
    """What rounding leaves below zero is cut to zero: no posterior may meet a negative count."""
    return Histogram(tuple(max(0.0, float(part)) for part in text[1:-1].split(",")))


def _with_figures(path: PathView, seen: Sequence[Any]) -> PathView:
    """With what the window's buckets hold, be it nothing: what came before it is no part of its figures."""
    samples, successes, rated, counts, cost, costs, latencies = seen
    if samples is None:
        return replace(path, contender=replace(path.contender, figures=Figures()))
    values = Histogram(tuple(max(0.0, float(count)) for count in counts))
    times = sketch.summed(latencies or [])
    figures = Figures(
        samples=samples,
        mean_value=values.mean if values.weight > 0 else None,
        mean_cost_usd=cost / costs if costs else None,
        cost_samples=costs or 0,
        p95_latency_ms=times.p95,
        latency_samples=times.weight,
        risk_score=risk_score(path.contender.posterior),
    )
    contender = replace(path.contender, figures=figures)
    return replace(path, contender=contender, successes=float(successes), rated=float(rated))


@dataclass(frozen=True, slots=True)
class _Neighbours:
    """What a path's posterior may lean on: the goal's other paths, by id and by model."""

    by_id: Mapping[UUID, _Read]
    of_model: Mapping[str, Sequence[tuple[UUID, Histogram]]]

    def carried(self, one: _Read, state: _State) -> Histogram:
        """What evidence from before the path's regime still adds."""
        if state.earlier.weight <= 0:
            return EMPTY
        leader = self.by_id.get(one.columns[11])
        judged = leader.whole if leader is not None else state
        return carried(state.earlier, doubt(judged.earlier, judged.own))

    def version(self, one: _Read) -> int:
        leader = self.by_id.get(one.columns[11])
        return leader.whole.version if leader is not None else 0


def _views(read: Sequence[_Read]) -> tuple[PathView, ...]:
    of_model: dict[str, list[tuple[UUID, Histogram]]] = {}
    for one in read:
        of_model.setdefault(one.columns[1], []).append((one.columns[0], one.whole.own))
    neighbours = _Neighbours({one.columns[0]: one for one in read}, of_model)
    return tuple(_view(one, neighbours) for one in read)


def _view(one: _Read, neighbours: _Neighbours) -> PathView:
    path, model, tools, params, risk_level, origin, status, probe_at, failures, terms, *_ = one.columns
    state = one.whole if one.own is None else one.own
    posterior = _posterior(one, neighbours)
    contender = Contender(
        path_id=path.hex,
        model_id=model,
        posterior=posterior,
        figures=Figures(samples=state.samples),
        standing=Standing(status),
        tried_at=one.whole.tries[0] if one.whole.tries else None,
        probe_at=probe_at,
    )
    return PathView(
        path,
        model,
        tuple(tools),
        orjson.loads(params),
        risk_level,
        origin,
        contender,
        state.own,
        (one.whole.version, state.version, terms, neighbours.version(one)),
        state.samples,
        failures=failures,
        latest_at=state.tries[-1] if state.tries else None,
    )


def _posterior(one: _Read, neighbours: _Neighbours) -> Posterior:
    """Believed once for a version, but for what borrows of its neighbours, decays, or is too young to be kept."""
    path, model, half_life, terms = one.columns[0], one.columns[1], one.columns[12], one.columns[9]
    whole = one.whole
    if one.own is not None:
        return believe(one.own.own, neighbours.carried(one, one.own), pipeline_backing(whole.own, one.own.own))
    if whole.own.weight < BORROWED_WORTH and len(neighbours.of_model[model]) > 1:
        others = [counts for other, counts in neighbours.of_model[model] if other != path]
        return believe(whole.own, neighbours.carried(one, whole), borrowed(others, whole.own))
    key = (path, whole.version, terms, neighbours.version(one))
    if half_life is None and (kept := _posteriors.get(key)) is not None:
        return kept
    posterior = believe(whole.own, neighbours.carried(one, whole))
    return posterior if half_life is not None else _posteriors.keep(key, posterior)


_chances: _Recent[tuple[float, Any, Mapping[str, Chance]]] = _Recent()
CHANCES_LAST_S = 1.0


def chances_of(goal: GoalView, wishes: Wishes, pipeline: str, contenders: Sequence[Contender]) -> Mapping[str, Chance]:
    """Probabilities of being best and chosen: once for the states' versions, and at most once a second."""
    key = (goal.id, pipeline, wishes)
    versions = tuple((path.id, path.version, path.contender.standing) for path in goal.paths)
    now, kept = time.monotonic(), _chances.get(key)
    if kept is not None and (kept[1] == versions or kept[0] + CHANCES_LAST_S > now):
        return kept[2]
    found = chances(contenders, wishes, time.time())
    _chances.keep(key, (now, versions, found))
    return found


def with_chances(goal: GoalView, wishes: Wishes, pipeline: str) -> list[Contender]:
    """The contenders, with the probability of being best among their figures."""
    contenders = [path.contender for path in goal.paths]
    free = replace(wishes, constraints=Constraints())
    best = chances_of(goal, free, pipeline, contenders)
    return [
        replace(one, figures=replace(one.figures, probability_best=best[one.path_id].best))
        if one.path_id in best
        else one
        for one in contenders
    ]
