"""Paths and goals: registered, disabled, configured. Each change of a path's standing is a row with its reason."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction

from agentloop.actors import SYSTEM, Actor
from agentloop.ids import read
from agentloop.models import Project
from agentloop.sql import run
from routing.engine.identity import path_identity
from routing.errors import BadField, GoalNotFound, PathNotFound
from routing.evidence import make_goals, make_paths
from routing.models import NAME_LIMIT, Goal, Mode, Origin, Path, PathChange, PathStatus, goal_id, path_key
from routing.outcomes import reckon
from routing.standings import CONFIG, DEFAULTS

MAX_PATHS = 1000


@dataclass(frozen=True, slots=True)
class NewPath:
    model: str
    tools: tuple[str, ...] = ()
    params: Mapping[str, Any] | None = None
    risk_level: str = "low"
    origin: str = Origin.REGISTERED

    def row(self, goal: UUID) -> dict[str, Any]:
        model, tools = self.model[:NAME_LIMIT], [tool[:NAME_LIMIT] for tool in self.tools]
        identity = path_identity(model, tools, self.params)
        return {
            "id": path_key(goal, identity),
            "goal_id": goal,
            "model": model,
            "tools": list(dict.fromkeys(tools)),
            "params": dict(self.params or {}),
            "identity": identity,
            "risk_level": self.risk_level[:10],
            "origin": self.origin,
        }


def register_path(project: Project, actor: Actor, goal_name: str, new: NewPath) -> Path:
    """The goal's path with this identity, made if it is new. Twice is safe.

    One that a person or a client disabled is enabled by this; one that was rolled back is not.
    """
    goal = goal_id(project.id, goal_name)
    row = new.row(goal)
    with transaction.atomic():
        made = make_paths(project, [row], {goal: goal_name})
        path = Path.objects.of(project).get(id=row["id"])
        if not made and path.status == PathStatus.DISABLED:
            _enable(path, actor, "registered again")
    return path


def enable_path(project: Project, actor: Actor, shown_id: str) -> Path:
    """Puts a disabled path back where it stood. Twice is safe."""
    with transaction.atomic():
        path = _locked(project, shown_id)
        if path.status == PathStatus.DISABLED:
            _enable(path, actor, "on request")
    return path


def _enable(path: Path, actor: Actor, reason: str) -> None:
    path.status = PathStatus.ROLLED_BACK if path.rollback_window else PathStatus.ACTIVE
    path.disabled_by = ""
    path.save(update_fields=["status", "disabled_by"])
    note_change(path, "enable", reason, actor)


def find_path(project: Project, shown_id: str) -> Path:
    key = read("path", shown_id)
    path = Path.objects.of(project).filter(id=key).first() if key else None
    if path is None:
        raise PathNotFound
    return path


def _locked(project: Project, shown_id: str) -> Path:
    return Path.objects.select_for_update().get(id=find_path(project, shown_id).id)


def disable_path(project: Project, actor: Actor, shown_id: str) -> Path:
    """Takes a path out of choosing; its data stay. Twice is safe."""
    with transaction.atomic():
        path = _locked(project, shown_id)
        if path.status != PathStatus.DISABLED:
            path.status = PathStatus.DISABLED
            path.disabled_by = actor.ref[:120]
            path.save(update_fields=["status", "disabled_by"])
            note_change(path, "disable", "on request", actor)
    return path


def note_change(
    path: Path, change: str, reason: str, actor: Actor = SYSTEM, figures: Mapping[str, Any] | None = None
) -> PathChange:
    """Appends the record of a change, in the transaction that makes it."""
    return PathChange.objects.create(
        project_id=path.project_id,
        goal_id=path.goal_id,
        path_id=path.id,
        change=change,
        reason=reason,
        figures=dict(figures or {}),
        actor=actor.ref[:120],
    )


def known_paths(project: Project, shown_ids: Sequence[str]) -> dict[UUID | None, UUID]:
    """The goal of each path that there is."""
    keys = [key for key in (read("path", one) for one in shown_ids) if key]
    rows = run("SELECT id, goal_id FROM routing_path WHERE project_id = %s AND id = ANY(%s)", [project.id, keys])
    return dict(rows)


# --- goals ----------------------------------------------------------------------------------------------------


def find_goal(project: Project, name: str) -> Goal:
    goal = Goal.objects.of(project).filter(name=name).first()
    if goal is None:
        raise GoalNotFound
    return goal


def config_of(project: Project, name: str) -> dict[str, Any]:
    """A goal's six settings: its own, else those of the row `*`, else the shipped ones."""
    rows = {goal.name: goal for goal in Goal.objects.of(project).filter(name__in=[name, "*"])}
    own, fallback = rows.get(name), rows.get("*")
    answer: dict[str, Any] = {"goal": name}
    for key, default in DEFAULTS.items():
        given = (getattr(one, key) for one in (own, fallback) if one is not None)
        answer[key] = next((value for value in given if value is not None), default)
    return answer


_BOUNDS: dict[str, tuple[float, float]] = {
    "exploration_rate": (0, 1),
    "min_samples_before_exploit": (0, 1_000_000),
    "rollback_threshold": (0, 1),
    "staleness_days": (0, 3650),
}


