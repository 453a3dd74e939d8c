"""Personal data, masked before anything is stored. Patterns err on the side of masking what looks like it."""

import ipaddress
import logging
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from django.utils.crypto import salted_hmac

from agentloop.models import Project
from agentloop.patterns import Pattern, Unusable

log = logging.getLogger(__name__)

# Longer than anything that is masked as a whole: a private key, an address.
MARGIN = 8 * 1024

_EMAIL = re.compile(r"[A-Za-z0-9._%+\-]{1,64}@[A-Za-z0-9\-]{1,63}(?:\.[A-Za-z0-9\-]{1,63})*\.[A-Za-z]{2,24}\b")
_CARD = re.compile(r"(?<![\d.])\d(?:[ \-]?\d){12,18}(?![\d.]\d|\d)")
_PHONE = re.compile(
    r"(?<![\w.+])(?:\+\d{1,3}[ .\-]?)?(?:\(\d{1,4}\)[ .\-]?)?\d{2,5}(?:[ .\-]\d{2,8}){1,4}(?![\w.]\d|\w)"
)
_PLUS_PHONE = re.compile(r"(?<!\w)\+\d{8,15}(?!\w)")
_IPV4 = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.]\d|\d)")
_IPV6 = re.compile(r"(?<![\w:])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])")
_DATE = re.compile(r"\d{4}[.\-]\d{1,2}[.\-]\d{1,2}\Z|\d{1,2}[.\-]\d{1,2}[.\-]\d{4}\Z")

Mask = Callable[[str], str]


def _luhn(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _card(match: re.Match[str]) -> str:
    digits = re.sub(r"\D", "", match.group())
    return "[card]" if _luhn(digits) else match.group()


def _phone(match: re.Match[str]) -> str:
    found = match.group()
    digits = sum(character.isdigit() for character in found)
    return "[phone]" if 8 <= digits <= 15 and not _DATE.match(found) else found


def _ip(match: re.Match[str]) -> str:
    try:
        ipaddress.ip_address(match.group())
    except ValueError:
        return match.group()
    return "[ip]"


def _mask_phone(text: str) -> str:
    return _PHONE.sub(_phone, _PLUS_PHONE.sub("[phone]", text))


def _mask_ip(text: str) -> str:
    return _IPV6.sub(_ip, _IPV4.sub(_ip, text))


# In this order: a card looks like a phone number to the pattern of phones, an address like neither.
_MASKS: dict[str, Mask] = {
    "email": lambda text: _EMAIL.sub("[email]", text) if "@" in text else text,
    "ip": _mask_ip,
    "card": lambda text: _CARD.sub(_card, text),
    "phone": _mask_phone,
}


@lru_cache(maxsize=256)
def masker(kinds: tuple[str, ...], patterns: tuple[str, ...]) -> Mask | None:
    """One function that masks all that a project asked for, or None where it asked for nothing."""
    masks = [_MASKS[kind] for kind in _MASKS if kind in kinds]
    masks += [pattern.hide for pattern in map(_usable, patterns) if pattern]
    if not masks:
        return None

    def mask(text: str) -> str:
        for one in masks:
            text = one(text)
        return text

    return mask


def _usable(spelling: str) -> Pattern | None:
    """One stored before RE2 matched them may be of no use: it is left out, and `doctor` says so until it is mended."""
    try:
        return Pattern(spelling)
    except Unusable as error:
        log.warning("a project's mask pattern is left out: %s", error)
        return None


def masked_head(text: str, limit: int, mask: Mask | None) -> str:
    """The beginning of the masked text, at least as far as `limit` goes and all of it if it is short.

    What will be cut is not masked first: a client may send megabytes. What is masked reaches beyond the cut, so that a
    number which stands across it is masked as the whole that it is.
    """
    if mask is None:
        return text
    wanted = window = limit + MARGIN
    while True:
        head = mask(text[:window])
        if len(head) >= wanted or window >= len(text):
            return head
        # The masks made it shorter than they found it.
        window *= 2


def mask_of(project: Project) -> Mask | None:
    """The project's mask, as its settings are now."""
    return masker(tuple(project.setting("mask")), tuple(project.setting("mask_patterns")))


def masked_text(project: Project, text: str) -> str:
    mask = mask_of(project)
    return mask(text) if mask else text


def masked_id(text: str, mask: Mask | None) -> str:
    """An id that holds personal data, as a name that tells nothing: still one for each, so that people stay apart."""
    kept = mask(text) if mask else text
    return text if kept == text else f"{kept}:{salted_hmac('agentloop.masked-id', text).hexdigest()[:12]}"


def masked(value: Any, mask: Mask) -> Any:
    """The same JSON value with every text in it masked, keys included."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        return {mask(key): masked(part, mask) for key, part in value.items()}
    if isinstance(value, list | Sequence) and not isinstance(value, bytes):
        return [masked(part, mask) for part in value]
    return value
