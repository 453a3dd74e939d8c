"""What the goals' pages show, read from buckets of time, states and the ledger. A fixed number of queries for each."""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson

from agentloop.models import Project
from agentloop.sql import run
from routing.advice import Seen, insights, report_of, seen_in_window
from routing.engine import sketch
from routing.engine.choice import Standing
from routing.engine.histogram import EMPTY, Histogram, contribution
from routing.engine.insights import Window, goal_insight, status_of, trend
from routing.engine.posterior import believe
from routing.models import WHOLE_GOAL, Cause, EvidenceSource, Goal, PathChange, Regime
from routing.standings import WINDOW_HOURS, GoalView, PathView, chances_of, look
from routing.sums import HOUR

# A window in hours, and the hours of one step on its charts.
WINDOWS = {24: 1, 168: 6, 336: 12}
DEFAULT_WINDOW = 168
# So many paths have a colour and a panel of their own; the rest are one.
PATHS_DRAWN = 6
# Of more, as many are taken by their trace ids, which tell nothing of how they went.
MOST_REVIEWS = 20_000
MOST_CHANGES = 200
GOALS_A_PAGE = 50
MOST_PIPELINES = 200


@dataclass(frozen=True, slots=True)
class Steps:
    """A window of time in steps that begin on whole multiples of their length; the last one is still running."""

    hours: int
    length: int
    first: int
    count: int

    @classmethod
    def of(cls, hours: int, now: float) -> "Steps":
        length = WINDOWS[hours]
        running = math.floor(now / HOUR) // length
        count = hours // length + 1
        return cls(hours, length, (running - count + 1) * length, count)

    def place(self, at: float) -> int | None:
        """The step that a moment falls into."""
        place = math.floor((at / HOUR - self.first) / self.length)
        return place if 0 <= place < self.count else None

    def share(self, at: float) -> float:
        """The same as a point on the axis, in steps."""
        return (at / HOUR - self.first) / self.length

    def begin(self, place: int) -> datetime:
        return datetime.fromtimestamp((self.first + place * self.length) * HOUR, UTC)

    @property
    def since(self) -> float:
        return float(self.first * HOUR)


@dataclass(frozen=True, slots=True)
class Step:
    """What became of a path's, or a goal's, executions within a step."""

    samples: int = 0
    successes: float = 0.0
    rated: float = 0.0

    @property
    def rate(self) -> float | None:
        return self.successes / self.rated if self.rated > 0 else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 90 % interval, as its normal approximation: for a band on a chart."""
        if self.rated <= 0:
            return None
        belief = Window(self.samples, self.successes, self.rated).belief
        reach = 1.645 * belief.deviation
        return max(0.0, belief.mean - reach), min(1.0, belief.mean + reach)


NOTHING = Step()
_SERIES_SQL = """
SELECT goal_id, CASE WHEN path_id = ANY(%(paths)s) THEN path_id END, ((start - %(first)s) / %(length)s)::int,
    sum(samples)::bigint, sum(successes), sum(rated)
FROM routing_pathbucket
WHERE project_id = %(project)s AND goal_id = ANY(%(goals)s) AND pipeline_id = %(pipeline)s AND start >= %(first)s
    AND (%(all)s OR path_id = ANY(%(paths)s))
