"""Words as search and comparison see them: any language, case and accents folded, no database extension needed."""

import re
import unicodedata
from collections.abc import Iterable, Iterator

_WORD = re.compile(r"\w+")
# Scripts that write without spaces: their text is searched by pairs of characters.
_UNSPACED = re.compile(r"[぀-ヿ㐀-鿿豈-﫿가-힯฀-๿]+")
MAX_WORD = 64
MAX_WORDS = 4096


def folded(text: str) -> str:
    """The form in which two texts are the same: case, white space and Unicode form folded."""
    if text.isascii():
        # The only white space that prints is the space itself: most questions need no splitting.
        is_even = text.isprintable() and "  " not in text
        return text.lower().strip() if is_even else " ".join(text.lower().split())
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).split())


def words(text: str) -> list[str]:
    """The distinct words of a text, in order, at most MAX_WORDS."""
    return list(dict.fromkeys(_tokens(text)))[:MAX_WORDS]


def any_of(words: Iterable[str]) -> str:
    """The tsquery of texts with one of the words."""
    return " | ".join(f"'{word}'" for word in words)


def all_of(words: Iterable[str]) -> str:
    """The tsquery of texts with each of the words."""
    return " & ".join(f"'{word}'" for word in words)


def _tokens(text: str) -> Iterator[str]:
    plain = text.lower() if text.isascii() else _without_accents(text)
    for match in _WORD.finditer(plain):
        word = match.group()
        yield from (word[:MAX_WORD],) if word.isascii() else _split_unspaced(word)


def _without_accents(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return unicodedata.normalize("NFC", "".join(c for c in decomposed if not unicodedata.combining(c)))


def _split_unspaced(word: str) -> Iterable[str]:
    position = 0
    for run in _UNSPACED.finditer(word):
        if run.start() > position:
            yield word[position : run.start()][:MAX_WORD]
        text = run.group()
        yield from (text[i : i + 2] for i in range(max(1, len(text) - 1)))
        position = run.end()
    if position < len(word):
        yield word[position:][:MAX_WORD]
