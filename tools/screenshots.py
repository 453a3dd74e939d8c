"""The README's pictures: a site of its own with the demo's two weeks in it, as one of its reviewers sees it.

`make screenshots`, or `python -m tools.screenshots FOLDER`.
"""

import base64
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "img"
EMAIL, PASSWORD = "mira@demo.agentloop.local", "for-the-pictures"
PROJECT = "demo"
PAGES = {"overview": "", "queue": "queue/", "goal": "goals/"}
GOAL = "book_meeting"
DESK, CARD = {"width": 1440, "height": 900}, {"width": 640, "height": 620}
SCALE, QUALITY = 1.5, 0.82
START_SECONDS = 180
TURN = {
    "question": "Order 70548 arrived 12 days ago and I never opened it. Can I still send it back?",
    "agent_response": "Unfortunately order 70548 is past our **14-day** return window, so I can't offer a refund.",
    "want_feedback_url": True,
}
# A picture is drawn anew by the browser, which writes WebP: a third of the size of PNG, without another library.
AS_WEBP = """async ([source, quality]) => {
    const image = new Image();
    image.src = source;
    await image.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.width, image.height];
    canvas.getContext("2d").drawImage(image, 0, 0);
    return canvas.toDataURL("image/webp", quality);
}"""


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home, site(Path(home)) as address, sync_playwright() as playwright:
        manage(Path(home), "demo")
        manage(Path(home), "member", "add", EMAIL, "--project", PROJECT, "--role", "reviewer", typed=PASSWORD)
        link = feedback_link(Path(home), address)
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        for theme in ("light", "dark"):
            for name, picture in pictures(browser, address, link, theme):
                path = folder / f"{name}-{theme}.webp"
                path.write_bytes(as_webp(browser, picture))
                print(f"{path.name}: {path.stat().st_size / 1024:.0f} kB")
        browser.close()


def pictures(browser: Browser, address: str, link: str, theme: Any) -> Iterator[tuple[str, bytes]]:
    desk = browser.new_context(viewport=DESK, color_scheme=theme, device_scale_factor=SCALE, base_url=address)  # type: ignore[arg-type]
    page = desk.new_page()
    sign_in(page)
    for name, path in PAGES.items():
        page.goto(f"/p/{PROJECT}/{path}", wait_until="networkidle")
        if name == "queue":
            page.get_by_role("button", name="Review next").first.click()
            page.locator("#correction").wait_for(state="attached")
            page.wait_for_load_state("networkidle")
        if name == "goal":
            page.get_by_role("link", name=GOAL).first.click()
            page.wait_for_load_state("networkidle")
        page.mouse.move(0, 0)
        yield name, page.screenshot()
    desk.close()
    card = browser.new_context(viewport=CARD, color_scheme=theme, device_scale_factor=SCALE)  # type: ignore[arg-type]
    page = card.new_page()
    page.goto(link, wait_until="networkidle")
    yield "widget", page.screenshot()
    card.close()


def sign_in(page: Page) -> None:
    page.goto("/accounts/login/")
    page.get_by_label("Email").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"**/p/{PROJECT}/")


def as_webp(browser: Browser, picture: bytes) -> bytes:
    page = browser.new_page()
    source = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
    drawn: str = page.evaluate(AS_WEBP, [source, QUALITY])
    page.close()
    return base64.b64decode(drawn.partition(",")[2])


def feedback_link(home: Path, address: str) -> str:
    key = re.findall(r"al_\S+", manage(home, "key", "create", "pictures", "--project", PROJECT))[0]
    answer = httpx.post(f"{address}/v1/turns", json=TURN, headers={"Authorization": f"Bearer {key}"}).raise_for_status()
    return str(address + "/f/" + answer.json()["feedback_url"].partition("/f/")[2])


# --- the site ---------------------------------------------------------------------------------------------------


@contextmanager
def site(home: Path) -> Iterator[str]:
    """An installation of its own, until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = [sys.executable, "manage.py", "up", "--no-demo", "--port", str(port)]
    log = (home / "log").open("w+")
    process = subprocess.Popen(arguments, cwd=ROOT, env=environment(home), stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + START_SECONDS
        while "AgentLoop runs" not in (home / "log").read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit((home / "log").read_text())
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)
        log.close()


def manage(home: Path, *arguments: str, typed: str = "") -> str:
    more = ["--password-stdin"] if typed else []
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments, *more],
        cwd=ROOT,
        env=environment(home),
        input=typed,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


def environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AGENTLOOP_")}
    for name in ("DATABASE_URL", "BROKER_URL", "DJANGO_SETTINGS_MODULE"):
        kept.pop(name, None)
    return kept | {"AGENTLOOP_HOME": str(home)}


def chromium() -> str:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    return found or sys.exit("No Chromium found: on Debian, apt-get install chromium.")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
