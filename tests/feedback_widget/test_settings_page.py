"""The feedback form's settings: what is typed is seen as readers would see it, and kept only by saving."""

import html
import json
import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.html import escape

from agentloop.models import AuditEntry, Project
from agentloop.project_settings import WIDGET_TEXTS
from feedback_widget.texts import TEXTS
from feedback_widget.words_form import LABELS
from review.models import Annotation
from tests.agentloop.test_strangers import kept
from tests.review.support import member

ADDRESS, PREVIEW = "/p/acme/settings/widget/", "/p/acme/settings/widget/preview/"
DOT = b"\x89PNG\r\n\x1a\n and a few bytes more"


def as_member(project: Project, name: str, role: str) -> Client:
    member(project, name, role)
    client = Client()
    client.force_login(User.objects.get(username=f"{name}@example.com"))
    return client


@pytest.fixture
def alice(project: Project) -> Client:
    return as_member(project, "alice", "owner")


def typed(**said: Any) -> dict[str, Any]:
    return {"name": "Acme", "widget_accent": "#4b4bc8", **said}


def worded(language: str = "*", typed: dict[str, Any] | None = None, **texts: str) -> dict[str, Any]:
    """The fields of the words in a language; `typed` are those of others, which travel along."""
    fields = {f"word.{name}": text for name, text in texts.items()}
    return {"words": language, "words_typed": json.dumps(typed or {}), **fields}


def look(client: Client, **said: Any) -> str:
    answer = client.post(PREVIEW, typed(**said))
    assert answer.status_code == 200
    return answer.text


# --- the preview ----------------------------------------------------------------------------------------------


def test_the_preview_is_the_form_with_what_is_typed(alice: Client) -> None:
    own = worded("*", {"de": {"title": "Hat das geholfen?"}}, title="Did this help?")
    page = look(alice, name="Rockets", widget_accent="#ffcc00", **own, logo=upload(DOT))
    assert "Did this help?" in page
    assert "<span>Rockets</span>" in page
    assert "--fill:#ffcc00;--on-fill:#000000;--accent:#8f7200" in page
    assert 'src="data:image/png;base64,iVBOR' in page
    assert "Hat das geholfen?" in look(alice, **own, language="de")
    assert 'dir="rtl"' in look(alice, language="ar")


def upload(data: bytes, kind: str = "image/png") -> SimpleUploadedFile:
    return SimpleUploadedFile("logo", data, content_type=kind)


def test_nothing_of_a_preview_is_kept(alice: Client, project: Project) -> None:
    before = kept("acme")
    look(alice, name="Rockets", widget_accent="#ffcc00", logo=upload(DOT))
    alice.post(ADDRESS, typed(widget_accent="#ffcc00", act="check"))
    assert kept("acme") == before


def test_a_preview_can_send_nothing_and_stands_on_our_own_pages_alone(alice: Client, project: Project) -> None:
    project.settings = {"widget_origins": ["https://app.example.com"]}
    project.save()
    answer = alice.get(PREVIEW)
    policy = answer["Content-Security-Policy"]
    for part in ("default-src 'none'", "form-action 'none'", "sandbox;", "frame-ancestors 'self'"):
        assert part in policy
    assert "script-src" not in policy
    assert "unsafe-inline" not in policy
    assert "app.example.com" not in policy
    assert answer["X-Frame-Options"] == "SAMEORIGIN"
    assert "<script" not in answer.text


@pytest.mark.parametrize(
    ("scheme", "query"), [("light", "not all"), ("dark", "all"), ("", "(prefers-color-scheme:dark)")]
)
def test_light_and_dark_are_seen_whatever_the_system_says(alice: Client, scheme: str, query: str) -> None:
    page = look(alice, scheme=scheme)
    assert page.count(f"@media {query}{{") == 2
    assert ("prefers-color-scheme" in page) == (scheme == "")


