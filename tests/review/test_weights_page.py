"""Signal weights: tried on the last turns, kept when they are saved, refused where they make no sense."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from agentloop.actors import Actor
from agentloop.models import Project
from review import priority, weighing
from tests.review.support import Caller

PATH = "/p/acme/settings/weights/"


@pytest.fixture
def owner(alice: Actor) -> Client:
    opened = Client()
    opened.force_login(User.objects.get(username="alice@example.com"))
    return opened


@pytest.fixture
def turns(call: Caller) -> None:
    call.log("liked", signals={"thumbs_up": True})
    call.log("punted", signals={"agent_punted": True})
    call.log("strange", signals={"odd_signal": True})
    call.log("disliked", signals={"thumbs_down": True})


def said(**weights: str) -> dict[str, Any]:
    return {"signal": list(weights), "weight": list(weights.values()), "default": "1"}


def order(answer: Any) -> list[str]:
    return [one.turn.asked for one in answer.context["moved"]]


def test_the_preview_reorders_the_last_turns_and_keeps_nothing(owner: Client, turns: None, project: Project) -> None:
    assert order(owner.get(PATH)) == ["disliked", "punted", "strange", "liked"]
    answer = owner.post(PATH, {**said(agent_punted="9", thumbs_down="-3"), "act": "preview"})
    assert order(answer) == ["punted", "strange", "liked", "disliked"]
    first = answer.context["moved"][0]
    assert (first.before, first.after, first.points_before, first.points_after) == (2, 1, 2.0, 9.0)
    project.refresh_from_db()
    assert "signal_weights" not in project.settings


def test_at_every_change_the_preview_comes_alone(owner: Client, turns: None) -> None:
    answer = owner.post(PATH, {**said(agent_punted="9"), "act": "preview"}, headers={"HX-Request": "true"})
    assert ("turns would move" in answer.text, "<form" in answer.text) == (True, False)


def test_saved_weights_hold_for_the_next_turn_and_only_what_differs_is_kept(
    owner: Client, call: Caller, project: Project
) -> None:
    data = {**said(agent_punted="9", thumbs_down="5", mine="2.5", empty=""), "default": "0", "act": "save"}
    assert owner.post(PATH, data).status_code == 302
    project.refresh_from_db()
    assert project.settings["signal_weights"] == {"agent_punted": 9.0, "mine": 2.5}
    turn_id = call.log(signals={"agent_punted": True, "unknown": True, "mine": True}).body["turn_id"]
    points = {one["reason"]: one["points"] for one in call("GET", f"/v1/turns/{turn_id}").body["reasons"]}
    assert points | {"signal agent_punted": 9.0, "signal mine": 2.5} == points
    assert "signal unknown" not in points
    owner.post(PATH, {**said(agent_punted="", mine=""), "act": "save"})
    project.refresh_from_db()
    assert not {"signal_weights", "default_signal_weight"} & set(project.settings)


@pytest.mark.parametrize("weight", ["many", "101", "nan", "1e999"])
def test_a_weight_that_is_none_is_refused_at_its_field(owner: Client, project: Project, weight: str) -> None:
    answer = owner.post(PATH, {**said(thumbs_down=weight), "act": "save"})
    assert (answer.status_code, "Takes a number from -100 to 100." in answer.text) == (422, True)
    project.refresh_from_db()
    assert "signal_weights" not in project.settings


def test_the_preview_weighs_as_intake_does(turns: None, call: Caller, project: Project) -> None:
    call.log("mixed", signals={"confidence": 0.3, "gap_hours": 9, "thumbs_down": True, "text": "words"})
    found = weighing.newest_turns(project)
    for one in weighing.tried(project, found, {}, 1.0):
        one.turn.refresh_from_db()
        assert one.points_before == one.points_after == round(one.turn.priority, 3)
    assert priority.weights_of(project)["thumbs_down"] == 5.0


def test_names_of_signals_are_text(owner: Client, call: Caller) -> None:
    call.log("<script>alert(1)</script>", signals={"<img src=x onerror=alert(1)>": True})
    text = owner.get(PATH).text
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert "&lt;img src=x" in text
