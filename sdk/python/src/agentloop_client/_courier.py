"""Takes messages to the server from a thread of its own, so that whoever hands one over is done in microseconds."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
import weakref
from typing import Any

from agentloop_client._http import Http
from agentloop_client._outbox import MemoryStore, Outbox, Parcel, Stats, Store
from agentloop_client._settings import Settings, Warnings

# What comes within this time goes in one request.
LINGER_SECONDS = 0.05
# A thread that had nothing to do for so long ends; the next message starts another.
IDLE_SECONDS = 10.0


class Courier:
    """One outbox, one thread at most, one HTTP client. Safe from any thread, and after a fork."""

    def __init__(self, settings: Settings, http: Http, warnings: Warnings) -> None:
        self._settings, self._http, self._warnings = settings, http, warnings
        self._exit_pid = 0
        self._begin()
        outlive_forks(self)

    def _begin(self) -> None:
        self.outbox = Outbox(new_store(self._settings, self._warnings), self._warnings)
        self._guard = threading.Lock()
        self._sending = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_asleep = False
        self._hurries = 0
        self.is_closed = False
        if self._settings.spool_dir:
            self._start()

    # --- for whoever has something to send ---------------------------------------------------------------------

    def put(self, lane: str, message: bytes) -> bool:
        """Hands a message over; whether it is sure of its place."""
        kept = self.outbox.put(lane, message)
        if self._thread is None:
            self._start()
        elif self._is_asleep:
            self._wake.set()
        return kept

    def flush(self, timeout: float | None = None) -> bool:
        """Waits until everything has been taken to the server, or the time is over; whether it has."""
        deadline = time.monotonic() + (self._settings.timeout if timeout is None else timeout)
        self._hurries += 1
        try:
            while not self.outbox.is_empty and time.monotonic() < deadline:
                self._start()
                self._wake.set()
                if not self._is_running:
                    self._pass(deadline)
                time.sleep(0.005)
        finally:
            self._hurries -= 1
        return self.outbox.is_empty

    def close(self, timeout: float | None = None) -> bool:
        """Sends what waits, for as long as that works, and ends. What was spooled and not sent stays on the disk.

        A server that can't be reached gets one more try, and does not hold the process up."""
        if self.is_closed:
            return self.outbox.is_empty
        deadline = time.monotonic() + (self._settings.exit_timeout if timeout is None else timeout)
        self.is_closed = True
        self.outbox.last_chance()
        self._wake.set()
        while not self.outbox.is_empty and time.monotonic() < deadline:
            if not self._is_running:
                self._pass(deadline)
            if self._is_stuck():
                break
            time.sleep(0.002)
        left = len(self.outbox.store)
        self.outbox.store.close()
        self._http.close()
        if left:
            where = "stay in the spool" if self._settings.spool_dir else "are lost"
            self._warnings.tell("left", f"{left} messages could not be sent before the end and {where}.")
        return left == 0

    @property
    def stats(self) -> Stats:
        return self.outbox.stats

    # --- the thread --------------------------------------------------------------------------------------------

    @property
    def _is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _start(self) -> None:
        with self._guard:
            if self._is_running or self.is_closed:
                return
            self._thread = threading.Thread(target=self._run, name="agentloop-courier", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:
                # The interpreter is ending, or has no threads to give: `flush` and `close` send by themselves.
                self._thread = None
        if self._exit_pid != os.getpid():
            self._exit_pid = os.getpid()
            close_at_exit(self)

    def _is_stuck(self) -> bool:
        """Whether all that waits was tried and failed. Asked between two requests alone: the store is the sender's."""
        if not self._sending.acquire(blocking=False):
            return False
        try:
            return self.outbox.is_stuck
        finally:
            self._sending.release()

    def _run(self) -> None:
        while True:
            wait = self._pass()
            if self.is_closed or self._ends_idle(wait):
                return

    def _pass(self, deadline: float | None = None) -> float | None:
        """Sends all that is due, one at a time; answers the seconds until more is, if anything waits."""
        try:
            return self._send_due(deadline)
        except Exception as error:
            self._warnings.tell("courier", f"Sending broke off and is tried again: {type(error).__name__}.")
            return 1.0

    def _send_due(self, deadline: float | None) -> float | None:
        with self._sending:
            while True:
                now = time.monotonic()
                step = self.outbox.next(now)
                if not isinstance(step, Parcel):
                    return step
                timeout = self._settings.timeout
                answer = self._http.send(
                    step.request(), timeout if deadline is None else min(timeout, max(0.05, deadline - now))
                )
                self.outbox.done(step, answer, time.monotonic())
                if deadline is not None and time.monotonic() >= deadline:
                    return None

    def _ends_idle(self, wait: float | None) -> bool:
        """Sleeps until there is something to do; whether the thread may end instead."""
        self._wake.clear()
        self._is_asleep = True
        # Whoever put something before this line set no alarm: so look once more.
        if wait is None and not self.outbox.is_empty:
            wait = 0.0
        woken = self._wake.wait(IDLE_SECONDS if wait is None else min(wait, IDLE_SECONDS))
        self._is_asleep = False
        if woken and not self._hurries and not self.is_closed:
            time.sleep(LINGER_SECONDS)
        if woken or wait is not None:
            return False
        with self._guard:
            self._thread = None
            if self.outbox.is_empty:
                return True
            self._thread = threading.current_thread()
            return False

    # --- other processes ---------------------------------------------------------------------------------------

    def after_fork(self) -> None:
        """In the child: what waited is the parent's to send, and so are its connections."""
        self.outbox.store.forget()
        self._http.forget()
        self._begin()


def new_store(settings: Settings, warnings: Warnings) -> Store:
    if settings.spool_dir:
        from agentloop_client._spool import SpoolStore

        try:
            return SpoolStore(settings.spool_dir, settings.spool_bytes)
        except OSError as error:
            warnings.tell("spool", f"The spool can't be used ({type(error).__name__}): what waits is kept in memory.")
    return MemoryStore(settings.buffer_bytes)


_couriers: weakref.WeakSet[Any] = weakref.WeakSet()


def close_at_exit(courier: Any) -> None:
    """Flushes when this process ends, also a child of multiprocessing or Celery, which runs no `atexit`."""
    seen = weakref.ref(courier)

    def close() -> None:
        found = seen()
        if found is not None:
            found.close()

    atexit.register(close)
    weakref.finalize(courier, atexit.unregister, close).atexit = False
    for name in ("multiprocessing.util", "billiard.util"):
        module = sys.modules.get(name)
        if module is not None:
            module.Finalize(None, close, exitpriority=10)


def outlive_forks(courier: Any) -> None:
    _couriers.add(courier)


def _after_fork() -> None:
    for courier in list(_couriers):
        courier.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
