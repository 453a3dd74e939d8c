"""The page of downloads: its filters are the files', and a browser shows how far a download is."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from agentloop.actors import Actor
from tests.agentloop.test_pages import sign_in
from tests.review.support import Caller, caller_for, make_project, member


def client_of(name: str) -> Client:
    opened = Client()
    opened.force_login(User.objects.get(username=f"{name}@example.com"))
    return opened


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 3),
        ("kind=turns&status=pending", 2),
        ("kind=turns&signal=score>3&goal=g", 1),
        ("kind=turns&since=2030-01-01", 0),
        ("kind=annotations&rating=correct", 1),
        ("kind=annotations&rating=incorrect", 0),
        ("kind=audit&act=verdict", 1),
    ],
)
def test_the_count_is_the_files(call: Caller, alice: Actor, query: str, count: int) -> None:
    judged = call.log("judged").body["turn_id"]
    call("POST", f"/v1/turns/{judged}/verdict", {"rating": "correct"})
    call.log("high", signals={"score": 4}, goal="g")
    call.log("low", signals={"score": 2}, goal="g")
    client = client_of("alice")
    answer = client.get(f"/p/acme/exports/?{query}")
    files = {file["form"]: file["url"] for file in answer.context["files"]}
    lines = client.get(files["jsonl"]).getvalue().decode().splitlines()
    assert (answer.context["count"], len([json.loads(line) for line in lines])) == (count, count)


def test_a_filter_that_cannot_be_read_says_so(alice: Actor) -> None:
    text = client_of("alice").get("/p/acme/exports/?kind=turns&signal=score<many&since=soon").text
    assert "Enter a valid date." in text
    text = client_of("alice").get("/p/acme/exports/?kind=turns&signal=score<many").text
    assert "compares with &lt;, which takes a number." in text


def test_the_log_is_for_owners(bob: Actor, call: Caller) -> None:
    client = client_of("bob")
    assert "kind=audit" not in client.get("/p/acme/exports/").text
    assert client.get("/p/acme/exports/?kind=audit").status_code == 403


def test_queries_do_not_grow_with_rows(alice: Actor, call: Caller) -> None:
    client = client_of("alice")

    def count() -> int:
        with CaptureQueriesContext(connection) as captured:
            client.get("/p/acme/exports/")
        return len(captured)

    before = count()
    call("POST", "/v1/turns/batch", {"turns": [{"question": f"q{n}", "agent_response": ""} for n in range(50)]})
    assert count() == before <= 12


def test_a_download_is_seen_coming_and_saved(
    page: Any, live_server: Any, transactional_db: None, tmp_path: Path
) -> None:
    project = make_project("acme")
    member(project, "alice", "owner")
    call = caller_for(project)
    call("POST", "/v1/turns/batch", {"turns": [{"question": f"q{n}", "agent_response": "a"} for n in range(300)]})
    page.goto(f"{live_server.url}/accounts/login/?next=/p/acme/exports/")
    sign_in(page)
    page.get_by_text("300 rows match.").wait_for()
    with page.expect_download() as coming:
        page.get_by_role("link", name="Download JSONL").click()
    coming.value.save_as(tmp_path / "turns.jsonl")
    assert coming.value.suggested_filename.startswith("acme-turns-")
    assert len((tmp_path / "turns.jsonl").read_text().splitlines()) == 300
    page.get_by_text("Done:").wait_for()
    page.get_by_label("Goal").fill("nothing")
    page.get_by_text("0 rows match.").wait_for()
    page.wait_for_url("**goal=nothing**")
