"""The plans of hot queries at 50,000 turns: each by its index, none by reading the whole table."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.db.models import F
from django.http import QueryDict

from agentloop.actors import SYSTEM, Actor
from agentloop.models import Project
from benchmarks.rig.statements import Ask, every_statement
from review import backlog, figures, queue, removal, settle
from review.around import around
from review.filters import page_of, read_filter
from review.intake import log_turns
from review.models import Turn
from review.pages.listing import Asked, facets
from tests.review.support import make_project

DUE = (F("rank").desc(nulls_last=True), F("id").desc(nulls_last=True))
pytestmark = [pytest.mark.slow, pytest.mark.django_db]

FILL = """
INSERT INTO review_turn (id, project_id, status, question, response, content_hash, truncated, signals, metadata, tags,
    user_id, session_id, trace_id, goal, model, path_id, pipeline_id, occurrences, reasons, priority, rank, logged_at,
    occurred_at, last_seen_at, expires_at, claimed_by, claimed_until, draw, escalated_by, escalation_note,
    dismissed_reason, closed_at)
SELECT gen_random_uuid(), %s, CASE WHEN n %% 10 = 0 THEN 'reviewed' ELSE 'pending' END, 'question ' || n, 'response',
    gen_random_uuid(), '{}', '{"thumbs_down": true}', '{}', '{}', 'user ' || n %% 1000, '', '', 'goal ' || n %% 20, '',
    '', '', 1, '{}', 0, random() * 100, now(), now(), now(),
    now() + CASE WHEN n %% 100 = 1 THEN interval '-1 day' ELSE interval '30 days' END,
    CASE WHEN n %% 200 = 3 THEN 'ann' ELSE '' END, CASE WHEN n %% 200 = 3 THEN now() - interval '1 hour' END, '', '',
    '', '', CASE WHEN n %% 10 = 0 THEN now() - interval '1 day' END
FROM generate_series(1, 50000) AS n
"""


FILL_INDEX = """
WITH indexed AS (
    INSERT INTO review_turnindex (turn_id, project_id, facets, document)
    SELECT id, project_id, CASE status WHEN 'pending' THEN '{pending}'::text[] ELSE '{}' END, '' FROM review_turn
    RETURNING project_id, facets
)
INSERT INTO review_turncounter (project_id, facet, count)
SELECT project_id, unnest(facets), count(*) FROM indexed GROUP BY 1, 2
"""


# Nearly all of what is said is said by end users.
SAY = """
INSERT INTO review_annotation (id, project_id, turn_id, question, response, source, author, author_label, rating,
    correction, root_cause, failure_category, tags, comment, scores, metadata, user_id, goal, model, path_id,
    pipeline_id, trace_id, draw, version, created_at, updated_at)
SELECT gen_random_uuid(), %s, id, '', '', CASE WHEN row_number() OVER () %% 100 = 0 THEN 'reviewer' ELSE 'end_user' END,
    'system', '', 'correct', '', '', '', '{}', '', '{}', '{}', '', '', '', '', '', '', '', 1, now(), now()
FROM review_turn
"""


class Plans:
    """Explains each statement of the review side before it is run."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, Any]] = []

    def explain(self, statement: str, params: Any, ask: Ask) -> None:
        if statement.lstrip().upper().startswith(("SELECT", "WITH", "UPDATE", "INSERT", "DELETE")):
            [(found,)] = ask(f"EXPLAIN (FORMAT JSON) {statement}")
            self._walk(found[0]["Plan"])

    def _walk(self, node: dict[str, Any]) -> None:
        self.nodes.append(node)
        for inner in node.get("Plans", ()):
            self._walk(inner)

    @property
    def indexes(self) -> set[str]:
        return {node["Index Name"] for node in self.nodes if "Index Name" in node}

    @property
    def read_whole(self) -> set[str]:
        return {node["Relation Name"] for node in self.nodes if node["Node Type"] == "Seq Scan"} & {"review_turn"}


@pytest.fixture
def full(db: None) -> Project:
    project = make_project("acme")
    with connection.cursor() as cursor:
        cursor.execute(FILL, [project.id])
        cursor.execute(FILL_INDEX)
        cursor.execute("ANALYZE review_turn, review_turnindex, review_staleturn")
    return project


@pytest.fixture
def plans() -> Iterator[Plans]:
    plans = Plans()
    with every_statement(plans.explain):
        yield plans


def page(project: Project, sort: str, cursor: str | None = None, **filters: list[str]) -> Any:
    wanted = read_filter(project.id, filters)
    turns = Turn.objects.of(project)
    turns = turns.pending() if sort in ("priority", "expiring") else turns.visible()
    return page_of(wanted.apply(turns), sort=sort, limit=50, cursor=cursor)


