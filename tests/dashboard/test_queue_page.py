"""The queue's page: what it lists, how it is filtered, and what it costs."""

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from agentloop.models import Project
from review import intake
from review.models import SavedView, Turn
from tests.dashboard.support import path_of, post
from tests.review.support import Caller, make_project, move_time, settle_index, turn_of

QUEUE = "/p/acme/queue/"
HTMX = {"HX-Request": "true"}
MOST_QUERIES = 12


def log_many(project: Project, count: int, begin: int = 0) -> None:
    items = [
        {
            "question": f"Question {number}?",
            "agent_response": f"Answer {number}.",
            "goal": f"goal_{number % 5}",
            "model": "gpt-4o",
            "user_id": f"u_{number}",
            "session_id": "s_1",
            "tags": [f"tag_{number % 40}"],
            "signals": {"thumbs_down": number % 2 == 0, f"signal_{number % 30}": True},
        }
        for number in range(begin, begin + count)
    ]
    for start in range(0, count, 500):
        intake.log_turns(project, items[start : start + 500])
    settle_index()


def test_it_lists_what_waits_with_why(bob: Client, call: Caller) -> None:
    call.log("Where is it?", signals={"thumbs_down": True, "confidence": 0.31}, goal="find", model="gpt-4o")
    page = bob.get(QUEUE).text
    for shown in ("Where is it?", "thumbs_down", "<b>0.31</b>", "find · gpt-4o", 'id="count">1<'):
        assert shown in page


@pytest.mark.parametrize("path", ["queue", "turn"])
def test_a_page_costs_the_same_with_ten_rows_as_with_a_thousand(
    bob: Client, project: Project, django_assert_max_num_queries: DjangoAssertNumQueries, path: str
) -> None:
    log_many(project, 10)
    turn = Turn.objects.of(project).by_priority()[0]
    address = QUEUE if path == "queue" else path_of(turn)
    with django_assert_max_num_queries(MOST_QUERIES) as few:
        bob.get(address)
    log_many(project, 990, begin=10)
    with django_assert_max_num_queries(MOST_QUERIES) as many:
        bob.get(address)
    assert len(few.captured_queries) == len(many.captured_queries)


def test_a_piece_is_asked_for_at_the_same_address(bob: Client, call: Caller) -> None:
    turn = turn_of(call.log())
    whole = bob.get(path_of(turn))
    work = bob.get(path_of(turn), headers={**HTMX, "HX-Target": "work"})
    rows = bob.get(QUEUE, headers={**HTMX, "HX-Target": "list"})
    assert "<html" in whole.text
    assert "<html" not in work.text + rows.text
    assert 'id="list"' not in work.text
    assert 'id="work"' not in rows.text
    assert all("HX-Target" in answer["Vary"] for answer in (whole, work, rows))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", {"a", "b", "c"}),
        ("?signal=thumbs_down", {"a"}),
        ("?signal=confidence%3C0.5", {"b"}),
        ("?signal_name=confidence&signal_sign=%3E%3D&signal_value=0.5", {"c"}),
        ("?goal=pay", {"a", "b"}),
        ("?goal=pay&goal=other", {"a", "b", "c"}),
        ("?user_id=u_1&user_id=u_3", {"a", "c"}),
        ("?goal=pay&signal=thumbs_down", {"a"}),
        ("?tag=vip", {"c"}),
        ("?user_id=u_2", {"b"}),
        ("?q=bravo", {"b"}),
        ("?older_than=1h", set()),
        ("?expires_within=1d", set()),
        ("?claimed=false&escalated=false&snoozed=false", {"a", "b", "c"}),
        ("?min_occurrences=2", set()),
        ("?status=reviewed", set()),
        ("?unknown=1", {"a", "b", "c"}),
    ],
)
def test_filters(bob: Client, call: Caller, query: str, found: set[str]) -> None:
    call.log("a alpha", signals={"thumbs_down": True}, goal="pay", user_id="u_1")
    call.log("b bravo", signals={"confidence": 0.2}, goal="pay", user_id="u_2")
    call.log("c charlie", signals={"confidence": 0.8}, goal="other", user_id="u_3", tags=["vip"])
    settle_index()
    page = bob.get(QUEUE + query).text
    words = {"a": "alpha", "b": "bravo", "c": "charlie"}
    assert {name for name, word in words.items() if f"{name} {word}" in page} == found


def test_a_filter_that_cannot_be_read_is_said_beside_the_list(bob: Client, call: Caller) -> None:
    call.log()
    page = bob.get(f"{QUEUE}?older_than=ages")
    assert page.status_code == 200
    assert "older_than takes hours or days, such as 12h or 7d." in page.text


def test_facets_count_and_their_links_add_and_remove(bob: Client, call: Caller) -> None:
    for number in range(3):
        call.log(f"Q{number}", signals={"thumbs_down": True}, goal="pay")
    settle_index()
    page = bob.get(f"{QUEUE}?goal=pay").text
    assert 'href="/p/acme/queue/?goal=pay&amp;signal=thumbs_down"><span>thumbs_down</span> <b>3</b>' in page
    # The one that holds leads back.
    assert '<a class="chip accent" href="/p/acme/queue/" aria-current="true"><span>pay</span> <b>3</b>' in page


def test_orders(bob: Client, call: Caller) -> None:
    first, second = turn_of(call.log("first")), turn_of(call.log("second", signals={"thumbs_down": True}))

    def order(query: str) -> list[str]:
        page = bob.get(QUEUE + query).text
        return sorted(("first", "second"), key=lambda word: page.index(f">{word}<"))

    assert order("") == ["second", "first"]
    assert order("?sort=oldest") == ["first", "second"]
    assert order("?sort=newest") == ["second", "first"]
    for turn in (first, second):
        post(bob, path_of(turn, "dismiss"))
    assert order("?status=dismissed") == ["second", "first"]


