"""The goals' pages: figures against a known set of evidence, who may change what, what a preview says, and queries."""

import html
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from agentloop.actors import SYSTEM
from agentloop.ids import shown
from agentloop.models import AuditEntry, Project
from agentloop.tenancy import add_member
from routing import figures, plots
from routing.advice import insights, policy, state_snapshot
from routing.decisions import Asked, decide
from routing.engine.choice import Constraints
from routing.engine.evidence import Source
from routing.evidence import Observation, record, withdraw
from routing.models import Goal, Path, PathChange, PathStatus, goal_id
from routing.paths import NewPath, change_goal, register_path
from routing.standings import look
from routing.watch import watch_goal
from tests.routing.goals_support import HOUR, address, outcomes, verdict

MOST_QUERIES = 12


@pytest.fixture
def sign_in(project: Project) -> Callable[[str], Client]:
    def signed(role: str) -> Client:
        email = f"{role}@example.com"
        add_member(project=project, actor=SYSTEM, email=email, role=role)
        client = Client()
        client.force_login(User.objects.get(username=email))
        return client

    return signed


@pytest.fixture
def owner(sign_in: Callable[[str], Client]) -> Client:
    return sign_in("owner")


def figures_of(project: Project, hours: int = 168) -> figures.GoalFigures:
    return figures.figures_of(project, Goal.objects.of(project).get(name="book"), hours)


def cost(call: Callable[[], Any]) -> int:
    with CaptureQueriesContext(connection) as captured:
        answer = call()
    assert answer.status_code == 200
    return len([one for one in captured.captured_queries if not one["sql"].startswith(("SAVEPOINT", "RELEASE"))])


# --- what is shown --------------------------------------------------------------------------------------------


def test_a_project_without_goals_is_taught_the_calls(owner: Client, project: Project) -> None:
    page = owner.get("/p/alice/goals/").text
    assert "Let outcomes choose what answers next" in page
    assert 'base_url="http://testserver/p/alice"' in page.replace("&quot;", '"')
    assert "/api/v1/routing/decide" in page
    assert "/api/v1/intelligence/report-outcome" in page


def test_the_list_begins_with_what_needs_a_look(owner: Client, project: Project) -> None:
    outcomes(project, "m", "+" * 30, goal="fine")
    outcomes(project, "m", "-" * 30, goal="broken")
    outcomes(project, "m", "++", goal="young")
    page = owner.get("/p/alice/goals/").text
    assert page.index("broken</a>") < page.index("fine</a>") < page.index("young</a>")
    assert "3 goals · 62 outcomes in 7 days · <strong>1</strong> needs a look" in page
    assert "__verify__" not in page


def shown_goals(page: str) -> list[str]:
    return re.findall(r'goals/goal_[^"]*">([^<]*)</a>', page)


def test_goals_are_found_by_name_and_status(owner: Client, project: Project) -> None:
    for goal, signs in (("book a room", "+" * 30), ("book a table", "-" * 30), ("cancel", "++"), ("100%_sure", "+")):
        outcomes(project, "m", signs, goal=goal)
    for query, found in (
        ("", ["book a table", "book a room", "cancel", "100%_sure"]),
        ("q=BOOK", ["book a table", "book a room"]),
        ("q=%25_", ["100%_sure"]),
        ("status=failing", ["book a table"]),
        ("q=book&status=healthy", ["book a room"]),
        ("q=nothing", []),
    ):
        page = owner.get(f"/p/alice/goals/?{query}").text
        assert shown_goals(page) == found
    assert "Nothing matches" in page
    piece = owner.get("/p/alice/goals/?q=cancel", headers={"HX-Request": "true"}).text
    assert (shown_goals(piece), "<html" in piece, "?q=cancel&amp;hours=24" in piece) == (["cancel"], False, True)


