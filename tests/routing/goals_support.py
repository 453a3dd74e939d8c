"""Short ways to give goals their evidence, to find their pages, and to look for a text in their tables."""

import time
from typing import Any

from django.apps import apps
from django.db import connection

from agentloop.ids import shown
from agentloop.models import Project
from routing.engine.evidence import Source
from routing.evidence import Observation, record
from routing.models import goal_id

HOUR = 3600.0


def outcomes(project: Project, model: str, results: str, *, goal: str = "book", ago: float = HOUR, **more: Any) -> None:
    """One report for each `+` (a success) and `-`, a second apart."""
    begin = time.time() - ago
    rows = [
        Observation(
            goal, Source.PROVIDER, f"{model}{ago:.0f}-{place}", model=model, success=sign == "+",
            failure_category=None if sign == "+" else "timeout", occurred_at=begin + place, **more,
        )
        for place, sign in enumerate(results)
    ]  # fmt: skip
    record(project, rows)


def verdict(project: Project, trace: str, success: bool, *, at_random: bool = False, ref: str = "") -> None:
    record(project, [Observation("book", Source.REVIEW, trace, success=success, at_random=at_random, ref=ref)])


def address(project: Project, goal: str = "book", page: str = "") -> str:
    return f"/p/{project.slug}/goals/{shown('goal', goal_id(project.id, goal))}/{page}"


def columns_with(text: str) -> set[tuple[str, str]]:
    """Every column of every routing table in which a text stands."""
    found = set()
    with connection.cursor() as cursor:
        for model in apps.get_app_config("routing").get_models():
            for column in model._meta.concrete_fields:
                table, name = model._meta.db_table, column.column
                cursor.execute(f'SELECT count(*) FROM {table} WHERE "{name}"::text LIKE %s', [f"%{text}%"])
                if cursor.fetchone()[0]:
                    found.add((table, name))
    return found
