"""How many queries the hot endpoints cost: the same with many rows as with one."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agentloop.actors import SYSTEM
from agentloop.keys import create_signing_key
from agentloop.models import Project
from tests.review.support import Caller, settle_index

Counted = Callable[..., int]


@pytest.fixture
def queries(call: Caller) -> Counted:
    """Counts a request's queries, with the key cached and savepoints of the test's own transaction left out."""
    call.log("warm up the key")

    def count(method: str, path: str, body: Any = None, **headers: str) -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            answer = call(method, path, body, **headers)
        assert answer.status in (200, 201, 204), answer.body
        return sum("SAVEPOINT" not in query["sql"] for query in captured)

    return count


def batch(start: int, count: int, **more: Any) -> dict[str, Any]:
    return {"turns": [{"question": f"q{n}", "agent_response": "", **more} for n in range(start, start + count)]}


def test_logging_a_new_turn_is_one_statement_and_merging_a_repeat_one_more(queries: Counted) -> None:
    body = {"question": "q", "agent_response": "a", "signals": {"thumbs_down": True}}
    assert queries("POST", "/v1/turns", body) == 1
    assert queries("POST", "/v1/turns", body) == 2


def test_an_idempotency_key_costs_three_more(queries: Counted) -> None:
    body = {"question": "q", "agent_response": "a"}
    assert queries("POST", "/v1/turns", body, Idempotency_Key="k") == 4
    assert queries("POST", "/v1/turns", body, Idempotency_Key="k") == 2


def test_a_batch_costs_the_same_at_any_size(queries: Counted) -> None:
    sizes = (1, 10, 100, 500)
    assert [queries("POST", "/v1/turns/batch", batch(1000 * count, count)) for count in sizes] == [1, 1, 1, 1]
    assert [queries("POST", "/v1/turns/batch", batch(1000 * count, count)) for count in sizes] == [2, 2, 2, 2]


def test_links_cost_a_batch_one_query(queries: Counted, project: Project) -> None:
    create_signing_key(project=project, actor=SYSTEM)
    wanted = [batch(start, count, want_feedback_url=True) for start, count in ((0, 1), (1, 10), (11, 100))]
    assert [queries("POST", "/v1/turns/batch", one) for one in wanted] == [2, 2, 2]


def test_a_batch_with_keys_costs_the_same_at_any_size(queries: Counted) -> None:
    keyed = [batch(1000 * count, count) for count in (10, 100)]
    for number, one in enumerate(keyed):
        for place, item in enumerate(one["turns"]):
            item["idempotency_key"] = f"{number} {place}"
    assert [queries("POST", "/v1/turns/batch", one) for one in keyed] == [4, 4]


@pytest.mark.parametrize("sort", ["newest", "oldest", "priority", "expiring"])
def test_a_page_costs_the_same_at_any_size(call: Caller, queries: Counted, sort: str) -> None:
    with_one = queries("GET", f"/v1/turns?sort={sort}&limit=200")
    call("POST", "/v1/turns/batch", batch(0, 50, tags=["t"], signals={"s": 1}))
    settle_index()
    assert (with_one, queries("GET", f"/v1/turns?sort={sort}&limit=200&tag=t&signal=s>0&q=q")) == (2, 2)


def test_one_turn_costs_the_same_with_many_occurrences(call: Caller, queries: Counted) -> None:
    turn_id = call.log().body["turn_id"]
    before = queries("GET", f"/v1/turns/{turn_id}")
    for _ in range(10):
        call.log()
    assert (before, queries("GET", f"/v1/turns/{turn_id}")) == (3, 3)


def test_a_claim_costs_the_same_at_any_size(call: Caller, queries: Counted) -> None:
    with_one = queries("POST", "/v1/queue/claim", {})
    call("POST", "/v1/turns/batch", batch(0, 50))
    assert (with_one, queries("POST", "/v1/queue/claim", {})) == (3, 3)


def test_a_verdict_costs_the_same_at_any_size(call: Caller, project: Project, queries: Counted) -> None:
    def judged(number: int) -> int:
        turn_id = call.log(f"judged {number}").body["turn_id"]
        body = {"rating": "incorrect", "correction": f"fact {number} of its own"}
        return queries("POST", f"/v1/turns/{turn_id}/verdict", body)

    assert {judged(number) for number in range(8)} == {13}


def test_a_search_is_one_query(call: Caller, queries: Counted) -> None:
    assert queries("POST", "/v1/memories/search", {"query": "fact"}) == 1
    for number in range(10):
        body = {"question": f"{number}", "agent_response": "", "rating": "partial", "correction": f"fact {number}"}
        call("POST", "/v1/annotations", body)
    assert queries("POST", "/v1/memories/search", {"query": "fact of all", "limit": 10}) == 1


def test_the_lists_of_annotations_cost_the_same_at_any_size(call: Caller, queries: Counted) -> None:
    before = queries("GET", "/v1/annotations")
    for number in range(10):
        body = {"question": f"{number}", "agent_response": "", "rating": "partial", "correction": f"fact {number}"}
        call("POST", "/v1/annotations", body)
    assert (before, queries("GET", "/v1/annotations")) == (1, 1)
