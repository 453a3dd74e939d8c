"""The process's connections to Valkey, for what may be lost: rate limits. Nothing waits long for it.

When it does not answer, one request pays the short timeout and the next ones don't ask at all for a while.
"""

import os
import threading
import time
from collections.abc import Callable
from functools import cache
from typing import TypeVar

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from agentloop.embedded import redis_url

Answer = TypeVar("Answer")
# To connect and to answer; together what a request may wait, once in REST_SECONDS.
TIMEOUT_SECONDS = 0.025
REST_SECONDS = 5.0
_SCHEMES = ("redis://", "rediss://", "unix://")


class Away(Exception):
    """Valkey does not answer, or none is named."""


class _Breaker:
    """Open after a failure: nobody asks until the rest is over, then one thread asks for all."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.rests_until = 0.0
        self.failed = False

    def may_pass(self) -> bool:
        if not self.failed:
            return True
        with self.lock:
            now = time.monotonic()
            if now < self.rests_until:
                return False
            self.rests_until = now + REST_SECONDS
            return True

    def note(self, *, failed: bool) -> None:
        if failed:
            self.rests_until = time.monotonic() + REST_SECONDS
        self.failed = failed


_breaker = _Breaker()


@cache
def client(url: str) -> redis.Redis:
    """One pool a process. It connects when first used and never tries twice."""
    return redis.from_url(
        url,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        driver_info=None,
    )


def ask(question: Callable[[redis.Redis], Answer]) -> Answer:
    """Puts a question to Valkey, or raises Away: at once while it is known not to answer."""
    url = redis_url(settings.BROKER_URL)
    if not url.startswith(_SCHEMES) or not _breaker.may_pass():
        raise Away
    try:
        answer = question(client(url))
    except (redis.RedisError, OSError) as error:
        _breaker.note(failed=True)
        raise Away from error
    if _breaker.failed:
        _breaker.note(failed=False)
    return answer


def forget() -> None:
    """Drops connections and what is known of Valkey: after a fork, and between tests."""
    global _breaker
    client.cache_clear()
    _breaker = _Breaker()


os.register_at_fork(after_in_child=forget)