def test_pages_of_forty_go_on_where_they_end(bob: Client, project: Project) -> None:
    log_many(project, 60)
    page = bob.get(QUEUE).text
    assert page.count('class="row"') == 40
    cursor = page.partition("cursor=")[2].partition('"')[0]
    more = bob.get(f"{QUEUE}?cursor={cursor}", headers={**HTMX, "HX-Target": "more"}).text
    assert more.count('class="row"') == 20


def test_who_looks_at_what_is_shown(bob: Client, carol: Client, call: Caller) -> None:
    turn = turn_of(call.log())
    post(bob, path_of(turn, "claim"))
    assert "bob@example.com is looking at this" in carol.get(QUEUE).text
    assert '<span class="holder mine"' in bob.get(QUEUE).text
    assert "<b>bob@example.com</b> is looking at this turn." in carol.get(path_of(turn)).text
    move_time(claimed_until="-1 hour")
    assert "is looking at this" not in carol.get(QUEUE).text


def test_a_view_is_kept_shared_and_forgotten(bob: Client, carol: Client, call: Caller) -> None:
    call.log()
    post(bob, "/p/acme/queue/views/?goal=pay&sort=oldest", name="Payments", is_shared="true")
    post(bob, "/p/acme/queue/views/?goal=own", name="Mine")
    page = carol.get(QUEUE).text
    assert 'href="/p/acme/queue/?goal=pay&amp;sort=oldest">Payments</a>' in page
    assert "Mine" not in page
    view = SavedView.objects.get(name="Payments")
    assert post(carol, f"/p/acme/queue/views/{view.id.hex}/delete/").status_code == 404
    assert post(bob, f"/p/acme/queue/views/{view.id.hex}/delete/").status_code == 302
    assert "Payments" not in carol.get(QUEUE).text


def test_a_view_needs_a_name_of_its_own(bob: Client, project: Project) -> None:
    assert post(bob, "/p/acme/queue/views/?goal=pay", name="  ").status_code == 422
    assert post(bob, "/p/acme/queue/views/?goal=pay", name="One").status_code == 302
    assert post(bob, "/p/acme/queue/views/?goal=other", name="One").status_code == 409


def test_an_empty_queue_says_what_to_do(bob: Client, project: Project) -> None:
    assert "Nothing waits" in bob.get(QUEUE).text
    assert "Nothing matches" in bob.get(f"{QUEUE}?goal=none").text


def test_the_navigation_names_the_place(bob: Client, project: Project) -> None:
    assert '<a href="/p/acme/queue/" data-key="g q"' in bob.get(QUEUE).text
    page = bob.get("/p/acme/").text
    assert page.count('aria-current="page"') == 1


# --- who may what ---------------------------------------------------------------------------------------------

ACTS = ("claim", "heartbeat", "release", "draft", "verdict", "skip", "snooze", "escalate", "dismiss", "reopen")


@pytest.mark.parametrize("act", ACTS)
def test_a_reader_changes_nothing(vera: Client, call: Caller, act: str) -> None:
    turn = turn_of(call.log())
    before = Turn.objects.filter(id=turn.id).values().get()
    answer = post(vera, path_of(turn, act), rating="correct", claim_token="1")
    assert answer.status_code == 403
    assert Turn.objects.filter(id=turn.id).values().get() == before


@pytest.mark.parametrize("path", ["next/", "bulk/", "bulk/run/"])
def test_a_reader_neither_claims_nor_acts_in_bulk(vera: Client, call: Caller, path: str) -> None:
    turn = turn_of(call.log())
    assert post(vera, f"{QUEUE}{path}", act="dismiss", turn=turn.shown_id).status_code == 403
    assert Turn.objects.get(id=turn.id).status == "pending"


def test_a_reader_sees_the_turn_and_no_form(vera: Client, call: Caller) -> None:
    turn = turn_of(call.log("Where?"))
    page = vera.get(path_of(turn)).text
    assert "Where?" in page
    assert 'id="verdict"' not in page
    assert "Judging is for reviewers and owners." in page


def test_a_reader_shares_no_view(vera: Client, bob: Client, project: Project) -> None:
    post(vera, "/p/acme/queue/views/?goal=pay", name="Read", is_shared="true")
    assert not SavedView.objects.get(name="Read").is_shared


@pytest.mark.parametrize("act", ACTS)
def test_an_act_is_posted(bob: Client, call: Caller, act: str) -> None:
    assert bob.get(path_of(turn_of(call.log()), act)).status_code == 405


def test_another_projects_turn_is_not_there(bob: Client, call: Caller) -> None:
    from tests.review.support import caller_for

    other = turn_of(caller_for(make_project("other")).log("Secret?"))
    assert bob.get(path_of(other)).status_code == 404
    assert post(bob, path_of(other, "verdict"), stroke="accept").status_code == 404
    assert bob.get(path_of("turn_nonsense")).status_code == 404


def test_a_list_of_what_is_done_leads_on_to_what_waits(bob: Client, call: Caller) -> None:
    done, waiting = turn_of(call.log("done", goal="pay")), turn_of(call.log("waiting", goal="pay"))
    post(bob, path_of(done, "dismiss"))
    post(bob, path_of(waiting, "release"))
    page = bob.get(f"{QUEUE}?status=dismissed&goal=pay").text
    assert 'action="/p/acme/queue/next/?goal=pay"' in page
    assert post(bob, f"{QUEUE}next/?goal=pay")["Location"] == f"{path_of(waiting)}?goal=pay"
