"""The form in a browser: on a phone and a desk, in frames, without scripts, by keyboard alone, for everyone."""

import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from agentloop.actors import SYSTEM
from agentloop.models import Project
from agentloop.tenancy import change_settings
from review.models import Annotation
from tests.agentloop.test_pages import sign_in
from tests.feedback_widget.support import Widget
from tests.looks import SIZES, problems_of
from tests.review.support import member

pytestmark = pytest.mark.django_db(transaction=True)

ANSWER = "We open at **noon** on Sundays.\n\n" + "Please bring your ticket and something to read. " * 14
ARABIC = ("متى تفتحون أبوابكم يوم الأحد؟", "نفتح **ظهرًا** يوم الأحد ونغلق في السادسة مساءً.")


@pytest.fixture
def open_page(browser: Any, live_server: Any) -> Iterator[Callable[..., Any]]:
    """A page in a context of its own; what it says on the console and asks of the network is kept on it."""
    contexts = []

    def opened(size: str = "phone", **options: Any) -> Any:
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height}, base_url=live_server.url, **{"locale": "en-US", **options}
        )
        context.set_default_timeout(5_000)
        contexts.append(context)
        page = context.new_page()
        page.said, page.asked = [], []
        page.on("console", lambda message: page.said.append(message.text))
        page.on("request", lambda request: page.asked.append(request.url))
        return page

    yield opened
    for context in contexts:
        context.close()


@pytest.mark.parametrize("size", SIZES)
def test_tap_write_send_and_change_ones_mind(open_page: Callable[..., Any], widget: Widget, size: str) -> None:
    page = open_page(size)
    page.goto(widget.link(u="u_1"))
    assert page.get_by_label("What should it have said?").is_hidden()
    page.get_by_role("radio", name="No").check()
    page.get_by_role("checkbox", name="Something is missing").check()
    page.get_by_label("What should it have said?").fill("At nine.")
    page.get_by_role("button", name="Send").click()
    page.get_by_role("heading", name="Thank you").wait_for()
    assert Annotation.objects.get().correction == "At nine."
    page.get_by_role("link", name="Change my answer").click()
    assert page.get_by_role("radio", name="No").is_checked()
    assert page.get_by_label("What should it have said?").input_value() == "At nine."
    page.get_by_role("radio", name="Yes").check()
    page.get_by_role("button", name="Send the change").click()
    page.get_by_role("heading", name="Thank you").wait_for()
    annotation = Annotation.objects.get()
    assert (annotation.rating, annotation.correction, annotation.user_id) == ("correct", "", "u_1")
    assert (page.said, page.context.cookies()) == ([], [])


def test_one_round_trip_and_no_one_else_is_asked(open_page: Callable[..., Any], widget: Widget) -> None:
    page = open_page()
    page.goto(widget.link(), wait_until="networkidle")
    assert len(page.asked) == 1


def test_one_tap_from_a_mail(open_page: Callable[..., Any], widget: Widget) -> None:
    page = open_page()
    page.goto(widget.published(user_id="u") + "&rating=incorrect")
    assert page.get_by_role("radio", name="No").is_checked()
    assert not Annotation.objects.exists()
    page.get_by_role("button", name="Send").click()
    page.get_by_role("heading", name="Thank you").wait_for()
    assert Annotation.objects.get().rating == "incorrect"


def test_without_scripts(open_page: Callable[..., Any], widget: Widget) -> None:
    page = open_page(java_script_enabled=False)
    page.goto(widget.link(response=ANSWER))
    page.get_by_text("Show all").click()
    assert page.get_by_text("Show less").is_visible()
    page.get_by_role("radio", name="Partly").check()
    page.get_by_label("Anything else?").fill("Nearly.")
    page.get_by_role("button", name="Send").click()
    page.get_by_role("heading", name="Thank you").wait_for()
    assert Annotation.objects.get().comment == "Nearly."


