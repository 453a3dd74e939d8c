"""What is known of the goals: snapshots, refreshed behind the agent's back, and draws made ahead of them."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from random import Random
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from agentloop_client import errors
from agentloop_client._choice import Drawn, Path, Race, Snapshot, Terms, read_snapshot
from agentloop_client._courier import outlive_forks
from agentloop_client._encode import encode
from agentloop_client._http import Request

if TYPE_CHECKING:
    from agentloop_client._client import AgentLoop

# So many draws are made ahead, and more when so few are left.
AHEAD, FEW = 512, 256
IDLE_SECONDS = 10.0


class Background:
    """One thread for the jobs that choosing must not wait for; it ends when there are none."""

    def __init__(self) -> None:
        self._begin()
        outlive_forks(self)

    def _begin(self) -> None:
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None

    def do(self, job: Callable[[], None]) -> None:
        self._jobs.put(job)
        if self._thread is None:
            with self._guard:
                if self._thread is None:
                    thread = threading.Thread(target=self._run, name="agentloop-goals", daemon=True)
                    # At the interpreter's end there are no threads to be had, and nothing to refresh for.
                    with suppress(RuntimeError):
                        thread.start()
                        self._thread = thread

    def _run(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=IDLE_SECONDS)
            except Empty:
                with self._guard:
                    if self._jobs.empty():
                        self._thread = None
                        return
                continue
            with suppress(Exception):
                job()

    def after_fork(self) -> None:
        self._begin()


class Goal:
    """One goal as one router sees it."""

    def __init__(
        self,
        client: AgentLoop,
        background: Background,
        name: str,
        pipeline_id: str,
        terms: Terms,
        paths: Sequence[Path],
        refresh_seconds: float,
    ) -> None:
        self._client, self._background = client, background
        self._name, self._pipeline_id, self._terms, self._paths = name, pipeline_id, terms, paths
        self._refresh_seconds = refresh_seconds
        self._is_registered = False
        self._begin()
        outlive_forks(self)

    def _begin(self) -> None:
        self._rng = Random()
        self.snapshot: Snapshot | None = None
        self._looked_at = float("-inf")
        self._is_looking = False
        self._race: Race | None = None
        self._raced_at = 0.0
        self._ahead: deque[Drawn] = deque()
        self._chances: dict[int, tuple[float, float]] = {}
        self._is_drawing = False
        self._looked = threading.Event()

    def draw(self) -> tuple[Drawn | None, float | None, float | None]:
        """A draw with its probability and confidence; none while nothing was ever known."""
        now = time.monotonic()
        if now - self._looked_at > self._refresh_seconds and not self._is_looking:
            self._is_looking = True
            self._background.do(self._look)
        race = self._race
        if race is None or race.snapshot is not self.snapshot or now - self._raced_at > 60:
            if self.snapshot is None:
                return None, None, None
            race = self._new_race(self.snapshot, now)
        try:
            drawn = self._ahead.popleft()
        except IndexError:
            drawn = race.draw()
        if len(self._ahead) < FEW and not self._is_drawing:
            self._is_drawing = True
            self._background.do(self._draw_ahead)
        confidence, probability = self._chances.get(id(drawn.path), (None, None))
        return drawn, probability, confidence

    def _new_race(self, snapshot: Snapshot, now: float) -> Race:
        """Whatever was drawn ahead goes with the snapshot it was drawn from."""
        race = Race(snapshot, self._terms, time.time(), self._rng)
        self._ahead, self._chances = deque(), {}
        self._race, self._raced_at = race, now
        return race

    # --- in the background -------------------------------------------------------------------------------------

    def _draw_ahead(self) -> None:
        try:
            race, ahead = self._race, self._ahead
            if race is None:
                return
            if not self._chances:
                self._chances = race.chances()
            while len(ahead) < AHEAD and race is self._race:
                ahead.append(race.draw())
                # Lets the agent's thread go first.
                time.sleep(0)
        finally:
            self._is_drawing = False

    def _look(self) -> None:
        try:
            if not self._is_registered:
                self._is_registered = self._register()
            query = {"goal": self._name, **({"pipeline_id": self._pipeline_id} if self._pipeline_id else {})}
            known = {"If-None-Match": self.snapshot.etag} if self.snapshot and self.snapshot.etag else None
            answer = self._client.call(Request("GET", f"/api/v1/routing/state?{urlencode(query)}", headers=known))
            if answer.error is not None:
                raise answer.error
            if answer.status != 304:
                self.snapshot = read_snapshot(answer.body, answer.etag)
            self._looked.set()
        except errors.Closed:
            # The client ended meanwhile, and with it the wish to know.
            pass
        except Exception as error:
            self._client.warnings.tell("state", f"Choosing goes by what was known before: {type(error).__name__}.")
        finally:
            self._looked_at = time.monotonic()
            self._is_looking = False

    def _register(self) -> bool:
        """Whether the server knows all paths; the first that it can't be told ends the attempt."""
        return all(self._client.call(path_request(self._name, path)).error is None for path in self._paths)

    def wait(self, timeout: float) -> bool:
        """Waits for the first snapshot; whether there is one."""
        if self.snapshot is None and not self._is_looking:
            self._is_looking = True
            self._background.do(self._look)
        return self._looked.wait(timeout)

    def look_again(self) -> None:
        """The next choice has the snapshot refreshed."""
        self._looked_at = float("-inf")

    def after_fork(self) -> None:
        """In a child: the same draws must not be made in two processes."""
        snapshot = self.snapshot
        self._begin()
        self.snapshot = snapshot
        if snapshot is not None:
            self._looked.set()


def path_request(goal: str, path: Path, risk_level: str = "low") -> Request:
    said: dict[str, Any] = {
        "goal": goal,
        "model_id": path.model,
        "tool_id": path.tool,
        "tools": list(path.tools),
        "params": dict(path.params),
        "risk_level": risk_level,
    }
    return Request("POST", "/api/v1/routing/paths", encode({name: one for name, one in said.items() if one}))