def test_other_pages_of_the_widget_are_seen_too(alice: Client) -> None:
    assert "Thank you" in look(alice, state="thanks")
    for state, heading in (("expired", "has expired"), ("revoked", "was withdrawn"), ("trouble", "went wrong")):
        assert heading in look(alice, state=state)
    assert "Too late!" in look(alice, state="expired", **worded("en", expired_title="Too late!"))
    assert "Was this answer right?" in look(alice, state="nonsense", language="xx", scheme="purple")


@pytest.mark.parametrize(
    "said",
    [
        {"widget_accent": "red;}body{display:none"},
        worded("en", {"de": {"nothing": "x"}}),
        worded("en", {"de": {"title": "x" * 301}}),
        worded("en", title="x" * 301),
        {"name": ""},
        {"logo": upload(b"<script>", "text/html")},
        {"logo": upload(b"x" * 7_000)},
    ],
)
def test_what_is_refused_is_told_and_the_rest_is_shown(alice: Client, project: Project, said: dict[str, Any]) -> None:
    page = look(alice, **said)
    assert "--fill:#4b4bc8" in page
    assert "<span>Acme</span>" in page
    assert "<img" not in page
    notes = alice.post(ADDRESS, typed(**said, act="check"), headers={"HX-Request": "true"})
    assert (notes.status_code, "look-problems" in notes.text, "<html" in notes.text) == (200, True, False)
    answer = alice.post(ADDRESS, typed(**said))
    assert (answer.status_code, "errorlist" in answer.text) == (422, True)
    project.refresh_from_db()
    assert "widget_accent" not in project.settings


def test_markup_in_words_and_name_stays_text(alice: Client) -> None:
    bad = "<script>alert(1)</script>"
    page = look(alice, name=bad, **worded(title=bad))
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(1)") == 5


def test_how_the_colour_can_be_read_is_told(alice: Client) -> None:
    notes = alice.post(ADDRESS, typed(widget_accent="#ffcc00", act="check"), headers={"HX-Request": "true"}).text
    assert "<code>#8f7200</code>, darker than yours" in notes
    assert "<code>#ffcc00</code> <span" in notes


# --- saving ---------------------------------------------------------------------------------------------------


def test_saving_keeps_the_look_and_the_name(alice: Client, project: Project) -> None:
    answer = alice.post(ADDRESS, typed(name="Rockets", widget_accent="#ffcc00", logo=upload(DOT)))
    assert answer["Location"] == ADDRESS
    project.refresh_from_db()
    assert (project.name, project.setting("widget_accent")) == ("Rockets", "#ffcc00")
    assert project.setting("widget_logo").startswith("data:image/png;base64,iVBOR")
    page = alice.get(ADDRESS).text
    assert "The feedback form is saved" in page
    assert "Show no logo" in page
    alice.post(ADDRESS, typed(name="Rockets"))
    project.refresh_from_db()
    assert "widget_accent" not in project.settings
    assert project.setting("widget_logo")
    alice.post(ADDRESS, typed(name="Rockets", no_logo="on"))
    project.refresh_from_db()
    assert project.setting("widget_logo") == ""
    assert AuditEntry.objects.filter(project=project, act="project.settings").count() == 3


def test_where_it_may_stand_is_saved_by_itself(alice: Client, project: Project) -> None:
    said = {"group": "access", "widget_origins": "https://app.example.com\n", "feedback_per_link": "5"}
    assert alice.post(ADDRESS, said)["Location"] == f"{ADDRESS}#access"
    project.refresh_from_db()
    assert project.setting("widget_origins") == ["https://app.example.com"]
    assert project.setting("feedback_per_link") == 5
    refused = alice.post(ADDRESS, {"group": "access", "widget_origins": "app.example.com/path"})
    assert (refused.status_code, "Takes a list of at most 50 origins" in refused.text) == (422, True)


# --- own words ------------------------------------------------------------------------------------------------


