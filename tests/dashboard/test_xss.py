"""A corpus through every field that a client, an end user or a member can send, on every page that shows it: inert."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from agentloop.models import Project
from review.models import Annotation, Turn
from tests.dashboard.support import Reviewer, elements, path_of, post
from tests.review.support import Caller, move_time, settle_index, turn_of

QUEUE = "/p/acme/queue/"
CORPUS = [
    "<script>window.hacked=1</script>",
    "<img src=x onerror=window.hacked=1>",
    '"><svg onload=window.hacked=1>',
    "'-window.hacked=1-'",
    "</textarea></title></style></script><script>window.hacked=1</script>",
    "[x](javascript:window.hacked=1)",
    "{{constructor.constructor('window.hacked=1')()}}",
    '" hx-get="/x" hx-trigger=load data-x="',
]


def fill(call: Caller, bob: Client, project: Project, evil: str) -> dict[str, Turn]:
    """The string in every field there is; a waiting turn, one with a draft, a judged, a dismissed and a flagged one."""
    User.objects.filter(username="bob@example.com").update(first_name=evil[:150])

    def log(name: str) -> Turn:
        return turn_of(
            call.log(
                f"{evil} {name}",
                f"{evil}\n\n```html\n{evil}\n```",
                signals={evil: evil, "kind": {"deep": [evil]}, "thumbs_down": True},
                metadata={evil: evil, "nested": {"x": evil}},
                tags=[evil[:100]],
                user_id=evil,
                session_id=evil,
                goal=evil,
                model=evil,
                path_id=evil,
                trace_id=f"{evil}{name}",
            )
        )

    turns = {name: log(name) for name in ("waiting", "drafted", "judged", "dismissed", "flagged")}
    said = {"rating": "incorrect", "correction": f"{evil} better", "comment": evil, "tags": evil.replace(",", "")[:90]}
    post(bob, path_of(turns["drafted"], "draft"), **said)
    post(bob, path_of(turns["judged"], "verdict"), **said)
    post(bob, path_of(turns["dismissed"], "dismiss"), comment=evil)
    post(bob, path_of(turns["flagged"], "escalate"), comment=evil)
    post(bob, f"{QUEUE}views/?goal=pay", name=evil[:60], is_shared="true")
    judged = turns["judged"]
    Annotation.objects.create(
        project=project, turn=judged, question=evil, response=evil, content_hash=judged.content_hash,
        source="end_user", author=evil, author_label=evil, rating="incorrect", comment=evil, correction=evil,
    )  # fmt: skip
    # Bob came to hold what is next; his claims have lapsed by now.
    move_time(claimed_until="-1 hour")
    settle_index()
    return turns


def pages(turns: dict[str, Turn], evil: str) -> list[str]:
    from urllib.parse import urlencode

    queries = [{"q": evil}, {"goal": evil}, {"signal": evil}, {"older_than": evil}, {"sort": evil}, {"cursor": evil}]
    return [
        "/p/acme/",
        QUEUE,
        f"{QUEUE}?status=reviewed",
        f"{QUEUE}?status=dismissed",
        *(f"{QUEUE}?{urlencode(query)}" for query in queries),
        *(path_of(turn) for turn in turns.values()),
        *(f"{path_of(turn)}?raw=1" for turn in turns.values()),
    ]


def harms(html: str) -> list[Any]:
    """What in a page came from outside: anything that runs, loads or asks elsewhere."""
    found = []
    for tag, attributes in elements(html):
        runs = any(name.startswith("on") or name in ("style", "srcdoc") for name in attributes)
        goes = any(
            attributes.get(name, "").strip().lower().startswith("javascript") for name in ("href", "src", "action")
        )
        is_ours = attributes.get("src", "/static/").startswith("/static/")
        asks = attributes.get("hx-get", "/p/").startswith("/p/")
        if runs or goes or not is_ours or not asks or tag in ("iframe", "object", "embed", "base", "style"):
            found.append((tag, attributes))
        if tag == "script" and "src" not in attributes:
            found.append((tag, attributes))
    return found


@pytest.mark.parametrize("evil", CORPUS)
def test_every_page_shows_it_as_text(bob: Client, alice: Client, call: Caller, project: Project, evil: str) -> None:
    turns = fill(call, bob, project, evil)
    call("POST", "/v1/gold", {"turn_id": turns["judged"].shown_id})
    written = {"question": evil, "agent_response": evil, "rating": "partial", "explanation": evil, "goal": evil}
    assert call("POST", "/v1/gold", written).status == 201
    for path in (*pages(turns, evil), "/p/acme/quality/gold/"):
        answer = alice.get(path)
        assert answer.status_code == 200, path
        assert harms(answer.text) == [], path
    chosen = {"turn": turns["waiting"].shown_id}
    assert harms(post(alice, f"{QUEUE}bulk/", act="tag", **chosen).text) == []
    job = post(alice, f"{QUEUE}bulk/run/", act="tag", tags=evil.replace(",", ""), **chosen)["Location"]
    assert harms(alice.get(job).text) == []


def test_the_policy_lets_nothing_run_that_is_not_ours(bob: Client, call: Caller) -> None:
    policy = bob.get(path_of(turn_of(call.log())))["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "default-src 'self'" in policy


def test_a_browser_runs_none_of_it(
    transactional_db: None, bob: Client, call: Caller, project: Project, reviewer: Any
) -> None:
    evil = "".join(CORPUS)
    turns = fill(call, bob, project, evil)
    dora: Reviewer = reviewer("dora", "owner")
    for path in (QUEUE, *(path_of(turn) for turn in turns.values())):
        page = dora.opens(path)
        page.wait_for_timeout(200)
        assert page.evaluate("window.hacked") is None, path
    dora.opens(path_of(turns["waiting"]))
    dora.presses("e")
    page.locator("#correction").press_sequentially("<img src=x onerror=window.hacked=1>")
    page.locator("#diff ins").first.wait_for()
    assert page.evaluate("window.hacked") is None
    assert dora.said == []