def test_goals_come_in_pages_without_a_gap(owner: Client, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routing.figures.GOALS_A_PAGE", 2)
    for place in range(5):
        outcomes(project, "m", "+" * (place + 1), goal=f"goal {place}")
    seen, path = [], "/p/alice/goals/?hours=24&q=goal"
    while path:
        page = owner.get(path).text
        seen += shown_goals(page)
        assert "5 goals · 15 outcomes in 24 hours" in page
        further = re.search(r'href="([^"]+)" rel="next"', page)
        path = html.unescape(further[1]) if further else ""
    assert seen == [f"goal {place}" for place in (4, 3, 2, 1, 0)]
    for number, names in (("9", ["goal 0"]), ("0", ["goal 4", "goal 3"]), ("x", ["goal 4", "goal 3"])):
        assert shown_goals(owner.get(f"/p/alice/goals/?page={number}").text) == names


def test_one_pipelines_figures_are_its_own(owner: Client, project: Project) -> None:
    outcomes(project, "m", "+" * 20, pipeline_id="nightly")
    outcomes(project, "m", "-" * 10, ago=2 * HOUR, pipeline_id="daily")
    outcomes(project, "m", "+", ago=3 * HOUR)
    outcomes(project, "m", "++", goal="other")
    page = owner.get("/p/alice/goals/").text
    assert re.findall(r'<option value="(daily|nightly)"', page) == ["daily", "nightly"]
    assert shown_goals(owner.get("/p/alice/goals/?pipeline=daily").text) == ["book"]
    assert f'{address(project)}?pipeline=daily"' in owner.get("/p/alice/goals/?pipeline=daily").text
    for pipeline, samples, mean in (("", 31, 21 / 31), ("nightly", 20, 1.0), ("daily", 10, 0.0)):
        found = figures.figures_of(project, Goal.objects.of(project).get(name="book"), 168, pipeline)
        assert (found.insight["sample_count"], found.insight["success_rate"]) == (samples, pytest.approx(mean))
        assert [one.own.mean for one in found.view.paths] == [pytest.approx(mean)]
        assert sum(step.samples for step in found.series[found.paths[0].view.id]) == samples
        text = owner.get(address(project), {"pipeline": pipeline, "hours": 24}).text
        assert (f"of the pipeline <b>{pipeline}</b>" in text) == bool(pipeline)
        assert f'?{f"pipeline={pipeline}&amp;" if pipeline else ""}hours=336"' in text
    assert owner.get(address(project), {"pipeline": "no such"}).status_code == 200


def test_reviews_of_other_pipelines_stay_out(project: Project) -> None:
    outcomes(project, "m", "+" * 4, pipeline_id="a")
    outcomes(project, "m", "+" * 4, ago=2 * HOUR, pipeline_id="b")
    verdict(project, "m3600-0", False, at_random=True)
    verdict(project, "m7200-0", True, at_random=True)
    goal = Goal.objects.of(project).get(name="book")
    assert [figures.figures_of(project, goal, 168, one).reviewed for one in ("", "a", "b")] == [2, 1, 1]
    provider = figures.figures_of(project, goal, 168, "a").sources[-1]
    assert (provider.source, provider.executions, provider.decided, provider.agreed) == ("provider", None, 3, 0)


def test_a_goal_is_found_by_its_name(owner: Client, project: Project) -> None:
    name = "a goal / with ünusual <b>letters</b>"
    outcomes(project, "m", "+-", goal=name)
    answer = owner.get("/p/alice/goals/", {"goal": name}, follow=True)
    assert answer.redirect_chain == [(address(project, name), 302)]
    assert "<b>letters" not in answer.text
    assert owner.get("/p/alice/goals/", {"goal": "no such"}, follow=True).status_code == 404
    assert owner.get("/p/alice/goals/goal_nonsense/").status_code == 404


def test_scores_alone_give_pages_insights_and_policy_the_same(owner: Client, project: Project) -> None:
    rows = [Observation("book", Source.PROVIDER, f"t{place}", model="m", score=0.1) for place in range(20)]
    record(project, rows)
    [insight] = insights(project, goal_name="book")["goals"]
    assert (insight["status"], insight["success_rate"]) == ("failing", None)
    found = figures_of(project).insight
    same = ("status", "success_rate", "mean_score", "interval", "sample_count")
    assert [found[name] for name in same] == [insight[name] for name in same]
    advised = policy(project, "book", constraints=Constraints())
    assert (advised["recommended_model"], advised["outcome_success_rate"]) == ("m", None)
    assert advised["outcome_sample_count"] == insight["sample_count"]
    [line] = figures.goals_of(project, 168, figures.Wanted(status="failing")).lines
    assert line.insight["interval"] == insight["interval"]
    assert re.search(r"10%</strong> <span class=\"under\">mean score, \d+% to \d+%", owner.get("/p/alice/goals/").text)
    assert re.search(r"Mean score</dt><dd><span class=\"fact\">10%", owner.get(address(project)).text)


def test_figures_are_those_of_the_evidence(project: Project) -> None:
    outcomes(project, "good", "+" * 16 + "-" * 4)
    outcomes(project, "poor", "+" * 2 + "-" * 8)
    found = figures_of(project)
    assert found.insight["sample_count"] == 30
    assert found.insight["success_rate"] == 0.6
    assert found.insight["top_failure_modes"] == [{"category": "timeout", "count": 12.0, "share": 1.0}]
    assert [(one.view.model, one.belief.count, round(one.traffic, 3)) for one in found.paths] == [
        ("good", 20, 0.667),
        ("poor", 10, 0.333),
    ]
    good, poor = found.paths
    assert good.belief.low < good.belief.mean < good.belief.high
    assert good.belief.mean == look(project, "book").paths[0].contender.posterior.mean
    assert good.best + poor.best == pytest.approx(1, abs=0.01)
    assert good.chosen + poor.chosen == pytest.approx(1, abs=0.01)
    assert good.best > 0.95
    series = found.series[good.view.id]
    assert sum(step.samples for step in series) == 20
    assert sum(step.successes for step in series) == 16


def test_the_random_share_stands_alone_beside_the_mean(project: Project) -> None:
    """Reviewers looked at failures by choice; those drawn at random tell a better mean, and only they count there."""
    outcomes(project, "m", "+" * 20)
    for place in range(6):
        verdict(project, f"m3600-{place}", False)
    for place in range(6, 14):
        verdict(project, f"m3600-{place}", place != 6, at_random=True)
    [path] = figures_of(project).paths
    assert path.belief.count == 20
    assert path.random is not None
    assert path.random.count == 8
    assert path.random.low < 7 / 8 < path.random.high
    assert path.random.mean > path.belief.mean


def test_sources_are_held_against_reviewers_as_both_speak_now(project: Project) -> None:
    outcomes(project, "m", "+" * 6 + "-" * 4)
    verdict(project, "m3600-0", True)
    verdict(project, "m3600-1", False)
    verdict(project, "m3600-6", False)
    verdict(project, "m3600-7", True, ref="annotation:1")
    sources = {one.source: one for one in figures_of(project).sources}
    assert [*sources] == ["review", "action", "user", "inferred", "provider"]
    assert (sources["provider"].executions, sources["provider"].decided) == (10, 6)
    assert (sources["provider"].compared, sources["provider"].agreed) == (4, 2)
    assert sources["review"].decided == 4
    withdraw(project, ref="annotation:1")
    found = figures_of(project)
    assert (found.sources[-1].compared, found.sources[-1].agreed) == (3, 2)
    assert found.reviewed == 3
    assert sum(found.corrected.values()) == 1


def test_a_rolled_back_path_says_so_and_why(owner: Client, project: Project) -> None:
    outcomes(project, "fallen", "+" * 60, ago=50 * HOUR)
    outcomes(project, "steady", "+" * 60, ago=50 * HOUR)
    outcomes(project, "fallen", "-" * 45, ago=0.9 * HOUR)
    watch_goal(project, goal_id(project.id, "book"), lag_s=0)
    assert Path.objects.of(project).get(model="fallen").status == "rolled_back"
    page = owner.get(address(project)).text
    assert "▼ rolled back" in page
    assert "below its own earlier mean" in page
    assert "fallen no longer does what it did." in page
    found = figures_of(project)
    assert [one.view.model for one in found.paths] == ["steady", "fallen"]
    panel = next(panel for panel in plots.panels_of(found) if panel.name == "fallen")
    assert "▼" in [mark.sign for mark in panel.marks]
    log = owner.get(address(project, page="log/")).text
    assert "Rolled back" in log


def test_a_goal_without_traffic_and_one_with_one_path_teach(owner: Client, project: Project) -> None:
    change_goal(project, "book", {"description": "Find a slot."})
    page = owner.get(address(project)).text
    assert "No path yet" in page
    assert "Find a slot." in page
    register_path(project, SYSTEM, "book", NewPath("lonely"))
    page = owner.get(address(project)).text
    assert "One path: nothing to choose between" in page
    assert "No outcome in 7 days" in page
    outcomes(project, "lonely", "+")
    page = owner.get(address(project)).text
    assert "Where the traffic went" in page
    assert "No outcome in 7 days" not in page


def test_what_lies_before_the_window_is_not_drawn(project: Project) -> None:
    outcomes(project, "m", "+" * 5, ago=100 * HOUR)
    outcomes(project, "m", "-" * 5)
    day, week = figures_of(project, 24), figures_of(project, 168)
    assert (day.insight["sample_count"], week.insight["sample_count"]) == (5, 10)
    drawn = plots.traffic_of(day)
    assert drawn is not None
    assert sum(row.total for row in drawn.rows) == 5


def test_many_paths_draw_the_most_used_and_keep_the_rest_together(owner: Client, project: Project) -> None:
    for number in range(20):
        outcomes(project, f"model-{number:02}", "+" * (20 - number))
    found = figures_of(project)
    assert len(found.drawn) == figures.PATHS_DRAWN
    assert sum(step.samples for step in found.series[None]) == sum(range(1, 15))
    page = owner.get(address(project)).text
    assert "8 more paths" in page
    assert "all other paths" in page


def test_decisions_are_listed_newest_first_and_go_on(owner: Client, project: Project) -> None:
    outcomes(project, "m", "+-+")
    for _ in range(55):
        decide(project, Asked("book"))
    page = owner.get(address(project, page="log/"))
    assert page.text.count("<time") == 50
    older = page.context["next"]
    assert owner.get(address(project, page="log/"), {"before": older}).text.count("<time") == 5


# --- settings -------------------------------------------------------------------------------------------------


def form(**given: str) -> dict[str, str]:
    return {"mode": "apply", "max_untested": "3", **given}


def test_an_owner_previews_and_saves(owner: Client, project: Project) -> None:
    outcomes(project, "good", "+" * 30)
    outcomes(project, "poor", "-" * 30)
    given = form(exploration_rate="0.5", rollback_threshold="0.2", max_cost_usd="0.02", half_life_hours="48")
    page = owner.post(address(project, page="preview/"), given, headers={"HX-Request": "true"})
    assert page.status_code == 200
    assert "<html" not in page.text
    for shown_ in ("Exploration floor", "Half-life in hours", "cost at most, $ 0.02", "The next decisions"):
        assert shown_ in page.text
    preview = page.context["preview"]
    poor = next(one for one in preview.shares if one.name == "poor")
    assert poor.old < 0.05
    assert poor.new == pytest.approx(0.25, abs=0.02)
    assert "Rolls back B · poor" in page.text
    assert Goal.objects.of(project).get(name="book").exploration_rate is None

    answer = owner.post(address(project, page="settings/"), given)
    assert answer.status_code == 302
    goal = Goal.objects.of(project).get(name="book")
    assert (goal.exploration_rate, goal.rollback_threshold, goal.half_life_hours) == (0.5, 0.2, 48)
    assert goal.constraints == {"max_cost_usd": 0.02}
    entry = AuditEntry.objects.get(project=project, act="goal.settings")
    assert entry.details == {"changed": ["constraints", "exploration_rate", "half_life_hours", "rollback_threshold"]}
    assert owner.post(address(project, page="settings/"), given).status_code == 302
    assert AuditEntry.objects.filter(project=project, act="goal.settings").count() == 1
    assert "Nothing would change" in owner.post(address(project, page="preview/"), given).text


def test_the_preview_of_a_mode_sends_all_to_the_pinned_path(owner: Client, project: Project) -> None:
    outcomes(project, "good", "+" * 30)
    outcomes(project, "poor", "-" * 30)
    pinned = Path.objects.of(project).get(model="poor").shown_id
    given = form(mode="observe", pinned_path_id=pinned)
    shares = owner.post(address(project, page="preview/"), given).context["preview"].shares
    assert {one.name: one.new for one in shares} == {"good": 0.0, "poor": 1.0}


def test_a_half_life_that_forgets_moves_the_previewed_means(owner: Client, project: Project) -> None:
    outcomes(project, "m", "+" * 100, ago=90 * HOUR)
    outcomes(project, "m", "-" * 10, ago=0.5 * HOUR)
    [share] = owner.post(address(project, page="preview/"), form(half_life_hours="5")).context["preview"].shares
    assert share.old_mean > 0.85
    assert share.new_mean < 0.2
    owner.post(address(project, page="settings/"), form(half_life_hours="5"))
    [path] = look(project, "book").paths
    assert path.contender.posterior.mean == pytest.approx(share.new_mean, abs=0.05)


def test_bounds_are_declared_row_by_row_and_previewed(owner: Client, project: Project) -> None:
    for value, results in ((0.2, "+" * 20), (0.8, "-" * 20)):
        register_path(project, SYSTEM, "book", NewPath("m", params={"temperature": value}))
        outcomes(project, "m", results, ago=HOUR * (1 + value), params={"temperature": value})
    page = owner.get(address(project, page="settings/")).text
    assert 'value="temperature"' in page
    given = form(auto_explore="on", bound_name_0="temperature", bound_low_0="0", bound_high_0="1", bound_name_1="")
    preview = owner.post(address(project, page="preview/"), given).context["preview"]
    assert len(preview.proposals) == 1
    assert preview.proposals[0].startswith("temperature = ")
    assert Path.objects.of(project).count() == 2
    owner.post(address(project, page="settings/"), given)
    goal = Goal.objects.of(project).get(name="book")
    assert goal.auto_explore
    assert goal.bounds == {"temperature": {"low": 0.0, "high": 1.0, "whole": False}}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"exploration_rate": "7"}, "less than or equal to 1"),
        ({"half_life_hours": "soon"}, "Enter a number"),
        ({"bound_name_0": "t", "bound_low_0": "2", "bound_high_0": "1"}, "bounds takes an object"),
        ({"bound_name_0": "t", "bound_low_0": "x", "bound_high_0": "1"}, "bounds takes an object"),
        ({"pinned_path_id": "path_" + "0" * 32}, "not one of the available choices"),
    ],
)
def test_what_cannot_be_is_said_and_not_saved(
    owner: Client, project: Project, given: dict[str, str], said: str
) -> None:
    outcomes(project, "m", "+-")
    before = Goal.objects.of(project).values().get(name="book")
    for page in ("preview/", "settings/"):
        answer = owner.post(address(project, page=page), form(**given))
        assert answer.status_code == 422
        assert said in answer.text
    assert Goal.objects.of(project).values().get(name="book") == before


