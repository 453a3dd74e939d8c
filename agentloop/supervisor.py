"""Web, worker and beat as children of one process.

Our own rather than honcho or circus: a child that dies is started again with growing pauses, one that cannot
start at all ends everything with a line that says so, and processes that outlived a killed supervisor are
found by a mark in their environment, and ended, before new ones take their place.
"""

import fcntl
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TextIO
from urllib.parse import urlsplit

import psutil
from django.conf import settings

from agentloop import embedded
from agentloop.startup import CannotStart, uses_embedded_broker, uses_embedded_database

ROLES = ("web", "worker", "beat")
MARK = "AGENTLOOP_SUPERVISED"
LOOK_SECONDS = 0.2
# A child that lived this long was all right once: from then on it is started again for ever.
STEADY_SECONDS = 10
LONGEST_PAUSE_SECONDS = 30
# A worker may finish what is in its hands: most is short, and the long rounds of the queue look for the end between
# two steps. A task that is killed all the same is safe to lose.
STOP_SECONDS = 25
ECHO_SECONDS = 1
STOPPING = "stopping"


class Stopped(BaseException):
    """Somebody asked for an end: Ctrl-C, SIGTERM or a closed terminal."""


def address(host: str, port: int) -> str:
    """What to type into a browser on this machine."""
    shown = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host  # noqa: S104 - compared, not bound
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def last_address(home: Path) -> str | None:
    """Where this installation's site is, or was when it last ran."""
    with suppress(OSError):
        return (home / "address").read_text().strip()
    return None


def arguments(role: str, host: str, port: int) -> list[str]:
    """The command line of a role. Each is a program of its own that needs nothing of the supervisor."""
    celery = [sys.executable, "-m", "celery", "--quiet", "--app", "agentloop"]
    level = f"--loglevel={settings.LOG_LEVEL}"
    if role == "web":
        return [
            *(sys.executable, "-m", "granian", "--interface", "wsgi", "--host", host, "--port", str(port)),
            # Request lines of 64 kB pass: a signed feedback link holds a whole turn.
            *("--http", "1", "--http1-buffer-size", "417792", "--no-ws", "--backlog", "2048"),
            *("--workers", str(settings.WEB_PROCESSES), "--blocking-threads", str(settings.WEB_THREADS)),
            *("--respawn-failed-workers", "--respawn-interval", "1", "--workers-kill-timeout", "15"),
            *("--log-level", "error", "agentloop.wsgi:application"),
        ]
    if role == "worker":
        options = ["--without-gossip", "--without-mingle", "--concurrency", str(settings.WORKER_PROCESSES)]
        return [*celery, "worker", level, *options]
    return [*celery, "beat", level, "--schedule", str(settings.HOME / "beat-schedule"), "--pidfile", ""]


@dataclass
class Child:
    """One role's process, its restarts, and its end with everything below it."""

    role: str
    arguments: Sequence[str]
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    failures: int = 0
    was_steady: bool = False
    next_start_at: float = 0.0

    def start(self) -> None:
        # A session of its own: Ctrl-C in the terminal reaches the supervisor alone.
        self.process = subprocess.Popen(  # noqa: S603 - our own programs
            self.arguments, env=self.environment, cwd=settings.ROOT, start_new_session=True
        )
        self.started_at = time.monotonic()

    def look_after(self) -> None:
        """Start it again when its pause is over; CannotStart when it never stood on its feet."""
        now = time.monotonic()
        if self.process is None:
            if now >= self.next_start_at:
                self.start()
            return
        code = self.process.poll()
        if code is None:
            self.was_steady = self.was_steady or now - self.started_at > STEADY_SECONDS
            return
        self.kill()
        # A signal came from outside and says nothing about whether it can start.
        if code >= 0 and not self.was_steady:
            raise CannotStart(f"The {self.role} process cannot start (exit code {code}): see the lines above.")
        self.failures = 0 if now - self.started_at > STEADY_SECONDS else self.failures + 1
        pause = min(LONGEST_PAUSE_SECONDS, 0.25 * 2**self.failures)
        say(f"{self.role} ended ({_how(code)}); it starts again in {pause:g} s.")
        self.process, self.next_start_at = None, now + pause

    def terminate(self) -> None:
        if self.process:
            with suppress(ProcessLookupError):
                self.process.terminate()

    def has_ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def kill(self) -> None:
        """The whole session: a web server's workers outlive a killed parent and would keep its port."""
        if self.process:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def say(line: str) -> None:
    """For whoever started this; a closed terminal is no reason to stop."""
    with suppress(OSError, ValueError):
        print(line, flush=True)  # noqa: T201