def test_by_keyboard_alone(open_page: Callable[..., Any], widget: Widget) -> None:
    page = open_page("desk")
    page.goto(widget.link())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") == "rating"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert page.get_by_role("radio", name="No").is_checked()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert page.get_by_role("checkbox", name="The facts are wrong").is_checked()
    while page.evaluate("document.activeElement.id") != "correction":
        page.keyboard.press("Tab")
    page.keyboard.type("At nine.")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "comment"
    page.keyboard.press("Tab")
    # The field that is only there for programs is passed over.
    assert page.evaluate("document.activeElement.tagName") == "BUTTON"
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Thank you").wait_for()
    assert (Annotation.objects.get().correction, Annotation.objects.get().tags) == ("At nine.", ["wrong-facts"])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("scheme", "locale"), [("light", "en-US"), ("dark", "de-DE"), ("light", "ar-EG")])
def test_everyone_can_use_every_page(
    open_page: Callable[..., Any], widget: Widget, size: str, scheme: str, locale: str
) -> None:
    question, answer = ARABIC if locale == "ar-EG" else ("When do you open on Sundays?", ANSWER)
    link = widget.link(question, answer, u=scheme)
    page = open_page(size, color_scheme=scheme, bypass_csp=True, locale=locale)
    found = {}
    for name, path in {
        "empty": link,
        "preselected": f"{link}?rating=incorrect",
        "forged": f"{link}x",
        "expired": widget.published(at=int(time.time()) - 40 * 86400),
    }.items():
        page.goto(path)
        found[name] = problems_of(page)
    page.goto(f"{link}?rating=incorrect")
    page.locator(".chips label").first.click()
    # A colour on its way to another has the contrast of neither.
    page.evaluate("Promise.all(document.getAnimations().map(one => one.finished)).then(() => null)")
    found["chosen"] = problems_of(page)
    page.locator("button").click()
    page.locator(".end").wait_for()
    found["thanks"] = problems_of(page)
    assert found == {name: [] for name in found}


# --- frames ---------------------------------------------------------------------------------------------------


class Site:
    """Somebody's own web site, at an origin of its own, with one page."""

    def __init__(self) -> None:
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(site.html.encode())

            def log_message(self, *args: Any) -> None:
                pass

        self.html = ""
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def allowed(project: Project) -> Iterator[Site]:
    site = Site()
    change_settings(project=project, actor=SYSTEM, changes={"widget_origins": [site.origin]})
    yield site
    site.close()


@pytest.fixture
def foreign(allowed: Site) -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


@pytest.fixture
def framed(open_page: Callable[..., Any], live_server: Any) -> Callable[..., Any]:
    """A site's page that loads embed.js and shows a link."""

    def opened(site: Site, link: str, show: str = "frame") -> Any:
        page = open_page("desk")
        site.html = f"""<!doctype html><title>A shop</title><p>An answer.</p>
        <script>addEventListener("agentloop:feedback", (said) => document.title = "said " + said.detail.rating)</script>
        <div data-agentloop-feedback="{live_server.url}{link}" data-show="{show}" data-text="Right?"></div>
        <script src="{live_server.url}/static/widget/embed.js"></script>"""
        page.goto(site.origin)
        return page

    return opened


def test_a_frame_on_an_allowed_origin(framed: Callable[..., Any], allowed: Site, widget: Widget) -> None:
    page = framed(allowed, widget.link(response=ANSWER))
    form = page.frame_locator("iframe")
    height = "document.querySelector('iframe').style.height"
    form.get_by_role("radio", name="No").wait_for()
    page.wait_for_function(f"{height} && {height} !== '26rem'")
    before = page.evaluate("document.querySelector('iframe').offsetHeight")
    form.get_by_role("radio", name="No").check()
    page.wait_for_function(f"document.querySelector('iframe').offsetHeight > {before} + 100")
    form.get_by_role("button", name="Send").click()
    form.get_by_role("heading", name="Thank you").wait_for()
    page.wait_for_function("document.title === 'said incorrect'")
    form.get_by_role("link", name="Change my answer").click()
    form.get_by_role("radio", name="No").wait_for()
    assert form.locator("html.framed").count() == 1
    assert (Annotation.objects.get().rating, page.context.cookies()) == ("incorrect", [])