def test_every_text_has_a_field(alice: Client) -> None:
    assert set(LABELS) == set(TEXTS) == set(WIDGET_TEXTS)
    page = alice.get(ADDRESS).text
    for name, text in TEXTS.items():
        assert f'name="word.{name}"' in page
        assert f'placeholder="{escape(text)}"' in page


def test_words_are_kept_for_their_language_alone(alice: Client, project: Project) -> None:
    project.settings = {"widget_texts": {"*": {"title": "Did it help?"}, "pt-br": {"send": "Vai"}}}
    project.save()
    alice.post(ADDRESS, typed(**worded("de", title="Hat es geholfen?", send=" ")))
    project.refresh_from_db()
    assert project.setting("widget_texts") == {
        "*": {"title": "Did it help?"},
        "pt-br": {"send": "Vai"},
        "de": {"title": "Hat es geholfen?"},
    }
    alice.post(ADDRESS, typed(**worded("de")))
    alice.post(ADDRESS, typed(**worded("*")))
    project.refresh_from_db()
    assert project.setting("widget_texts") == {"pt-br": {"send": "Vai"}}


def test_two_owners_word_two_languages(alice: Client, project: Project) -> None:
    """Whoever saves writes the languages that they looked at, not what they had loaded of the others."""
    alice.get(ADDRESS)
    project.settings = {"widget_texts": {"fr": {"send": "Envoyez"}}}
    project.save()
    alice.post(ADDRESS, typed(**worded("es", {"ja": {"send": "送る"}}, send="Mándalo")))
    project.refresh_from_db()
    assert project.setting("widget_texts") == {
        "fr": {"send": "Envoyez"},
        "es": {"send": "Mándalo"},
        "ja": {"send": "送る"},
    }


def test_another_language_is_shown_and_what_was_typed_travels_along(alice: Client, project: Project) -> None:
    project.settings = {"widget_texts": {"ar": {"title": "هل ساعدك هذا؟"}}}
    project.save()
    said = typed(name="Rockets", act="words", words_wanted="ar", **worded("*", title="Did it help?"))
    page = alice.post(ADDRESS, said).text
    assert 'value="Rockets"' in page
    fields = dict(elements(page))
    assert fields["word.title"]["value"] == "هل ساعدك هذا؟"
    assert {fields[f"word.{name}"]["dir"] for name in TEXTS} == {"rtl"}
    assert fields["word.send"]["placeholder"] == "إرسال"
    assert json.loads(fields["words_typed"]["value"]) == {"*": {"title": "Did it help?"}}
    piece = alice.post(ADDRESS, said, headers={"HX-Request": "true"}).text
    assert ("<html" in piece, 'id="words"' in piece) == (False, True)
    german = dict(elements(alice.post(ADDRESS, {**said, "words_wanted": "de"}).text))
    assert german["word.title"]["placeholder"] == "Did it help?"
    project.refresh_from_db()
    assert project.setting("widget_texts") == {"ar": {"title": "هل ساعدك هذا؟"}}


def test_a_word_that_is_too_long_stands_beside_its_reason(alice: Client, project: Project) -> None:
    said = typed(**worded("de", title="x" * 301))
    for more in ({}, {"act": "words", "words_wanted": "fr"}):
        page = alice.post(ADDRESS, {**said, **more}).text
        beside = page.partition('name="word.title"')[2].partition("</div>")[0]
        assert "at most 300 characters" in beside
        assert dict(elements(page))["words"]["value"] == "de"
    project.refresh_from_db()
    assert project.setting("widget_texts") == {}


def elements(page: str) -> list[tuple[str, dict[str, str]]]:
    """The inputs by name."""
    found = []
    for tag in re.findall(r"<(?:input|textarea) [^>]*>", page):
        given = {name: html.unescape(value) for name, value in re.findall(r'([\w-]+)="([^"]*)"', tag)}
        found.append((given.get("name", ""), {"value": "", **given}))
    return found


