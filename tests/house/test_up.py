"""`manage.py up`: the start, the second start, the end, and what a kill -9 leaves."""

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from tests.house.running import ROOT, Site, clean_environment, free_port, manage, until

pytestmark = pytest.mark.slow


@dataclass
class Facts:
    """What a first start showed, seen once for all the tests here."""

    home: Path
    output: str
    key: str
    logged: httpx.Response
    in_chunks: httpx.Response
    too_many_chunks: httpx.Response
    long_line: httpx.Response
    feedback: httpx.Response
    exit_code: int
    left_behind: list[str]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    site = Site(tmp_path_factory.mktemp("up") / "home").start("--no-demo")
    try:
        key = re.search(r"API key: +(\S+)", site.output)[1]
        turn = {"question": "When do you open?", "agent_response": "At noon.", "signals": {"thumbs_down": True}}
        logging = {"url": f"{site.url}/v1/turns", "headers": {"Authorization": f"Bearer {key}"}}
        logged = httpx.post(**logging, json=turn)
        # Without a length httpx sends in chunks.
        in_chunks = httpx.post(**logging, content=iter([json.dumps(turn).encode()]))
        too_many_chunks = httpx.post(**logging, content=iter([b'{"question": "', *[b"a" * 1_000_000] * 6, b'"}']))
        long_line = httpx.get(f"{site.url}/healthz", params={"q": "a" * 20_000})
        feedback = httpx.get(re.search(r"http://\S+/f/\S+", site.output)[0])
    finally:
        exit_code = site.stop()
    left = [f"{process.pid} {process.name()}" for process in site.processes()]
    return Facts(site.home, site.output, key, logged, in_chunks, too_many_chunks, long_line, feedback, exit_code, left)


@pytest.fixture
def site(first: Facts) -> Iterator[Site]:
    """The same installation, started again by the test."""
    again = Site(first.home)
    yield again
    if again.process and again.process.poll() is None:
        again.stop()
    assert again.processes() == []