def test_hot_queries_use_their_indexes(full: Project, plans: Plans) -> None:
    def planned(work: Callable[[], Any]) -> tuple[set[str], Any]:
        plans.nodes.clear()
        answer = work()
        assert plans.nodes
        assert plans.read_whole == set()
        return plans.indexes, answer

    indexes, first = planned(lambda: page(full, "priority"))
    assert indexes == {"turn_pending_by_rank"}
    assert planned(lambda: page(full, "priority", first.next_cursor))[0] == {"turn_pending_by_rank"}
    assert planned(lambda: page(full, "priority", goal=["goal 3"]))[0] == {"turn_by_goal"}
    assert planned(lambda: page(full, "expiring"))[0] == {"turn_by_expiry"}
    # With one project the primary key is as good.
    by_time = {"turn_by_time", "review_turn_pkey"}
    for sort in ("newest", "oldest"):
        indexes, first = planned(lambda sort=sort: page(full, sort))
        assert indexes <= by_time
        assert planned(lambda sort=sort, at=first.next_cursor: page(full, sort, at))[0] <= by_time
    assert "turn_user" in planned(lambda: page(full, "newest", user_id=["user 3"]))[0]

    assert "turn_trace" in planned(lambda: page(full, "newest", trace_id=["t1"]))[0]

    assert planned(lambda: queue.free_lapsed(full))[0] >= {"turn_held"}
    indexes, done = planned(lambda: queue.claim_next(full, SYSTEM))
    assert "turn_queue" in indexes
    assert done.turn.claimed_by == "system"
    full.settings = {"random_share": 1}
    indexes, done = planned(lambda: queue.claim_next(full, SYSTEM))
    assert "one_pending_twin" in indexes
    assert done.turn.draw == "random"

    indexes, waiting = planned(lambda: figures.pending_count(full))
    assert "turn_by_expiry" in indexes
    assert waiting == Turn.objects.of(full).pending().count()
    indexes, standing = planned(lambda: figures.standing(full))
    assert {"turn_by_expiry", "turn_held", "turn_escalated"} <= indexes
    assert sum(standing.due) == 0
    indexes, owed = planned(backlog.backlog)
    assert "turn_by_expiry" in indexes
    assert (owed.pending, owed.unswept) == (45_000, 500)
    assert planned(lambda: removal.sweep_expired(full, limit=100))[0] >= {"turn_by_expiry", "review_turn_pkey"}
    full.settings = {"retention_days": 100}
    assert planned(lambda: removal.end_retention(full))[0] >= {"turn_closed"}


def test_the_overview_reads_the_teams_own_verdicts_alone(full: Project, plans: Plans) -> None:
    with connection.cursor() as cursor:
        cursor.execute(SAY, [full.id])
        cursor.execute("ANALYZE review_annotation")
    for work in (lambda: figures.recently_judged(full), lambda: figures.my_day(full, SYSTEM)):
        plans.nodes.clear()
        work()
        assert "annotation_of_team" in plans.indexes
        read_whole = {node.get("Relation Name") for node in plans.nodes if node["Node Type"] == "Seq Scan"}
        # Gold answers aren't there at all: PostgreSQL may look for them as it likes.
        assert read_whole <= {None, "review_goldanswer"}


def test_logging_reads_its_twins_alone(full: Project, plans: Plans) -> None:
    items = [{"question": str(uuid4()), "agent_response": ""} for _ in range(100)]
    assert len({logged.turn_id for logged, _ in log_turns(full, items)}) == 100
    Turn.objects.exclude(response="response").update(expires_at="2020-01-01T00:00Z")
    plans.nodes.clear()
    assert len({logged.turn_id for logged, _ in log_turns(full, items)}) == 100
    assert plans.read_whole == set()
    assert plans.indexes & {"one_pending_twin", "turn_by_expiry"}


def test_many_expired_turns_are_passed_over_without_being_read(full: Project, plans: Plans) -> None:
    """The oldest stand at the head of the queue: where nobody sweeps, that is all that has expired."""
    Turn.objects.filter(status="pending").exclude(goal="goal 7").update(expires_at="2020-01-01T00:00Z")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE review_turn")
    bob = Actor("bob", "Bob", frozenset())
    reads = {
        "turn_queue": lambda: queue.claim_next(full, bob),
        "turn_pending_by_rank": lambda: list(Turn.objects.of(full).pending().by_priority()[:50]),
        "turn_by_goal": lambda: page(full, "priority", goal=["goal 7"]),
    }
    for index, read in reads.items():
        plans.nodes.clear()
        read()
        conditions = [node.get("Index Cond", "") for node in plans.nodes if node.get("Index Name") == index]
        assert any("expires_at" in condition for condition in conditions), (index, plans.indexes)
    waiting = Turn.objects.of(full).pending().in_queue().order_by(*DUE)
    plans.nodes.clear()
    assert waiting.first()
    assert [node["Index Name"] for node in plans.nodes if "expires_at" in node.get("Index Cond", "")] == ["turn_queue"]
    assert figures.pending_count(full) == Turn.objects.of(full).pending().count()


def test_settling_goes_by_the_primary_order(full: Project, plans: Plans) -> None:
    full.settings = {"ttl_days": 40}
    assert sum(iter(lambda: settle.settle(full), 0)) == 44_500
    assert plans.read_whole == set()


def test_the_dashboard_goes_by_its_indexes(full: Project, plans: Plans) -> None:
    """A list of what is done, and a turn with all that stands around it."""
    asked = Asked.of(QueryDict("status=reviewed"))
    page_of(asked.turns(full, SYSTEM), sort=asked.sort, limit=40, cursor=None)
    assert plans.indexes == {"turn_closed"}
    turn = Turn.objects.of(full).pending()[0]
    turn.session_id = turn.trace_id = "one"
    plans.nodes.clear()
    around(full, turn, "user:1")
    assert plans.read_whole == set()


def test_what_to_filter_by_is_found_among_ever_so_many_users(full: Project, plans: Plans) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO review_turncounter (project_id, facet, count) "
            "SELECT %s, 'user_id:u' || n, 1 + n %% 7 FROM generate_series(1, 20000) AS n",
            [full.id],
        )
        cursor.execute(
            "INSERT INTO review_turncounter (project_id, facet, count) VALUES (%s, 'goal:pay', 3)", [full.id]
        )
        cursor.execute("ANALYZE review_turncounter")
    plans.nodes.clear()
    found = facets(full, Asked(), {})
    assert plans.indexes == {"counter_without_users"}
    assert [facet.name for facet in found][:1] == ["goal"]
