"""What must hold before the site serves: its servers answer, its port is free, its tables are there."""

import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
from django.conf import settings
from django.core.management import call_command
from django.db import OperationalError, connection
from django.db.migrations.executor import MigrationExecutor
from psycopg.conninfo import conninfo_to_dict

from agentloop import embedded, env

OLDEST_POSTGRES = 15
# Any fixed number: whoever migrates this database holds it.
MIGRATION_LOCK = 4_128_003_617
MIGRATION_WAIT_SECONDS = 900
# A migration that waits for a table makes everyone else wait behind it: it gives up soon and tries again.
LOCK_TIMEOUT = "5s"
LOCK_ATTEMPTS = 20


class CannotStart(Exception):
    """The site cannot start here; the text says why and what to do, in one line."""


def uses_embedded_database() -> bool:
    return not env.text("DATABASE_URL")


def uses_embedded_broker() -> bool:
    return not env.text("BROKER_URL")


@contextmanager
def servers() -> Iterator[None]:
    """The embedded servers that the environment leaves to us are up inside the block."""
    database, broker = uses_embedded_database(), uses_embedded_broker()
    if not (database or broker):
        yield
        return
    with embedded.running(settings.HOME, database=database, broker=broker):
        yield


def check_home(home: Path) -> None:
    probe = home / ".writable"
    try:
        home.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise CannotStart(
            f"AGENTLOOP_HOME ({home}) cannot be written: {error.strerror}. Name a folder that can."
        ) from error


def check_port(host: str, port: int) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with closing(socket.socket(family, kind, protocol)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except PermissionError as error:
        raise CannotStart(f"Port {port} is kept for root: choose one above 1023, as in --port 8000.") from error
    except socket.gaierror as error:
        raise CannotStart(f"{host} is no address of this machine: see --host and AGENTLOOP_HOST.") from error
    except OSError as error:
        if "in use" not in str(error):
            raise CannotStart(f"{host}:{port} cannot be listened on: {error.strerror}.") from error
        raise CannotStart(
            f"Port {port} is in use by another program: choose another one, as in "
            f"`manage.py up --port {port + 1}` or AGENTLOOP_PORT={port + 1}."
        ) from error


def database_version() -> int:
    """PostgreSQL's major version; CannotStart when it does not answer or is too old."""
    try:
        parts = conninfo_to_dict(settings.DATABASE_URL, connect_timeout=5)
        with psycopg.connect(**parts) as connected:  # type: ignore[arg-type]
            version = connected.info.server_version // 10_000
    except psycopg.Error as error:
        reason = " ".join(str(error).split("\n")[0].split())
        raise CannotStart(f"The database of DATABASE_URL cannot be reached: {reason}.") from error
    if version < OLDEST_POSTGRES:
        raise CannotStart(
            f"DATABASE_URL is served by PostgreSQL {version}: AgentLoop needs {OLDEST_POSTGRES} or newer."
        )
    return version


def check_broker() -> None:
    from agentloop.celery import app

    try:
        with app.connection_for_write(connect_timeout=5) as broker:
            broker.ensure_connection(max_retries=1, interval_start=0, timeout=5)
            broker.default_channel.close()
    except Exception as error:  # every transport raises its own
        reason = " ".join(str(error).split())
        raise CannotStart(f"The broker of BROKER_URL cannot be reached: {reason}.") from error


def check_named_servers() -> None:
    """Those of the environment; the embedded ones prove themselves when they start."""
    if not uses_embedded_database():
        database_version()
    if not uses_embedded_broker():
        check_broker()


def unapplied_migrations() -> list[str]:
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


def migrate() -> list[str]:
    """Bring the tables up to date and say what was applied; several machines may ask at once, one does it."""
    with _only_migrator():
        pending = unapplied_migrations()
        if pending:
            _apply()
    connection.close()
    return pending


def _apply() -> None:
    for attempt in range(1, LOCK_ATTEMPTS + 1):
        try:
            call_command("migrate", interactive=False, verbosity=0)
            return
        except OperationalError as error:
            if "lock timeout" not in str(error):
                raise
            if attempt == LOCK_ATTEMPTS:
                raise CannotStart(
                    "The database is too busy to migrate: a table stayed locked. Try again, or see "
                    "'Upgrades' in docs/operations.md."
                ) from error
            time.sleep(1)


@contextmanager
def _only_migrator() -> Iterator[None]:
    """Asks again and again rather than waiting: a waiting query would hold up CREATE INDEX CONCURRENTLY."""
    deadline = time.monotonic() + MIGRATION_WAIT_SECONDS
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, false)", [LOCK_TIMEOUT])
        while True:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [MIGRATION_LOCK])
            if cursor.fetchone() == (True,):
                break
            if time.monotonic() > deadline:
                raise CannotStart("Another machine has been migrating this database for too long: look there.")
            time.sleep(0.5)
    try:
        yield
    finally:
        # Closing ends the lock and the timeout, whatever state an error left the connection in.
        connection.close()
