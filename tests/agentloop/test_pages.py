"""The pages: what they show to whom, how many queries they cost, and, in a browser, that everyone can use them."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from agentloop.models import Project, RefusalCount
from agentloop.pages import bars_of
from review import demo
from review.models import ExpiredCount
from tests.looks import SIZES, problems_of
from tests.review.support import Caller, make_project, member, settle_index

QUERIES = 11


def fill(project: Project, admin: Caller) -> None:
    for number in range(3):
        admin.log(f"Question {number}?", signals={"thumbs_down": True, "confidence": 0.2})
    settle_index()
    day = timezone.now().date()
    ExpiredCount.objects.create(project=project, day=day - timedelta(days=2), goal="", signal="", count=9)
    RefusalCount.objects.create(project=project, day=day, reason="rate_limited", count=1234)


def test_an_empty_project_teaches_with_its_own_address(alice: Client) -> None:
    page = alice.get("/p/acme/").text
    assert "Log the first turn" in page
    assert "curl http://testserver/p/acme/v1/turns" in page
    assert 'base_url="http://testserver/p/acme"' in page.replace("&quot;", '"')


def test_the_first_key_stands_in_the_lines_that_use_it_once(alice: Client, bob: Client, project: Project) -> None:
    answer = alice.post("/p/acme/first-key/")
    found = re.search(r'<code id="secret"[^>]*>([^<]+)</code>', answer.text)
    assert found
    assert answer.text.count(found[1]) == 3
    assert answer["Cache-Control"] == "no-store"
    assert Caller(found[1]).log().status == 201
    assert found[1] not in alice.get("/p/acme/").text
    assert (bob.post("/p/acme/first-key/").status_code, alice.get("/p/acme/first-key/").status_code) == (403, 405)


def test_the_figures_of_a_project(alice: Client, admin: Caller, project: Project) -> None:
    fill(project, admin)
    page = alice.get("/p/acme/").text
    for shown in (
        "Waiting",
        "What will expire",
        "thumbs_down",
        "rate_limited",
        "1,234 requests to log turns were turned away",
    ):
        assert shown in page
    assert '<strong class="number">9</strong> turns expired before anybody judged them' in page
    assert "Log the first turn" not in page


def test_the_switcher_lists_ones_own_projects_alone(alice: Client, charlie: Client) -> None:
    member(make_project("second"), "alice", "viewer")
    alice.force_login(member_user("alice"))
    page = alice.get("/").text
    assert "Acme" in page
    assert "Second" in page
    assert "Charlies" not in page


def member_user(name: str) -> Any:
    from django.contrib.auth.models import User

    return User.objects.get(username=f"{name}@example.com")


def test_one_project_is_opened_at_once_and_none_is_said(alice: Client, admin: Caller, project: Project) -> None:
    assert alice.get("/")["Location"] == "/p/acme/"
    project.members.all().delete()
    assert "You are in no project yet" in alice.get("/").text


def test_a_strangers_project_looks_like_none(charlie: Client, project: Project) -> None:
    assert charlie.get("/p/acme/").status_code == charlie.get("/p/nobody/").status_code == 404


def test_queries_do_not_grow_with_rows(
    alice: Client, admin: Caller, project: Project, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    fill(project, admin)
    with django_assert_num_queries(QUERIES):
        alice.get("/p/acme/")
    for number in range(10):
        admin.log(f"More {number}?", signals={f"signal_{number}": True})
        member(project, f"person-{number}", "viewer")
        turn_id = admin.log(f"Judged {number}?", signals={"recurrence": True}).body["turn_id"]
        admin("POST", f"/v1/turns/{turn_id}/verdict", {"rating": "incorrect", "correction": f"No, {number}."})
    settle_index()
    with django_assert_num_queries(QUERIES):
        alice.get("/p/acme/")


def test_a_name_that_looks_like_html_is_text(alice: Client, admin: Caller) -> None:
    admin("PATCH", "/v1/project", {"name": "<script>alert(1)</script>"})
    assert "<script>" not in alice.get("/p/acme/").text


def test_bars_fill_their_box_and_small_ones_are_seen() -> None:
    bars = bars_of([("a", 0), ("b", 1), ("c", 1000)], width=30, height=100)
    assert [(bar.height, bar.y) for bar in bars] == [(0, 100), (2, 98), (100, 0)]
    assert bars_of([], width=30, height=100) == []
    assert [bar.height for bar in bars_of([("a", 0)], width=30, height=100)] == [0]


@pytest.fixture
def visit(page: Any, live_server: Any, transactional_db: None) -> Callable[[str], Any]:
    def go(path: str) -> Any:
        page.goto(f"{live_server.url}{path}")
        return page

    return go


@pytest.fixture
def filled(transactional_db: None) -> None:
    from tests.review.support import caller_for

    project = make_project("acme")
    member(project, "alice", "owner")
    member(make_project("empty"), "alice", "owner")
    demo.fill(project, two_weeks())
    fill(project, caller_for(project))


@dataclass(frozen=True)
class Execution:
    goal: str
    trace_id: str
    model: str
    path_id: str
    at: datetime
    success: bool


def two_weeks() -> list[Execution]:
    """So that every plot of the overview has something to draw."""
    begin = timezone.now() - timedelta(days=14)
    hours = [begin + timedelta(hours=hour) for hour in range(14 * 24)]
    return [Execution("book_meeting", f"trace {at}", "gpt-4o", "", at, at.hour % 3 > 0) for at in hours]


def sign_in(page: Any) -> None:
    page.get_by_label("Email").fill("alice@example.com")
    page.get_by_label("Password").fill("a-long-password")
    page.get_by_role("button", name="Sign in").click()


@pytest.mark.parametrize("size", SIZES)
def test_everyone_can_use_every_page(browser: Any, live_server: Any, filled: None, size: str) -> None:
    """Axe finds nothing, nothing is wider than its window, and the content policy stops nothing of ours."""
    width, height = SIZES[size]
    # Axe is put in by the test itself, which the pages' policy would refuse.
    context = browser.new_context(
        viewport={"width": width, "height": height}, bypass_csp=True, base_url=live_server.url
    )
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    found = {}
    for path in ("/accounts/login/", "/accounts/password/reset/", "/api/docs/"):
        page.goto(path)
        found[path] = problems_of(page)
    page.goto("/accounts/login/")
    sign_in(page)
    for path in ("/", "/p/acme/", "/p/empty/", "/accounts/password/change/", "/accounts/logout/"):
        page.goto(path)
        found[path] = problems_of(page)
    context.close()
    assert found == {path: [] for path in found}
    assert said == []


def test_a_person_finds_the_way_on_the_keyboard(visit: Callable[[str], Any], filled: None) -> None:
    page = visit("/")
    sign_in(page)
    # A key that is pressed while the page after signing in still loads goes nowhere.
    page.get_by_role("heading", name="Projects").wait_for()
    page.wait_for_load_state("load")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent.trim()") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    page.get_by_text("Projects", exact=True).first.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/p/acme/")
    assert page.get_by_role("heading", level=1).inner_text() == "Acme"


def test_signing_out_ends_the_visit(visit: Callable[[str], Any], filled: None) -> None:
    page = visit("/")
    sign_in(page)
    page.get_by_text("alice@example.com").first.click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/accounts/login/")
    page = visit("/p/acme/")
    assert "/accounts/login/" in page.url


def test_the_reference_works_without_scripts_and_jumps_to_an_operation(browser: Any, live_server: Any) -> None:
    context = browser.new_context(java_script_enabled=False, base_url=live_server.url)
    page = context.new_page()
    page.goto("/api/docs/")
    page.get_by_role("link", name="Make an API key").first.click()
    assert page.url.endswith("#create_key")
    assert page.locator("#create_key").get_by_text("/v1/keys").first.is_visible()
    context.close()


def test_a_reader_chooses_light_or_dark_and_gets_it_without_a_script(alice: Client) -> None:
    assert "data-theme" not in alice.get("/p/acme/").text.partition("<head>")[0]
    answer = alice.post("/theme/", {"theme": "dark", "next": "/p/acme/"})
    assert answer["Location"] == "/p/acme/"
    assert 'data-theme="dark"' in alice.get("/p/acme/").text
    assert alice.post("/theme/", {"theme": "", "next": "//elsewhere.example/"})["Location"] == "/"
    assert "data-theme" not in alice.get("/p/acme/").text.partition("<head>")[0]


def test_the_theme_switch_changes_at_once_and_stays(visit: Callable[[str], Any], filled: None) -> None:
    page = visit("/")
    sign_in(page)
    page.get_by_role("heading", name="Projects").wait_for()
    page.goto(page.url + "p/acme/")
    page.get_by_text("alice@example.com").first.click()
    with page.expect_response("**/theme/"):
        page.get_by_role("button", name="Dark").click()
    assert page.evaluate("getComputedStyle(document.body).colorScheme") == "dark"
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_a_key_goes_to_a_page_and_can_be_changed(visit: Callable[[str], Any], filled: None) -> None:
    page = visit("/")
    sign_in(page)
    page.get_by_role("heading", name="Projects").wait_for()
    page.goto(page.url + "p/acme/?from=somewhere")
    page.keyboard.press("g")
    page.keyboard.press("o")
    page.wait_for_url("**/p/acme/")
    page.wait_for_load_state("load")
    page.keyboard.press("?")
    page.get_by_role("button", name="Go to Overview: g o. Change").click()
    page.keyboard.press("y")
    page.keyboard.press("Escape")
    page.goto(page.url + "?again")
    page.keyboard.press("y")
    page.wait_for_url("**/p/acme/")
