"""The servers from wheels: found without asking, shared, and recovered after every kind of end."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from agentloop import embedded
from agentloop.embedded import Postgres, Valkey
from tests.house.running import ROOT, until


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cluster for all the tests here, since making one takes a second."""
    home = tmp_path_factory.mktemp("embedded")
    yield home
    embedded.stop(home)


@pytest.fixture
def up(home: Path) -> Iterator[Path]:
    with embedded.running(home, fsync=False):
        yield home


def ask(home: Path, query: str = "SELECT 1") -> object:
    with psycopg.connect(embedded.database_url(home)) as connection:
        return connection.execute(query).fetchone()[0]


def test_addresses_are_known_before_anything_runs(tmp_path: Path) -> None:
    home = tmp_path / "nothing here"
    assert embedded.database_url(home).startswith("postgresql:///agentloop?host=")
    assert embedded.broker_url(home).startswith("redis+socket:///")
    assert not home.exists()


def test_a_folder_too_deep_for_a_socket_gets_a_short_one() -> None:
    deep = Path("/") / "/".join(["folder"] * 20)
    short = embedded.socket_folder(deep)
    assert len(str(short)) < 40
    assert short == embedded.socket_folder(deep)
    assert short != embedded.socket_folder(deep / "other")


def test_both_servers_answer(up: Path) -> None:
    assert ask(up) == 1
    with redis.from_url(embedded.redis_url(embedded.broker_url(up))) as client:
        assert client.ping()


def test_what_is_written_to_the_log_has_no_users_words(up: Path) -> None:
    with pytest.raises(psycopg.errors.UndefinedColumn):
        ask(up, "SELECT 1 FROM pg_class WHERE my_private_words = 'more private words'")
    assert "private words" not in Postgres(up).log.read_text()


def test_commits_wait_for_the_disk_unless_told_otherwise() -> None:
    assert "synchronous_commit" not in embedded.POSTGRES_OPTIONS
    assert "fsync" not in embedded.POSTGRES_OPTIONS


def test_no_one_else_can_reach_them(up: Path) -> None:
    assert embedded.socket_folder(up).stat().st_mode & 0o077 == 0
    assert Postgres(up).data.stat().st_mode & 0o077 == 0
    assert Valkey(up).data.stat().st_mode & 0o077 == 0
    assert ask(up, "SHOW listen_addresses") == ""


def test_the_last_one_out_stops_them(home: Path) -> None:
    with embedded.running(home, fsync=False):
        with embedded.running(home, fsync=False):
            pass
        assert ask(home) == 1
    assert not Postgres(home).process()
    assert not Valkey(home).process()


def test_a_holder_that_was_killed_holds_nothing(home: Path) -> None:
    code = (
        "import os, sys, pathlib; from agentloop import embedded\n"
        "with embedded.running(pathlib.Path(sys.argv[1]), fsync=False): os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(home)], cwd=ROOT, check=False)
    assert killed.returncode == -9
    assert Postgres(home).process()
    with embedded.running(home, fsync=False):
        assert ask(home) == 1
    assert not Postgres(home).process()


def test_killed_servers_start_again_with_what_was_committed(home: Path) -> None:
    embedded.stop(home)
    with embedded.running(home):
        with psycopg.connect(embedded.database_url(home), autocommit=True) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
        for process in (Postgres(home).process(), Valkey(home).process()):
            process.kill()
        until(lambda: not embedded.alive(home, broker=False), "it is gone")
        embedded.start(home)
        assert ask(home, "SELECT one FROM kept") == 1


def test_a_copied_home_starts_whoever_its_files_belong_to(home: Path, tmp_path: Path) -> None:
    with embedded.running(home, fsync=False):
        pass
    copy = tmp_path / "copy"
    shutil.copytree(home, copy)
    if os.geteuid() == 0:
        for path in (copy / "postgres", *(copy / "postgres").rglob("*")):
            os.chown(path, 54_321, 54_321)
    with embedded.running(copy, fsync=False):
        assert ask(copy) == 1


def test_a_pid_file_that_names_a_stranger_is_no_obstacle(home: Path) -> None:
    with embedded.running(home, fsync=False):
        pass
    for path in (Postgres(home).data / "postmaster.pid", embedded.socket_folder(home) / ".s.PGSQL.5432.lock"):
        path.write_text(f"{os.getpid()}\n{Postgres(home).data}\n0\n5432\n\n\n\n")
    with embedded.running(home, fsync=False):
        assert ask(home) == 1
    assert psutil.pid_exists(os.getpid())


def test_a_spoiled_dump_of_the_broker_is_set_aside(home: Path) -> None:
    embedded.stop(home)
    with embedded.running(home, fsync=False):
        pass
    (Valkey(home).data / "dump.rdb").write_bytes(b"REDIS0011 and then nonsense")
    with embedded.running(home, fsync=False):
        assert Valkey(home).answers()
    assert (Valkey(home).data / "dump.rdb.unreadable").exists()


@pytest.mark.slow
def test_an_older_major_version_is_moved_to_the_newest(tmp_path: Path) -> None:
    older = min(embedded.postgres_versions())
    if older == embedded.newest_postgres():
        pytest.skip("the wheel brings one major version only")
    before = Postgres(tmp_path, older)
    (tmp_path / "logs").mkdir()
    before.start(fsync=False)
    with before.connect() as connection:
        connection.execute("CREATE TABLE kept AS SELECT 'Grüße' AS words")
    before.stop()
    with embedded.running(tmp_path, fsync=False, broker=False):
        assert ask(tmp_path, "SELECT words FROM kept") == "Grüße"
        assert int(ask(tmp_path, "SHOW server_version_num")) // 10_000 == embedded.newest_postgres()
    assert (tmp_path / f"postgres-{older}" / "PG_VERSION").read_text().strip() == str(older)
    assert not Postgres(tmp_path).parting_dump.exists()


def test_a_version_that_no_wheel_brings_is_said(tmp_path: Path) -> None:
    data = Postgres(tmp_path).data
    data.mkdir()
    (data / "PG_VERSION").write_text("99\n")
    with pytest.raises(embedded.EmbeddedError, match=r"made by PostgreSQL 99 .* docs/operations.md"):
        embedded.start(tmp_path, broker=False)