def test_a_frame_on_a_foreign_origin_shows_nothing(framed: Callable[..., Any], foreign: Site, widget: Widget) -> None:
    page = framed(foreign, widget.link())
    page.wait_for_function("document.querySelector('iframe')")
    page.wait_for_timeout(500)
    assert page.frame_locator("iframe").get_by_role("radio").count() == 0
    assert any("frame-ancestors" in line for line in page.said)
    assert page.evaluate("document.querySelector('iframe').style.height") == "26rem"


def test_messages_from_elsewhere_are_not_heard(framed: Callable[..., Any], allowed: Site, widget: Widget) -> None:
    page = framed(allowed, widget.link())
    page.frame_locator("iframe").get_by_role("radio", name="No").wait_for()
    page.evaluate("postMessage({agentloop: 'feedback', height: 7777, said: 'correct'}, '*')")
    page.wait_for_timeout(200)
    assert page.evaluate("document.querySelector('iframe').style.height") != "7777px"
    assert page.title() == "A shop"


def test_a_button_opens_and_closes_and_a_link_leads_there(
    framed: Callable[..., Any], allowed: Site, widget: Widget
) -> None:
    page = framed(allowed, widget.link(), "button")
    button = page.get_by_role("button", name="Right?")
    assert page.locator("iframe").count() == 0
    button.click()
    page.frame_locator("iframe").get_by_role("radio", name="No").wait_for()
    assert button.get_attribute("aria-expanded") == "true"
    button.click()
    assert page.locator("iframe").is_hidden()
    link = framed(allowed, widget.link(), "link").get_by_role("link", name="Right?")
    assert (link.get_attribute("target"), link.get_attribute("rel")) == ("_blank", "noopener noreferrer")


def test_what_is_put_on_the_page_later_is_shown(
    framed: Callable[..., Any], allowed: Site, widget: Widget, live_server: Any
) -> None:
    page = framed(allowed, widget.link(), "link")
    page.evaluate(
        """(link) => {
            const later = document.createElement("div");
            later.setAttribute("data-agentloop-feedback", link);
            document.body.append(later);
            const bad = document.createElement("div");
            bad.setAttribute("data-agentloop-feedback", "javascript:alert(1)");
            document.body.append(bad);
        }""",
        f"{live_server.url}{widget.link(u='later')}",
    )
    page.frame_locator("iframe").get_by_role("radio", name="No").wait_for()
    assert page.locator("iframe").count() == 1


def test_the_owners_demo(open_page: Callable[..., Any], project: Project) -> None:
    member(project, "alice", "owner")
    for size in SIZES:
        page = open_page(size, bypass_csp=True)
        page.goto("/widget-demo/")
        sign_in(page)
        page.get_by_role("heading", name="Feedback widget").wait_for()
        page.goto("/widget-demo/")
        page.frame_locator("iframe").get_by_role("radio", name="No").wait_for()
        assert problems_of(page) == []
        page.get_by_role("button", name="Was this answer right?").click()
        page.frame_locator("#button-title ~ div iframe").get_by_role("radio", name="No").wait_for()


def test_the_demo_is_for_owners(client: Any, project: Project) -> None:
    from django.contrib.auth.models import User

    member(project, "bob", "reviewer")
    client.force_login(User.objects.get(username="bob@example.com"))
    assert (client.get("/widget-demo/").status_code, client.get("/p/acme/widget-demo/").status_code) == (404, 403)


def test_embed_is_small() -> None:
    from django.contrib.staticfiles import finders

    with open(str(finders.find("widget/embed.js")), "rb") as script:
        assert len(script.read()) < 4096