@pytest.mark.parametrize("role", ["reviewer", "viewer"])
def test_only_owners_reach_it(project: Project, role: str) -> None:
    client = as_member(project, "bob", role)
    for address in (ADDRESS, PREVIEW):
        assert (client.get(address).status_code, client.post(address, typed()).status_code) == (403, 403)


def test_queries(alice: Client) -> None:
    for address in (ADDRESS, PREVIEW):
        with CaptureQueriesContext(connection) as captured:
            assert alice.get(address).status_code == 200
        assert len(captured) <= 4, [query["sql"] for query in captured]


# --- in a browser ---------------------------------------------------------------------------------------------


def page_of(browser: Any, live_server: Any, client: Client, **options: Any) -> Any:
    context = browser.new_context(base_url=live_server.url, viewport={"width": 1440, "height": 1000}, **options)
    context.set_default_timeout(10_000)
    context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}])
    page = context.new_page()
    page.goto(ADDRESS)
    return page


@pytest.mark.django_db(transaction=True)
def test_the_preview_follows_the_typing(browser: Any, live_server: Any, alice: Client, project: Project) -> None:
    page = page_of(browser, live_server, alice)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    shown = page.frame_locator(".look-stage iframe:not(.coming)")
    shown.get_by_role("heading", name="Was this answer right?").wait_for()
    page.get_by_label("Heading", exact=True).fill("Did it help?")
    shown.get_by_role("heading", name="Did it help?").wait_for()
    page.get_by_label("Name", exact=True).fill("Rockets")
    shown.get_by_text("Rockets").wait_for()
    page.get_by_label("Language of the words").select_option("de")
    shown.get_by_role("radio", name="Teilweise").wait_for()
    shown.get_by_role("heading", name="Did it help?").wait_for()
    page.get_by_label("Heading", exact=True).fill("War es gut?")
    shown.get_by_role("heading", name="War es gut?").wait_for()
    page.get_by_label("Language", exact=True).select_option("fr")
    shown.get_by_role("heading", name="Did it help?").wait_for()
    page.get_by_label("Colour", exact=True).fill("#ffcc00")
    page.get_by_text("darker than yours").wait_for()
    page.wait_for_function("() => document.querySelectorAll('.look-stage iframe').length === 1")
    assert said == []
    assert page.evaluate("history.length") == 2
    # Whoever sends the preview's form sends nothing.
    shown.get_by_role("button").click()
    page.wait_for_timeout(200)
    page.get_by_role("button", name="Save", exact=True).first.click()
    page.get_by_text("The feedback form is saved").wait_for()
    project.refresh_from_db()
    assert (project.name, project.setting("widget_accent")) == ("Rockets", "#ffcc00")
    assert project.setting("widget_texts") == {"*": {"title": "Did it help?"}, "de": {"title": "War es gut?"}}
    assert not Annotation.objects.exists()
    page.context.close()


@pytest.mark.django_db(transaction=True)
def test_without_a_script_a_button_shows_it(browser: Any, live_server: Any, alice: Client, project: Project) -> None:
    page = page_of(browser, live_server, alice, java_script_enabled=False)
    page.get_by_label("Heading", exact=True).fill("Did it help?")
    page.get_by_label("Language of the words").select_option("ar")
    page.get_by_role("button", name="Show").click()
    assert page.get_by_label("Heading", exact=True).get_attribute("placeholder") == "Did it help?"
    page.get_by_label("Heading", exact=True).fill("هل ساعدك هذا؟")
    page.get_by_role("button", name="Preview").click()
    page.frame_locator(".look-stage iframe").get_by_role("heading", name="هل ساعدك هذا؟").wait_for()
    page.get_by_role("button", name="Save", exact=True).first.click()
    page.get_by_text("The feedback form is saved").wait_for()
    project.refresh_from_db()
    assert project.setting("widget_texts") == {"*": {"title": "Did it help?"}, "ar": {"title": "هل ساعدك هذا؟"}}
    page.context.close()
