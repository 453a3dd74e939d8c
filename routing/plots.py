"""The goals' figures as what is drawn: attributes of SVG elements beside the words and numbers they stand for."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from routing.charts import Scale, Tick, band, line, runs, scale_around, stacked, upright, widest, x_percent
from routing.figures import NOTHING, Event, GoalFigures, Mean, PathFigures, Step, Steps, letter_of
from routing.models import Path
from routing.standings import PathView

REST = "other"
# A name fits into an area that has this share of the height.
ROOM_FOR_A_NAME = 0.09


# A point on a line rests on this many outcomes, where its neighbours can lend some.
ENOUGH_FOR_A_POINT = 10
MOST_NEIGHBOURS = 2


def pooled(steps: Sequence[Step]) -> list[Step]:
    """Each step with outcomes, together with as few of its neighbours as give a rate that is more than chance."""
    return [_with_neighbours(steps, place) if step.rated > 0 else NOTHING for place, step in enumerate(steps)]


def _with_neighbours(steps: Sequence[Step], place: int) -> Step:
    found = steps[place]
    for reach in range(1, MOST_NEIGHBOURS + 1):
        if found.rated >= ENOUGH_FOR_A_POINT:
            break
        near = steps[max(0, place - reach) : place + reach + 1]
        found = Step(sum(s.samples for s in near), sum(s.successes for s in near), sum(s.rated for s in near))
    return found


@dataclass(frozen=True, slots=True)
class Spark:
    """A goal's success rate in a line of text."""

    line: str
    last_y: str
    words: str


def spark_of(steps: Sequence[Step]) -> Spark | None:
    """None while there is too little to tell a line from chance."""
    rates = [step.rate for step in pooled(steps)]
    known = [rate for rate in rates if rate is not None]
    if len(known) < 2 or sum(step.rated for step in steps) < 2 * ENOUGH_FOR_A_POINT:
        return None
    words = f"Success rate from {known[0]:.0%} to {known[-1]:.0%}, lowest {min(known):.0%}, highest {max(known):.0%}"
    return Spark(line(rates), f"{100 * (1 - known[-1]):.1f}%", words)


# --- the forest of posteriors ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Whisker:
    """A mean and its interval on the forest's axis."""

    low: str
    middle: str
    high: str


@dataclass(frozen=True, slots=True)
class ForestRow:
    path: PathFigures
    tone: str
    belief: Whisker
    random: Whisker | None


@dataclass(frozen=True, slots=True)
class Forest:
    ticks: Sequence[Tick]
    rows: Sequence[ForestRow]
    leader: str | None
    """Where the best mean stands: a line to compare the others with."""


def forest_of(figures: GoalFigures) -> Forest:
    means = [one.belief for one in figures.paths] + [one.random for one in figures.paths if one.random]
    scale = scale_around([end for one in means for end in (one.low, one.high)])
    tones = tones_of(figures)
    rows = [
        ForestRow(
            one,
            tones.get(one.view.id, REST),
            _whisker(one.belief, scale),
            _whisker(one.random, scale) if one.random else None,
        )
        for one in figures.paths
    ]
    return Forest(scale.ticks(), rows, rows[0].belief.middle if len(rows) > 1 else None)


def _whisker(mean: Mean, scale: Scale) -> Whisker:
    return Whisker(scale.at(mean.low), scale.at(mean.mean), scale.at(mean.high))


def tones_of(figures: GoalFigures) -> dict[UUID, str]:
    """The colours of the paths that are drawn; each has its letter beside it everywhere."""
    return {one.view.id: str(place) for place, one in enumerate(figures.drawn, 1)}


# --- over time ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TimeTick:
    at: str
    moment: datetime
    is_minor: bool


def time_ticks(steps: Steps) -> list[TimeTick]:
    """Where days begin, or every sixth hour of one day; on two weeks every other day."""
    hours = 6 if steps.hours <= 24 else 24 if steps.hours <= 168 else 48
    ticks: list[TimeTick] = []
    for place in range(steps.count):
        # A word at either end would stand half outside.
        if (steps.first + place * steps.length) % hours == 0 and 0 < place < steps.count - 1:
            ticks.append(TimeTick(x_percent(place, steps.count), steps.begin(place), len(ticks) % 2 == 1))
    return ticks