GROUP BY 1, 2, 3
"""
Series = dict[tuple[UUID, UUID | None], list[Step]]


def series_of(
    project: Project,
    goals: Sequence[UUID],
    paths: Sequence[UUID],
    steps: Steps,
    *,
    pipeline: str = "",
    with_rest: bool = False,
) -> Series:
    """Steps of each of the paths (`WHOLE_GOAL` for the goal's), and of all others together under None. One query."""
    given = {
        "project": project.id,
        "goals": list(goals),
        "paths": list(paths),
        "pipeline": pipeline,
        "first": steps.first,
        "length": steps.length,
        "all": with_rest,
    }
    found: Series = {}
    for goal, path, place, samples, successes, rated in run(_SERIES_SQL, given):
        if place < steps.count:
            whole = found.setdefault((goal, path), [NOTHING] * steps.count)
            whole[place] = Step(samples, max(0.0, successes), max(0.0, rated))
    return found


# --- all goals ------------------------------------------------------------------------------------------------

_URGENCY = ("failing", "degraded", "healthy", "insufficient_data")


@dataclass(frozen=True, slots=True)
class GoalLine:
    """One goal in the list, with the shape of its window."""

    id: UUID
    insight: Mapping[str, Any]
    steps: Sequence[Step]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which goals are listed: those whose name has the text, that stand so, and that the pipeline has states of."""

    text: str = ""
    status: str = ""
    pipeline: str = ""
    page: int = 1


@dataclass(frozen=True, slots=True)
class GoalPage:
    """A page of goals. `goals`, `outcomes` and `pressing` are of all that the text and the pipeline let through,
    `count` of those that stand as is wanted, too."""

    lines: Sequence[GoalLine]
    goals: int
    outcomes: int
    pressing: int
    count: int
    number: int

    @property
    def pages(self) -> int:
        return max(1, math.ceil(self.count / GOALS_A_PAGE))


_LISTED_SQL = """
SELECT id, name FROM routing_goal AS goal
WHERE project_id = %(project)s AND name <> '*' AND NOT starts_with(name, '__verify__')
    AND (%(text)s = '' OR strpos(lower(name), lower(%(text)s)) > 0)
    AND (%(pipeline)s = '' OR EXISTS (
        SELECT FROM routing_path AS path JOIN routing_pathstate AS state
            ON state.project_id = path.project_id AND state.path_id = path.id AND state.pipeline_id = %(pipeline)s
        WHERE path.project_id = goal.project_id AND path.goal_id = goal.id))
"""


def goals_of(project: Project, hours: int, wanted: Wanted = Wanted()) -> GoalPage:
    """A page of goals, those that need looking at first. Six queries, however many there are: how each stands is
    told of all from their own sums, and the rest is worked out for those on the page alone."""
    steps = Steps.of(hours, time.time())
    given = {"project": project.id, "text": wanted.text, "pipeline": wanted.pipeline}
    names: dict[UUID, str] = dict(run(_LISTED_SQL, given))
    seen = seen_in_window({**given, "goals": list(names)}, hours, only_whole=True)
    whole = {goal: seen.get((goal, WHOLE_GOAL), Seen()) for goal in names}
    stands = {goal: status_of(one.window, trend(one.recent, one.earlier)).value for goal, one in whole.items()}
    found = [goal for goal in names if wanted.status in ("", stands[goal])]
    found.sort(key=lambda goal: (_URGENCY.index(stands[goal]), -whole[goal].samples, names[goal]))
    number = min(max(1, wanted.page), max(1, math.ceil(len(found) / GOALS_A_PAGE)))
    ids = found[(number - 1) * GOALS_A_PAGE : number * GOALS_A_PAGE]
    return GoalPage(
        _lines(project, hours, steps, {goal: names[goal] for goal in ids}, wanted.pipeline),
        len(names),
        sum(one.samples for one in whole.values()),
        sum(one in ("failing", "degraded") for one in stands.values()),
        len(found),
        number,
    )


def _lines(project: Project, hours: int, steps: Steps, goals: Mapping[UUID, str], pipeline: str) -> list[GoalLine]:
    """Four queries."""
    found = insights(project, goals=goals, pipeline=pipeline, window_hours=hours)["goals"]
    series = series_of(project, list(goals), [WHOLE_GOAL], steps, pipeline=pipeline)
    empty = [NOTHING] * steps.count
    told = zip(goals, found, strict=True)
    return [GoalLine(goal, insight, series.get((goal, WHOLE_GOAL), empty)) for goal, insight in told]


def pipelines_of(project: Project, goal: Goal | None = None) -> list[str]:
    """The pipelines that a goal, or any, has states of, by name. One query."""
    rows = run(
        """
        SELECT DISTINCT state.pipeline_id FROM routing_path AS path JOIN routing_pathstate AS state
            ON state.project_id = path.project_id AND state.path_id = path.id AND state.pipeline_id <> ''
        WHERE path.project_id = %(project)s AND (%(goal)s::uuid IS NULL OR path.goal_id = %(goal)s)
        ORDER BY 1 LIMIT %(most)s
        """,
        {"project": project.id, "goal": goal and goal.id, "most": MOST_PIPELINES},
    )
    return [name for (name,) in rows]


# --- one goal -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean with its 90 % interval and the number of outcomes that it rests on."""

    count: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class PathFigures:
    """A path with all that its row shows."""

    letter: str
    view: PathView
    insight: Mapping[str, Any]
    belief: Mean
    best: float
    chosen: float
    random: Mean | None
    traffic: float
    costs: int
    latencies: float

    @property
    def standing(self) -> Standing:
        return self.view.contender.standing


@dataclass(frozen=True, slots=True)
class Agreement:
    """What a source said, of how many outcomes its word stands, and how often reviewers found the same."""

    source: str
    executions: int | None
    decided: int
    compared: int
    agreed: int

    @property
    def mean(self) -> Mean | None:
        return rate_of(self.agreed, self.compared) if self.compared else None


@dataclass(frozen=True, slots=True)
class GoalFigures:
    steps: Steps
    view: GoalView
    insight: Mapping[str, Any]
    paths: Sequence[PathFigures]
    drawn: Sequence[PathFigures]
    series: Mapping[UUID | None, Sequence[Step]]
    changes: Sequence["Event"]
    """The newest first, also those from before the window."""
    corrected: Mapping[tuple[UUID, int], int]
    sources: Sequence[Agreement]
    reviewed: int
    reviewed_at_random: int


def rate_of(successes: float, count: float) -> Mean:
    """The plain rate of some trials, with its interval."""
    window = Window(round(count), successes, count)
    low, high = window.belief.interval(0.9)
    return Mean(round(count), successes / count, low, high)


def figures_of(project: Project, goal: Goal, hours: int, pipeline: str = "") -> GoalFigures:
    """All that a goal's page shows, of all pipelines together or of one. Seven queries, however many paths and
    outcomes there are."""
    steps = Steps.of(hours, time.time())
    # The figures of a decision's own window, by which constraints are judged.
    view = look(project, goal.name, pipeline=pipeline, window_hours=WINDOW_HOURS)
    seen = seen_in_window({"project": project.id, "goals": [goal.id], "pipeline": pipeline}, hours)
    changes = changes_of(project, goal)
    insight = goal_insight(report_of(goal.id, goal.name, pipeline, seen, view.paths, _drifts(changes, hours)))
    judged = _judged(project, goal, steps.since, pipeline)
    paths = _paths(view, pipeline, insight, seen, _random_means(judged, _regimes(changes)))
    drawn = _most_used(paths)
    shown = [WHOLE_GOAL, *(one.view.id for one in drawn)]
    series = series_of(project, [goal.id], shown, steps, pipeline=pipeline, with_rest=True)
    return GoalFigures(
        steps,
        view,
        insight,
        paths,
        drawn,
        {path: of_path for (_, path), of_path in series.items()},
        changes,
        _corrections(judged, steps),
        _sources(project, goal, steps.since, judged, pipeline),
        len(judged),
        sum(one.at_random for one in judged),
    )


def _paths(
    view: GoalView,
    pipeline: str,
    insight: Mapping[str, Any],
    seen: Mapping[tuple[UUID, UUID], Seen],
    random: Mapping[UUID, Mean],
) -> list[PathFigures]:
    """Those in service first, the better before the worse."""
    chances = chances_of(view, view.wishes(), pipeline, [path.contender for path in view.paths]) if view.paths else {}
    told = {one["path_id"]: one for one in insight["paths"]}
    all_samples = sum(one["sample_count"] for one in insight["paths"]) or 1
    found = []
    for place, path in enumerate(view.paths):
        chance, of_window = chances.get(path.id.hex), seen.get((view.id, path.id), Seen())
        found.append(
            PathFigures(
                letter=letter_of(place),
                view=path,
                insight=told[path.shown_id],
                belief=_belief(path),
                best=chance.best if chance else 0.0,
                chosen=chosen(view, path, chance.chosen if chance else 0.0),
                random=random.get(path.id),
                traffic=of_window.samples / all_samples,
                costs=of_window.costs,
                latencies=sketch.summed(of_window.latencies).weight,
            )
        )
    return sorted(found, key=lambda one: (one.standing is not Standing.ACTIVE, -one.belief.mean, one.letter))


def letter_of(place: int) -> str:
    """A, B, … Z, AA: by the order in which the paths became known, so that a path keeps its letter."""
    letters = ""
    place += 1
    while place:
        place, rest = divmod(place - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def chosen(view: GoalView, path: PathView, by_engine: float) -> float:
    """Where the goal only observes, all goes to its pinned path, or to the first."""
    if view.mode == "apply":
        return by_engine
    open_ = [one for one in view.paths if one.contender.standing is not Standing.DISABLED]
    taken = next((one for one in open_ if one.id == view.pinned), open_[0] if open_ else None)
    return 1.0 if path is taken else 0.0


def _belief(path: PathView) -> Mean:
    posterior = path.contender.posterior
    low, high = posterior.interval(0.9)
    return Mean(round(path.own.weight), posterior.mean, low, high)


def _most_used(paths: Sequence[PathFigures]) -> list[PathFigures]:
    used = [one for one in paths if one.insight["sample_count"]]
    most = sorted(used, key=lambda one: (-one.insight["sample_count"], one.letter))[:PATHS_DRAWN]
    return sorted(most, key=lambda one: (len(one.letter), one.letter))


# --- what happened to paths -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Event:
    """A change of a path's standing, or of what its evidence counts for."""

    kind: str
    path_id: UUID
    reason: str
    figures: Mapping[str, Any]
    actor: str
    at: datetime
    since: float | None = None


def changes_of(project: Project, goal: Goal) -> list[Event]:
    """Changes and regimes, the newest first. Two queries."""
    changes = PathChange.objects.filter(project=project, goal=goal).order_by("-id")[:MOST_CHANGES]
    regimes = Regime.objects.filter(project=project, goal=goal).order_by("-id")[:MOST_CHANGES]
    found = [Event(one.change, one.path_id, one.reason, one.figures, one.actor, one.at) for one in changes]
    found += [
        Event(one.cause, one.path_id, Cause(one.cause).label, one.figures, "system", one.opened_at, one.since)
        for one in regimes
    ]
    return sorted(found, key=lambda one: one.at, reverse=True)


def _drifts(changes: Iterable[Event], hours: int) -> dict[UUID, Mapping[str, Any]]:
    """The latest regime that a path's own outcomes opened within the window."""
    since = time.time() - hours * HOUR
    drifts: dict[UUID, Mapping[str, Any]] = {}
    for one in changes:
        if one.kind == "changed" and one.since is not None and one.since >= since:
            drifts.setdefault(one.path_id, one.figures)
    return drifts


def _regimes(changes: Iterable[Event]) -> dict[UUID, float]:
    """From when on each path's evidence counts in full, where a change was ever detected."""
    found: dict[UUID, float] = {}
    for one in changes:
        if one.since is not None:
            found.setdefault(one.path_id, one.since)
    return found


# --- what reviewers found -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Judged:
    """An execution that a reviewer judged, and what others say of it now."""

    path: UUID | None
    at: float
    good: bool
    at_random: bool
    value: float | None
    weight: float
    others: Mapping[str, bool] = field(default_factory=dict)


_WORD = "coalesce({0}.success, {0}.score >= 0.5)"
_STANDS = """
{0}.withdraws IS NULL AND NOT EXISTS (
    SELECT FROM routing_ledgerrow AS later WHERE later.project_id = {0}.project_id
        AND later.trace_id = {0}.trace_id AND later.goal_id = {0}.goal_id AND later.withdraws = {0}.key)
"""
_JUDGED_SQL = f"""
WITH said AS (
    SELECT DISTINCT ON (row.trace_id, row.path_id) row.trace_id, row.path_id, {_WORD.format("row")} AS good,
        coalesce(row.at_random, false) AS at_random
    FROM routing_ledgerrow AS row
    WHERE row.project_id = %(project)s AND row.goal_id = %(goal)s AND row.source = 'review'
        AND row.occurred_at >= %(since)s AND {_WORD.format("row")} IS NOT NULL AND {_STANDS.format("row")}
    ORDER BY row.trace_id, row.path_id, row.occurred_at DESC, row.key DESC
    LIMIT {MOST_REVIEWS}
)
SELECT outcome.path_id, outcome.at, said.good, said.at_random, coalesce(outcome.score, outcome.success::int::float8),
    outcome.attribution * outcome.confidence, others.words::text
FROM said
CROSS JOIN LATERAL (
    SELECT one.* FROM routing_outcome AS one
    WHERE one.project_id = %(project)s AND one.trace_id = said.trace_id AND one.goal_id = %(goal)s
        AND (said.path_id IS NULL OR said.path_id = one.path_id)
    ORDER BY (one.source = 'review') DESC, one.at DESC LIMIT 1
) AS outcome
CROSS JOIN LATERAL (
    SELECT json_object_agg(word.source, word.good) AS words FROM (
        SELECT DISTINCT ON (row.source) row.source, {_WORD.format("row")} AS good FROM routing_ledgerrow AS row
        WHERE row.project_id = %(project)s AND row.trace_id = said.trace_id AND row.goal_id = %(goal)s
            AND row.source <> 'review' AND (row.path_id IS NULL OR row.path_id = outcome.path_id)
            AND {_WORD.format("row")} IS NOT NULL AND {_STANDS.format("row")}
        ORDER BY row.source, row.occurred_at DESC, row.key DESC
    ) AS word
) AS others
WHERE %(pipeline)s IN ('', outcome.pipeline_id)
"""


def _judged(project: Project, goal: Goal, since: float, pipeline: str) -> list[_Judged]:
    """What reviewers judged within the window, each beside what others say of it, strongest last. One query."""
    ladder = project.setting("authority")
    found = []
    for path, at, good, at_random, value, weight, words in run(
        _JUDGED_SQL, {"project": project.id, "goal": goal.id, "since": since, "pipeline": pipeline}
    ):
        said = orjson.loads(words) if words else {}
        others = {source: said[source] for source in ladder if source in said}
        found.append(_Judged(path, at, good, at_random, value, weight, others))
    return found


def _random_means(judged: Iterable[_Judged], regimes: Mapping[UUID, float]) -> dict[UUID, Mean]:
    """By path, the mean over what reviewers drew at random: nobody's suspicion chose these.

    Of the path's own regime, like the mean that it stands beside.
    """
    sums: dict[UUID, tuple[int, Histogram]] = {}
    for one in judged:
        if one.path is None or one.at < regimes.get(one.path, 0.0):
            continue
        if one.at_random and one.value is not None and one.weight > 0:
            count, values = sums.get(one.path, (0, EMPTY))
            sums[one.path] = (count + 1, values + contribution(one.value, one.weight))
    means = {}
    for path, (count, values) in sums.items():
        belief = believe(values)
        means[path] = Mean(count, belief.mean, *belief.interval(0.9))
    return means


def _corrections(judged: Iterable[_Judged], steps: Steps) -> dict[tuple[UUID, int], int]:
    """How often reviewers turned round what the strongest other source had said, by path and step."""
    found: dict[tuple[UUID, int], int] = {}
    for one in judged:
        place = steps.place(one.at)
        if one.path is not None and place is not None and one.others and [*one.others.values()][-1] is not one.good:
            found[one.path, place] = found.get((one.path, place), 0) + 1
    return found


_SOURCES_SQL = """
SELECT 'spoke', source, count(*) FROM routing_firstreport
WHERE project_id = %(project)s AND goal_id = %(goal)s AND at >= %(since)s AND %(pipeline)s = '' GROUP BY 2
UNION ALL
SELECT 'decided', source, count(*) FROM routing_outcome
WHERE project_id = %(project)s AND goal_id = %(goal)s AND at >= %(since)s AND %(pipeline)s IN ('', pipeline_id)
GROUP BY 2
"""


def _sources(project: Project, goal: Goal, since: float, judged: Sequence[_Judged], pipeline: str) -> list[Agreement]:
    """By source, the strongest first. One query."""
    given = {"project": project.id, "goal": goal.id, "since": since, "pipeline": pipeline}
    counts = {(kind, source): count for kind, source, count in run(_SOURCES_SQL, given)}
    found = []
    for source in reversed(project.setting("authority")):
        words = [(one.others[source], one.good) for one in judged if source in one.others]
        spoke = len(judged) if source == EvidenceSource.REVIEW else counts.get(("spoke", source), 0)
        # What a source said first doesn't say in which pipeline.
        executions = None if pipeline and source != EvidenceSource.REVIEW else spoke
        agreed = sum(word is good for word, good in words)
        found.append(Agreement(source, executions, counts.get(("decided", source), 0), len(words), agreed))
    return found
