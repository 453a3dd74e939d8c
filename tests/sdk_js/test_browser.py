"""The client as a page loads it: plain modules, no build step, in a real browser, against a running server."""

import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.sdk_python.conftest import Home

SDK = Path(__file__).parents[2] / "sdk" / "js" / "src"
PAGE = """<!doctype html><meta charset="utf-8"><title>shop</title><script type="module">
import { AgentLoop, Router } from "/client/index.js";
import { Signals } from "/client/signals/index.js";
window.client = { AgentLoop, Router, Signals };
</script>"""


@pytest.fixture
def shop(page: Any, home: Home) -> Any:
    """A page beside the server, as behind one proxy, with the client's own files."""

    def serve(route: Any) -> None:
        name = route.request.url.partition("/client/")[2]
        route.fulfill(body=(SDK / name).read_text("utf-8"), content_type="text/javascript")

    page.route("**/client/**", serve)
    page.route("**/shop.html", lambda route: route.fulfill(body=PAGE, content_type="text/html"))
    page.goto(f"{home.url}/shop.html")
    page.wait_for_function("() => window.client")
    return page


def test_a_page_logs_searches_and_chooses(shop: Any, home: Home, session_id: str) -> None:
    seen = shop.evaluate(
        """async ([apiKey, baseUrl, sessionId]) => {
          const { AgentLoop, Router, Signals } = window.client;
          const loop = new AgentLoop({ apiKey, baseUrl });
          for (let n = 0; n < 20; n++) loop.logTurn(`question ${n} 🌙`, sessionId, { sessionId });
          const receipt = await loop.logTurn("waited", sessionId, { sessionId, wait: true });
          const router = new Router({ goal: sessionId, paths: ["m"], client: loop });
          const ready = await router.ready();
          router.choose();
          router.report({ success: true });
          const reading = new Signals(loop).reportUserTurn("s", "Perfect, thanks!");
          const flushed = await loop.flush();
          return { id: receipt.turnId, ready, kind: reading.kind, flushed, stats: loop.stats };
        }""",
        [home.api_key, home.url, session_id],
    )
    assert seen["id"].startswith("turn_")
    assert (seen["ready"], seen["kind"], seen["flushed"]) == (True, "accept", True)
    assert (seen["stats"]["sent"], seen["stats"]["refused"]) == (22, 0)
    assert len(home.turns(session_id)) == 21


def test_what_waits_goes_out_when_the_page_is_left(shop: Any, home: Home, session_id: str) -> None:
    shop.evaluate(
        """([apiKey, baseUrl, sessionId]) => {
          const loop = new window.client.AgentLoop({ apiKey, baseUrl });
          addEventListener("beforeunload", () => {
            for (let n = 0; n < 30; n++) loop.logTurn(`leaving ${n}`, sessionId, { sessionId });
          });
        }""",
        [home.api_key, home.url, session_id],
    )
    shop.goto("about:blank")
    assert {turn["question"] for turn in home.turns_once(session_id, 30)} == {f"leaving {n}" for n in range(30)}


def test_a_page_without_a_server_goes_on(shop: Any) -> None:
    told: list[str] = []
    shop.on("console", lambda message: told.append(message.text))
    shop.on("pageerror", lambda error: told.append(f"thrown: {error}"))
    waiting = shop.evaluate(
        """async (key) => {
          const loop = new window.client.AgentLoop({ apiKey: key, baseUrl: "http://127.0.0.1:1" });
          loop.logTurn("a question", "an answer");
          await loop.flush(300);
          return loop.stats.waiting;
        }""",
        uuid.uuid4().hex,
    )
    assert waiting == 1
    assert not [one for one in told if "thrown" in one or "a question" in one]
