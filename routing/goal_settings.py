"""A goal's settings as a person changes them: read from a form, previewed, saved."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django import forms
from django.db import transaction

from agentloop import audit
from agentloop.actors import Actor
from agentloop.ids import shown
from agentloop.models import Project
from agentloop.sql import run
from routing import paths as registry
from routing.engine.choice import Chance, Constraints, Contender, chances
from routing.engine.histogram import POINTS, Histogram
from routing.engine.posterior import believe
from routing.figures import chosen, letter_of
from routing.models import Goal, Mode
from routing.plots import line_of
from routing.standings import DEFAULTS, GoalView, PathView
from routing.sums import HOUR
from routing.watch import proposals_under, rollbacks_under

CONSTRAINTS = ("max_cost_usd", "max_latency_ms", "min_quality", "min_confidence", "max_risk")
ROWS_OF_BOUNDS = 20


def _number(label: str, low: float, high: float, help_text: str, *, whole: bool = False) -> forms.Field:
    kind = forms.IntegerField if whole else forms.FloatField
    field: forms.Field = kind(label=label, min_value=low, max_value=high, required=False, help_text=help_text)  # type: ignore[arg-type]
    field.widget.attrs |= {"class": "input", "inputmode": "decimal", "step": "1" if whole else "any"}
    return field


class SettingsForm(forms.Form):
    """What is left empty goes by the project's default, which stands in the field."""

    mode = forms.ChoiceField(
        choices=[
            (Mode.APPLY, "Apply: decisions follow the router"),
            (Mode.OBSERVE, "Observe: answer the pinned path, and note what the router would take"),
            (Mode.BYPASS, "Bypass: answer the pinned path, and choose nothing"),
        ],
        widget=forms.RadioSelect,
    )
    pinned_path_id = forms.ChoiceField(label="Pinned path", required=False)
    exploration_rate = _number("Exploration floor", 0, 1, "Share of decisions spread evenly over all paths.")
    min_samples_before_exploit = _number(
        "Outcomes before a judgement", 0, 1_000_000, "A path with fewer is never rolled back.", whole=True
    )
    rollback_threshold = _number("Rollback threshold", 0, 1, "How far below its past, or the best path, is too far.")
    staleness_days = _number("Days until stale", 0, 3650, "A path not tried for so long gets a small share again.")
    exploration_on_high_risk = forms.ChoiceField(
        label="Draws on high risk",
        required=False,
        choices=[("", "Default"), ("true", "Allowed"), ("false", "Not allowed")],
    )
    half_life_hours = _number("Half-life in hours", 0.1, 100_000, "Empty: old outcomes do not fade by themselves.")
    max_cost_usd = _number("Cost at most, $", 0, 1_000_000, "Mean cost of a call.")
    max_latency_ms = _number("Latency at most, ms", 0, 86_400_000, "95 % of calls are quicker.")
    min_quality = _number("Mean at least", 0, 1, "Mean value of the outcomes.")
    min_confidence = _number("Sureness at least", 0, 1, "Probability of being the best path.")
    max_risk = _number("Risk at most", 0, 1, "1 minus the lower 5 % bound of the mean.")
    auto_explore = forms.BooleanField(label="Propose new parameter values", required=False)
    max_untested = _number("Untested proposals at once", 0, 100, "No more are made while so many wait.", whole=True)

    def __init__(self, data: Any, *, goal: Goal, view: GoalView, defaults: Mapping[str, Any]) -> None:
        super().__init__(data, initial=_initial(goal), label_suffix="")
        choices = [("", "The first path")]
        for place, path in enumerate(view.paths):
            choices.append((path.shown_id, f"{letter_of(place)} · {line_of(path)}"))
        pinned = self.fields["pinned_path_id"]
        assert isinstance(pinned, forms.ChoiceField)
        pinned.choices = choices
        for name in ("pinned_path_id", "exploration_on_high_risk"):
            self.fields[name].widget.attrs["class"] = "input"
        for name, default in defaults.items():
            self.fields[name].widget.attrs["placeholder"] = f"{default:g}" if default is not None else ""
        self.rows = _bound_rows(data, goal, view)

    def changes(self) -> dict[str, Any]:
        """What was asked for, in the shape that `change_goal` takes. Raises BadField for bounds that are none."""
        said = self.cleaned_data
        risk = {"true": True, "false": False}.get(said["exploration_on_high_risk"])
        given = {name: bound for name in CONSTRAINTS if (bound := said[name]) is not None}
        return {
            **{name: said[name] for name in ("mode", "half_life_hours", "auto_explore", *DEFAULTS)},
            "exploration_on_high_risk": risk,
            "pinned_path_id": said["pinned_path_id"] or None,
            "max_untested": 3 if said["max_untested"] is None else said["max_untested"],
            "constraints": registry.checked_constraints(given),
            "bounds": registry.checked_bounds(_bounds_of(self.rows)),
        }


