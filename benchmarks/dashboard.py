"""The reviewers' pages with ten thousand and with a million pending turns, and the time from a key to the next turn.

python -m benchmarks.dashboard [--quick]
"""

import gzip
import http.client
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks import rig

SMALL, LARGE = 10_000, 1_000_000
EMAIL = "bench@example.com"
KEYS = 60


def main(quick: bool = False) -> list[str]:
    large, rounds = (50_000, 60) if quick else (LARGE, 300)
    rows: dict[str, list[str]] = {}
    with rig.home():
        for count in (SMALL, large):
            project, _ = rig.new_project(f"Desk {count}")
            rig.fill(project, count)
            session = _session(project)
            with rig.web(18812) as port:
                for name, text in _pages(port, project, session, rounds).items():
                    rows.setdefault(name, []).append(text)
                if count == large:
                    keys = _keys(port, project, session)
                    weight = _weight(port, project, session)
    lines = [f"| page | {SMALL:,} pending | {large:,} pending |", "|---|---|---|"]
    lines += [f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()]
    return [*lines, "", *keys, *weight]


def _session(project: Any) -> str:
    from django.contrib.auth.models import User
    from django.test import Client

    from agentloop.actors import SYSTEM
    from agentloop.tenancy import add_member

    add_member(project=project, actor=SYSTEM, email=EMAIL, role="owner", password="only-for-benchmarks")
    client = Client()
    client.force_login(User.objects.get(username=EMAIL))
    return client.cookies["sessionid"].value


class _Desk:
    """One member on one connection."""

    def __init__(self, port: int, session: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.headers = {"Cookie": f"sessionid={session}; csrftoken={'a' * 32}", "X-CSRFToken": "a" * 32}

    def asks(self, method: str, path: str, body: str = "", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
        form = {"Content-Type": "application/x-www-form-urlencoded"} if body or method == "POST" else {}
        sent = {**self.headers, **form, **{name.replace("_", "-"): value for name, value in headers.items()}}
        self.connection.request(method, path, body, sent)
        answer = self.connection.getresponse()
        return answer, answer.read()


def _pages(port: int, project: Any, session: str, rounds: int) -> dict[str, str]:
    from review.models import Turn

    desk, base = _Desk(port, session), f"/p/{project.slug}"
    turns = list(Turn.objects.of(project).pending().by_priority()[: rounds + 20])
    places = iter(turns)

    def verdict() -> None:
        turn = next(places)
        path = f"{base}/queue/turns/{turn.shown_id}/verdict/"
        answer, _ = desk.asks("POST", path, "stroke=accept", HX_Request="true", X_Has_Next="true")
        assert answer.status == 200, answer.status

    def get(path: str) -> Callable[[], None]:
        def look() -> None:
            answer, _ = desk.asks("GET", path)
            assert answer.status == 200, (path, answer.status)

        return look

    wanted = {
        "queue": get(f"{base}/queue/"),
        "queue, filtered by goal": get(f"{base}/queue/?goal=goal_7"),
        "turn": get(f"{base}/queue/turns/{turns[-1].shown_id}/"),
        "verdict": verdict,
        "overview": get(f"{base}/"),
    }
    return {name: _timed(act, rounds) for name, act in wanted.items()}


def _timed(act: Callable[[], None], rounds: int) -> str:
    for _ in range(10):
        act()
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        act()
        times.append((time.perf_counter() - begun) * 1000)
    return f"p50 {statistics.median(times):.1f}, p99 {statistics.quantiles(times, n=100)[98]:.1f} ms"


# Watches the desk from the key to the frame after the next turn stands there.
_WATCH = """
() => {
    window.took = [];
    let pressed = 0;
    document.addEventListener("keydown", () => { pressed = performance.now(); }, true);
    new MutationObserver((changes) => {
        if (!changes.some((change) => [...change.addedNodes].some((node) => node.id === "work"))) return;
        const from = pressed;
        requestAnimationFrame(() => setTimeout(() => window.took.push(performance.now() - from)));
    }).observe(document.getElementById("content"), { childList: true });
}
"""


def _keys(port: int, project: Any, session: str) -> list[str]:
    from playwright.sync_api import sync_playwright

    from tests.conftest import CHROMIUM_FLAGS, chromium

    executable = chromium()
    if executable is None:
        return ["key to painted next turn: no Chromium found"]
    address = f"http://127.0.0.1:{port}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_FLAGS)
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        context.add_cookies([{"name": "sessionid", "value": session, "url": address}])
        page = context.new_page()
        page.goto(f"{address}/p/{project.slug}/queue/")
        page.wait_for_load_state("load")
        page.evaluate(_WATCH)
        page.keyboard.press("Enter")
        page.wait_for_function("() => window.took.length === 1")
        for number in range(KEYS):
            # A practised reviewer judges a turn every few seconds; this one takes a third of a second.
            page.wait_for_timeout(300)
            page.keyboard.press("y" if number % 2 else "n")
            page.wait_for_function(f"() => window.took.length === {number + 2}")
        took = sorted(page.evaluate("window.took")[1:])
        browser.close()
    p95 = took[int(len(took) * 0.95) - 1]
    return [f"key to painted next turn, {KEYS} verdicts: p50 {statistics.median(took):.0f}, p95 {p95:.0f} ms"]


def _weight(port: int, project: Any, session: str) -> list[str]:
    """What the first visit to a turn loads, as a proxy that compresses would send it."""
    import re

    desk = _Desk(port, session)
    _, html = desk.asks("GET", f"/p/{project.slug}/queue/")
    files = set(re.findall(rb'/static/[^"]+\.(?:css|js|svg)', html))
    files |= {
        f"/static/js/{name}.js".encode()
        for name in ("live", "keys", "times", "theme", "claims", "drafts", "diff", "requests")
    }
    bodies = [html, *(desk.asks("GET", path.decode())[1] for path in sorted(files))]
    whole = sum(len(gzip.compress(body)) for body in bodies)
    return [f"page weight: {whole / 1000:.0f} kB compressed, {sum(map(len, bodies)) / 1000:.0f} kB as it is"]


if __name__ == "__main__":
    print("\n".join(main("--quick" in sys.argv)))
