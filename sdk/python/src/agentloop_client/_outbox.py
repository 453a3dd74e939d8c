"""What waits to be sent: bounded, in lanes, and free of threads, clocks and sockets.

A lane is a kind of message with an address of its own. A parcel is as many messages of a lane as fit one request.
Whoever sends asks `next`, and tells `done` what came of it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from agentloop_client import errors
from agentloop_client._http import Answer, Request, failed, pause
from agentloop_client._settings import Warnings

MAX_PARCEL_BYTES = 2 * 1024 * 1024
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
# A waiting message costs about this much beside its text.
OVERHEAD_BYTES = 80


@dataclass(frozen=True)
class Lane:
    name: str
    path: str
    field: str
    """The list's name in the request; nothing where messages go one by one."""
    most: int = 500


# In the order in which they are sent: a decision before its outcome, an outcome before what corrects it.
LANES = {
    lane.name: lane
    for lane in (
        Lane("paths", "/api/v1/routing/paths", "", most=1),
        Lane("decisions", "/api/v1/routing/decisions", "decisions"),
        Lane("outcomes", "/api/v1/intelligence/outcomes", "outcomes"),
        Lane("updates", "/api/v1/intelligence/update-outcome", "", most=1),
        Lane("signals", "/api/v1/intelligence/signals/batch", "signals"),
        Lane("events", "/api/v1/traces", "events"),
        Lane("turns", "/v1/turns/batch", "turns"),
    )
}


@dataclass
class Parcel:
    lane: Lane
    messages: list[bytes]

    def request(self) -> Request:
        if not self.lane.field:
            return Request("POST", self.lane.path, self.messages[0])
        head = f'{{"{self.lane.field}":['.encode()
        return Request("POST", self.lane.path, head + b",".join(self.messages) + b"]}")


class Store(Protocol):
    """Where messages wait: in memory, or in a directory that outlives the process. `put` comes from any thread, the
    rest from the one that sends."""

    def put(self, lane: str, message: bytes) -> int:
        """Keeps a message; answers how many older ones had to go for it."""

    def take(self, lane: Lane, most: int) -> list[bytes]:
        """The oldest messages of a lane, up to a parcel's size. They stay the store's until `drop` or `give_back`."""

    def drop(self, lane: Lane, count: int) -> None:
        """The messages that were taken are done with."""

    def give_back(self, lane: Lane, messages: list[bytes]) -> None:
        """They go to the front again."""

    def waiting(self) -> Iterable[str]:
        """The lanes in which something waits."""

    def __len__(self) -> int:
        """How many messages are not done with, those among them that were taken."""

    def close(self) -> None:
        """Nothing more comes."""

    def forget(self) -> None:
        """In a forked child: what waits is the parent's."""


