"""What agents and users write, as HTML: readable, and never more than text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from review.markdown import MAX_RENDERED, rendered
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
        assert attributes.get("href", "https:").startswith(("https:", "http:", "mailto:", "/", "#")), attributes


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
