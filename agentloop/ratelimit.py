"""How fast a key may ask: a token bucket in Valkey, shared by every process.

A process leases a few tokens at a time, so that most requests ask nobody: at 1,000 a second one in fifty does.
What a lease leaves unused after a second is lost, which can only make the limit stricter. While Valkey is away
each process keeps a bucket of its own, so the limit then holds for each process.
"""

import os
import threading
import time
from dataclasses import dataclass
from typing import Any, cast

import redis

from agentloop import valkey
from agentloop.errors import TooManyRequests
from agentloop.models import Project

LEASE_SECONDS = 1.0
LARGEST_LEASE = 50
# Beyond this many names the process forgets its leases: each is worth a second at most.
MOST_NAMES = 20_000

_TAKE = """
local rate, burst, want = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
local was = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = burst
if was[1] then
    tokens = math.min(burst, tonumber(was[1]) + math.max(0, now - tonumber(was[2])) * rate)
end
local given = math.min(want, math.floor(tokens))
tokens = tokens - given
redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', tokens), 'at', string.format('%.6f', now))
redis.call('PEXPIRE', KEYS[1], math.ceil(burst / rate * 1000) + 1000)
return {given, string.format('%.6f', math.max(0, (1 - tokens) / rate))}
"""


@dataclass(slots=True)
class _Lease:
    """Tokens to spend until a moment; with none left and `is_refusal` nobody need ask before it."""

    tokens: int
    until: float
    is_refusal: bool = False


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


_lock = threading.Lock()
_leases: dict[str, _Lease] = {}
_own: dict[str, _Bucket] = {}


def take(project: Project, who: str) -> None:
    """One request of a key or member, at the project's rate. Raises TooManyRequests."""
    _take(f"{project.id.hex}:{who}", project.setting("rate_per_second"), project.setting("rate_burst"))


def take_named(name: str, rate: float, burst: int) -> None:
    """One token of any bucket, such as an address that opens a public page. Raises TooManyRequests."""
    _take(f"named:{name}", rate, burst)


def _take(name: str, rate: float, burst: int) -> None:
    wait = _spend(name)
    if wait is None:
        wait = _lease(name, rate, burst)
    if wait:
        raise TooManyRequests(retry_after=wait)


def _spend(name: str) -> float | None:
    """0 when a token was at hand, the time to wait when there will be none, None when Valkey must be asked."""
    now = time.monotonic()
    with _lock:
        lease = _leases.get(name)
        if lease is None or lease.until <= now:
            return None
        if lease.is_refusal:
            return lease.until - now
        if lease.tokens == 0:
            return None
        lease.tokens -= 1
        return 0.0


def _lease(name: str, rate: float, burst: int) -> float:
    """Asks for tokens, keeps what this request doesn't need, and answers how long it must wait: mostly 0."""
    want = max(1, min(LARGEST_LEASE, int(rate / 20), burst))

    def ask(client: redis.Redis) -> tuple[int, float]:
        key = f"agentloop:rate:{name}".encode("utf-8", "replace")
        given, wait = cast(list[Any], client.register_script(_TAKE)(keys=[key], args=[rate, burst, want]))
        return int(given), float(wait)

    try:
        given, wait = valkey.ask(ask)
    except valkey.Away:
        return _take_own(name, rate, burst)
    now = time.monotonic()
    with _lock:
        if len(_leases) >= MOST_NAMES:
            _leases.clear()
        if given:
            _leases[name] = _Lease(given - 1, now + LEASE_SECONDS)
            return 0.0
        _leases[name] = _Lease(0, now + min(wait, LEASE_SECONDS), is_refusal=True)
    return wait


def _take_own(name: str, rate: float, burst: int) -> float:
    """The same bucket, kept in this process alone."""
    now = time.monotonic()
    with _lock:
        if len(_own) >= MOST_NAMES:
            _own.clear()
        bucket = _own.setdefault(name, _Bucket(burst, now))
        bucket.tokens = min(burst, bucket.tokens + (now - bucket.at) * rate)
        bucket.at = now
        if bucket.tokens < 1:
            return (1 - bucket.tokens) / rate
        bucket.tokens -= 1
    return 0.0


def forget() -> None:
    """Drops what this process holds: after a fork, and between tests."""
    global _lock
    _lock = threading.Lock()
    _leases.clear()
    _own.clear()


os.register_at_fork(after_in_child=forget)
