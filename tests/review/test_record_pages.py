"""The pages of verdicts and memories: found by every filter, paged by key, edited by whom the rules let."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from agentloop.actors import Actor
from agentloop.models import Project
from review import memories
from review.models import Annotation, AnnotationVersion, Memory
from tests.review.support import Caller, member

MARKUP = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


def client_of(name: str) -> Client:
    opened = Client()
    opened.force_login(User.objects.get(username=f"{name}@example.com"))
    return opened


@pytest.fixture
def owner(alice: Actor) -> Client:
    return client_of("alice")


@pytest.fixture
def reviewer(bob: Actor) -> Client:
    return client_of("bob")


@pytest.fixture
def viewer(project: Project) -> Client:
    member(project, "dana", "viewer")
    return client_of("dana")


def judge(call: Caller, question: str, **more: Any) -> Annotation:
    logged = {name: more.pop(name) for name in ("goal", "user_id", "model") if name in more}
    turn_id = call.log(question, f"answer to {question}", **logged).body["turn_id"]
    answer = call("POST", f"/v1/turns/{turn_id}/verdict", {"rating": "incorrect", **more})
    return Annotation.objects.get(id=answer.body["annotation_id"].removeprefix("ann_"))


def queries(client: Client, path: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(path).status_code == 200
    return len(captured)


# --- annotations ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", {"alpha", "beta", "gamma"}),
        ("rating=correct", {"beta"}),
        ("rating=", {"alpha", "beta", "gamma"}),
        ("root_cause=tool", {"alpha"}),
        ("source=api", {"alpha", "beta"}),
        ("source=end_user", {"gamma"}),
        ("tag=orders", {"alpha"}),
        ("goal=book_meeting", {"beta"}),
        ("since=2026-03-01", {"beta", "gamma"}),
        ("until=2026-03-01", {"alpha", "beta"}),
        ("since=2026-03-01&until=2026-03-01", {"beta"}),
        ("rating=incorrect&source=end_user", {"gamma"}),
    ],
)
def test_every_filter_finds_its_rows(call: Caller, owner: Client, query: str, shown: set[str]) -> None:
    rows = {
        "alpha": judge(call, "alpha", root_cause="tool", tags=["orders"]),
        "beta": judge(call, "beta", rating="correct", goal="book_meeting"),
        "gamma": judge(call, "gamma"),
    }
    for name, day in (("alpha", "2026-02-28"), ("beta", "2026-03-01"), ("gamma", "2026-03-02")):
        Annotation.objects.filter(id=rows[name].id).update(created_at=f"{day}T23:30:00Z")
    Annotation.objects.filter(id=rows["gamma"].id).update(source="end_user")
    text = owner.get(f"/p/acme/annotations/?{query}").text
    assert {name for name in rows if f">{name}<" in text} == shown


def test_a_reviewers_verdicts_and_a_programs(call: Caller, owner: Client, bob: Actor) -> None:
    by_bob = judge(call, "by bob")
    Annotation.objects.filter(id=by_bob.id).update(author=bob.ref)
    by_key = judge(call, "by a key")
    text = owner.get("/p/acme/annotations/", {"author": bob.ref}).text
    assert (">by bob<" in text, ">by a key<" in text) == (True, False)
    text = owner.get("/p/acme/annotations/", {"author": by_key.author}).text
    assert (">by bob<" in text, ">by a key<" in text) == (False, True)


def test_a_filter_that_cannot_be_read_says_so(call: Caller, owner: Client) -> None:
    judge(call, "alpha")
    text = owner.get("/p/acme/annotations/?rating=excellent&since=yesterday").text
    assert "Select a valid choice" in text
    assert "Enter a valid date." in text
    assert ">alpha<" not in text


def test_pages_follow_each_other_without_a_gap(call: Caller, owner: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("review.pages.annotations.PAGE", 2)
    for number in range(5):
        judge(call, f"question-{number}", tags=["t"])
    seen, path = [], "/p/acme/annotations/?tag=t"
    while path:
        answer = owner.get(path)
        seen += [row.question for row, _ in answer.context["rows"]]
        further = answer.context["further"]
        path = f"/p/acme/annotations/?{further}" if further else ""
    assert seen == [f"question-{number}" for number in reversed(range(5))]


def test_what_matches_is_downloaded_with_the_same_filters(call: Caller, owner: Client) -> None:
    judge(call, "alpha", tags=["orders & more"])
    judge(call, "beta")
    files = dict(owner.get("/p/acme/annotations/", {"tag": "orders & more"}).context["files"])
    lines = owner.get(files["jsonl"]).getvalue().decode().splitlines()
    assert [json.loads(line)["question"] for line in lines] == ["alpha"]


def test_the_list_of_the_api_takes_the_same_filters(call: Caller) -> None:
    judge(call, "alpha", root_cause="tool")
    judge(call, "beta", tags=["t"])
    found = call("GET", "/v1/annotations?root_cause=tool").body["annotations"]
    assert [one["question"] for one in found] == ["alpha"]
    assert [one["question"] for one in call("GET", "/v1/annotations?tag=t").body["annotations"]] == ["beta"]
    assert call("GET", "/v1/annotations?root_cause=luck").status == 422


def test_htmx_gets_the_rows_alone(call: Caller, owner: Client) -> None:
    judge(call, "alpha")
    text = owner.get("/p/acme/annotations/", headers={"HX-Request": "true"}).text
    assert (">alpha<" in text, "<html" in text) == (True, False)


# --- memories -------------------------------------------------------------------------------------------------


def remembered(call: Caller, question: str, fact: str, **more: Any) -> Memory:
    annotation = judge(call, question, correction=fact, **more)
    return Memory.objects.get(id=annotation.memory_id)


def test_a_search_counts_what_it_hands_out_and_nothing_else(call: Caller, owner: Client) -> None:
    ours = remembered(call, "when do you open", "At nine.")
    other = remembered(call, "who are you", "A robot.")
    for _ in range(3):
        assert len(call("POST", "/v1/memories/search", {"query": "open"}).body["memories"]) == 1
    ours.refresh_from_db()
    other.refresh_from_db()
    assert (ours.retrieved, other.retrieved, other.retrieved_at) == (3, 0, None)
    assert ours.retrieved_at
    assert timezone.now() - ours.retrieved_at < timedelta(minutes=1)
    text = owner.get("/p/acme/memories/").text
    assert "retrieved 3 times" in text
    assert "never retrieved" in text
    owner.get("/p/acme/memories/?q=open")
    ours.refresh_from_db()
    assert ours.retrieved == 3


def test_an_edited_memory_keeps_its_count(call: Caller, project: Project, owner: Client) -> None:
    memory = remembered(call, "when do you open", "At nine.")
    call("POST", "/v1/memories/search", {"query": "open"})
    answer = owner.post(f"/p/acme/memories/{memory.shown_id}/edit/", {"fact": "At ten, on Sundays at noon."})
    assert answer["Location"] == "/p/acme/memories/"
    memory.refresh_from_db()
    assert (memory.fact, memory.retrieved) == ("At ten, on Sundays at noon.", 1)
    [found] = memories.search(project, "open")
    assert found["fact"] == "At ten, on Sundays at noon."
    assert AnnotationVersion.objects.filter(annotation_id=memory.source_id).count() == 2


@pytest.mark.parametrize(
    ("query", "shown"),
    [("", 2), ("q=noon+order", 1), ("q=nothing", 0), ("user=ann", 1), ("tag=orders", 1), ("q=%21%21", 2)],
)
def test_memories_are_found(call: Caller, owner: Client, query: str, shown: int) -> None:
    remembered(call, "when is my order here", "At noon.", tags=["orders"])
    theirs = {"question": "who are you", "agent_response": "", "rating": "partial", "correction": "A robot."}
    assert call("POST", "/v1/annotations", {**theirs, "user_id": "ann"}).status == 201
    assert len(owner.get(f"/p/acme/memories/?{query}").context["rows"]) == shown


def test_memories_are_paged_without_a_gap(call: Caller, owner: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("review.pages.memories.PAGE", 2)
    for word in ("one", "two", "three", "four", "five"):
        remembered(call, f"{word} {word}", f"{word} is {word}")
    Memory.objects.update(updated_at=timezone.now())
    seen, path = [], "/p/acme/memories/"
    while path:
        answer = owner.get(path)
        seen += [memory.fact for memory, _, _ in answer.context["rows"]]
        further = answer.context["further"]
        path = f"/p/acme/memories/?{further}" if further else ""
    assert len(seen) == len(set(seen)) == 5
    assert owner.get("/p/acme/memories/?before=2026~x").status_code == 200


def test_who_may_edit_a_memory(call: Caller, owner: Client, reviewer: Client, bob: Actor, viewer: Client) -> None:
    memory = remembered(call, "when do you open", "At nine.")
    path = f"/p/acme/memories/{memory.shown_id}/edit/"
    assert path in owner.get("/p/acme/memories/").text
    assert path not in reviewer.get("/p/acme/memories/").text
    refused = reviewer.post(path, {"fact": "At ten."})
    assert (refused.status_code, "Only the one who gave this verdict" in refused.text) == (422, True)
    Annotation.objects.update(author=bob.ref)
    assert path in reviewer.get("/p/acme/memories/").text
    assert reviewer.post(path, {"fact": "At ten."}).status_code == 302
    assert viewer.get("/p/acme/memories/").status_code == 200
    for act in ("edit", "revoke"):
        assert viewer.post(f"/p/acme/memories/{memory.shown_id}/{act}/", {"fact": "x"}).status_code == 403


def test_a_memory_without_words_is_revoked_not_edited(call: Caller, owner: Client) -> None:
    memory = remembered(call, "when do you open", "At nine.")
    assert owner.post(f"/p/acme/memories/{memory.shown_id}/edit/", {"fact": " \n "}).status_code == 422
    memory.refresh_from_db()
    assert memory.fact == "At nine."


def test_what_outlived_its_turn_can_go_but_not_change(call: Caller, owner: Client) -> None:
    memory = remembered(call, "when do you open", "At nine.")
    Annotation.objects.update(outlived_at=timezone.now())
    path = f"/p/acme/memories/{memory.shown_id}/edit/"
    assert path not in owner.get("/p/acme/memories/").text
    assert "revoke it instead" in owner.post(path, {"fact": "At ten."}).text
    assert owner.post(f"/p/acme/memories/{memory.shown_id}/revoke/").status_code == 302
    assert not Memory.objects.exists()


def test_a_revoked_memory_is_gone_from_agents_and_its_verdict_stays(call: Caller, reviewer: Client) -> None:
    memory = remembered(call, "when do you open", "At nine.")
    assert reviewer.post(f"/p/acme/memories/{memory.shown_id}/revoke/").status_code == 302
    assert call("POST", "/v1/memories/search", {"query": "open"}).body["memories"] == []
    assert Annotation.objects.count() == 1
    assert reviewer.post(f"/p/acme/memories/{memory.shown_id}/revoke/").status_code == 404


# --- both -----------------------------------------------------------------------------------------------------


def test_queries_do_not_grow_with_rows(call: Caller, owner: Client) -> None:
    paths = ("/p/acme/annotations/", "/p/acme/memories/", "/p/acme/memories/?q=fact&tag=t")

    def fill(start: int, count: int) -> None:
        for number in range(start, start + count):
            remembered(call, f"{number} {number * 7919}", f"fact {number} {number * 104729}", tags=["t"])

    fill(0, 2)
    before = {path: queries(owner, path) for path in paths}
    fill(2, 20)
    assert {path: queries(owner, path) for path in paths} == before
    assert max(before.values()) <= 12


@pytest.mark.parametrize("texts", [{"correction": MARKUP}, {"comment": MARKUP, "rating": "partial"}])
def test_what_somebody_wrote_is_text(
    call: Caller, owner: Client, texts: dict[str, str], with_settings: Callable[..., Project]
) -> None:
    judge(call, MARKUP, tags=[MARKUP[:60]], goal=MARKUP, model=MARKUP, user_id=MARKUP, reviewer=MARKUP[:60], **texts)
    paths = ["/p/acme/annotations/", f"/p/acme/annotations/?tag={MARKUP[:60]}", "/p/acme/memories/"]
    paths += [f"/p/acme/memories/{memory.shown_id}/edit/" for memory in Memory.objects.all()]
    for path in paths:
        text = owner.get(path).text
        assert "<script>alert" not in text
        assert "<img src=x" not in text
    assert "&lt;script&gt;" in owner.get(paths[0]).text