@dataclass(frozen=True, slots=True)
class BoundRow:
    """One parameter's bounds as they stand in the form."""

    place: int
    name: str
    low: str
    high: str
    whole: bool


def _initial(goal: Goal) -> dict[str, Any]:
    names = ("mode", "half_life_hours", "auto_explore", "max_untested", *DEFAULTS)
    risk = goal.exploration_on_high_risk
    return {
        **{name: getattr(goal, name) for name in names},
        **goal.constraints,
        "exploration_on_high_risk": "" if risk is None else str(risk).lower(),
        "pinned_path_id": shown("path", goal.pinned_path_id) if goal.pinned_path_id else "",
    }


def _bound_rows(data: Any, goal: Goal, view: GoalView) -> list[BoundRow]:
    """Declared bounds, then numeric parameters of the paths that have none yet, then an empty row."""
    if data is not None:
        places = range(min(ROWS_OF_BOUNDS, sum(key.startswith("bound_name_") for key in data)))
        return [
            BoundRow(
                place,
                data.get(f"bound_name_{place}", "").strip(),
                data.get(f"bound_low_{place}", "").strip(),
                data.get(f"bound_high_{place}", "").strip(),
                f"bound_whole_{place}" in data,
            )
            for place in places
        ]
    given = [(name, f"{one['low']:g}", f"{one['high']:g}", one["whole"]) for name, one in sorted(goal.bounds.items())]
    free = sorted({name for path in view.paths for name, value in path.params.items() if _is_number(value)})
    given += [(name, "", "", False) for name in free if name not in goal.bounds]
    rows = [*given, ("", "", "", False)][:ROWS_OF_BOUNDS]
    return [BoundRow(place, *row) for place, row in enumerate(rows)]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _bounds_of(rows: Sequence[BoundRow]) -> dict[str, Any]:
    """A row without both ends declares nothing; what is no number is refused where bounds are checked."""
    filled = [row for row in rows if row.name and (row.low or row.high)]
    return {row.name: {"low": _read(row.low), "high": _read(row.high), "whole": row.whole} for row in filled}


