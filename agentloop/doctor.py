"""What is wrong with this installation, and how to mend it. Each check is one function and one line."""

import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Literal
from urllib.parse import urlsplit

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection
from django.utils import timezone

from agentloop import embedded, env, patterns, startup, supervisor
from agentloop.models import Project

Level = Literal["OK", "WARN", "FAIL"]
LOW_DISK_BYTES = 2_000_000_000
NO_DISK_BYTES = 200_000_000
SKEW_SECONDS = 2
WORST_SKEW_SECONDS = 30
PING_SECONDS = 1.5
_LOCKED = re.compile(r"^([A-Za-z0-9_.\-]+)==([^\s;\\]+)\s*(;.*?)?\\?$", re.MULTILINE)


@dataclass(frozen=True)
class Finding:
    """`remedy` is what to do about it, empty when all is well."""

    name: str
    level: Level
    text: str
    remedy: str = ""


def examine(more: Iterable[Callable[[], Finding]] = ()) -> Iterator[Finding]:
    """Every finding, as it is made: some wait for an answer, ten seconds at most.

    `more` are checks that other apps have, of a database with all its tables.
    """
    yield from (check() for check in (python, packages, home, disk, secret_key, static_files, port))
    found = database()
    yield found
    if found.level == "OK":
        tables = migrations()
        yield tables
        yield clock()
        if tables.level == "OK":
            yield mask_patterns()
            yield from (check() for check in more)
    found = broker()
    yield found
    if found.level == "OK":
        yield worker()
        yield beat()


def python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Finding("python", "OK", version)
    return Finding("python", "FAIL", version, "Use Python 3.11, 3.12 or 3.13: remove .venv, then `make install`.")


def packages() -> Finding:
    """Those of the lock that a marker may leave out on this machine are not missed, only compared."""
    lock = env.ROOT / "requirements" / "base.txt"
    if not lock.exists():
        return Finding("packages", "WARN", f"{lock} is missing", "Take the whole source tree.")
    wrong = []
    locked = _LOCKED.findall(lock.read_text())
    for name, version, marker in locked:
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            installed = version if marker else "missing"
        if installed != version:
            wrong.append(f"{name} {installed} (locked: {version})")
    if wrong:
        return Finding("packages", "WARN", ", ".join(wrong), "Run `touch requirements/base.txt && make install`.")
    return Finding("packages", "OK", f"{len(locked)} as locked")


def home() -> Finding:
    try:
        startup.check_home(settings.HOME)
    except startup.CannotStart as error:
        return Finding("home", "FAIL", str(error), "Set AGENTLOOP_HOME to a folder that can be written.")
    return Finding("home", "OK", str(settings.HOME))


def disk() -> Finding:
    free = shutil.disk_usage(settings.HOME if settings.HOME.exists() else env.ROOT).free
    text = f"{free / 1e9:.1f} GB free"
    if free >= LOW_DISK_BYTES:
        return Finding("disk", "OK", text)
    level: Level = "WARN" if free >= NO_DISK_BYTES else "FAIL"
    return Finding("disk", level, text, f"Make room where {settings.HOME} lies, or move it.")


def secret_key() -> Finding:
    if env.text("AGENTLOOP_SECRET_KEY"):
        return Finding("secret key", "OK", "AGENTLOOP_SECRET_KEY")
    path = settings.HOME / "secret_key"
    if not startup.uses_embedded_database():
        remedy = f"Set AGENTLOOP_SECRET_KEY to the content of {path} on every machine, and keep a copy."
        return Finding("secret key", "WARN", f"only in {path}, while the data is elsewhere", remedy)
    if path.exists() and path.stat().st_mode & 0o077:
        return Finding("secret key", "FAIL", f"others can read {path}", f"chmod 600 {path}")
    return Finding("secret key", "OK", f"{path}: a backup needs it too")


def static_files() -> Finding:
    missing = [folder for folder in ("static", "templates") if not any((env.ROOT / folder).rglob("*.*"))]
    if missing:
        return Finding("static files", "WARN", f"nothing in {', '.join(missing)}", "Take the whole source tree.")
    return Finding("static files", "OK", "present")


