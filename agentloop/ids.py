"""Ids: UUIDv7, in order of time and safe to make anywhere, shown with a prefix that says what they name."""

from datetime import datetime
from secrets import randbits
from uuid import UUID

from uuid_utils import uuid7


def new_id() -> UUID:
    return UUID(int=uuid7().int)


def first_id_at(moment: datetime) -> UUID:
    """The lowest id that can be made from then on: where an index of ids is read by time."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)


def id_at(moment: datetime) -> UUID:
    """An id as it would have been made then: for what is written later with the time it had."""
    return UUID(int=first_id_at(moment).int | 7 << 76 | randbits(12) << 64 | 2 << 62 | randbits(62))


def shown(prefix: str, value: UUID) -> str:
    """`turn_018f…`: the form that clients see."""
    return f"{prefix}_{value.hex}"


def read(prefix: str, value: str) -> UUID | None:
    """The id behind a shown one, or None for anything that is not spelled as `shown` spells it."""
    head, _, digits = value.partition("_")
    if head != prefix or len(digits) != 32 or not (digits.isascii() and digits.isalnum()) or digits != digits.lower():
        return None
    try:
        return UUID(hex=digits)
    except ValueError:
        return None