def turns(site: Site, key: str) -> int:
    answer = httpx.get(f"{site.url}/v1/turns", headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 200, answer.text
    return len(answer.json()["turns"])


def test_the_first_start_prints_what_to_do_next(first: Facts) -> None:
    assert "AgentLoop runs at http://127.0.0.1:" in first.output
    assert re.search(r"sign in: +\S+@\S+ +password: \S{12,}", first.output)
    assert f"curl http://127.0.0.1:{first.output.split('127.0.0.1:')[1][:4]}" in first.output
    assert "Traceback" not in first.output


def test_the_printed_key_logs_a_turn(first: Facts) -> None:
    assert first.logged.status_code == 201, first.logged.text


def test_a_body_in_chunks_is_read_up_to_the_limit(first: Facts) -> None:
    assert (first.in_chunks.status_code, first.in_chunks.json()["was_duplicate"]) == (200, True), first.in_chunks.text
    assert (first.too_many_chunks.status_code, first.too_many_chunks.json()["code"]) == (413, "too_large")


def test_the_printed_feedback_link_opens(first: Facts) -> None:
    assert (first.feedback.status_code, "Was this answer right?" in first.feedback.text) == (200, True)


def test_a_request_line_of_20_kb_gets_through(first: Facts) -> None:
    assert first.long_line.status_code == 200


def test_sigterm_ends_everything(first: Facts) -> None:
    assert (first.exit_code, first.left_behind) == (0, [])


def test_a_first_start_has_a_project_to_look_at(tmp_path: Path) -> None:
    site = Site(tmp_path / "home")
    try:
        site.start()
        assert "the project Demo has two weeks of sample turns" in site.output
        until(lambda: "The samples are in the project Demo" in site.output, "the samples are made")
        listed = json.loads(manage(site.home, "project", "list", "--json").stdout.splitlines()[-1])
        assert [one["project"] for one in listed] == ["default", "demo"]
    finally:
        assert site.stop() == 0
    assert site.start().output.count("sample turns") == 0
    assert site.stop() == 0


def test_a_second_start_keeps_the_data_and_prints_no_secret(first: Facts, site: Site) -> None:
    site.start()
    assert turns(site, first.key) == 1
    assert "password" not in site.output
    assert "key create --project" in site.output
    another = manage(first.home, "up", "--port", str(free_port()))
    assert (another.returncode, "already runs from" in another.stderr) == (1, True)
    assert site.answers()
    assert site.stop(signal.SIGINT) == 0


def test_after_kills_the_next_start_recovers(first: Facts, site: Site) -> None:
    site.start().kill_everything()
    site.start()
    assert turns(site, first.key) == 1
    left = {process.pid for role in ("web", "worker", "beat") for process in site.role(role)}
    assert len(left) >= 5
    site.process.kill()
    site.process.wait()
    site.start()
    assert not left & {process.pid for process in site.processes()}
    assert turns(site, first.key) == 1


def test_killed_children_and_servers_come_back(first: Facts, site: Site) -> None:
    site.start()
    killed = [site.role("web")[0], *(process for process in site.processes() if "valkey" in process.name())]
    killed.append(psutil.Process(int((first.home / "postgres" / "postmaster.pid").read_text().split()[0])))
    for process in killed:
        process.kill()
    until(lambda: "ended" in site.output and "starts again" in site.output, "it says so")
    until(site.answers, "the web server is back")
    until(lambda: manage(first.home, "doctor", "--json").returncode == 0, "all is well again")
    assert turns(site, first.key) == 1


def test_a_command_works_beside_a_stopped_site(first: Facts) -> None:
    done = manage(first.home, "showmigrations", "agentloop", "--plan")
    assert "[X]  agentloop.0001_tables" in done.stdout, done.stderr
    assert Site(first.home).processes() == []


def test_roles_run_alone(first: Facts, site: Site) -> None:
    site.start("--only", "worker", "beat")
    assert site.role("web") == []
    assert site.role("worker")
    assert site.role("beat")


def refused_start(home: Path, *arguments: str, **environment: str) -> str:
    """The one line of a start that fails."""
    done = manage(home, "up", *arguments, **environment)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert Site(home).processes() == []
    return done.stderr


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = refused_start(tmp_path / "home", "--port", str(port))
    assert f"Port {port} is in use" in line


def test_a_home_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("a file, so that root can't write there either")
    assert f"AGENTLOOP_HOME ({home}) cannot be" in refused_start(home)
    assert f"AGENTLOOP_HOME ({home}) cannot be" in refused_start(home, AGENTLOOP_SECRET_KEY="k" * 50)


def test_a_database_that_cannot_be_reached_is_said(tmp_path: Path) -> None:
    url = f"postgresql://someone:hidden@127.0.0.1:{free_port()}/nothing"
    line = refused_start(tmp_path / "home", "--port", str(free_port()), DATABASE_URL=url, BROKER_URL="memory://")
    assert "DATABASE_URL cannot be reached" in line
    assert "hidden" not in line


def test_a_database_url_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    assert "DATABASE_URL cannot be read" in refused_start(tmp_path / "home", DATABASE_URL="mysql://x")


def test_a_broker_that_cannot_be_reached_is_said(tmp_path: Path) -> None:
    line = refused_start(tmp_path / "home", "--port", str(free_port()), BROKER_URL=f"redis://127.0.0.1:{free_port()}/0")
    assert "BROKER_URL cannot be reached" in line


def test_a_setting_that_makes_no_sense_is_said(tmp_path: Path) -> None:
    assert "AGENTLOOP_PORT is 'many'" in refused_start(tmp_path / "home", AGENTLOOP_PORT="many")


def test_a_signal_during_the_start_leaves_nothing_behind(tmp_path: Path) -> None:
    home = tmp_path / "home"
    process = subprocess.Popen(
        [sys.executable, "manage.py", "up", "--port", str(free_port())],
        cwd=ROOT,
        env=clean_environment(home),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: (home / "postgres.new").exists() or (home / "postgres").exists(), "initdb has begun")
    process.terminate()
    assert process.wait(30) == 0
    assert Site(home).processes() == []