def test_a_path_is_disabled_and_enabled_with_a_look_at_what_follows(owner: Client, project: Project) -> None:
    outcomes(project, "good", "+" * 30)
    outcomes(project, "poor", "-" * 30)
    path = Path.objects.of(project).get(model="good")
    page = address(project, page=f"paths/{shown('path', path.id)}/")
    assert page in owner.get(address(project)).text
    before = owner.get(page)
    now, then = ({one.name: getattr(one, when) for one in before.context["shares"]} for when in ("old", "new"))
    assert now["good"] > 0.5
    assert then == {"good": 0.0, "poor": 1.0}
    assert Path.objects.get(id=path.id).status == PathStatus.ACTIVE
    assert owner.post(page, {"act": "disable"})["Location"] == address(project)
    assert Path.objects.get(id=path.id).status == PathStatus.DISABLED
    assert "good is disabled" in owner.get(address(project)).text
    after = owner.get(page)
    assert "Enable path" in after.text
    assert {one.name: one.old for one in after.context["shares"]} == then
    last = Path.objects.of(project).get(model="poor")
    assert "the last path in service" in owner.get(address(project, page=f"paths/{shown('path', last.id)}/")).text
    owner.post(page, {"act": "enable"})
    assert Path.objects.get(id=path.id).status == PathStatus.ACTIVE
    changes = PathChange.objects.filter(path=path).order_by("at", "id").values_list("change", "actor")
    actor = f"user:{User.objects.get(username='owner@example.com').pk}"
    assert list(changes) == [("disable", actor), ("enable", actor)]