@dataclass(frozen=True, slots=True)
class Area:
    letter: str
    name: str
    tone: str
    shape: str
    label_x: str
    label_y: str
    has_room: bool


@dataclass(frozen=True, slots=True)
class TimeRow:
    """One step in words and numbers: what the chart's table says, and its read-out repeats."""

    begin: datetime
    cells: Sequence[Any]
    total: int


@dataclass(frozen=True, slots=True)
class Traffic:
    areas: Sequence[Area]
    bars: Sequence[tuple[str, str, str, str]]
    ticks: Sequence[TimeTick]
    rows: Sequence[TimeRow]
    most: int


@dataclass(frozen=True, slots=True)
class Cell:
    share: float | None
    count: int


def traffic_of(figures: GoalFigures) -> Traffic | None:
    """Each path's share of the outcomes over time; None while there are none."""
    steps, tones = figures.steps, tones_of(figures)
    named = [(one.letter, name_of(one), tones[one.view.id], _samples(figures, one.view.id)) for one in figures.drawn]
    rest = _samples(figures, None)
    if any(rest):
        named.append(("…", "all other paths", REST, rest))
    counts = [samples for *_, samples in named]
    if not any(any(samples) for samples in counts):
        return None
    areas = []
    for index, ((letter, name, tone, _), shape) in enumerate(zip(named, stacked(counts), strict=True)):
        place, middle, share = widest(counts, index)
        label = x_percent(place, steps.count), f"{100 * (1 - middle):.1f}%"
        areas.append(Area(letter, name, tone, shape, *label, share >= ROOM_FOR_A_NAME))
    totals = [int(sum(of_step)) for of_step in zip(*counts, strict=True)]
    rows = [
        TimeRow(
            steps.begin(place),
            [Cell(samples[place] / total if total else None, int(samples[place])) for samples in counts],
            total,
        )
        for place, total in enumerate(totals)
    ]
    return Traffic(areas, upright(totals), time_ticks(steps), rows, max(totals))


def _samples(figures: GoalFigures, path: UUID | None) -> list[float]:
    return [float(max(0, step.samples)) for step in figures.series.get(path, [NOTHING] * figures.steps.count)]


def line_of(path: Path | PathView) -> str:
    """A path in a line: its model, tools and parameters."""
    parts = [path.model, *path.tools, *(f"{name} {value}" for name, value in path.params.items())]
    return " · ".join(parts)