class MemoryStore:
    """At most so many bytes; when it is full, the oldest of the same lane go, then the oldest of the longest."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._lock = threading.Lock()
        self._lanes: dict[str, deque[bytes]] = {name: deque() for name in LANES}
        self._bytes = 0
        self._count = 0

    def put(self, lane: str, message: bytes) -> int:
        with self._lock:
            self._lanes[lane].append(message)
            self._count += 1
            self._bytes += len(message) + OVERHEAD_BYTES
            return self._make_room(lane) if self._bytes > self._most else 0

    def _make_room(self, lane: str) -> int:
        dropped = 0
        while self._bytes > self._most:
            queue = self._lanes[lane]
            if len(queue) < 2:
                queue = max(self._lanes.values(), key=len)
            if not queue:
                break
            self._bytes -= len(queue.popleft()) + OVERHEAD_BYTES
            self._count -= 1
            dropped += 1
        return dropped

    def take(self, lane: Lane, most: int) -> list[bytes]:
        taken: list[bytes] = []
        size = 0
        with self._lock:
            queue = self._lanes[lane.name]
            while queue and len(taken) < most and (not taken or size + len(queue[0]) <= MAX_PARCEL_BYTES):
                size += len(queue[0])
                taken.append(queue.popleft())
            self._bytes -= size + OVERHEAD_BYTES * len(taken)
        return taken

    def drop(self, lane: Lane, count: int) -> None:
        with self._lock:
            self._count -= count

    def give_back(self, lane: Lane, messages: list[bytes]) -> None:
        with self._lock:
            self._lanes[lane.name].extendleft(reversed(messages))
            self._bytes += sum(map(len, messages)) + OVERHEAD_BYTES * len(messages)

    def waiting(self) -> Iterable[str]:
        return [name for name, queue in self._lanes.items() if queue]

    def __len__(self) -> int:
        return self._count

    def close(self) -> None:
        pass

    def forget(self) -> None:
        pass


@dataclass
class Stats:
    """What became of everything that was handed over."""

    queued: int = 0
    sent: int = 0
    refused: int = 0
    """The server will never take these: it told why, and a warning said so."""
    dropped: int = 0
    """The oldest, for want of room."""
    waiting: int = 0
    retries: int = 0


@dataclass
class _Progress:
    """How a lane fares."""

    most: int
    failures: int = 0
    not_before: float = 0.0


class Outbox:
    """`put` comes from any thread; `next` and `done` from whoever sends, one at a time."""

    def __init__(self, store: Store, warnings: Warnings) -> None:
        self.store, self.warnings = store, warnings
        self._lock = threading.Lock()
        self._stats = Stats()
        self._lanes = {name: _Progress(lane.most) for name, lane in LANES.items()}

    def put(self, lane: str, message: bytes) -> bool:
        """Keeps a message; whether it found room without an older one going for it."""
        if len(message) > MAX_MESSAGE_BYTES:
            self.warnings.tell("large", f"One of the {lane} is over {MAX_MESSAGE_BYTES} bytes: it is not sent.")
            return self._count_drop(1)
        try:
            dropped = self.store.put(lane, message)
        except OSError as error:
            self.warnings.tell("spool", f"The spool can't be written ({type(error).__name__}): a message is dropped.")
            return self._count_drop(1)
        if dropped:
            self.warnings.tell("full", "The buffer is full: the oldest of what waits to be sent is dropped.")
            return self._count_drop(dropped)
        with self._lock:
            self._stats.queued += 1
        return True

    def _count_drop(self, dropped: int) -> bool:
        with self._lock:
            self._stats.queued += 1
            self._stats.dropped += dropped
        return False

    def next(self, now: float) -> Parcel | float | None:
        """A parcel to send; or the seconds until there may be one; or nothing, when nothing waits."""
        soonest: float | None = None
        for name in self.store.waiting():
            progress = self._lanes[name]
            if progress.not_before <= now:
                messages = self.store.take(LANES[name], progress.most)
                if messages:
                    return Parcel(LANES[name], messages)
            else:
                soonest = progress.not_before if soonest is None else min(soonest, progress.not_before)
        return None if soonest is None else soonest - now

    def last_chance(self) -> None:
        """Every lane is due at once, for a last time."""
        for progress in self._lanes.values():
            progress.failures, progress.not_before = 0, 0.0

    @property
    def is_stuck(self) -> bool:
        """Whether every lane in which something waits failed when it was last tried."""
        waiting = list(self.store.waiting())
        return bool(waiting) and all(self._lanes[name].failures for name in waiting)

    def done(self, parcel: Parcel, answer: Answer, now: float) -> None:
        """Takes note of what came of a parcel."""
        with self._lock:
            progress = self._lanes[parcel.lane.name]
            if answer.error is None and not _is_ours(parcel, answer):
                answer = failed(errors.BadAnswer(status=answer.status), answer.status)
            if answer.error is None:
                self._arrived(parcel, answer, progress)
            elif answer.is_about_the_content or (answer.status == 404 and parcel.lane.name == "updates"):
                self._unfit(parcel, answer, progress)
            else:
                self._later(parcel, answer, progress, now)

    def _arrived(self, parcel: Parcel, answer: Answer, progress: _Progress) -> None:
        count = len(parcel.messages)
        results = answer.body.get("results") if parcel.lane.field else None
        refused = [one for one in results or () if isinstance(one, dict) and one.get("status") == "refused"]
        if refused:
            codes = ", ".join(sorted({str(one.get("code") or "refused")[:40] for one in refused}))
            self.warnings.tell("refused", f"The server refused {len(refused)} of {count} {parcel.lane.name}: {codes}.")
        self._stats.sent += count - len(refused)
        self._stats.refused += len(refused)
        self.store.drop(parcel.lane, count)
        progress.failures, progress.not_before, progress.most = 0, 0.0, parcel.lane.most

    def _unfit(self, parcel: Parcel, answer: Answer, progress: _Progress) -> None:
        """One of them spoils the rest: halved until it stands alone, and then given up."""
        if len(parcel.messages) > 1:
            self.store.give_back(parcel.lane, parcel.messages)
            progress.most = max(1, len(parcel.messages) // 2)
            return
        self.store.drop(parcel.lane, 1)
        self._stats.refused += 1
        code = answer.error.code if answer.error else ""
        self.warnings.tell("refused", f"The server refused one of the {parcel.lane.name} ({answer.status} {code}).")
        progress.most = parcel.lane.most

    def _later(self, parcel: Parcel, answer: Answer, progress: _Progress, now: float) -> None:
        self.store.give_back(parcel.lane, parcel.messages)
        self._stats.retries += 1
        progress.not_before = now + pause(progress.failures, answer.retry_after)
        progress.failures += 1
        self.warnings.tell("later", _why_later(answer))

    @property
    def stats(self) -> Stats:
        with self._lock:
            return replace(self._stats, waiting=len(self.store))

    @property
    def is_empty(self) -> bool:
        return len(self.store) == 0


def _is_ours(parcel: Parcel, answer: Answer) -> bool:
    """Whether the answer speaks of what was sent: some other server's `{}` must not pass for a receipt."""
    if parcel.lane.name == "events":
        return isinstance(answer.body.get("accepted"), int)
    if parcel.lane.field:
        results = answer.body.get("results")
        return isinstance(results, list) and len(results) == len(parcel.messages)
    return "status" in answer.body or "path_id" in answer.body


def _why_later(answer: Answer) -> str:
    code = answer.error.code if answer.error else ""
    if answer.status in (401, 403):
        return f"The server does not accept the API key ({answer.status} {code}): what waits is kept and tried again."
    told = f"status {answer.status}" if answer.status else code
    return f"The server could not take what was sent ({told}): it is kept and tried again."
