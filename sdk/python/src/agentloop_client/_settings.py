"""What a client is told once: by its arguments, or by the environment."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

log = logging.getLogger("agentloop")

DEFAULT_BASE_URL = "http://127.0.0.1:8000"


@dataclass(frozen=True)
class Settings:
    api_key: str
    base_url: str
    signing_secret: str = field(repr=False, default="")
    timeout: float = 10.0
    buffer_bytes: int = 16 * 1024 * 1024
    spool_dir: str = ""
    spool_bytes: int = 256 * 1024 * 1024
    strict: bool = False
    exit_timeout: float = 5.0

    def __repr__(self) -> str:
        return f"Settings(base_url={self.base_url!r}, strict={self.strict})"

    @classmethod
    def read(cls, api_key: str | None, base_url: str | None, signing_secret: str | None, **more: Any) -> Settings:
        return cls(
            api_key=(api_key or os.environ.get("AGENTLOOP_API_KEY") or "").strip(),
            base_url=(base_url or os.environ.get("AGENTLOOP_BASE_URL") or DEFAULT_BASE_URL).strip().rstrip("/"),
            signing_secret=signing_secret or os.environ.get("AGENTLOOP_SIGNING_SECRET") or "",
            **more,
        )


class Warnings:
    """Each kind of trouble is told when it begins and then once a minute, with how often it came."""

    EVERY_SECONDS = 60.0

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: dict[str, tuple[float, int]] = {}

    def tell(self, kind: str, sentence: str) -> None:
        now = self._clock()
        last, silent = self._told.get(kind, (-self.EVERY_SECONDS, 0))
        if now - last < self.EVERY_SECONDS:
            self._told[kind] = (last, silent + 1)
            return
        self._told[kind] = (now, 0)
        log.warning("%s%s", sentence, f" ({silent} times more since the last warning)" if silent else "")
