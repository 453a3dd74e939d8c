"""What the worker keeps up after intake: each turn's words for search, and the counters of the pending ones."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson
from django.db import transaction

from agentloop.models import Project
from agentloop.sql import run
from review.models import AnnotationSource, Status
from review.words import words

BATCH = 500
# Words beyond this much text add little to a search and much to its index.
INDEXED_TEXT = 20_000
# A facet that says what happened on a day: `day:2026-11-21:came`. It counts in a table of its own.
DAY = "day:"
USER = "user_id:"


def facets_of(turn: Mapping[str, Any]) -> list[str]:
    """What a turn counts in: its days, and while it waits everything that one may filter by. A copy of a gold turn
    counts in nothing."""
    if turn["gold_for"]:
        return []
    came = f"{DAY}{turn['logged_at']:%Y-%m-%d}:came"
    if turn["status"] != Status.PENDING:
        how = turn["rating"] or turn["status"]
        return [came, f"{DAY}{turn['closed_at']:%Y-%m-%d}:{how}"]
    named = [f"{name}:{turn[name]}" for name in ("goal", "model", "path_id", "user_id") if turn[name]]
    signals = [f"signal:{name}"[:200] for name, value in turn["signals"].items() if value is not False]
    return ["pending", *named, *signals, *(f"tag:{tag}" for tag in turn["tags"]), came]


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
            # What happened stays counted when its turn is gone.
            change.subtract(facet for facet in known.get(turn_id, []) if turn or not facet.startswith(DAY))
            if turn:
                document = words(f"{turn['question'][:INDEXED_TEXT]} {turn['response'][:INDEXED_TEXT]}")
                entries.append({"turn_id": turn_id, "project_id": project_id, "facets": facets, "document": document})
        _keep_entries(entries)
        run("DELETE FROM review_turnindex WHERE turn_id = ANY(%s)", [[i for i in ids if i not in turns]])
        for project_id in sorted(changes):
            change_counters(project_id, changes[project_id])
    return len(marks)


def _turns(ids: list[UUID]) -> Iterable[dict[str, Any]]:
    """The turns with the rating of their newest verdict, for those that one has closed."""
    names = (
        *("id", "status", "question", "response", "signals", "tags", "goal", "model", "path_id", "user_id"),
        *("gold_for", "logged_at", "closed_at", "rating"),
    )
    rows = run(
        """
        SELECT id, status, question, response, signals::text, tags, goal, model, path_id, user_id, gold_for,
            logged_at AT TIME ZONE 'UTC', closed_at AT TIME ZONE 'UTC',
            CASE WHEN status = 'reviewed' THEN (
                SELECT rating FROM review_annotation AS said
                WHERE said.project_id = turn.project_id AND said.content_hash = turn.content_hash
                    AND said.turn_id = turn.id AND said.source <> %s
                    AND said.retracted_at IS NULL AND said.outlived_at IS NULL
                ORDER BY said.id DESC LIMIT 1
            ) END
        FROM review_turn AS turn WHERE id = ANY(%s)
        """,
        [AnnotationSource.END_USER.value, ids],
    )
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
    of_days = [one for one in amounts if one["facet"].startswith(DAY)]  # type: ignore[attr-defined]
    if len(of_days) < len(amounts):
        run(
            """
            INSERT INTO review_turncounter (project_id, facet, count)
            SELECT %s, facet, amount FROM json_to_recordset(%s::json) AS given(facet text, amount bigint)
            WHERE NOT starts_with(facet, 'day:') ORDER BY facet
            ON CONFLICT (project_id, facet) DO UPDATE SET count = review_turncounter.count + excluded.count
            """,
            [project_id, orjson.dumps(amounts).decode()],
        )
        drop_empty_counters(project_id, [name for name, by in change.items() if by < 0 and name.startswith(USER)])
    if of_days:
        run(
            """
            INSERT INTO review_daycount (project_id, day, name, count)
            SELECT %s, split_part(facet, ':', 2)::date, split_part(facet, ':', 3), amount
            FROM json_to_recordset(%s::json) AS given(facet text, amount bigint) ORDER BY facet
            ON CONFLICT (project_id, day, name) DO UPDATE SET count = review_daycount.count + excluded.count
            """,
            [project_id, orjson.dumps(of_days).decode()],
        )


def drop_empty_counters(project_id: UUID, facets: Sequence[str]) -> None:
    """A user's id goes with the last turn that counts for it; what else counts nothing waits for the night."""
    if facets:
        run(
            "DELETE FROM review_turncounter WHERE project_id = %s AND facet = ANY(%s) AND count <= 0",
            [project_id, list(facets)],
        )


def reconcile_counters(project: Project) -> dict[str, int]:
    """Counts every facet anew from the index and mends what differs; answers the differences, which should be none."""
    with transaction.atomic():
        # Nothing may change the index between the count and the mending.
        run("LOCK TABLE review_turnindex, review_turncounter IN SHARE ROW EXCLUSIVE MODE", [])
        counted = dict(
            run(
                """
                SELECT facet, count(*) FROM review_turnindex, unnest(facets) AS facet
                WHERE project_id = %s AND NOT starts_with(facet, 'day:') GROUP BY 1
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