@pytest.mark.parametrize("role", ["reviewer", "viewer"])
def test_others_cannot_disable_a_path(sign_in: Callable[[str], Client], project: Project, role: str) -> None:
    outcomes(project, "m", "+-")
    path, client = Path.objects.of(project).get(), sign_in(role)
    page = address(project, page=f"paths/{shown('path', path.id)}/")
    assert page not in client.get(address(project)).text
    assert (client.get(page).status_code, client.post(page, {"act": "disable"}).status_code) == (403, 403)
    assert Path.objects.get(id=path.id).status == PathStatus.ACTIVE


def test_a_path_of_another_goal_is_not_found_here(owner: Client, project: Project) -> None:
    outcomes(project, "m", "+-")
    outcomes(project, "m", "+-", goal="other")
    path = Path.objects.of(project).get(goal__name="other")
    page = address(project, page=f"paths/{shown('path', path.id)}/")
    assert (owner.get(page).status_code, owner.post(page, {"act": "disable"}).status_code) == (404, 404)


@pytest.mark.parametrize("role", ["reviewer", "viewer"])
def test_others_read_everything_and_change_nothing(
    sign_in: Callable[[str], Client], project: Project, role: str
) -> None:
    outcomes(project, "m", "+-")
    client = sign_in(role)
    for page in ("", "log/", "settings/"):
        assert client.get(address(project, page=page)).status_code == 200
    page_text = client.get(address(project, page="settings/")).text
    assert "Only owners change these" in page_text
    assert ">Save<" not in page_text
    before = Goal.objects.of(project).values().get(name="book")
    for page in ("settings/", "preview/"):
        assert client.post(address(project, page=page), form(exploration_rate="0.5")).status_code == 403
    assert Goal.objects.of(project).values().get(name="book") == before


