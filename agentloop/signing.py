"""Feedback links: signed, so that whoever holds one can speak of one answer and of nothing else.

Two forms. The short one, `/f/<token>`, names a turn or carries its texts; the published one, `/feedback?q&a&u&s&t&sig`,
is what the hosted service's clients make. docs/widget.md says how to make either in another language, and
tests/data holds vectors for both. A link is opened by making it again with the key that it claims: whatever is not
spelled exactly as its maker would spell it is refused.
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode
from uuid import UUID

from django.conf import settings
from itsdangerous import TimestampSigner

from agentloop import keyring
from agentloop.errors import AppError, Conflict
from agentloop.ids import read, shown
from agentloop.keys import current_signing_secret
from agentloop.models import Project, SigningKey
from agentloop.parsing import clean_text

SALT = "agentloop.feedback.v1"
LONGEST_LINK = 32 * 1024
CLOCK_SKEW_SECONDS = 300
_MEMBERS = frozenset({"k", "turn", "q", "a", "u", "s", "trace", "goal"})
_TOKEN = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{1,11})\.[A-Za-z0-9_-]{43}\Z")
_ASCII = "".join(map(chr, range(128)))
_SIGNED = ("q", "a", "u", "s", "t", "sig")
_SECONDS = re.compile(r"(?:0|[1-9][0-9]{0,14})\Z", re.ASCII)
_SIGNATURE = re.compile(r"[0-9a-f]{64}\Z")


class NoSigningKey(Conflict):
    """This project has no signing key, so it can't sign feedback links: an owner can make one."""

    code = "no_signing_key"


class LinkForged(AppError):
    """This link is not one that was sent: something in it has been changed or cut off."""

    code, http_status = "link_forged", 403


class LinkFromFuture(LinkForged):
    """This link says that it was made in the future: the clock of the machine that made it is wrong."""

    code = "link_from_future"


class LinkEnded(AppError):
    """This link can no longer be answered."""

    http_status = 410

    def __init__(self, project: Project) -> None:
        super().__init__()
        self.project = project


class LinkExpired(LinkEnded):
    """This link is too old to be answered."""

    code = "link_expired"


class LinkRevoked(LinkEnded):
    """This link was taken back by those who sent it."""

    code = "link_revoked"


class LinkTooLong(AppError):
    """This link is too long."""

    code, http_status = "link_too_long", 414


@dataclass(frozen=True, slots=True)
class Link:
    """What an opened link says. It names a turn, or carries the question and the response themselves."""

    key: SigningKey
    signed_at: int
    # The same for each spelling of what was signed at that second, and different for any other link.
    identity: bytes
    turn_id: UUID | None = None
    question: str = ""
    response: str = ""
    user_id: str = ""
    session_id: str = ""
    trace_id: str = ""
    goal: str = ""

    @property
    def project(self) -> Project:
        return self.key.project


# --- the short form -------------------------------------------------------------------------------------------


class _SignerAt(TimestampSigner):
    """Signs as of a given second, so that a token can be made again to the byte."""

    def __init__(self, secret: str, at: int) -> None:
        super().__init__(secret, salt=SALT, key_derivation="hmac", digest_method=hashlib.sha256)
        self._at = at

    def get_timestamp(self) -> int:
        return self._at


def payload_text(payload: Mapping[str, str]) -> str:
    """A token's payload as every client writes it: sorted, compact, without empty members, in well-formed Unicode."""
    kept = {name: _well_formed(value) for name, value in payload.items() if value}
    return json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _well_formed(text: str) -> str:
    """Lone surrogates, which UTF-8 has no bytes for, become U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def make_token(secret: str, payload: Mapping[str, str], at: int) -> str:
    """The short form's token: the payload as canonical JSON, its time, and an HMAC-SHA256 over both."""
    encoded = base64.urlsafe_b64encode(payload_text(payload).encode()).rstrip(b"=")
    return _SignerAt(secret, at).sign(encoded).decode()


def feedback_url(project: Project, *, turn_id: UUID, at: int | None = None) -> str:
    """A turn's feedback link: short, and without any personal data in it."""
    return feedback_urls(project, [turn_id], at=at)[turn_id]


def feedback_urls(project: Project, turn_ids: Iterable[UUID], *, at: int | None = None) -> dict[UUID, str]:
    """The links of many turns, with one look at the project's keys. Raises NoSigningKey."""
    key = current_signing_secret(project)
    if key is None:
        raise NoSigningKey
    key_id, secret = key
    at = int(time.time()) if at is None else at

    def url(turn_id: UUID) -> str:
        return f"{settings.BASE_URL}/f/{make_token(secret, {'k': key_id, 'turn': shown('turn', turn_id)}, at)}"

    return {turn_id: url(turn_id) for turn_id in turn_ids}


def read_token(token: str) -> tuple[dict[str, str], int]:
    """(payload, seconds) that a token claims, its signature not yet looked at. Raises LinkForged."""
    match = _TOKEN.match(token)
    if match is None:
        raise LinkForged
    try:
        payload = json.loads(_decoded(match[1]))
    except (ValueError, RecursionError) as error:
        raise LinkForged from error
    if not isinstance(payload, dict) or not all(isinstance(value, str) for value in payload.values()):
        raise LinkForged
    names_turn, has_texts = "turn" in payload, "q" in payload or "a" in payload
    if not payload.keys() <= _MEMBERS or names_turn == has_texts:
        raise LinkForged
    return payload, int.from_bytes(_decoded(match[2]), "big")


