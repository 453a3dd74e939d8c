"""What agents and users write, as HTML: readable, and never more than text."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from review.markdown import MAX_RENDERED, plain, rendered
from tests.dashboard.support import elements

ALLOWED = {"p", "br", "hr", "strong", "em", "s", "a", "code", "pre", "span", "blockquote", "ul", "ol", "li"} | {
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
}
HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg/onload=alert(1)>',
    "[link](javascript:alert(1))",
    "[link](JaVaScRiPt&colon;alert(1))",
    "![picture](https://elsewhere.example/pixel.png)",
    "<a href='javascript:alert(1)'>x</a>",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "```<script>\nalert(1)\n```",
    "```html\n<script>alert(1)</script>\n```",
    "<iframe src=//elsewhere.example></iframe>",
    "<style>*{display:none}</style>",
    "<!--<img src=--><img src=x onerror=alert(1)//>",
    '[a](https://x.example "onmouseover=alert(1)")',
    "<https://x.example/\"onmouseover='alert(1)'>",
    "</textarea></title></script><script>alert(1)</script>",
    "{{ 7*7 }}{% debug %}",
    "\u202e<script>\u0000alert(1)</script>",
]


def check(html: str) -> None:
    for tag, attributes in elements(html):
        assert tag in ALLOWED, tag
        assert set(attributes) <= {"href", "title", "rel", "class", "start"}, attributes
        # An address without a scheme leads to a page of ours.
        assert urlsplit(attributes.get("href", "")).scheme in ("", "https", "http", "mailto"), attributes


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_inert(text: str) -> None:
    check(rendered(text))
    check(rendered(f"# {text}\n\n> {text}\n\n| a |\n|---|\n| {text} |\n"))
    check(rendered(text + "x" * MAX_RENDERED))


@given(st.text(alphabet=st.sampled_from("<>\"'&()[]!`*_#|-:/\\ \njavscriptonerd=")) | st.text())
def test_any_text_is_inert(text: str) -> None:
    check(rendered(text))


def test_markdown_that_people_use() -> None:
    html = rendered("# Title\n\n1. one\n2. **two**\n\n[a](https://x.example)\n\n| a | b |\n|---|---|\n| 1 | 2 |")
    assert '<p class="heading">Title</p>' in html
    assert '<a href="https://x.example" rel="noopener noreferrer nofollow">a</a>' in html
    assert "<td>1</td>" in html


def test_tags_are_shown_as_text() -> None:
    assert "&lt;b&gt;not bold&lt;/b&gt;" in rendered("<b>not bold</b>")


def test_json_is_laid_out_wherever_it_stands() -> None:
    assert rendered('{"a":[1,2]}').count("\n") >= 5
    assert rendered('Look:\n\n```json\n{"a":[1,2]}\n```').count("\n") >= 5
    assert "{broken" in rendered("{broken")


def test_what_is_too_long_to_parse_stays_plain() -> None:
    html = rendered("**x**" + "y" * MAX_RENDERED)
    assert html.startswith('<p class="plain">**x**')


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Why does `fetch()` give **CORS** errors?", "Why does fetch() give CORS errors?"),
        ("See [the docs](https://example.com/a) and ![a map](m.png)", "See the docs and a map"),
        ("# Title\n\n> quoted\n\n- one\n- *two*", "Title quoted one two"),
        ("```js\nfetch(url)\n```\nWhy?", "fetch(url) Why?"),
        ("__init__ and snake_case_names, 2 * 3 * 4, a*b*c", "init and snake_case_names, 2 * 3 * 4, a*b*c"),
        ("_so_ ~~not~~ ``a b``", "so not a b"),
        ("<b>as it is</b> & so", "<b>as it is</b> & so"),
        ("an **open mark and `code", "an **open mark and `code"),
        ("", ""),
    ],
)
def test_a_list_shows_plain_words(text: str, words: str) -> None:
    assert plain(text) == words


@given(st.text(alphabet="*_`~[]()#> -ab\n", max_size=240))
def test_plain_words_stand_on_one_line_and_are_no_longer(text: str) -> None:
    words = plain(text)
    assert "\n" not in words
    assert len(words) <= len(text)
