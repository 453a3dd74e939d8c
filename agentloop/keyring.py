"""Every signing key's secret, unsealed once and kept in the process: a published feedback link names no project.

What is kept can't go stale: a key's secret never changes, and its row is read anew for each link that it signed, so
that a revocation holds at once.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import F
from django.utils import timezone

from agentloop.keys import LAST_USE_GRAIN
from agentloop.models import Project, SigningKey
from agentloop.secrets_box import Unsealable, unseal
from agentloop.sql import run

# Trying one costs two microseconds for a short link and twenty for the longest.
MOST_KEYS = 50_000
# A key that is committed late carries an earlier time than one that was seen before it.
LATE = timedelta(minutes=5)

_secrets: dict[UUID, str | None] = {}
# The most recently used first.
_ring: tuple[UUID, ...] = ()
_newest: datetime | None = None


def secret_of(key: SigningKey) -> str | None:
    """The key's secret, or None where the installation's secret key no longer opens it."""
    if key.pk not in _secrets:
        if len(_secrets) >= 2 * MOST_KEYS:
            forget()
        try:
            _secrets[key.pk] = unseal(bytes(key.encrypted_secret))
        except Unsealable:
            _secrets[key.pk] = None
    return _secrets[key.pk]


def keys_named(key_id: str, slug: str | None) -> list[SigningKey]:
    """The keys with an id, in all projects or one: mostly one key. One query."""
    if slug is None:
        return _keys("key.key_id = %s", [key_id])
    return _keys("key.key_id = %s AND project.slug = %s", [key_id, slug])


def keys_of(slug: str) -> list[SigningKey]:
    """A project's keys, the current one first. One query."""
    return _keys("project.slug = %s ORDER BY key.is_current DESC, key.created_at DESC", [slug])


_KEY_FIELDS, _PROJECT_FIELDS = SigningKey._meta.concrete_fields, Project._meta.concrete_fields
_KEYS_SQL = f"""
SELECT {", ".join(f"key.{field.column}" for field in _KEY_FIELDS)},
    {", ".join(f"project.{field.column}" for field in _PROJECT_FIELDS)}
FROM agentloop_signingkey AS key JOIN agentloop_project AS project ON project.id = key.project_id
WHERE """


def _keys(where: str, params: Sequence[Any]) -> list[SigningKey]:
    """Keys with their projects. Each opened link asks for one, and the ORM would take longer over it than the rest."""
    return [_key_of(row) for row in run(_KEYS_SQL + where, params)]


def _key_of(row: Sequence[Any]) -> SigningKey:
    split = len(_KEY_FIELDS)
    key = SigningKey.from_db(connection.alias, [field.attname for field in _KEY_FIELDS], row[:split])
    values = [
        field.from_db_value(value, None, connection) if hasattr(field, "from_db_value") else value
        for field, value in zip(_PROJECT_FIELDS, row[split:], strict=True)
    ]
    key.project = Project.from_db(connection.alias, [field.attname for field in _PROJECT_FIELDS], values)
    return key


def note_use(key: SigningKey) -> None:
    """Records coarsely that a link of this key was answered: after a start, such keys are tried first."""
    now = timezone.now()
    if key.last_used_at is None or key.last_used_at < now - LAST_USE_GRAIN:
        SigningKey.objects.filter(pk=key.pk).update(last_used_at=now)


def every_key(has_signed: Callable[[str], bool]) -> Iterator[SigningKey]:
    """The keys of any project that have signed something, the most recently used first, each read anew.

    One query for each; where none is left, one that looks for keys made since.
    """
    tried: set[UUID] = set()
    for look_again in (False, True):
        if look_again or not _ring:
            _load()
        for pk in _ring:
            secret = None if pk in tried else _secrets.get(pk)
            if secret is not None and has_signed(secret):
                _move_to_front(pk)
                yield from _keys("key.id = %s", [pk])
        tried.update(_ring)


def _move_to_front(pk: UUID) -> None:
    global _ring
    if _ring[:1] != (pk,):
        _ring = (pk, *(other for other in _ring if other != pk))


def _load() -> None:
    """Adds the keys that this process doesn't know yet: all of them at first."""
    global _ring, _newest
    keys = SigningKey.objects.all()
    if _newest is not None:
        keys = keys.filter(created_at__gt=_newest - LATE)
    known = set(_ring)
    found = keys.order_by(F("last_used_at").desc(nulls_last=True), "-id")[:MOST_KEYS]
    fresh = [key for key in found if key.pk not in known]
    for key in fresh:
        secret_of(key)
        _newest = max(key.created_at, _newest or key.created_at)
    _ring = tuple(dict.fromkeys((*(key.pk for key in fresh), *_ring)))[:MOST_KEYS]


def forget() -> None:
    """Drops what this process holds: between tests."""
    global _ring, _newest
    _ring, _newest = (), None
    _secrets.clear()