def _decoded(text: str) -> bytes:
    """base64url without padding, read leniently: making the token again tells whether it was spelled so."""
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as error:
        raise LinkForged from error


def is_signed_token(secret: str, token: str, payload: Mapping[str, str], at: int) -> bool:
    """Whether this very token is what the secret's holder would have made."""
    return hmac.compare_digest(make_token(secret, payload, at), token)


def open_token(token: str, slug: str | None = None) -> Link:
    """Opens the short form, at the root or under a project's prefix. One query."""
    if len(token) > LONGEST_LINK:
        raise LinkTooLong
    payload, at = read_token(token)
    named = keyring.keys_named(payload.get("k", ""), slug)
    key = _signing_key(named, lambda secret: is_signed_token(secret, token, payload, at))
    turn_id = read("turn", payload["turn"]) if "turn" in payload else None
    if "turn" in payload and turn_id is None:
        raise LinkForged
    said = {name: clean_text(payload.get(name, "")) for name in ("q", "a", "u", "s", "trace", "goal")}
    link = Link(
        key,
        at,
        _identity(key, {name: value for name, value in payload.items() if name != "k"}, at),
        turn_id,
        *said.values(),
    )
    return _in_time(link)


# --- the published form ---------------------------------------------------------------------------------------


def canonical(signed: Mapping[str, str], at: int, *, raw: bool = False) -> bytes:
    """The text under a published link's signature. One client of the service leaves non-ASCII `raw`."""
    members: dict[str, Any] = {name: signed[name] for name in ("a", "q", "s")}
    return json.dumps({**members, "t": at, "u": signed["u"]}, ensure_ascii=not raw).encode()


def make_feedback_query(
    secret: str, *, question: str, response: str, user_id: str = "", session_id: str = "", at: int
) -> str:
    """A published link's query, byte for byte as the service's clients make it."""
    signed = {"q": question, "a": response, "u": user_id, "s": session_id}
    signature = hmac.new(secret.encode(), canonical(signed, at), hashlib.sha256).hexdigest()
    return urlencode({**signed, "t": at, "sig": signature})


@dataclass(frozen=True, slots=True)
class PublishedLink:
    """What a published link claims, its signature not yet looked at."""

    signed: dict[str, str]
    at: int
    signature: str
    texts: tuple[bytes, bytes]

    def is_signed_with(self, secret: str) -> bool:
        key = secret.encode()
        return any(hmac.compare_digest(hmac.digest(key, text, "sha256").hex(), self.signature) for text in self.texts)


def read_query(query: str) -> PublishedLink:
    """Reads a published link's query; what stands beside the signed keys is not the link's. Raises LinkForged."""
    try:
        pairs = parse_qsl(
            _ascii(query), keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=50
        )
    except ValueError as error:
        raise LinkForged from error
    values = [(name, value) for name, value in pairs if name in _SIGNED]
    signed = dict(values)
    if len(values) != len(_SIGNED) or signed.keys() != set(_SIGNED):
        raise LinkForged
    seconds, signature = signed.pop("t"), signed.pop("sig")
    if not _SECONDS.match(seconds) or not _SIGNATURE.match(signature):
        raise LinkForged
    at = int(seconds)
    return PublishedLink(signed, at, signature, (canonical(signed, at), canonical(signed, at, raw=True)))


def _ascii(query: str) -> str:
    """The query with what was left raw in it escaped: WSGI hands bytes over as Latin-1."""
    return query if query.isascii() else quote(query.encode("latin-1"), safe=_ASCII)


def open_query(query: str, slug: str | None = None) -> Link:
    """Opens the published form: with the keys of the project that the path names, else with every key there is.

    One query; one more at the root for a link that no known key has signed.
    """
    if len(query) > LONGEST_LINK:
        raise LinkTooLong
    published = read_query(query)
    keys = keyring.every_key(published.is_signed_with) if slug is None else keyring.keys_of(slug)
    key = _signing_key(keys, published.is_signed_with)
    said = [clean_text(published.signed[name]) for name in ("q", "a", "u", "s")]
    return _in_time(Link(key, published.at, _identity(key, published.signed, published.at), None, *said))


# --- both -----------------------------------------------------------------------------------------------------


def _signing_key(keys: Iterable[SigningKey], has_signed: Callable[[str], bool]) -> SigningKey:
    """The active key that signed. Raises LinkRevoked where only a revoked one did, LinkForged where none did."""
    revoked = None
    for key in keys:
        secret = keyring.secret_of(key)
        if secret is None or not has_signed(secret):
            continue
        if key.revoked_at is None:
            return key
        revoked = key
    raise LinkRevoked(revoked.project) if revoked else LinkForged


def _identity(key: SigningKey, signed: Mapping[str, str], at: int) -> bytes:
    text = json.dumps([key.project_id.hex, at, signed], sort_keys=True)
    return hashlib.sha256(text.encode()).digest()


def _in_time(link: Link) -> Link:
    now = int(time.time())
    if link.signed_at > now + CLOCK_SKEW_SECONDS:
        raise LinkFromFuture
    if link.signed_at < now - int(lifetime(link.project).total_seconds()):
        raise LinkExpired(link.project)
    return link


def lifetime(project: Project) -> timedelta:
    """How long a project's links can be answered: as long as a turn waits, unless an owner said otherwise."""
    return timedelta(days=project.setting("feedback_link_days") or project.setting("ttl_days"))
