"""Secrets at rest: sealed with a key derived from the installation's secret key, which can be rotated."""

import base64
import hashlib
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from agentloop.errors import AppError


class Unsealable(AppError):
    """A stored secret cannot be opened: AGENTLOOP_SECRET_KEY is not the one it was sealed with."""

    code, http_status = "unsealable", 500


@lru_cache(maxsize=8)
def _box(secret_keys: tuple[str, ...]) -> MultiFernet:
    digests = (hashlib.sha256(b"agentloop.secrets.v1:" + key.encode()).digest() for key in secret_keys)
    return MultiFernet([Fernet(base64.urlsafe_b64encode(digest)) for digest in digests])


def _current() -> MultiFernet:
    return _box((settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS))


def seal(secret: str) -> bytes:
    return _current().encrypt(secret.encode())


def unseal(sealed: bytes) -> str:
    try:
        return _current().decrypt(sealed).decode()
    except InvalidToken as error:
        raise Unsealable from error
