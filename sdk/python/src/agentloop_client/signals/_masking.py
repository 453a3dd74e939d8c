"""Takes personal data out of a text before a model sees it. Errs on the side of masking what looks like it.

What has a form is found: addresses, numbers, keys. Names have none and stay.
"""

from __future__ import annotations

import re

_MASKS = (
    ("[email]", re.compile(r"[\w.+\-%]{1,64}@[\w\-]{1,63}(?:\.[\w\-]{1,63}){1,5}")),
    ("[link]", re.compile(r"\b(?:https?|ftp)://\S+", re.IGNORECASE)),
    ("[account]", re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b")),
    ("[key]", re.compile(r"(?<![\w\-])(?=[\w\-]*\d)(?=[\w\-]*[A-Za-z])[\w\-]{20,}")),
    ("[ip]", re.compile(r"(?<![\w:])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{1,4}(?![\w:])")),
    ("[number]", re.compile(r"\+?\(?\d(?:[ .\-/()]{0,2}\d){6,}")),
)


def masked(text: str, most: int) -> str:
    """The text's beginning, masked and then cut. Only so much is masked as could be left after the cut."""
    text = text[: 4 * most]
    for name, pattern in _MASKS:
        text = pattern.sub(name, text)
    return text[:most]