def _read(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def save_settings(project: Project, actor: Actor, goal: Goal, changes: Mapping[str, Any]) -> Goal:
    """Writes a goal's settings with an entry in the audit log that names what changed. Twice is safe."""
    different = sorted(one.name for one in differences_of(goal, changes, {}))
    with transaction.atomic():
        saved = registry.change_goal(project, goal.name, changes)
        if different:
            audit.note(project, actor, "goal.settings", goal.name[:100], changed=different)
    return saved


# --- the preview ----------------------------------------------------------------------------------------------

LABELS = {
    "mode": "Mode",
    "pinned_path_id": "Pinned path",
    "exploration_on_high_risk": "Draws on high risk",
    "auto_explore": "Propose new values",
    "constraints": "Constraints",
    "bounds": "Bounds",
    **{name: str(field.label) for name, field in SettingsForm.base_fields.items() if field.label},
}


@dataclass(frozen=True, slots=True)
class Difference:
    name: str
    label: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Share:
    """What a path's next decisions would come to."""

    letter: str
    name: str
    old: float
    new: float
    old_mean: float
    new_mean: float


@dataclass(frozen=True, slots=True)
class Preview:
    differences: Sequence[Difference]
    shares: Sequence[Share]
    rollbacks: Sequence[str]
    proposals: Sequence[str]

    @property
    def moves_means(self) -> bool:
        return any(abs(one.new_mean - one.old_mean) >= 0.005 for one in self.shares)


def defaults_of(project: Project) -> dict[str, Any]:
    """What stands behind a goal's own settings: the project's row of defaults, else the shipped ones. One query."""
    found = registry.config_of(project, "*")
    return {name: found[name] for name in DEFAULTS}


def preview_of(
    project: Project, goal: Goal, view: GoalView, changes: Mapping[str, Any], defaults: Mapping[str, Any]
) -> Preview:
    """What saving these settings would change, right away and at the watch's next look. Up to six queries."""
    config = {name: defaults[name] if changes[name] is None else changes[name] for name in DEFAULTS}
    pinned = next((path.id for path in view.paths if path.shown_id == changes["pinned_path_id"]), None)
    constraints = Constraints(**changes["constraints"])
    then = replace(view, config=config, mode=changes["mode"], pinned=pinned, constraints=constraints)
    contenders = [path.contender for path in view.paths]
    if changes["half_life_hours"] != goal.half_life_hours:
        contenders = _faded(project, goal, view.paths, changes["half_life_hours"])
    names = {path.id.hex: f"{letter_of(place)} · {line_of(path)}" for place, path in enumerate(view.paths)}
    explores = changes["auto_explore"]
    proposals = proposals_under(project, goal, changes["bounds"], changes["max_untested"]) if explores else []
    return Preview(
        differences_of(goal, changes, names),
        shares_between(view, then, contenders),
        [f"{names[one.path_id]}: {one.reason}" for one in rollbacks_under(project, goal, config)],
        [f"{one.param} = {one.params[one.param]}: {one.reason}" for one in proposals],
    )


def shares_between(view: GoalView, then: GoalView, contenders: Sequence[Contender]) -> list[Share]:
    """How often the next decisions take each path, as the goal is and as it would be."""
    before = _chances(view, [path.contender for path in view.paths])
    after = _chances(then, contenders)
    found = []
    for place, (path, contender) in enumerate(zip(view.paths, contenders, strict=True)):
        old, new = (one[path.id.hex].chosen if path.id.hex in one else 0.0 for one in (before, after))
        shares = chosen(view, path, old), chosen(then, path, new)
        means = path.contender.posterior.mean, contender.posterior.mean
        found.append(Share(letter_of(place), line_of(path), *shares, *means))
    return found


def _chances(view: GoalView, contenders: Sequence[Contender]) -> Mapping[str, Chance]:
    return chances(contenders, view.wishes(), time.time()) if contenders else {}


_FADED_SQL = f"""
SELECT path_id, ARRAY[{", ".join(f"sum(counts[{n}] * worth)" for n in range(1, len(POINTS) + 1))}] FROM (
    SELECT bucket.path_id, counts,
        exp(-%(rate)s * greatest(0, %(now)s - start * {HOUR} - hours * {HOUR} / 2.0)) AS worth
    FROM routing_pathbucket AS bucket JOIN routing_path AS path ON path.id = bucket.path_id
    WHERE bucket.project_id = %(project)s AND bucket.goal_id = %(goal)s AND bucket.pipeline_id = ''
        AND bucket.start >= coalesce(floor(path.since / {HOUR}), 0)
) AS faded GROUP BY path_id
"""


def _faded(project: Project, goal: Goal, paths: Sequence[PathView], half_life: float | None) -> list[Contender]:
    """The contenders as another half-life would see them, to the hour. One query."""
    rate = math.log(2) / (half_life * HOUR) if half_life else 0.0
    given = {"project": project.id, "goal": goal.id, "rate": rate, "now": time.time()}
    worth: dict[UUID, Histogram] = {
        path: Histogram(tuple(max(0.0, float(count)) for count in counts)) for path, counts in run(_FADED_SQL, given)
    }
    return [
        replace(path.contender, posterior=believe(worth[path.id])) if path.id in worth else path.contender
        for path in paths
    ]


def differences_of(goal: Goal, changes: Mapping[str, Any], names: Mapping[str, str]) -> list[Difference]:
    """Each setting that is not as it was."""
    was = {name: getattr(goal, name) for name in changes}
    was["pinned_path_id"] = shown("path", goal.pinned_path_id) if goal.pinned_path_id else None
    return [
        Difference(name, LABELS[name], _in_words(name, was[name], names), _in_words(name, new, names))
        for name, new in changes.items()
        if was[name] != new
    ]


def _in_words(name: str, value: Any, names: Mapping[str, str]) -> str:
    if name == "pinned_path_id":
        return names.get(value.removeprefix("path_"), value) if value else "the first path"
    if name == "constraints":
        return ", ".join(f"{LABELS[key].lower()} {bound:g}" for key, bound in value.items()) or "none"
    if name == "bounds":
        return ", ".join(f"{key} {one['low']:g} to {one['high']:g}" for key, one in sorted(value.items())) or "none"
    if name == "half_life_hours" and value is None:
        return "none"
    if value is None:
        return "default"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if _is_number(value) else str(value)