def test_a_goals_constraints_hold_for_requests_that_name_none(project: Project) -> None:
    outcomes(project, "good", "+" * 30)
    outcomes(project, "poor", "-" * 30)
    register_path(project, SYSTEM, "book", NewPath("unknown"))
    change_goal(project, "book", {"constraints": {"min_quality": 0.5, "max_cost_usd": None}})
    chosen = {decide(project, Asked("book")).path.model for _ in range(60)}  # type: ignore[union-attr]
    assert chosen <= {"good", "unknown"}
    assert "good" in chosen
    assert decide(project, Asked("book", models=("poor",))).path is None
    assert {path["model_id"] for path in state_snapshot(project, "book")["paths"]} == {"good", "unknown"}


# --- queries --------------------------------------------------------------------------------------------------


def grow(project: Project, paths: int) -> None:
    for number in range(paths):
        register_path(project, SYSTEM, "book", NewPath(f"more-{number}", params={"temperature": number / 100}))
        outcomes(project, f"more-{number}", "+-" * 3)
        verdict(project, f"more-{number}3600-0", False, at_random=True)
    path = Path.objects.of(project).filter(goal__name="book").first()
    assert path is not None
    for _ in range(paths):
        PathChange.objects.create(
            project=project, goal_id=path.goal_id, path=path, change="disable", actor="system", reason="on request"
        )
        decide(project, Asked("book"))


