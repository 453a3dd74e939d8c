"""Feedback links: a turn's short link, signed so that whoever holds it can speak of that turn and no other."""

import base64
import hashlib
import json
import time
from typing import Any
from uuid import UUID

from django.conf import settings
from itsdangerous import TimestampSigner

from agentloop.errors import Conflict
from agentloop.ids import shown
from agentloop.keys import current_signing_secret
from agentloop.models import Project

SALT = "agentloop.feedback.v1"


class NoSigningKey(Conflict):
    """This project has no signing key, so it can't sign feedback links: an owner can make one."""

    code = "no_signing_key"


class _SignerAt(TimestampSigner):
    """Signs as of a given second, so that a token can be made again to the byte."""

    def __init__(self, secret: str, at: int) -> None:
        super().__init__(secret, salt=SALT, key_derivation="hmac", digest_method=hashlib.sha256)
        self._at = at

    def get_timestamp(self) -> int:
        return self._at


def make_token(secret: str, payload: dict[str, str], at: int) -> str:
    """The short form's token: the payload as canonical JSON, its time, and an HMAC-SHA256 over both."""
    kept = {name: value for name, value in payload.items() if value}
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    encoded = base64.urlsafe_b64encode(text.encode()).rstrip(b"=")
    return _SignerAt(secret, at).sign(encoded).decode()


def feedback_url(project: Project, *, turn_id: UUID, at: int | None = None) -> str:
    """A turn's feedback link: short, and without any personal data in it."""
    key = current_signing_secret(project)
    if key is None:
        raise NoSigningKey
    key_id, secret = key
    payload: dict[str, Any] = {"k": key_id, "turn": shown("turn", turn_id)}
    return f"{settings.BASE_URL}/f/{make_token(secret, payload, at if at is not None else int(time.time()))}"
