"""An answer's markdown as safe HTML: no HTML of its own, no images, no headings that would break the page's outline."""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.token import Token

SHOWN, PREVIEW = 8_000, 240
LONG_LINES = 8


@cache
def _reader() -> MarkdownIt:
    # Raw HTML becomes text; an image would call a third party, and becomes a link with its words.
    reader = MarkdownIt("commonmark", {"html": False, "maxNesting": 20}).enable(["table", "strikethrough"])
    reader.disable("image")
    for name in ("heading_open", "heading_close"):
        reader.add_render_rule(name, _heading)
    reader.add_render_rule("link_open", _link)
    return reader


def _heading(self: Any, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    return "<p><strong>" if tokens[at].nesting == 1 else "</strong></p>\n"


def _link(self: Any, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    tokens[at].attrSet("rel", "nofollow noopener noreferrer ugc")
    tokens[at].attrSet("target", "_blank")
    return str(self.renderToken(tokens, at, options, env))


def rendered(text: str) -> SafeString:
    return mark_safe(_reader().render(text[:SHOWN]))  # noqa: S308 - the reader escapes all that it doesn't make


def is_long(text: str) -> bool:
    return len(text) > 2 * PREVIEW or text.count("\n") > LONG_LINES


def preview(text: str) -> str:
    """The beginning of a long text on one line, for where it is folded."""
    line = " ".join(re.sub(r"[*_`#>|~]+", " ", text[: 4 * PREVIEW]).split())
    whole_words = line[:PREVIEW].rpartition(" ")[0] or line[:PREVIEW]
    return f"{whole_words}…"