@pytest.mark.parametrize("page", ["", "log/", "settings/"])
def test_a_goals_pages_cost_the_same_with_a_hundred_paths(owner: Client, project: Project, page: str) -> None:
    grow(project, 3)
    few = cost(lambda: owner.get(address(project, page=page)))
    grow(project, 100)
    assert cost(lambda: owner.get(address(project, page=page))) == few <= MOST_QUERIES


def test_the_preview_costs_the_same_with_a_hundred_paths(owner: Client, project: Project) -> None:
    given = form(half_life_hours="10", auto_explore="on", bound_name_0="temperature", bound_low_0="0", bound_high_0="1")
    grow(project, 3)
    few = cost(lambda: owner.post(address(project, page="preview/"), given))
    grow(project, 100)
    assert cost(lambda: owner.post(address(project, page="preview/"), given)) == few <= MOST_QUERIES


def test_the_list_costs_the_same_with_a_thousand_goals(owner: Client, project: Project) -> None:
    def fill(first: int, last: int) -> None:
        rows = [(f"goal {number}", f"t-{number}-{place}") for number in range(first, last) for place in range(2)]
        record(
            project,
            [Observation(goal, Source.PROVIDER, trace, model="m", success=True) for goal, trace in rows],
        )

    fill(0, 10)
    few = cost(lambda: owner.get("/p/alice/goals/"))
    fill(10, 1000)
    assert cost(lambda: owner.get("/p/alice/goals/")) == few <= MOST_QUERIES
    assert cost(lambda: owner.get("/p/alice/goals/?page=20&status=insufficient_data&q=goal")) == few
