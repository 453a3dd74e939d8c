"""A project's own patterns, matched by RE2: no pattern that an owner writes can make a text take for ever.

`re` backtracks: `(\\w+\\s?)*@x` takes seconds on 24 letters and twice as long for each further one, and holds up every
other thread meanwhile. RE2 walks a text once for each match, and lets the others work.
"""

import re
import time
from collections.abc import Iterator

import re2

MASKED = "[masked]"
# Matches that each look at the whole rest of a text add up to its square: `a.*z|a` takes minutes on 100,000 a's. For
# each pattern a text gets this much of the processor, three times what masking each of its characters takes; then the
# rest of the text is hidden.
LEAST_SECONDS, SECONDS_PER_CHARACTER = 0.02, 1e-5

_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]|(?<!\\)(?:\\\\)*\\[pPx]")
_ASCII_WORDS = re.compile(r"(?<!\\)(?:\\\\)*\\[bBwW]")
# What Python's patterns have and RE2 cannot have, by how its complaint ends.
_NOT_THERE = {
    "(?=": "looks ahead",
    "(?!": "looks ahead",
    "(?<=": "looks behind",
    "(?<!": "looks behind",
    "(?>": "has a group that gives nothing back",
    "\\Z": "says \\Z where it has to say \\z",
}


class Unusable(ValueError):
    """A pattern that can't be used; its text says why."""


class _StandIns(dict[int, str]):
    """For each character beyond ASCII one within it that is as much a letter, a digit, a space or none of them.

    RE2's \\w, \\d, \\s and \\b know ASCII alone: to it `José` is a word and a sign. It looks at a text in which each
    character is replaced by one that it knows, so that its matches are right and stand where they stood.
    """

    def __missing__(self, code: int) -> str:
        character = chr(code)
        if character.isascii():
            kept = character
        elif character.isspace():
            kept = " "
        elif character.isdecimal():
            kept = str(int(character))
        elif character.isalpha():
            kept = "Q" if character.isupper() else "q"
        else:
            kept = "_" if character.isalnum() else "\x7f"
        self[code] = kept
        return kept


_stand_ins = _StandIns()


class Pattern:
    """One pattern. Raises Unusable for what RE2 can't read and for what would mask everywhere."""

    def __init__(self, spelling: str) -> None:
        options = re2.Options()
        options.log_errors, options.never_capture = False, True
        self._is_plain = not _BEYOND_ASCII.search(spelling)
        if not self._is_plain and _ASCII_WORDS.search(spelling):
            raise Unusable(
                "\\b and \\w know ASCII alone in a pattern that names letters beyond it: "
                "write [\\p{L}\\p{N}_] for \\w, and leave \\b out"
            )
        try:
            self._regex = re2.compile(spelling.encode() if self._is_plain else spelling, options)
        except re2.error as error:
            raise Unusable(_in_words(error)) from error
        if any(start == end for text in ("", "a 1") for start, end in self._found(text)):
            raise Unusable("it matches the empty text, so it would mask everywhere")

    def hide(self, text: str) -> str:
        """The text with every match masked."""
        parts: list[str] = []
        shown_from = 0
        give_up_at = time.thread_time() + LEAST_SECONDS + SECONDS_PER_CHARACTER * len(text)
        for start, end in self._found(text):
            parts += (text[shown_from:start], MASKED)
            shown_from = end
            if time.thread_time() > give_up_at:
                return "".join(parts) + MASKED
        return "".join(parts) + text[shown_from:] if parts else text

    def _found(self, text: str) -> Iterator[tuple[int, int]]:
        looked_at = (text if text.isascii() else text.translate(_stand_ins)).encode() if self._is_plain else text
        return (match.span() for match in self._regex.finditer(looked_at))


def problem_of(spelling: str) -> str | None:
    """Why a pattern can't be used, or None where it can."""
    try:
        Pattern(spelling)
    except Unusable as error:
        return str(error)
    return None


def _in_words(error: re2.error) -> str:
    said = error.args[0].decode(errors="replace")
    if re.search(r"escape sequence: \\[1-9]", said):
        missing: str | None = "refers back to a group"
    else:
        missing = next((words for end, words in _NOT_THERE.items() if said.endswith(f": {end}")), None)
    if missing:
        return f"it {missing}, and RE2, which never takes for ever, has no such thing"
    return f"{said} (patterns are RE2's: github.com/google/re2/wiki/Syntax)"
