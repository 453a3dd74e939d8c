"""Dumps of the whole database, and their return: also the way to another server and to a newer PostgreSQL.

Plain functions over a connection string: the embedded server moves itself to a newer major version by them.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from agentloop.embedded import newest_postgres, postgres_programs

# PostgreSQL 17 and newer write this at the head of a dump, and 15 and 16 do not know it.
UNKNOWN_TO_OLDER = b"SET transaction_timeout = 0;\n"
LINES_OF_HEAD = 60


class BackupError(Exception):
    """A dump could not be made or brought back; the text says why, and nothing was changed."""


def dump(url: str, path: Path) -> None:
    """Write everything to `path`, readable by its owner alone; it has its name only when it is whole."""
    unfinished = path.with_name(f"{path.name}.part")
    programs = _programs_for(url)
    try:
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            _run([programs / "pg_dump", "--format=custom", "--no-owner", "--no-acl"], url, output=file)
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        raise BackupError(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        unfinished.unlink(missing_ok=True)


def load(url: str, path: Path, *, replace: bool = False) -> None:
    """Bring a dump back, all of it or nothing. A database that holds tables is refused, or replaced."""
    programs = _programs_for(url)
    if not path.is_file():
        raise BackupError(f"{path} is not there.")
    if tables := count_tables(url):
        if not replace:
            raise BackupError(f"The database holds {tables} tables already: --force replaces all of it.")
        if others := count_other_connections(url):
            raise BackupError(f"{others} connections use this database: stop the web, worker and beat processes first.")
    with _as_sql(programs, path) as (reader, sql):
        psql = [programs / "psql", "--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1"]
        with _fed(psql, url) as target:
            if tables:
                target.write(b"DROP SCHEMA public CASCADE; CREATE SCHEMA public;\n")
            for _ in range(LINES_OF_HEAD):
                line = sql.readline()
                if line != UNKNOWN_TO_OLDER:
                    target.write(line)
            shutil.copyfileobj(sql, target, 1 << 20)
            # Inside, so that a dump that breaks off is not committed as far as it went.
            _check_end(reader, path)


def count_tables(url: str) -> int:
    with psycopg.connect(url, connect_timeout=5) as connection:
        found = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    return found[0] if found else 0


def count_other_connections(url: str) -> int:
    with psycopg.connect(url, connect_timeout=5) as connection:
        found = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        ).fetchone()
    return found[0] if found else 0


def _programs_for(url: str) -> Path:
    """The wheel's, or those on the path for a server that is newer than the wheel."""
    with psycopg.connect(url, connect_timeout=5) as connection:
        server = connection.info.server_version // 10_000
    if server <= newest_postgres():
        return postgres_programs()
    found = shutil.which("pg_dump")
    if not found:
        raise BackupError(f"The server is PostgreSQL {server}: install its client programs (pg_dump) here.")
    return Path(found).parent


@contextmanager
def _as_sql(programs: Path, path: Path) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    reading = [str(programs / "pg_restore"), "--no-owner", "--no-acl", "--file=-", str(path)]
    with subprocess.Popen(reading, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:  # noqa: S603
        assert process.stdout
        yield process, process.stdout


def _check_end(reader: subprocess.Popen[bytes], path: Path) -> None:
    complaint = reader.stderr.read().decode(errors="replace") if reader.stderr else ""
    if reader.wait():
        raise BackupError(f"{path} cannot be read as a backup: {_first_line(complaint)}")


@contextmanager
def _fed(command: Sequence[object], url: str) -> Iterator[IO[bytes]]:
    """Its input; the transaction is committed only when the whole of it was read without an error."""
    arguments, environment = _with_address(command, url)
    with subprocess.Popen(  # noqa: S603 - our own programs
        arguments, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stderr
        try:
            yield process.stdin
            process.stdin.close()
        except BrokenPipeError:
            pass
        except BaseException:
            process.kill()
            raise
        complaint = process.stderr.read().decode(errors="replace")
    if process.returncode:
        raise BackupError(f"Nothing was restored: {_first_line(complaint)}")


def _run(command: Sequence[object], url: str, *, output: IO[bytes]) -> None:
    arguments, environment = _with_address(command, url)
    done = subprocess.run(  # noqa: S603 - our own programs
        arguments, env=environment, stdout=output, stderr=subprocess.PIPE, check=False
    )
    if done.returncode:
        raise BackupError(f"No backup was made: {_first_line(done.stderr.decode(errors='replace'))}")


def _with_address(command: Sequence[object], url: str) -> tuple[list[str], dict[str, str]]:
    """The password goes by the environment: other users can read a command line."""
    parts = conninfo_to_dict(url)
    password = parts.pop("password", None)
    environment = os.environ | ({"PGPASSWORD": str(password)} if password else {})
    return [*map(str, command), f"--dbname={make_conninfo(**parts)}"], environment  # type: ignore[arg-type]


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "no reason was given")