def name_of(path: PathFigures) -> str:
    return line_of(path.view)


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened to a path, on its panel."""

    at: str
    sign: str
    word: str
    event: Event


@dataclass(frozen=True, slots=True)
class Correction:
    at: str
    count: int


@dataclass(frozen=True, slots=True)
class Panel:
    """One path's success over time, on the same scale as all others'."""

    letter: str
    name: str
    tone: str
    line: str
    band: str
    dots: Sequence[tuple[str, str]]
    bars: Sequence[tuple[str, str, str, str]]
    marks: Sequence[Mark]
    corrections: Sequence[Correction]
    rows: Sequence[TimeRow]
    rate: Mean | None
    samples: int
    standing: str


# How a change is marked and named. What is not here changes no chart.
SIGNS = {
    "roll_back": ("▼", "Rolled back"),
    "fail_probe": ("▽", "Probe failed"),
    "probe": ("◇", "Probed again"),
    "recover": ("▲", "Recovered"),
    "changed": ("◆", "Its outcomes changed"),
    "disable": ("■", "Disabled"),
    "enable": ("□", "Enabled"),
}


def panels_of(figures: GoalFigures) -> list[Panel]:
    tones = tones_of(figures)
    return [_panel(figures, one, tones[one.view.id]) for one in figures.drawn]


def _panel(figures: GoalFigures, one: PathFigures, tone: str) -> Panel:
    steps, path = figures.steps, one.view.id
    series = figures.series.get(path, [NOTHING] * steps.count)
    drawn = pooled(series)
    intervals = [step.interval for step in drawn]
    rates = [step.rate for step in drawn]
    corrected = [figures.corrected.get((path, place), 0) for place in range(steps.count)]
    dots = [(x_percent(place, steps.count), f"{100 * (1 - rate):.1f}%") for place, rate in _lone(rates)]
    rows = [
        TimeRow(steps.begin(place), [Cell(step.rate, round(step.rated)), corrected[place]], step.samples)
        for place, step in enumerate(series)
    ]
    return Panel(
        letter=one.letter,
        name=name_of(one),
        tone=tone,
        line=line(rates),
        band=band([i and i[0] for i in intervals], [i and i[1] for i in intervals]),
        dots=dots,
        bars=upright([step.samples for step in series]),
        marks=_marks(figures, path),
        corrections=[
            Correction(x_percent(place, steps.count), count) for place, count in enumerate(corrected) if count
        ],
        rows=rows,
        rate=_rate(one.insight),
        samples=one.insight["sample_count"],
        standing=one.standing.value,
    )


def _lone(rates: Sequence[float | None]) -> list[tuple[int, float]]:
    """A step between two gaps has no line through it: it is drawn as a dot."""
    return [run[0] for run in runs(rates) if len(run) == 1]


def _rate(insight: Mapping[str, Any]) -> Mean | None:
    if insight["success_rate"] is None:
        return None
    low, high = insight["interval"]
    return Mean(insight["sample_count"], insight["success_rate"], low, high)


def _marks(figures: GoalFigures, path: UUID) -> list[Mark]:
    """What stands too close to another is told by the log alone: the stronger sign stays."""
    order = list(SIGNS)
    taken: list[float] = []
    marks: list[Mark] = []
    since = figures.steps.since
    events = [one for one in figures.changes if one.path_id == path and one.kind in SIGNS]
    events = [one for one in events if one.at.timestamp() >= since]
    for event in sorted(events, key=lambda one: order.index(one.kind)):
        place = figures.steps.share(event.at.timestamp())
        if all(abs(place - other) > 0.6 for other in taken):
            taken.append(place)
            at = x_percent(min(place, figures.steps.count - 1), figures.steps.count)
            marks.append(Mark(at, *SIGNS[event.kind], event))
    return sorted(marks, key=lambda mark: mark.event.at)


# --- what the goal's figures say ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Meter:
    name: str
    count: float
    share: float
    width: str


def failure_meters(modes: Sequence[Mapping[str, Any]]) -> list[Meter]:
    most = max((one["share"] for one in modes), default=1.0)
    return [Meter(one["category"], one["count"], one["share"], f"{100 * one['share'] / most:.1f}") for one in modes]


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """One parameter's values with what each gave, from the best to the worst."""

    param: str
    effect: float
    confidence: float
    ticks: Sequence[Tick]
    values: Sequence[tuple[Any, int, float, str]]


def sensitivities_of(insight: Mapping[str, Any]) -> list[Sensitivity]:
    found = []
    for one in insight["param_sensitivity"]:
        scale = scale_around([value["mean"] for value in one["values"]])
        values = [
            (value["value"], value["sample_count"], value["mean"], scale.at(value["mean"])) for value in one["values"]
        ]
        found.append(Sensitivity(one["param"], one["effect"], one["confidence"], scale.ticks(), values))
    return found


# --- the log --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PathName:
    letter: str
    name: str

    @classmethod
    def of(cls, place: int, path: Path) -> "PathName":
        return cls(letter_of(place), line_of(path))


@dataclass(frozen=True, slots=True)
class Told:
    """A change in words."""

    event: Event
    sign: str
    word: str
    path: PathName | None
    figures: Sequence[tuple[str, str]]


_FIGURES = {
    "mean": "mean",
    "compared_mean": "against",
    "probability": "probability",
    "before": "before",
    "after": "after",
    "outcomes_before": "outcomes before",
    "outcomes_after": "outcomes after",
    "source": "by reports of",
}


def names_of(figures: GoalFigures) -> dict[UUID, PathName]:
    return {one.view.id: PathName(one.letter, name_of(one)) for one in figures.paths}


def told(events: Iterable[Event], names: Mapping[UUID, PathName]) -> list[Told]:
    return [
        Told(
            event,
            *SIGNS.get(event.kind, ("·", _OTHER_WORDS.get(event.kind, event.kind.replace("_", " ").capitalize()))),
            names.get(event.path_id),
            [
                (word, _figure(event.figures[key]))
                for key, word in _FIGURES.items()
                if event.figures.get(key) is not None
            ],
        )
        for event in events
    ]


_OTHER_WORDS = {
    "shaken": "Shaken by the leader's fall",
    "recovered": "Begins anew",
    "propose": "Proposed by auto-explore",
}


def _figure(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if value > 1 else f"{value:.2f}"
    return str(value)