def port() -> Finding:
    served = urlsplit(supervisor.last_address(settings.HOME) or "")
    host, number = served.hostname or settings.HOST, served.port or settings.PORT
    if supervisor.answers(host, number):
        return Finding("port", "OK", f"{host}:{number} is served")
    try:
        startup.check_port(host, number)
    except startup.CannotStart as error:
        return Finding("port", "FAIL", str(error), "Choose another port, or end what listens there.")
    return Finding("port", "WARN", f"{host}:{number} is free: no web process", "Run `make run`.")


def database() -> Finding:
    if startup.uses_embedded_database() and not embedded.alive(settings.HOME, broker=False):
        return Finding("database", "WARN", "the embedded PostgreSQL is stopped", "Run `make run`.")
    try:
        version = startup.database_version()
    except startup.CannotStart as error:
        remedy = "Check DATABASE_URL, and that the server runs and lets this machine in."
        return Finding("database", "FAIL", str(error), remedy)
    return Finding("database", "OK", f"PostgreSQL {version}")


def migrations() -> Finding:
    try:
        pending = startup.unapplied_migrations()
    except DatabaseError as error:
        return Finding("migrations", "FAIL", " ".join(str(error).split()), "Check the database's rights.")
    if pending:
        text = f"{len(pending)} are not applied, {pending[0]} first"
        return Finding("migrations", "FAIL", text, "Run `.venv/bin/python manage.py up`, which applies them.")
    return Finding("migrations", "OK", "all applied")


def clock() -> Finding:
    """Leases and expiry compare times of both clocks."""
    before = timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        theirs = cursor.fetchone()[0]
    after = timezone.now()
    skew = max((before - theirs).total_seconds(), (theirs - after).total_seconds(), 0.0)
    text = f"{skew:.1f} s from the database's"
    if skew <= SKEW_SECONDS:
        return Finding("clock", "OK", text)
    level: Level = "WARN" if skew <= WORST_SKEW_SECONDS else "FAIL"
    return Finding("clock", level, text, "Set both machines' clocks by NTP.")


def mask_patterns() -> Finding:
    """Patterns that were stored before RE2 matched them, and that it can't read."""
    stored = Project.objects.filter(settings__has_key="mask_patterns").order_by("slug")
    problems = [
        f"{project.slug}: {spelling} is left out, {problem}"
        for project in stored
        for spelling in project.setting("mask_patterns")
        if (problem := patterns.problem_of(spelling))
    ]
    if not problems:
        return Finding("mask patterns", "OK", "all are used")
    return Finding("mask patterns", "FAIL", "; ".join(problems), "Spell them anew under Settings, Privacy.")


def broker() -> Finding:
    if startup.uses_embedded_broker() and not embedded.alive(settings.HOME, database=False):
        return Finding("broker", "WARN", "the embedded Valkey is stopped", "Run `make run`.")
    try:
        startup.check_broker()
    except startup.CannotStart as error:
        return Finding("broker", "FAIL", str(error), "Check BROKER_URL, and that the server runs.")
    return Finding("broker", "OK", "answers")


def worker() -> Finding:
    from agentloop.celery import app

    names = sorted(name for answer in app.control.ping(timeout=PING_SECONDS) for name in answer)
    if names:
        return Finding("worker", "OK", ", ".join(names))
    remedy = "Run `manage.py up --only worker`: until then nothing is swept, indexed or rolled back."
    return Finding("worker", "FAIL", "none answers", remedy)


def beat() -> Finding:
    """Its process, if it runs here; else whether scheduled tasks arrive at a worker."""
    if supervisor.marked(settings.HOME, ["beat"]):
        return Finding("beat", "OK", "runs here")
    from agentloop.celery import app

    pauses = [entry["schedule"] for entry in app.conf.beat_schedule.values()]
    shortest = min((pause for pause in pauses if isinstance(pause, int | float)), default=5.0)
    before = _tasks_done(app.control.inspect(timeout=PING_SECONDS).stats)
    time.sleep(shortest + 0.5)
    if _tasks_done(app.control.inspect(timeout=PING_SECONDS).stats) > before:
        return Finding("beat", "OK", "its tasks arrive")
    return Finding("beat", "FAIL", "no scheduled task arrives", "Run `manage.py up --only beat` on one machine.")


def _tasks_done(stats: Callable[[], dict[str, dict[str, dict[str, int]]] | None]) -> int:
    return sum(sum(worker["total"].values()) for worker in (stats() or {}).values())


def exit_code(findings: list[Finding]) -> int:
    return int(any(finding.level == "FAIL" for finding in findings))
