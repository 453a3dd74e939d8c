"""A thread for what may take its time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress

IDLE_SECONDS = 10.0
MOST_WAITING = 1000

Work = Callable[[], None]


class Background:
    """Does one piece of work after the other. Starts with the first, ends when idle, and `begin`s anew after a fork."""

    def __init__(self, most: int = MOST_WAITING) -> None:
        self._most = most
        self.begin()

    def begin(self) -> None:
        """Anew, with nothing to do: a forked child has none of its parent's threads, and perhaps its locked locks."""
        self._changed = threading.Condition()
        self._waiting: deque[Work] = deque()
        self._is_running = False

    def put(self, work: Work) -> bool:
        """Whether there was room for it."""
        with self._changed:
            if len(self._waiting) >= self._most:
                return False
            self._waiting.append(work)
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._run, name="agentloop-signals", daemon=True).start()
            self._changed.notify_all()
        return True

    def flush(self, timeout: float) -> bool:
        """Waits until nothing is left to do; whether nothing is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting, timeout)

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._changed.wait_for(lambda: bool(self._waiting), IDLE_SECONDS):
                    self._is_running = False
                    return
                work = self._waiting[0]
            with suppress(Exception):  # Whoever hands work over tells of its trouble; the rest is still to do.
                work()
            with self._changed:
                self._waiting.popleft()
                self._changed.notify_all()
