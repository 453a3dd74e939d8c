"""Text of agents and users as HTML: markdown with every tag in it shown as text, code coloured, JSON laid out.

The parser makes no HTML of the text's own, and what comes out passes a sanitiser, so that neither has to be perfect.
"""

import re
from typing import Any

import nh3
import orjson
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.token import Token
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

# Longer texts are shown as they are: parsing them would keep the page waiting.
MAX_RENDERED = 30_000
_TAGS = {
    *("p", "br", "hr", "strong", "em", "s", "a", "code", "pre", "span", "blockquote", "ul", "ol", "li"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}
_ATTRIBUTES = {
    "a": {"href", "title"},
    "p": {"class"},
    "span": {"class"},
    "pre": {"class"},
    "ol": {"start"},
}
_FORMATTER: HtmlFormatter[str] = HtmlFormatter(nowrap=True)


def _coloured(code: str, language: str, _attributes: str) -> str:
    try:
        lexer = get_lexer_by_name(language)
    except ClassNotFound:
        return escape(code)
    return highlight(_as_json(code) or code if language == "json" else code, lexer, _FORMATTER)


def _headings_as_words(state: Any) -> None:
    """A text's headings are no headings of our page: its outline is for finding one's way."""
    tokens: list[Token] = state.tokens
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = "p"
            token.attrSet("class", "heading")


_PARSER = MarkdownIt("commonmark", {"html": False, "highlight": _coloured}).enable(["table", "strikethrough"])
# A picture is a request to somebody else's server; its address stays readable as a link.
_PARSER.disable("image")
_PARSER.core.ruler.push("headings_as_words", _headings_as_words)


def rendered(text: str) -> SafeString:
    """Safe to put into a page. JSON is laid out; what is too long to parse stays plain."""
    if len(text) > MAX_RENDERED:
        return _plain(text)
    laid_out = _as_json(text)
    if laid_out is not None:
        made = f'<pre class="hl">{_coloured(laid_out, "json", "")}</pre>'
    else:
        made = _PARSER.render(text).replace("<pre>", '<pre class="hl">')
    clean = nh3.clean(
        made,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow",
    )
    return mark_safe(clean)  # noqa: S308 - the sanitiser's output


def _plain(text: str) -> SafeString:
    return mark_safe(f'<p class="plain">{escape(text)}</p>')  # noqa: S308 - escaped


def _as_json(text: str) -> str | None:
    """The text laid out over lines, if it is one JSON object or list."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return orjson.dumps(orjson.loads(text), option=orjson.OPT_INDENT_2).decode()
    except (orjson.JSONDecodeError, TypeError):
        return None


# What marks text up, as far as it can be told without parsing: a list's rows need no more, forty at a time.
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)[^\n`]*$", re.MULTILINE)
_LINE_MARK = re.compile(r"^[ \t]*(?:#{1,6}[ \t]+|>[ \t]?|[-*+][ \t]+(?=\S))+", re.MULTILINE)
_LINK = re.compile(r"!?\[([^\[\]\n]*)\]\([^()\s]*\)")
_CODE = re.compile(r"(`+)([^`\n]+)\1")
_STRONG = re.compile(r"(\*\*|__|~~)(?=\S)([^\n]+?)(?<=\S)\1")
_EMPHASIS = re.compile(r"(?<![\w*])([*_])(?=[^\s*_])([^*_\n]+?)(?<=\S)\1(?![\w*])")


def plain(text: str) -> str:
    """A text's words on one line, without the marks of markdown: for lists, where nothing is rendered."""
    text = _LINE_MARK.sub("", _FENCE.sub("", text))
    for mark, kept in ((_LINK, r"\1"), (_CODE, r"\2"), (_STRONG, r"\2"), (_EMPHASIS, r"\2")):
        text = mark.sub(kept, text)
    return " ".join(text.split())
