"""A store in a directory: what `put` returned for outlives the process, and goes out when the next one starts.

Each process writes segments of its own and holds a lock for them; the operating system drops the lock when the
process dies, however it dies, and another one takes its segments over. A segment is deleted when all of it has
arrived. Messages are written, not synced: they survive the process, not a loss of power.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agentloop_client._outbox import LANES, MAX_PARCEL_BYTES, Lane

SEGMENT_BYTES = 1024 * 1024
# So much is read into memory at most, so that one lane that can't go on doesn't hold up the others at once.
LOADED_BYTES = 4 * SEGMENT_BYTES
ADOPT_EVERY_SECONDS = 30.0


@dataclass(eq=False)
class Segment:
    path: Path
    size: int = 0
    count: int = 0
    lock: int | None = None
    """Of a dead process whose segment this is: held until all of its segments are gone."""


class SpoolStore:
    def __init__(self, directory: str, most_bytes: int) -> None:
        self._folder, self._most = Path(directory), most_bytes
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._owner = f"{time.time_ns():020d}-{os.getpid()}-{os.urandom(4).hex()}"
        self._lock_file = _locked(self._folder, self._owner)
        self._guard = threading.Lock()
        self._numbers = 0
        self._current: int | None = None
        self._writing: Segment | None = None
        self._segments: deque[Segment] = deque()
        """Written to the end, and not read yet; the oldest first."""
        self._size = self._count = 0
        self._loaded: dict[str, deque[tuple[Segment, bytes]]] = {name: deque() for name in LANES}
        self._loaded_bytes = 0
        self._taken: dict[str, deque[Segment]] = {name: deque() for name in LANES}
        self._adopted: dict[int, tuple[Path, set[Path]]] = {}
        self._adopt()

    # --- writing, from any thread ------------------------------------------------------------------------------

    def put(self, lane: str, message: bytes) -> int:
        record = b"%s %s\n" % (lane.encode(), message)
        with self._guard:
            segment = self._open_segment()
            assert self._current is not None
            if os.write(self._current, record) != len(record):
                self._finish_segment()
                raise OSError("the disk is full")
            segment.size += len(record)
            segment.count += 1
            self._size += len(record)
            self._count += 1
            if segment.size >= SEGMENT_BYTES:
                self._finish_segment()
            return self._make_room() if self._size > self._most else 0

    def _open_segment(self) -> Segment:
        if self._writing is None:
            self._numbers += 1
            path = self._folder / f"{self._owner}.{self._numbers:08d}.spool"
            self._current = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
            self._writing = Segment(path)
        return self._writing

    def _finish_segment(self) -> None:
        if self._writing is not None and self._current is not None:
            os.close(self._current)
            self._segments.append(self._writing)
        self._writing = self._current = None

    def _make_room(self) -> int:
        """Deletes the oldest segments that nobody reads yet."""
        dropped = 0
        while self._size > self._most and self._segments:
            oldest = self._segments.popleft()
            dropped += oldest.count
            self._size -= oldest.size
            self._count -= oldest.count
            self._delete(oldest)
        return dropped

    # --- reading, from the thread that sends -------------------------------------------------------------------

    def waiting(self) -> Iterable[str]:
        if time.monotonic() - self._adopted_at >= ADOPT_EVERY_SECONDS:
            self._adopt()
        if not any(self._loaded.values()) or self._loaded_bytes < LOADED_BYTES - SEGMENT_BYTES:
            self._load_next()
        return [name for name, queue in self._loaded.items() if queue]

    def _load_next(self) -> None:
        with self._guard:
            if not self._segments:
                self._finish_segment()
            if not self._segments:
                return
            segment = self._segments.popleft()
        records = list(_records(segment.path))
        if len(records) != segment.count:
            with self._guard:
                self._count += len(records) - segment.count
            segment.count = len(records)
        for lane, message in records:
            self._loaded[lane].append((segment, message))
            self._loaded_bytes += len(message)
        if not records:
            self._done_with(segment)

    def take(self, lane: Lane, most: int) -> list[bytes]:
        queue = self._loaded[lane.name]
        taken: list[bytes] = []
        size = 0
        while queue and len(taken) < most and (not taken or size + len(queue[0][1]) <= MAX_PARCEL_BYTES):
            segment, message = queue.popleft()
            size += len(message)
            taken.append(message)
            self._taken[lane.name].append(segment)
        self._loaded_bytes -= size
        return taken

    def drop(self, lane: Lane, count: int) -> None:
        with self._guard:
            self._count -= count
        for _ in range(count):
            segment = self._taken[lane.name].popleft()
            segment.count -= 1
            if segment.count == 0:
                self._done_with(segment)

    def give_back(self, lane: Lane, messages: list[bytes]) -> None:
        for message in reversed(messages):
            self._loaded[lane.name].appendleft((self._taken[lane.name].pop(), message))
            self._loaded_bytes += len(message)

    def _done_with(self, segment: Segment) -> None:
        with self._guard:
            self._size -= segment.size
            self._delete(segment)

    def _delete(self, segment: Segment) -> None:
        with suppress(OSError):
            segment.path.unlink()
        if segment.lock is not None:
            lock_path, left = self._adopted[segment.lock]
            left.discard(segment.path)
            if not left:
                del self._adopted[segment.lock]
                with suppress(OSError):
                    lock_path.unlink()
                    os.close(segment.lock)

    def _adopt(self) -> None:
        """Takes over what dead processes left."""
        self._adopted_at = time.monotonic()
        own = self._folder / f"{self._owner}.lock"
        for lock_path in sorted(self._folder.glob("*.lock")):
            if lock_path == own:
                continue
            lock = _try_lock(lock_path)
            if lock is None:
                continue
            owner = lock_path.name[: -len(".lock")]
            paths = sorted(self._folder.glob(f"{owner}.*.spool"))
            if not paths:
                with suppress(OSError):
                    lock_path.unlink()
                os.close(lock)
                continue
            self._adopted[lock] = (lock_path, set(paths))
            # How many messages a segment has is known once it is read; until then it counts for one.
            found = [Segment(path, path.stat().st_size, 1, lock) for path in paths]
            with self._guard:
                self._segments.extendleft(reversed(found))
                self._size += sum(segment.size for segment in found)
                self._count += sum(segment.count for segment in found)

    # --- the end -----------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self._count

    def close(self) -> None:
        """Leaves what was not sent to whoever starts next."""
        with self._guard:
            self._finish_segment()
            for lock in (self._lock_file, *self._adopted):
                with suppress(OSError):
                    os.close(lock)
            self._adopted = {}
            if self._count == 0:
                with suppress(OSError):
                    (self._folder / f"{self._owner}.lock").unlink()

    def forget(self) -> None:
        """In a forked child. Closing its copies of the locks leaves them with the parent."""
        for handle in (self._lock_file, self._current, *self._adopted):
            if handle is not None:
                with suppress(OSError):
                    os.close(handle)


def _records(path: Path) -> Iterator[tuple[str, bytes]]:
    """A segment's messages. Of a process that died the last one may be torn: it was not yet promised to anyone."""
    with suppress(OSError):
        for line in path.read_bytes().splitlines(keepends=True):
            lane, _, message = line.partition(b" ")
            name = lane.decode(errors="replace")
            if name in LANES and message.startswith(b"{") and message.endswith(b"}\n"):
                yield name, message[:-1]


def _locked(folder: Path, owner: str) -> int:
    """A lock of our own. It gets its name once it is held, so that nobody takes it for a dead process's."""
    import fcntl

    draft = folder / f"{owner}.new"
    handle = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    draft.rename(folder / f"{owner}.lock")
    return handle


def _try_lock(path: Path) -> int | None:
    import fcntl

    try:
        handle = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle
