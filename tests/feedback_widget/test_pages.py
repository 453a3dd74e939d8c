"""What a link shows: the form, thanks, and a plain page for each failure; privately, and in the reader's language."""

import re
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from agentloop.actors import SYSTEM
from agentloop.keys import create_signing_key, revoke_signing_key
from agentloop.models import Project
from feedback_widget import limits, looks, views
from feedback_widget.models import Submission
from review.models import Annotation
from tests.feedback_widget.support import QUESTION, RESPONSE, Widget, form_of, visitor
from tests.review.support import Caller, make_project, turn_of

XSS = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'


def text_of(response: Any) -> str:
    return response.content.decode()


def test_shows_the_question_the_answer_and_the_form(widget: Widget, project: Project) -> None:
    page = text_of(widget.open(widget.link()))
    assert QUESTION in page
    assert RESPONSE in page
    assert project.name in page
    form = form_of(page)
    assert form.pop("opened")[0].count(":") == 1
    assert form == {"correction": [""], "comment": [""], "website": [""]}


@pytest.mark.parametrize("prefix", ["", "/p/acme"])
def test_with_and_without_the_projects_prefix(widget: Widget, prefix: str) -> None:
    for link in (widget.link(), widget.published()):
        assert widget.open(prefix + link).status_code == 200
        assert widget.answer(prefix + link, "correct").status_code == 200
    for link in (widget.link(), widget.published()):
        assert widget.open("/p/elsewhere" + link).status_code == 403


