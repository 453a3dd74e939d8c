"""The same courier for code that is awaited: a task on the loop instead of a thread."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress

from agentloop_client import errors
from agentloop_client._courier import IDLE_SECONDS, LINGER_SECONDS, close_at_exit, new_store, outlive_forks
from agentloop_client._http import AsyncHttp, Http, failed
from agentloop_client._outbox import Outbox, Parcel, Stats
from agentloop_client._settings import Settings, Warnings


class AsyncCourier:
    """One outbox, one task at most. What a loop left unsent when it ended goes with the next loop, or at the exit."""

    def __init__(self, settings: Settings, http: AsyncHttp, warnings: Warnings) -> None:
        self._settings, self._http, self._warnings = settings, http, warnings
        self._exit_pid = 0
        self._begin()
        outlive_forks(self)

    def _begin(self) -> None:
        self.outbox = Outbox(new_store(self._settings, self._warnings), self._warnings)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._wake: asyncio.Event | None = None
        self._hurries = 0
        self.is_closed = False

    def put(self, lane: str, message: bytes) -> bool:
        kept = self.outbox.put(lane, message)
        self._start()
        return kept

    @property
    def stats(self) -> Stats:
        return self.outbox.stats

    async def flush(self, timeout: float | None = None) -> bool:
        deadline = time.monotonic() + (self._settings.timeout if timeout is None else timeout)
        self._hurries += 1
        try:
            while not self.outbox.is_empty and time.monotonic() < deadline:
                self._start()
                await asyncio.sleep(0.005)
        finally:
            self._hurries -= 1
        return self.outbox.is_empty

    async def aclose(self, timeout: float | None = None) -> bool:
        """As the thread's: one more try for a server that can't be reached, and no more."""
        deadline = time.monotonic() + (self._settings.exit_timeout if timeout is None else timeout)
        self._hurries += 1
        self.outbox.last_chance()
        while not self.outbox.is_empty and time.monotonic() < deadline and not self.outbox.is_stuck:
            self._start()
            await asyncio.sleep(0.002)
        self.is_closed = True
        if self._task is not None and self._loop is asyncio.get_running_loop():
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._http.close()
        return self._ended()

    def close(self) -> None:
        """At the exit, when no loop runs any more: what is left goes over a connection of its own."""
        if self.is_closed:
            return
        self.is_closed = True
        deadline = time.monotonic() + self._settings.exit_timeout
        http = Http(self._settings)
        self.outbox.last_chance()
        while not self.outbox.is_empty and time.monotonic() < deadline and not self.outbox.is_stuck:
            parcel = self.outbox.next(time.monotonic())
            if not isinstance(parcel, Parcel):
                break
            answer = http.send(parcel.request(), max(0.05, deadline - time.monotonic()))
            self.outbox.done(parcel, answer, time.monotonic())
        http.close()
        self._ended()

    def _ended(self) -> bool:
        left = len(self.outbox.store)
        self.outbox.store.close()
        if left:
            where = "stay in the spool" if self._settings.spool_dir else "are lost"
            self._warnings.tell("left", f"{left} messages could not be sent before the end and {where}.")
        return left == 0

    # --- the task ----------------------------------------------------------------------------------------------

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        if self._task is not None and not self._task.done() and self._loop is not None and not self._loop.is_closed():
            if self._wake is not None and self._loop is loop:
                self._wake.set()
            elif self._wake is not None:
                self._loop.call_soon_threadsafe(self._wake.set)
            return
        self._loop, self._wake = loop, asyncio.Event()
        self._task = loop.create_task(self._work(self._wake))
        if self._exit_pid != os.getpid():
            self._exit_pid = os.getpid()
            close_at_exit(self)

    async def _work(self, wake: asyncio.Event) -> None:
        try:
            await self._run(wake)
        except asyncio.CancelledError:
            # The loop ends, and its connections with it.
            await self._http.close()
            raise

    async def _run(self, wake: asyncio.Event) -> None:
        while True:
            wait: float | None = 1.0
            if not self._hurries:
                await asyncio.sleep(LINGER_SECONDS)
            with suppress(Exception):
                wait = await self._pass()
            wake.clear()
            if wait is None and not self.outbox.is_empty:
                continue
            try:
                await asyncio.wait_for(wake.wait(), IDLE_SECONDS if wait is None else min(wait, IDLE_SECONDS))
            except asyncio.TimeoutError:
                if wait is None and self.outbox.is_empty:
                    return

    async def _pass(self) -> float | None:
        while True:
            step = self.outbox.next(time.monotonic())
            if not isinstance(step, Parcel):
                return step
            answer = failed(errors.Unreachable("The event loop ended."))
            try:
                answer = await self._http.send(step.request(), self._settings.timeout)
            finally:
                # Also when the task is cancelled: nothing that was taken may be forgotten.
                self.outbox.done(step, answer, time.monotonic())

    def after_fork(self) -> None:
        self.outbox.store.forget()
        self._http.forget()
        self._begin()
