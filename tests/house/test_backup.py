"""Backup and restore: the whole database, back as it was, here or in another server."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from agentloop import backups, embedded
from tests.house.running import free_port, manage

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A running cluster with one table, the source of every backup here."""
    home = tmp_path_factory.mktemp("here")
    with embedded.running(home, fsync=False, broker=False):
        run(
            embedded.database_url(home),
            "CREATE TABLE kept AS SELECT n, repeat(md5(n::text), 9) AS words FROM generate_series(1, 5000) n",
            "CREATE INDEX ON kept (n)",
        )
        yield home


@pytest.fixture
def there(here: Path) -> str:
    """An empty database beside it."""
    with embedded.Postgres(here).connect("postgres") as connection:
        connection.execute("DROP DATABASE IF EXISTS there WITH (FORCE)")
        connection.execute("CREATE DATABASE there")
    return embedded.database_url(here).replace("/agentloop?", "/there?")


@pytest.fixture(scope="module")
def saved(here: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "all.dump"
    backups.dump(embedded.database_url(here), path)
    return path


def run(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def fingerprint(url: str) -> object:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT count(*), sum(n), md5(string_agg(words, '' ORDER BY n)) FROM kept").fetchone()


def test_a_round_trip_brings_everything_back(here: Path, there: str, saved: Path) -> None:
    backups.load(there, saved)
    assert fingerprint(there) == fingerprint(embedded.database_url(here))


def test_a_backup_is_its_owners_alone(saved: Path) -> None:
    assert saved.stat().st_mode & 0o077 == 0
    assert list(saved.parent.iterdir()) == [saved]


def test_a_database_in_use_is_not_replaced_unless_forced(there: str, saved: Path) -> None:
    run(there, "CREATE TABLE precious AS SELECT 1 AS one")
    with pytest.raises(backups.BackupError, match="--force"):
        backups.load(there, saved)
    backups.load(there, saved, replace=True)
    assert fingerprint(there)[0] == 5000
    with pytest.raises(psycopg.errors.UndefinedTable):
        run(there, "SELECT FROM precious")


def test_a_database_that_others_use_is_not_replaced(there: str, saved: Path) -> None:
    run(there, "CREATE TABLE precious AS SELECT 1 AS one")
    with psycopg.connect(there), pytest.raises(backups.BackupError, match="stop the web"):
        backups.load(there, saved, replace=True)


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_dump_that_breaks_off_changes_nothing(there: str, saved: Path, tmp_path: Path, share: float) -> None:
    run(there, "CREATE TABLE precious AS SELECT 1 AS one")
    whole = saved.read_bytes()
    cut = tmp_path / "cut.dump"
    cut.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(backups.BackupError):
        backups.load(there, cut, replace=True)
    run(there, "SELECT FROM precious")


def test_what_is_no_backup_is_said(there: str, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("not a backup")
    with pytest.raises(backups.BackupError, match="cannot be read as a backup"):
        backups.load(there, tmp_path / "words.txt")
    with pytest.raises(backups.BackupError, match="is not there"):
        backups.load(there, tmp_path / "none")


def test_the_commands_move_a_site_to_another_server(here: Path, there: str, tmp_path: Path) -> None:
    file = str(tmp_path / "site.dump")
    saved = manage(here, "backup", file)
    assert saved.returncode == 0, saved.stderr
    assert str(here / "secret_key") in saved.stdout
    moved = manage(here, "restore", file, DATABASE_URL=there)
    assert moved.returncode == 0, moved.stderr
    assert fingerprint(there)[0] == 5000


def older_server() -> Path | None:
    """PostgreSQL 15 to 17 of this machine, where there is one."""
    found = [Path(f"/usr/lib/postgresql/{version}/bin") for version in (15, 16, 17)]
    return next((folder for folder in found if (folder / "initdb").exists()), None)


@pytest.mark.skipif(older_server() is None, reason="no older PostgreSQL server is installed here")
def test_a_dump_of_the_newest_goes_into_the_oldest_that_is_supported(saved: Path, tmp_path: Path) -> None:
    programs, data = older_server(), tmp_path / "older"
    account = embedded._owner_of(data)
    embedded._private_folder(data, account)

    def tool(name: str, *arguments: str) -> None:
        subprocess.run(
            [str(programs / name), "-D", str(data), *arguments],
            check=True,
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"LC_ALL": "C", "PATH": os.environ["PATH"]},
            **embedded._as_user(account),
        )

    sockets = embedded.socket_folder(tmp_path)
    embedded._private_folder(sockets, account)
    tool("initdb", "-U", "agentloop", "-A", "trust", "--encoding=UTF8", "--no-sync")
    tool("pg_ctl", "start", "-w", "-l", str(data / "log"), "-o", f"-F -c listen_addresses='' -k {sockets}")
    try:
        url = f"postgresql:///postgres?host={sockets}&user=agentloop"
        backups.load(url, saved)
        assert fingerprint(url)[0] == 5000
    finally:
        tool("pg_ctl", "stop", "-w", "-m", "fast")
        shutil.rmtree(data)


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_a_database_that_cannot_be_reached_is_one_line(command: str, tmp_path: Path) -> None:
    url = f"postgresql://someone:hidden@127.0.0.1:{free_port()}/nothing"
    done = manage(tmp_path / "home", command, str(tmp_path / "a.dump"), DATABASE_URL=url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("The database cannot be used: connection failed")
    assert (done.stderr.count("\n"), "hidden" in done.stderr) == (1, False)
    assert not list(tmp_path.glob("a.dump*"))