def test_headers_keep_it_private(widget: Widget) -> None:
    forged = "/feedback?q=x"
    for response in (widget.open(widget.link()), widget.answer(widget.link(u="1"), "correct"), widget.open(forged)):
        assert response["Referrer-Policy"] == "no-referrer"
        assert response["Cache-Control"] == "no-store"
        assert "noindex" in response["X-Robots-Tag"]
        assert response["X-Content-Type-Options"] == "nosniff"
        assert "Set-Cookie" not in response
        assert not response.cookies
        policy = response["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


def test_knows_no_session(widget: Widget) -> None:
    """Whoever is signed in, or comes with a stale cookie: nothing is looked up and nothing is set."""
    client = visitor()
    client.cookies["sessionid"] = "whatever"
    client.cookies["csrftoken"] = "whatever"
    widget.client = client
    link = widget.link()
    with CaptureQueriesContext(connection) as queries:
        response = widget.open(link)
    assert len(queries) == 2
    assert "Vary" not in response or "Cookie" not in response["Vary"]
    assert Client(enforce_csrf_checks=True).post(link, {"rating": "correct"}).status_code == 200


def test_asks_nothing_of_another_server(widget: Widget) -> None:
    answer = "![x](https://evil.example/x.png) <img src='https://evil.example/y.png'> [a](javascript:alert(1))"
    page = text_of(widget.open(widget.link(response=answer)))
    assert not re.search(r"<(img|script|link|iframe|video|audio|object|embed)[^>]+(https?:|//)", page)
    assert "javascript:" not in re.sub(r"\[a\]\(javascript:alert\(1\)\)", "", page)


@pytest.mark.parametrize("length", [20, 12_000])
def test_the_page_is_small(widget: Widget, length: int) -> None:
    """Everything of ours, beside the texts that it shows."""
    empty = len(widget.open(widget.link("q", "a")).content)
    assert empty < 14_000
    assert len(widget.open(widget.link("q", "word " * (length // 5))).content) < 20_480


# --- what it shows --------------------------------------------------------------------------------------------


def test_markdown_is_rendered_and_html_is_text(widget: Widget) -> None:
    answer = f"# Title\n\n**bold** [site](https://example.com)\n\n- one\n\n| a |\n|---|\n| b |\n\n{XSS}"
    page = text_of(widget.open(widget.link(question=XSS, response=answer)))
    assert "<strong>bold</strong>" in page
    assert "<p><strong>Title</strong></p>" in page
    assert '<a href="https://example.com" rel="nofollow noopener noreferrer ugc" target="_blank">site</a>' in page
    assert "<td>b</td>" in page
    assert "<script>alert" not in page
    assert "<img" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 2


def test_long_texts_are_folded_and_very_long_ones_shortened(widget: Widget) -> None:
    assert "<details>" not in text_of(widget.open(widget.link()))
    page = text_of(widget.open(widget.link(response="word " * 200)))
    assert page.count("<details>") == 1
    assert "Shortened" not in page
    assert "Shortened" in text_of(widget.open(widget.link(response="word " * 4000)))


def test_one_tap_links_preselect(widget: Widget) -> None:
    for rating in ("correct", "partial", "incorrect"):
        for link in (widget.link() + f"?rating={rating}", widget.published() + f"&rating={rating}"):
            assert form_of(text_of(widget.open(link)))["rating"] == [rating]
    assert "rating" not in form_of(text_of(widget.open(widget.link() + "?rating=" + XSS)))
    assert not Annotation.objects.exists()


def test_shows_what_was_said_and_then_only_thanks(widget: Widget) -> None:
    link = widget.link()
    said = {"correction": "At nine.\n<b>", "reason": ["missing", "broken"], "comment": "Well…"}
    thanks = text_of(widget.answer(link, "incorrect", **said))
    assert "Thank you" in thanks
    assert 'href=""' in thanks
    form = form_of(text_of(widget.open(link + "?rating=correct")))
    form.pop("opened")
    assert form == {
        "rating": ["incorrect"],
        "correction": ["At nine.\n<b>"],
        "reason": ["missing", "broken"],
        "comment": ["Well…"],
        "website": [""],
    }
    Submission.objects.update(created_at=timezone.now() - timedelta(minutes=30))
    after = widget.open(link)
    assert (after.status_code, "<form" in text_of(after), "Thank you" in text_of(after)) == (200, False, True)
    assert 'href=""' not in text_of(after)


def test_a_form_without_a_rating_comes_back_with_what_was_written(widget: Widget) -> None:
    for sent in ({}, {"rating": "good"}):
        response = widget.send(widget.link(), **sent, correction="mine", reason=["missing"])
        assert response.status_code == 422
        assert "Please choose" in text_of(response)
        form = form_of(text_of(response))
        assert (form["correction"], form["reason"]) == (["mine"], ["missing"])
    assert not Submission.objects.exists()


def test_texts_are_cut_and_odd_ones_mended(widget: Widget) -> None:
    widget.send(
        widget.link(), "incorrect", correction="x" * 6000, comment="\x00\r\nend ", reason=["missing", "nonsense"]
    )
    annotation = Annotation.objects.get()
    assert (len(annotation.correction), annotation.comment, annotation.tags) == (5000, "\ufffd\nend", ["incomplete"])


# --- failures -------------------------------------------------------------------------------------------------


def test_forged(widget: Widget) -> None:
    for link in (
        widget.link()[:-1] + "_",
        f"/f/{XSS}",
        widget.link() + "/",
        "/feedback",
        widget.published() + "&q=x",
        "/feedback?" + XSS,
    ):
        for response in (widget.open(link), widget.send(link, "correct")):
            assert response.status_code == 403, link
            assert "does not work" in text_of(response)
            assert "<script>alert" not in text_of(response)
            assert "alert(1)" not in text_of(response)
    assert not Submission.objects.exists()


def test_expired(widget: Widget) -> None:
    old = int(time.time()) - 31 * 86400
    for link in (widget.published(at=old), f"/f/{widget.token(at=old, q='q', a='a')}"):
        for response in (widget.open(link), widget.send(link, "correct")):
            assert (response.status_code, "has expired" in text_of(response)) == (410, True)


def test_from_the_future(widget: Widget) -> None:
    assert widget.open(widget.published(at=int(time.time()) + 400)).status_code == 403
    assert widget.open(widget.published(at=int(time.time()) + 200)).status_code == 200


def test_revoked_at_once(widget: Widget, project: Project) -> None:
    link = widget.link()
    assert widget.open(link).status_code == widget.open(widget.published()).status_code == 200
    create_signing_key(project=project, actor=SYSTEM)
    assert widget.open(link).status_code == 200
    revoke_signing_key(key=project.signing_keys.get(is_current=False), actor=SYSTEM)
    for gone in (widget.open(link), widget.open(widget.published()), widget.send(link, "correct")):
        assert (gone.status_code, "withdrawn" in text_of(gone)) == (410, True)


def test_too_long(widget: Widget) -> None:
    response = widget.open("/feedback?q=" + "x" * 40_000)
    assert (response.status_code, "too long" in text_of(response)) == (414, True)


def test_a_link_of_fourteen_kilobytes(widget: Widget) -> None:
    link = widget.published("é" * 1500, "x" * 6000)
    assert len(link) > 14_000
    assert widget.open(link).status_code == 200
    assert widget.answer(link, "correct").status_code == 200


def test_too_much_text(widget: Widget) -> None:
    response = widget.send(widget.link(), "incorrect", correction="x" * 70_000)
    assert (response.status_code, "too much text" in text_of(response)) == (413, True)
    assert not Submission.objects.exists()


def test_other_methods(widget: Widget) -> None:
    for method in ("put", "delete", "patch"):
        assert getattr(widget.client, method)(widget.link()).status_code == 405


# --- limits and programs --------------------------------------------------------------------------------------


def test_openings_of_an_address(widget: Widget, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (limits.OPENINGS_PER_SECOND, limits.OPENINGS_AT_ONCE) == (100, 200)
    monkeypatch.setattr(limits, "OPENINGS_PER_SECOND", 0.1)
    monkeypatch.setattr(limits, "OPENINGS_AT_ONCE", 5)
    assert [widget.open("/feedback").status_code for _ in range(7)] == [403] * 5 + [429] * 2
    refused = widget.open(widget.link())
    assert (refused.status_code, "wait a moment" in text_of(refused)) == (429, True)
    assert int(refused["Retry-After"]) >= 1
    widget.client = visitor()
    assert widget.open(widget.link()).status_code == 200


def test_forms_of_an_address_before_it_is_known_whose_they_are(widget: Widget, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "POSTS_PER_SECOND", 0.1)
    monkeypatch.setattr(limits, "POSTS_AT_ONCE", 3)
    assert [widget.send("/feedback", "correct").status_code for _ in range(4)] == [403] * 3 + [429]


def test_answers_to_a_link(widget: Widget) -> None:
    link = widget.link()
    statuses = [widget.send(link, rating).status_code for rating in ["correct", "incorrect"] * 8]
    assert statuses == [200] * 10 + [429] * 6
    assert widget.send(widget.link(u="other"), "correct").status_code == 200


@pytest.mark.parametrize("setting", ["feedback_per_address", "feedback_per_project"])
def test_answers_of_an_address_and_to_a_project(
    widget: Widget, with_settings: Callable[..., Project], setting: str
) -> None:
    with_settings(**{setting: 5})
    statuses = [widget.send(widget.link(u=str(user)), "correct").status_code for user in range(8)]
    assert statuses == [200] * 5 + [429] * 3
    widget.client = visitor()
    elsewhere = widget.send(widget.link(u="x"), "correct").status_code
    assert elsewhere == (200 if setting == "feedback_per_address" else 429)


def test_a_program_that_fills_the_hidden_field_changes_nothing(widget: Widget) -> None:
    response = widget.answer(widget.link(), "incorrect", website="https://spam.example", comment="buy")
    assert (response.status_code, "Thank you" in text_of(response)) == (200, True)
    assert not Submission.objects.exists()


def test_a_form_that_comes_back_at_once_is_asked_for_again(widget: Widget, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "QUICKEST_SECONDS", 100)
    link = widget.link()
    quick = widget.answer(link, "incorrect", correction="mine")
    assert (quick.status_code, "very quick" in text_of(quick)) == (422, True)
    form = form_of(text_of(quick))
    assert (form["rating"], form["correction"]) == (["incorrect"], ["mine"])
    monkeypatch.setattr(views, "QUICKEST_SECONDS", 0)
    borrowed = form_of(text_of(widget.open(widget.link(u="other"))))["opened"]
    for stamp in ([form["opened"][0][:-1] + "_"], borrowed, [""]):
        assert widget.client.post(link, {**form, "opened": stamp}).status_code == 422
    assert not Submission.objects.exists()
    assert widget.client.post(link, form).status_code == 200


def test_a_program_of_the_owners_sends_no_form(widget: Widget, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "QUICKEST_SECONDS", 100)
    assert widget.send(widget.link(), "correct").status_code == 200
    assert Annotation.objects.get().rating == "correct"


# --- frames, looks, languages ---------------------------------------------------------------------------------


def test_frames_only_where_the_project_says(widget: Widget, with_settings: Callable[..., Project]) -> None:
    closed = widget.open(widget.link())
    assert "frame-ancestors 'self'" in closed["Content-Security-Policy"]
    assert closed["X-Frame-Options"] == "SAMEORIGIN"
    with_settings(widget_origins=["https://app.example.com", "http://localhost:3000"])
    opened = widget.open(widget.link())
    assert opened["Content-Security-Policy"].endswith(
        "frame-ancestors 'self' https://app.example.com http://localhost:3000"
    )
    assert "X-Frame-Options" not in opened
    forged = widget.open("/feedback?q=x")
    assert forged["Content-Security-Policy"].endswith("frame-ancestors 'none'")
    assert forged["X-Frame-Options"] == "DENY"


def test_the_policy_lets_exactly_its_own_style_and_script_stand(widget: Widget) -> None:
    import base64
    import hashlib

    response = widget.open(widget.link())
    for tag in ("style", "script"):
        [inside] = re.findall(f"<{tag}>(.*?)</{tag}>", text_of(response), re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in response["Content-Security-Policy"]


@pytest.mark.parametrize("accent", ["#ffff00", "#000000", "#ffffff", "#767676", "#4b4bc8", "#ff0000", "#00ff7f"])
def test_any_accent_can_be_read(accent: str) -> None:
    for ground in (looks.LIGHT, looks.DARK):
        made = looks.readable(accent, ground)
        assert looks.contrast(made, ground) >= 4.5
    assert looks.contrast(accent, looks.ink_on(accent)) >= 4.5
    assert looks.contrast("#000000", "#ffffff") == pytest.approx(21)


def test_the_projects_own_look(widget: Widget, with_settings: Callable[..., Project]) -> None:
    logo = "data:image/png;base64,iVBORw0KGgo="
    with_settings(widget_accent="#ffd400", widget_logo=logo)
    page = text_of(widget.open(widget.link()))
    assert f'<img src="{logo}" alt=""' in page
    assert f"--fill:#ffd400;--on-fill:#000000;--accent:{looks.readable('#ffd400', looks.LIGHT)}" in page


@pytest.mark.parametrize(
    ("asks", "language", "title"),
    [
        ("", "en", "Was this answer right?"),
        ("es-MX,es;q=0.9", "es", "¿Fue correcta esta respuesta?"),
        ("pt-BR", "pt", "Esta resposta estava certa?"),
        ("fr", "fr", "Cette réponse était-elle juste ?"),
        ("sv, de;q=0.8", "de", "War diese Antwort richtig?"),
        ("zh-CN", "zh-hans", "这个回答对吗？"),
        ("zh-TW", "zh-hans", "这个回答对吗？"),
        ("ja", "ja", "この回答は正しかったですか？"),
        ("ar-EG", "ar", "هل كانت هذه الإجابة صحيحة؟"),
        ("xx, *;q=0.1", "en", "Was this answer right?"),
        ("\u00e9;;q=,,," * 50, "en", "Was this answer right?"),
    ],
)
def test_speaks_the_readers_language(widget: Widget, asks: str, language: str, title: str) -> None:
    response = widget.open(widget.link(), Accept_Language=asks)
    assert f'<html lang="{language}" dir="{"rtl" if language == "ar" else "ltr"}"' in text_of(response)
    assert title in text_of(response)
    assert response["Content-Language"] == language


def test_owners_have_their_own_words(widget: Widget, with_settings: Callable[..., Project]) -> None:
    with_settings(widget_texts={"*": {"title": "Did this help? <b>"}, "de": {"title": "Hat das geholfen?"}})
    assert "Did this help? &lt;b&gt;" in text_of(widget.open(widget.link(), Accept_Language="fr"))
    german = text_of(widget.open(widget.link(), Accept_Language="de"))
    assert "Hat das geholfen?" in german
    assert "Teilweise" in german


@pytest.mark.parametrize(
    "settings",
    [
        {"widget_accent": "red"},
        {"widget_accent": "#12345"},
        {"widget_accent": "#123456;}"},
        {"widget_logo": "https://example.com/logo.png"},
        {"widget_logo": "data:text/html;base64,AAAA"},
        {"widget_logo": "data:image/png;base64," + "A" * 9000},
        {"widget_texts": {"*": {"headline": "x"}}},
        {"widget_texts": {"deutsch!": {"title": "x"}}},
        {"widget_texts": {"de": {"title": ""}}},
        {"widget_texts": {"de": "x"}},
        {"feedback_per_link": 0},
    ],
)
def test_settings_are_checked(call: Caller, settings: dict[str, Any]) -> None:
    answer = call("PATCH", "/v1/project", {"settings": settings})
    assert (answer.status, list(answer.body["fields"])) == (422, list(settings))


def test_opening_costs_two_queries(widget: Widget, call: Caller) -> None:
    turn = turn_of(call.log(QUESTION, RESPONSE))
    for link in (widget.link(), widget.published(), widget.link_to(turn.id), "/p/acme" + widget.published()):
        widget.open(link)
        with CaptureQueriesContext(connection) as queries:
            widget.open(link)
        assert len(queries) == 2


def test_an_answer_notes_the_use_of_its_key_and_opening_does_not(widget: Widget, project: Project) -> None:
    key = project.signing_keys.get()
    widget.open(widget.link())
    key.refresh_from_db()
    assert key.last_used_at is None
    widget.send(widget.link(), "correct")
    key.refresh_from_db()
    first = key.last_used_at
    assert first is not None
    widget.send(widget.link(u="other"), "correct")
    key.refresh_from_db()
    assert key.last_used_at == first


def test_another_projects_turn_is_not_shown(widget: Widget, project: Project) -> None:
    from tests.review.support import caller_for

    other = caller_for(make_project("other"))
    turn = turn_of(other.log("a secret", "of others"))
    response = widget.open(widget.link_to(turn.id))
    assert (response.status_code, "secret" in text_of(response)) == (404, False)
