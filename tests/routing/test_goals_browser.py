"""The goals' pages in a browser: everyone can use them, with a keyboard, on a phone, and without scripts."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agentloop.actors import SYSTEM
from agentloop.ids import shown
from agentloop.models import Project
from routing.models import Goal, goal_id
from routing.models import Path as GoalPath
from routing.paths import NewPath, change_goal, register_path
from routing.watch import watch_goal
from tests.looks import SIZES, problems_of
from tests.review.support import make_project, member
from tests.routing.goals_support import HOUR, address, outcomes, verdict


@pytest.fixture
def project(transactional_db: None) -> Project:
    """A goal with a fallen path, judged turns and parameters; one that has hardly begun; and one without a path."""
    project = make_project("acme")
    member(project, "alice", "owner")
    for value in (0.1, 0.9):
        register_path(project, SYSTEM, "book", NewPath("steady", ("calendar",), {"temperature": value}))
    for ago in (50 * HOUR, 30 * HOUR):
        outcomes(project, "fallen", "+" * 40 + "-", ago=ago)
        for value, results in ((0.1, "+" * 20 + "---"), (0.9, "+" * 9 + "-" * 6)):
            more = {"tools": ("calendar",), "params": {"temperature": value}}
            outcomes(project, "steady", results, ago=ago + HOUR * value, **more)
    outcomes(project, "fallen", "-" * 45, ago=0.9 * HOUR)
    for place in range(8):
        verdict(project, f"fallen{50 * HOUR:.0f}-{place}", place != 3, at_random=place % 2 == 0)
    watch_goal(project, goal_id(project.id, "book"), lag_s=0)
    outcomes(project, "lonely", "+-", goal="young")
    change_goal(project, "bare", {"description": "Nothing yet."})
    return project


@pytest.fixture
def opened(browser: Any, live_server: Any, project: Project) -> Iterator[Callable[..., Any]]:
    """A page of someone who is signed in; each in a context of its own."""
    contexts = []

    def open_(path: str, **kind: Any) -> Any:
        context = browser.new_context(base_url=live_server.url, **kind)
        contexts.append(context)
        page = context.new_page()
        page.goto("/accounts/login/?next=" + path)
        page.get_by_label("Email").fill("alice@example.com")
        page.get_by_label("Password").fill("a-long-password")
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/goals/**")
        page.wait_for_load_state("load")
        return page

    yield open_
    for context in contexts:
        context.close()


@pytest.mark.parametrize("size", SIZES)
def test_everyone_can_use_every_goals_page(opened: Any, project: Project, size: str) -> None:
    """Axe finds nothing, nothing is wider than its window, and the content policy stops nothing of ours."""
    width, height = SIZES[size]
    # Axe is put in by the test itself, which the pages' policy would refuse.
    kind = {"viewport": {"width": width, "height": height}, "bypass_csp": True}
    page = opened("/p/acme/goals/", **kind)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    found = {"list": problems_of(page)}
    pages = [address(project, goal) for goal in ("book", "young", "bare")]
    fallen = GoalPath.objects.of(project).get(model="fallen")
    further = ("log/", "settings/", f"paths/{shown('path', fallen.id)}/")
    for path in [*pages, *(address(project, page=page) for page in further)]:
        page.goto(path)
        if path == address(project):
            page.get_by_role("button", name="Tables").click()
        if path.endswith("settings/"):
            page.get_by_label("Rollback threshold").fill("0.05")
            page.get_by_role("heading", name="The next decisions").wait_for()
        found[path] = problems_of(page)
    assert found == {path: [] for path in found}
    assert said == []


def test_the_policy_of_the_site_stops_nothing_on_a_goals_page(opened: Any, project: Project) -> None:
    page = opened("/p/acme/goals/")
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(address(project))
    canvas = page.locator("[data-canvas]").first
    canvas.hover()
    assert page.locator(".readout:visible .when").inner_text().endswith("UTC")
    assert page.locator(".readout:visible").get_by_text("Outcomes").count() == 1
    page.mouse.move(0, 0)
    assert page.locator(".readout:visible").count() == 0
    assert said == []


def test_a_key_opens_every_plots_table_and_goes_to_the_goals(opened: Any, project: Project) -> None:
    page = opened("/p/acme/goals/")
    page.get_by_role("link", name="book").click()
    page.wait_for_url("**" + address(project))
    page.wait_for_load_state("load")
    tables = page.locator("details.as-table")
    assert tables.count() == 4
    page.keyboard.press("t")
    assert page.locator("details.as-table[open]").count() == tables.count()
    assert page.get_by_role("region", name="Traffic as a table").is_visible()
    page.keyboard.press("t")
    assert page.locator("details.as-table[open]").count() == 0
    page.keyboard.press("g")
    page.keyboard.press("g")
    page.wait_for_url("**/p/acme/goals/")


def test_settings_show_what_would_follow_while_one_types_and_are_saved(opened: Any, project: Project) -> None:
    page = opened(address(project, page="settings/"))
    page.get_by_label("Exploration floor").fill("0.6")
    page.get_by_role("heading", name="The next decisions").wait_for()
    page.locator("#live", has_text="1 setting would change.").wait_for(state="attached")
    page.get_by_label("Exploration floor").fill("6")
    page.get_by_text("less than or equal to 1").wait_for()
    page.get_by_label("Exploration floor").fill("0.5")
    page.get_by_role("heading", name="The next decisions").wait_for()
    assert Goal.objects.of(project).get(name="book").exploration_rate is None
    page.get_by_role("button", name="Save").click()
    page.get_by_text("The settings of book are saved.").wait_for()
    assert Goal.objects.of(project).get(name="book").exploration_rate == 0.5


def test_without_scripts_tables_open_and_settings_are_previewed_and_saved(opened: Any, project: Project) -> None:
    page = opened(address(project), java_script_enabled=False)
    page.locator("details.as-table summary").first.click()
    assert page.get_by_role("region", name="Traffic as a table").is_visible()
    page.goto(address(project, page="settings/"))
    page.get_by_label("Exploration floor").fill("0.5")
    page.get_by_role("button", name="Preview").click()
    page.get_by_role("heading", name="The next decisions").wait_for()
    assert page.get_by_label("Exploration floor").input_value() == "0.5"
    page.get_by_role("button", name="Save").click()
    page.get_by_text("The settings of book are saved.").wait_for()
    assert Goal.objects.of(project).get(name="book").exploration_rate == 0.5