class Signals:
    """The first signal ends the start or the loop, a second one the patience."""

    def __init__(self) -> None:
        self.count = 0
        self.last_at = 0.0
        # While starting, a signal breaks off whatever waits; later it is only noted, so that it can't break off
        # the very work of ending.
        self.breaks_off = True
        self.parent = os.getppid()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        # One Ctrl-C may come twice, from the terminal and from make: only a later one is impatience.
        is_echo = self.count and time.monotonic() - self.last_at < ECHO_SECONDS
        self.last_at = time.monotonic()
        self.count += not is_echo
        if self.breaks_off and self.count == 1 and not is_echo:
            raise Stopped

    @property
    def ask_for_an_end(self) -> bool:
        # When `make run` was killed, whoever did it meant this, and can no longer reach it.
        return self.count > 0 or ("MAKELEVEL" in os.environ and os.getppid() != self.parent)

    @contextmanager
    def caught(self) -> Iterator["Signals"]:
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self) for number in numbers}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def only_one(home: Path, roles: Sequence[str]) -> Iterator[None]:
    """No second supervisor runs the same role from the same folder; a dead one's lock is gone with it."""
    with ExitStack() as stack:
        for role in roles:
            lock = stack.enter_context(_lock_file(home, role).open("a+"))
            _take(lock, role, home)
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
        yield


def _lock_file(home: Path, role: str) -> Path:
    return home / f"{role}.lock"


def _take(lock: TextIO, role: str, home: Path) -> None:
    """One that is stopping is waited for; one that runs is not, but for the moment it takes to notice."""
    started = time.monotonic()
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        lock.seek(0)
        holder = lock.read().strip()
        patience = STOP_SECONDS * 2 if holder == STOPPING else 5 * LOOK_SECONDS
        if time.monotonic() - started > patience:
            raise CannotStart(
                f"Its {role} already runs from {home} (process {holder or '?'}): "
                "stop it first, or set AGENTLOOP_HOME to another folder."
            )
        time.sleep(0.1)


def mark(home: Path, role: str) -> str:
    return f"{role}@{home}"


def marked(home: Path, roles: Sequence[str]) -> list[psutil.Process]:
    """Every process of these roles from this folder, grandchildren included, whoever their parent is now."""
    wanted = {mark(home, role) for role in roles}
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(MARK) in wanted:
                found.append(process)
    return found


def end_leftovers(home: Path, roles: Sequence[str], *, patience: float = 5) -> int:
    """End what an earlier supervisor left behind. To be called with `only_one` held."""
    leftovers = marked(home, roles)
    for process in leftovers:
        with suppress(psutil.Error):
            process.terminate()
    _, stubborn = psutil.wait_procs(leftovers, timeout=patience)
    # Children that were born meanwhile included.
    while stubborn := [*stubborn, *marked(home, roles)]:
        for process in stubborn:
            with suppress(psutil.Error):
                process.kill()
        _, stubborn = psutil.wait_procs(stubborn, timeout=5)
    return len(leftovers)


def supervise(*, roles: Sequence[str], host: str, port: int, signals: Signals, ready: Callable[[], None]) -> None:
    """Run the roles until a signal comes; `ready` is called once, when the site answers."""
    home = settings.HOME
    children = [_child(role, home, host, port) for role in roles]
    signals.breaks_off = False
    try:
        for child in children:
            child.start()
        _loop(children, host, port, signals, ready)
    finally:
        say("Stopping.")
        for role in roles:
            _lock_file(home, role).write_text(STOPPING)
        _stop(children, signals)
        end_leftovers(home, roles, patience=0)


def _child(role: str, home: Path, host: str, port: int) -> Child:
    environment = os.environ | {
        MARK: mark(home, role),
        "AGENTLOOP_HOME": str(home),
        "AGENTLOOP_HOST": host,
        "AGENTLOOP_PORT": str(port),
        "DJANGO_SETTINGS_MODULE": "agentloop.settings",
        "PYTHONUNBUFFERED": "1",
        # Celery warns root about pickled tasks; ours are JSON only.
        "PYTHONWARNINGS": "ignore:You're running the worker with superuser privileges",
    }
    return Child(role, arguments(role, host, port), environment)


def _loop(children: Sequence[Child], host: str, port: int, signals: Signals, ready: Callable[[], None]) -> None:
    waiting_for_web = any(child.role == "web" for child in children)
    if not waiting_for_web:
        ready()
    servers_looked_at = time.monotonic()
    while not signals.ask_for_an_end:
        time.sleep(LOOK_SECONDS)
        for child in children:
            child.look_after()
        if waiting_for_web and answers(host, port):
            waiting_for_web = False
            # A web server that has answered could start: workers that die soon after are no reason to give up.
            for child in children:
                child.was_steady = child.was_steady or child.role == "web"
            ready()
        if time.monotonic() - servers_looked_at > 1:
            _look_after_servers()
            servers_looked_at = time.monotonic()


def _look_after_servers() -> None:
    database, broker = uses_embedded_database(), uses_embedded_broker()
    if not (database or broker) or embedded.alive(settings.HOME, database=database, broker=broker):
        return
    say("An embedded server ended; it starts again.")
    try:
        embedded.start(settings.HOME, database=database, broker=broker)
    except embedded.EmbeddedError as error:
        say(f"{error}")


def answers(host: str, port: int) -> bool:
    """Whether a web server is there, whatever it says: what it serves is for `/readyz` to judge."""
    reached = urlsplit(address(host, port))
    connection = http.client.HTTPConnection(reached.hostname or host, port, timeout=2)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status > 0
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _stop(children: Sequence[Child], signals: Signals) -> None:
    """Ask, wait, insist. A second signal ends the waiting."""
    for child in children:
        child.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    while not all(child.has_ended() for child in children):
        if time.monotonic() > deadline or signals.count > 1:
            break
        time.sleep(0.05)
    for child in children:
        child.kill()