def set_config(project: Project, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Replaces a goal's six settings; those not given go back to what stands behind them."""
    columns = {key: _checked(key, given.get(key)) for key in CONFIG}
    make_goals(project, {goal_id(project.id, name): name})
    Goal.objects.of(project).filter(name=name).update(**columns)
    return config_of(project, name)


def _checked(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name == "exploration_on_high_risk":
        if not isinstance(value, bool):
            raise BadField(name, "takes true or false.")
        return value
    low, high = _BOUNDS[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise BadField(name, f"takes a number from {low} to {high}.")
    return round(value) if name == "min_samples_before_exploit" else float(value)


def change_goal(project: Project, name: str, changes: Mapping[str, Any]) -> Goal:
    """Makes a goal or changes what is given of its settings. A new half-life reckons its paths' states anew."""
    columns = _goal_columns(project, name, changes)
    with transaction.atomic():
        make_goals(project, {goal_id(project.id, name): name})
        goal = Goal.objects.of(project).select_for_update().get(name=name)
        decays_anew = "half_life_hours" in columns and columns["half_life_hours"] != goal.half_life_hours
        for key, value in columns.items():
            setattr(goal, key, value)
        goal.save(update_fields=list(columns) or ["description"])
        if decays_anew:
            renew_terms(project, goal)
    return goal


def renew_terms(project: Project, goal: Goal) -> None:
    """Gives a goal's paths its half-life with a landmark of now, and reckons their states by it."""
    half_life = goal.half_life_hours * 3600 if goal.half_life_hours else None
    paths = Path.objects.of(project).filter(goal=goal)
    ids = sorted(paths.values_list("id", flat=True))
    run(
        "UPDATE routing_path SET terms = terms + 1, half_life_s = %s, landmark = %s WHERE id = ANY(%s)",
        [half_life, time.time() if half_life else None, ids],
    )
    reckon(project, ids)


def _goal_columns(project: Project, name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    columns: dict[str, Any] = {key: _checked(key, changes[key]) for key in CONFIG if key in changes}
    if "description" in changes:
        columns["description"] = str(changes["description"] or "")[:500]
    if "mode" in changes:
        if changes["mode"] not in Mode.values:
            raise BadField("mode", f"takes one of {', '.join(Mode.values)}.")
        columns["mode"] = changes["mode"]
    if "pinned_path_id" in changes:
        columns["pinned_path_id"] = _pinned_path(project, name, changes["pinned_path_id"])
    if "half_life_hours" in changes:
        columns["half_life_hours"] = _half_life(changes["half_life_hours"])
    if "constraints" in changes:
        columns["constraints"] = checked_constraints(changes["constraints"])
    if "auto_explore" in changes:
        if not isinstance(changes["auto_explore"], bool):
            raise BadField("auto_explore", "takes true or false.")
        columns["auto_explore"] = changes["auto_explore"]
    if "max_untested" in changes:
        value = changes["max_untested"]
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 100:
            raise BadField("max_untested", "takes a whole number from 0 to 100.")
        columns["max_untested"] = value
    if "bounds" in changes:
        columns["bounds"] = checked_bounds(changes["bounds"])
    return columns


def _pinned_path(project: Project, name: str, shown_id: Any) -> UUID | None:
    if shown_id is None:
        return None
    path = find_path(project, str(shown_id))
    if path.goal_id != goal_id(project.id, name):
        raise PathNotFound
    return path.id


def _half_life(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.1 <= value <= 100_000:
        raise BadField("half_life_hours", "takes a number from 0.1 to 100000, or null for no decay.")
    return float(value)


_CONSTRAINTS: dict[str, tuple[float, float]] = {
    "max_cost_usd": (0, 1_000_000),
    "max_latency_ms": (0, 86_400_000),
    "min_quality": (0, 1),
    "min_confidence": (0, 1),
    "max_risk": (0, 1),
}


def checked_constraints(given: Any) -> dict[str, float]:
    """`{"max_cost_usd": 0.02}`; what is null is no constraint."""
    if not isinstance(given, dict) or not set(given) <= set(_CONSTRAINTS):
        raise BadField("constraints", f"takes an object of {', '.join(_CONSTRAINTS)}.")
    for name, value in given.items():
        low, high = _CONSTRAINTS[name]
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (is_number and low <= value <= high):
            raise BadField(name, f"takes a number from {low:g} to {high:g}.")
    return {name: float(value) for name, value in given.items() if value is not None}


def checked_bounds(given: Any) -> dict[str, Any]:
    """`{"temperature": {"low": 0, "high": 1, "whole": false}}`, at most twenty parameters."""
    shape = 'takes an object such as {"temperature": {"low": 0, "high": 1}} of at most 20 parameters.'
    if not isinstance(given, dict) or len(given) > 20:
        raise BadField("bounds", shape)
    for bound in given.values():
        ends: list[Any] = [bound.get("low"), bound.get("high")] if isinstance(bound, dict) else []
        fits = len(ends) == 2 and all(isinstance(end, int | float) and not isinstance(end, bool) for end in ends)
        if not fits or not ends[0] <= ends[1]:
            raise BadField("bounds", shape)
    return {
        name[:100]: {"low": bound["low"], "high": bound["high"], "whole": bool(bound.get("whole"))}
        for name, bound in given.items()
    }
