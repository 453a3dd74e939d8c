"""What the worker keeps up after intake: each turn's words for search, and the counters of the pending ones."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

import orjson
from django.db import transaction

from agentloop.models import Project
from agentloop.sql import run
from review.models import Status
from review.words import words

BATCH = 500
# Words beyond this much text add little to a search and much to its index.
INDEXED_TEXT = 20_000


def facets_of(turn: Mapping[str, Any]) -> list[str]:
    """The counters that a pending turn counts in."""
    if turn["status"] != Status.PENDING:
        return []
    named = [f"{name}:{turn[name]}" for name in ("goal", "model", "path_id", "user_id") if turn[name]]
    signals = [f"signal:{name}"[:200] for name, value in turn["signals"].items() if value is not False]
    return ["pending", *named, *signals, *(f"tag:{tag}" for tag in turn["tags"])]


def index_stale_turns(limit: int = BATCH) -> int:
    """Takes up to `limit` turns that changed, indexes them and corrects the counters, in one transaction.

    Safe beside itself: marks are taken with SKIP LOCKED. A turn that changes meanwhile is marked anew.
    """
    with transaction.atomic():
        marks = run(
            """
            DELETE FROM review_staleturn WHERE turn_id IN (
                SELECT turn_id FROM review_staleturn ORDER BY turn_id LIMIT %s FOR UPDATE SKIP LOCKED
            ) RETURNING turn_id, project_id
            """,
            [limit],
        )
        if not marks:
            return 0
        ids = [turn_id for turn_id, _ in marks]
        # A fresh snapshot: what a turn's last writer committed before its mark was ours is seen here.
        turns = {turn["id"]: turn for turn in _turns(ids)}
        known = dict(run("SELECT turn_id, facets FROM review_turnindex WHERE turn_id = ANY(%s)", [ids]))
        changes: dict[UUID, Counter[str]] = {}
        entries = []
        for turn_id, project_id in marks:
            turn = turns.get(turn_id)
            facets = facets_of(turn) if turn else []
            change = changes.setdefault(project_id, Counter())
            change.update(facets)
            change.subtract(known.get(turn_id, []))
            if turn:
                document = words(f"{turn['question'][:INDEXED_TEXT]} {turn['response'][:INDEXED_TEXT]}")
                entries.append({"turn_id": turn_id, "project_id": project_id, "facets": facets, "document": document})
        _keep_entries(entries)
        run("DELETE FROM review_turnindex WHERE turn_id = ANY(%s)", [[i for i in ids if i not in turns]])
        for project_id in sorted(changes):
            change_counters(project_id, changes[project_id])
    return len(marks)


def _turns(ids: list[UUID]) -> Iterable[dict[str, Any]]:
    rows = run(
        """
        SELECT id, status, question, response, signals::text, tags, goal, model, path_id, user_id
        FROM review_turn WHERE id = ANY(%s)
        """,
        [ids],
    )
    names = ("id", "status", "question", "response", "signals", "tags", "goal", "model", "path_id", "user_id")
    for row in rows:
        turn = dict(zip(names, row, strict=True))
        yield {**turn, "signals": orjson.loads(turn["signals"])}


def _keep_entries(entries: list[dict[str, Any]]) -> None:
    run(
        """
        INSERT INTO review_turnindex (turn_id, project_id, facets, document)
        SELECT turn_id, project_id, facets, array_to_tsvector(document)
        FROM json_to_recordset(%s::json)
            AS given(turn_id uuid, project_id uuid, facets text[], document text[])
        ON CONFLICT (turn_id) DO UPDATE SET facets = excluded.facets, document = excluded.document
        """,
        [orjson.dumps(entries).decode()],
    )


def change_counters(project_id: UUID, change: Mapping[str, int]) -> None:
    """Adds to the counters, in the order of their names, so that two writers never deadlock over them."""
    amounts = [{"facet": facet, "amount": amount} for facet, amount in sorted(change.items()) if amount]
    if amounts:
        run(
            """
            INSERT INTO review_turncounter (project_id, facet, count)
            SELECT %s, facet, amount FROM json_to_recordset(%s::json) AS given(facet text, amount bigint)
            ORDER BY facet
            ON CONFLICT (project_id, facet) DO UPDATE SET count = review_turncounter.count + excluded.count
            """,
            [project_id, orjson.dumps(amounts).decode()],
        )


def reconcile_counters(project: Project) -> dict[str, int]:
    """Counts every facet anew from the index and mends what differs; answers the differences, which should be none."""
    with transaction.atomic():
        # Nothing may change the index between the count and the mending.
        run("LOCK TABLE review_turnindex, review_turncounter IN SHARE ROW EXCLUSIVE MODE", [])
        counted = dict(
            run(
                """
                SELECT facet, count(*) FROM review_turnindex, unnest(facets) AS facet WHERE project_id = %s GROUP BY 1
                """,
                [project.id],
            )
        )
        held = dict(run("SELECT facet, count FROM review_turncounter WHERE project_id = %s", [project.id]))
        differences = {
            facet: counted.get(facet, 0) - held.get(facet, 0)
            for facet in counted.keys() | held.keys()
            if counted.get(facet, 0) != held.get(facet, 0)
        }
        change_counters(project.id, differences)
        run("DELETE FROM review_turncounter WHERE project_id = %s AND count = 0", [project.id])
    return differences
