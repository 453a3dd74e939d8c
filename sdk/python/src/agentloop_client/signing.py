"""Feedback links, made without asking the server. The same input and time make the same link in every language."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from base64 import urlsafe_b64encode
from urllib.parse import urlencode

from agentloop_client._encode import well_formed

SALT = b"agentloop.feedback.v1"


def feedback_token(secret: str, payload: dict[str, str], at: int | None = None) -> str:
    """The short form's token: canonical JSON, its time, and an HMAC-SHA256 over both by a key made of the secret."""
    kept = {name: well_formed(value) for name, value in payload.items() if value}
    kept["k"] = key_id(secret)
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    seconds = int(time.time()) if at is None else at
    stamp = seconds.to_bytes((seconds.bit_length() + 7) // 8, "big")
    signed = _base64(text.encode()) + b"." + _base64(stamp)
    derived = hmac.new(secret.encode(), SALT, hashlib.sha256).digest()
    return (signed + b"." + _base64(hmac.new(derived, signed, hashlib.sha256).digest())).decode()


def key_id(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()[:12]


def short_url(base_url: str, secret: str, payload: dict[str, str], at: int | None = None) -> str:
    return f"{base_url.rstrip('/')}/f/{feedback_token(secret, payload, at)}"


def published_url(
    base_url: str,
    secret: str,
    question: str,
    agent_response: str,
    *,
    user_id: str = "",
    session_id: str = "",
    at: int | None = None,
) -> str:
    """The long form, with everything in the query: for those who have such links about already."""
    seconds = int(time.time()) if at is None else at
    said = {"q": question, "a": agent_response, "u": user_id, "s": session_id}
    said = {name: well_formed(text) for name, text in said.items()}
    sig = hmac.new(secret.encode(), _canonical(said, seconds), hashlib.sha256).hexdigest()
    return f"{base_url.rstrip('/')}/feedback?{urlencode({**said, 't': seconds, 'sig': sig})}"


def _canonical(said: dict[str, str], seconds: int) -> bytes:
    """What is signed: JSON in ASCII, its keys in order. Python leaves U+007F as it is, the form does not."""
    text = json.dumps({**said, "t": seconds}, sort_keys=True)
    return text.replace("\x7f", "\\u007f").encode()


def _base64(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")
