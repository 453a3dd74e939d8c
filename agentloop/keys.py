"""API keys and signing keys: made, looked up, rotated and revoked."""

import hashlib
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from agentloop import audit
from agentloop.actors import Actor, key_actor
from agentloop.errors import Conflict, Invalid, MissingScope, UnknownKey
from agentloop.models import ApiKey, Project, Scope, SigningKey
from agentloop.secrets_box import seal, unseal

# A revocation must hold within 5 seconds; half of that leaves room for slow clocks.
CACHE_SECONDS = 2.5
LAST_USE_GRAIN = timedelta(minutes=10)
DEFAULT_SCOPES = (Scope.INGEST, Scope.ROUTE, Scope.READ, Scope.REVIEW)


@dataclass(frozen=True, slots=True)
class Credential:
    """What a request's key allows: kept in the process for a moment, so that a hot path needs no look-up."""

    key_id: str
    actor: Actor
    project: Project
    expires_at: datetime | None


_cache: dict[bytes, tuple[float, Credential | None]] = {}
_CACHE_SIZE = 10_000


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def check_scopes(scopes: Iterable[str]) -> list[str]:
    wanted = list(dict.fromkeys(scopes))
    unknown = [scope for scope in wanted if scope not in Scope.values]
    if unknown or not wanted:
        sentence = f"scopes takes one or more of {', '.join(Scope.values)}."
        raise Invalid(sentence, fields={"scopes": sentence})
    return wanted


def check_may_grant(actor: Actor, scopes: Iterable[str]) -> None:
    """Raises MissingScope: nobody hands out what they don't have."""
    lacking = sorted(set(scopes) - actor.scopes)
    if lacking:
        raise MissingScope(f"You can't hand out what you lack: {', '.join(lacking)}.", fields={"scopes": "go too far"})


def create_key(
    *,
    project: Project,
    actor: Actor,
    name: str,
    scopes: Iterable[str] = DEFAULT_SCOPES,
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """Makes a key; the secret is in the answer and nowhere else. It can do no more than whoever makes it."""
    wanted = check_scopes(scopes)
    check_may_grant(actor, wanted)
    name = " ".join(name.split())[:100]
    if not name:
        raise Invalid("name needs a word that tells what the key is for.", fields={"name": "is empty"})
    if expires_at is not None and expires_at <= timezone.now():
        raise Invalid("expires_at lies in the past.", fields={"expires_at": "lies in the past"})
    secret = f"al_{secrets.token_hex(4)}_{secrets.token_urlsafe(32)}"
    with transaction.atomic():
        key = ApiKey.objects.create(
            project=project,
            name=name,
            prefix=secret[:11],
            secret_hash=_hash(secret),
            scopes=wanted,
            expires_at=expires_at,
        )
        audit.note(project, actor, "key.create", key.prefix, name=key.name, scopes=key.scopes)
    return key, secret


def revoke_key(*, key: ApiKey, actor: Actor) -> None:
    """Ends a key: at once here, and within CACHE_SECONDS in every other process. Twice is safe."""
    with transaction.atomic():
        if ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now()):
            audit.note(key.project, actor, "key.revoke", key.prefix)
    _cache.clear()


def credential_of(secret: str) -> Credential:
    """The credential behind a key. One query, once in CACHE_SECONDS a process; raises UnknownKey.

    Unknown keys are remembered as long, so that a stream of them costs no queries either.
    """
    digest = _hash(secret)
    now = time.monotonic()
    hit = _cache.get(digest)
    if hit is None or hit[0] <= now:
        if len(_cache) >= _CACHE_SIZE:
            _cache.clear()
        hit = (now + CACHE_SECONDS, _look_up(digest))
        _cache[digest] = hit
    found = hit[1]
    if found is None or (found.expires_at is not None and found.expires_at <= timezone.now()):
        raise UnknownKey
    return found


def _look_up(digest: bytes) -> Credential | None:
    key = ApiKey.objects.active().select_related("project").filter(secret_hash=digest).first()
    if key is None:
        return None
    _note_use(key)
    return Credential(str(key.pk), key_actor(key), key.project, key.expires_at)


def _note_use(key: ApiKey) -> None:
    """Records the last use coarsely: a write for each request would make every key's row hot."""
    now = timezone.now()
    stale = Q(last_used_at=None) | Q(last_used_at__lt=now - LAST_USE_GRAIN)
    ApiKey.objects.filter(stale, pk=key.pk).update(last_used_at=now)


def forget_cached() -> None:
    """Drops what this process remembers: after a setting changed, and between tests."""
    _cache.clear()


def signing_key_id(secret: str) -> str:
    """The id that a link carries: a client that holds the secret alone can work it out."""
    return hashlib.sha256(secret.encode()).hexdigest()[:12]


def create_signing_key(*, project: Project, actor: Actor, secret: str | None = None) -> tuple[SigningKey, str]:
    """Makes a signing key and lets it sign from now on; the earlier ones still open their links."""
    secret = secret or secrets.token_urlsafe(32)
    key_id = signing_key_id(secret)
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=project.pk)
        if project.signing_keys.filter(key_id=key_id).exists():
            raise Conflict("This project already has a signing key with that secret.")
        project.signing_keys.filter(is_current=True).update(is_current=False)
        key = SigningKey.objects.create(project=project, key_id=key_id, encrypted_secret=seal(secret), is_current=True)
        audit.note(project, actor, "signing_key.create", key_id)
    return key, secret


def revoke_signing_key(*, key: SigningKey, actor: Actor) -> None:
    """Ends a signing key and every link it signed. The current one can't go: rotate first."""
    with transaction.atomic():
        locked = SigningKey.objects.select_for_update().get(pk=key.pk)
        if locked.is_current:
            raise Conflict("This key signs new links now: make a new signing key first, then revoke this one.")
        if locked.revoked_at is None:
            locked.revoked_at = timezone.now()
            locked.save(update_fields=["revoked_at"])
            audit.note(key.project, actor, "signing_key.revoke", key.key_id)


def current_signing_secret(project: Project) -> tuple[str, str] | None:
    """(id, secret) of the key that signs new links."""
    key = project.signing_keys.filter(is_current=True).first()
    return (key.key_id, unseal(bytes(key.encrypted_secret))) if key else None
