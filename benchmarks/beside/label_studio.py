"""The same work on AgentLoop and on Label Studio, each on PostgreSQL and on this machine, one after the other.

python -m benchmarks.beside.label_studio [--quick]

Label Studio is installed from the package index into an environment of its own, which takes minutes and a gigabyte:
so no other run calls this one. LABEL_STUDIO_VENV names an environment that has it already. It needs the extension
pg_trgm, which the wheel's PostgreSQL doesn't have: so it gets Debian's, with the same settings, the disk included.
"""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks import rig

WAITING = 10_000
OURS, THEIRS = 18841, 18842
FORM = '<View><Text name="text" value="$question"/><Choices name="rating" toName="text"><Choice value="correct"/></Choices></View>'
SETUP = """
import os, sys
sys.path.insert(0, {folder!r})
os.environ["DJANGO_SETTINGS_MODULE"] = "core.settings.label_studio"
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from organizations.models import Organization
from rest_framework.authtoken.models import Token
from users.models import User
user = User.objects.create_user(email="bench@example.com", password={password!r})
organization = Organization.create_organization(created_by=user, title="Bench")
user.active_organization = organization
user.save()
tokens = getattr(organization, "jwt", None)
if tokens is not None:
    tokens.legacy_api_tokens_enabled = True
    tokens.save()
print("TOKEN", Token.objects.get_or_create(user=user)[0].key)
"""


@dataclass
class Side:
    """One of the two: where it listens, how its requests are signed, and what it is asked for each piece of work."""

    name: str
    port: int
    key: str
    scheme: str
    process: int

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"{self.scheme} {self.key}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=300) as answer:
            return json.loads(answer.read() or b"null")

    def load(self, requests: Sequence[tuple[str, str]], connections: int, seconds: float) -> rig.Figures:
        found = rig.load(
            self.port, requests, key=self.key, scheme=self.scheme, connections=connections, seconds=seconds
        )
        assert set(found.statuses) <= {"200", "201"}, found.statuses
        return found

    def memory(self) -> float:
        """Megabytes of the web server's processes, what they share counted once."""
        root = psutil.Process(self.process)
        return sum(each.memory_full_info().pss for each in (root, *root.children(recursive=True))) / 1e6


def main(quick: bool = False) -> list[str]:
    seconds = 3.0 if quick else 10.0
    with rig.home():
        sides = {}
        with _agentloop() as ours:
            sides[ours.name] = _work_of_agentloop(ours, seconds)
        with _label_studio() as theirs:
            sides[theirs.name] = _work_of_label_studio(theirs, seconds)
    names = list(sides)
    lines = [f"| the same work | {' | '.join(names)} |", "|---|---|---|"]
    return lines + [f"| {row} | {' | '.join(sides[name][row] for name in names)} |" for row in sides[names[0]]]


def _figures(one: rig.Figures, bulk: float, next_one: list[float], submit: rig.Figures, side: Side) -> dict[str, str]:
    waits = sorted(next_one)
    return {
        "one at a time, 8 connections": f"{one.per_second:,.0f}/s, p99 {one.p99:.0f} ms",
        "in bulk, 500 a request": f"{bulk:,.0f} rows/s",
        f"the next one, {WAITING:,} waiting, one client": f"p50 {waits[len(waits) // 2]:.1f} ms",
        "verdicts, 4 connections": f"{submit.per_second:,.0f}/s, p99 {submit.p99:.0f} ms",
        "memory of the web server": f"{side.memory():,.0f} MB",
    }


def _timed(work: Any) -> float:
    begun = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - begun)


# --- AgentLoop ------------------------------------------------------------------------------------------------


@contextmanager
def _agentloop() -> Iterator[Side]:
    _, key = rig.new_project("Bench")
    with rig.web(OURS) as port:
        server = next(p.pid for p in psutil.Process().children() if "granian" in " ".join(p.cmdline()))
        yield Side("AgentLoop", port, key, "Bearer", server)


def _work_of_agentloop(side: Side, seconds: float) -> dict[str, str]:
    singles = [("/v1/turns", json.dumps(rig.turn(number))) for number in range(int(seconds * 4000))]
    one = side.load(singles, 8, seconds)
    first = 1_000_000
    took = _timed(
        lambda: [
            side.ask("POST", "/v1/turns/batch", {"turns": [rig.turn(first + at + n) for n in range(500)]})
            for at in range(0, WAITING, 500)
        ]
    )
    claims: list[Any] = []
    times = [_timed(lambda: claims.append(side.ask("POST", "/v1/queue/claim", {}))) for _ in range(200)]
    claims += [side.ask("POST", "/v1/queue/claim", {}) for _ in range(int(seconds * 200))]
    verdicts = [
        (
            f"/v1/turns/{claim['turn']['turn_id']}/verdict",
            json.dumps({"rating": "correct", "claim_token": claim["claim_token"]}),
        )
        for claim in claims
    ]
    return _figures(one, WAITING / took * 1000, times, side.load(verdicts, 4, seconds), side)


# --- Label Studio ---------------------------------------------------------------------------------------------


@contextmanager
def _debians_postgres() -> Iterator[str]:
    """The folder of its socket; the server runs as `postgres`, since it refuses root."""
    from agentloop.embedded import POSTGRES_OPTIONS

    [*_, programs] = sorted(Path("/usr/lib/postgresql").glob("*/bin")) or [None]
    if programs is None:
        raise SystemExit("Label Studio needs PostgreSQL with pg_trgm: apt-get install postgresql.")
    as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else []
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        if as_postgres:
            shutil.chown(folder, "postgres", "postgres")
        data = f"{folder}/data"
        init = [*as_postgres, f"{programs}/initdb", "-D", data, "-A", "trust", "-U", "postgres", "-E", "UTF8"]
        subprocess.run(init, stdout=subprocess.DEVNULL, check=True)
        options = [f"--{name.replace('_', '-')}={value}" for name, value in POSTGRES_OPTIONS.items()]
        command = [*as_postgres, f"{programs}/postgres", "-D", data, "-k", folder, *options]
        command.append("--unix-socket-permissions=0777")
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            for _ in range(100):
                if Path(f"{folder}/.s.PGSQL.5432").exists():
                    break
                time.sleep(0.1)
            yield folder
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(20)


@contextmanager
def _label_studio() -> Iterator[Side]:
    """gunicorn with two processes of four threads."""
    import psycopg

    python = _python_with_label_studio()
    found = subprocess.run(
        [python, "-c", "import importlib.util as u; print(u.find_spec('label_studio').submodule_search_locations[0])"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    folder = found.stdout.strip()
    password = secrets.token_urlsafe(12)
    with _debians_postgres() as socket, tempfile.TemporaryDirectory(prefix="label-studio-") as data:
        with psycopg.connect(host=socket, user="postgres", dbname="postgres", autocommit=True) as connection:
            connection.execute("CREATE DATABASE label_studio")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO", "DATABASE"))}
        environment |= {
            "DJANGO_DB": "default",
            "POSTGRE_NAME": "label_studio",
            "POSTGRE_USER": "postgres",
            "POSTGRE_PASSWORD": "",
            "POSTGRE_HOST": socket,
            "POSTGRE_PORT": "5432",
            "LABEL_STUDIO_BASE_DATA_DIR": data,
            "DJANGO_SETTINGS_MODULE": "core.settings.label_studio",
            "COLLECT_ANALYTICS": "false",
            "LATEST_VERSION_CHECK": "false",
            "SENTRY_DSN": "",
            "FRONTEND_SENTRY_DSN": "",
            "LOG_LEVEL": "ERROR",
            "DEBUG": "false",
        }
        setup = SETUP.format(folder=folder, password=password)
        done = subprocess.run([python, "-c", setup], env=environment, stdout=subprocess.PIPE, text=True, check=True)
        token = next(line.split()[1] for line in done.stdout.splitlines() if line.startswith("TOKEN "))
        command = [python, "-m", "gunicorn", "core.wsgi:application", "--bind", f"127.0.0.1:{THEIRS}"]
        command += ["--workers", "2", "--threads", "4", "--timeout", "300", "--log-level", "error"]
        environment["PYTHONPATH"] = folder
        process = subprocess.Popen(command, env=environment, cwd=folder, start_new_session=True)
        try:
            _wait_for(THEIRS)
            yield Side("Label Studio", THEIRS, token, "Token", process.pid)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def _python_with_label_studio() -> str:
    named = os.environ.get("LABEL_STUDIO_VENV")
    if named:
        return f"{named}/bin/python"
    venv = Path(tempfile.gettempdir()) / "agentloop-bench-label-studio"
    if not (venv / "bin" / "python").exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    subprocess.run([f"{venv}/bin/python", "-m", "pip", "install", "--quiet", "label-studio", "gunicorn"], check=True)
    return f"{venv}/bin/python"


def _wait_for(port: int) -> None:
    for _ in range(600):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
            return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError("Label Studio does not answer.")


def _work_of_label_studio(side: Side, seconds: float) -> dict[str, str]:
    project = side.ask("POST", "/api/projects/", {"title": "Bench", "label_config": FORM})["id"]
    singles = [
        ("/api/tasks/", json.dumps({"project": project, "data": rig.turn(number)}))
        for number in range(int(seconds * 500))
    ]
    one = side.load(singles, 8, seconds)
    first = 1_000_000
    took = _timed(
        lambda: [
            side.ask("POST", f"/api/projects/{project}/import", [rig.turn(first + at + n) for n in range(500)])
            for at in range(0, WAITING, 500)
        ]
    )
    tasks: list[Any] = []
    times = [_timed(lambda: tasks.append(side.ask("GET", f"/api/projects/{project}/next"))) for _ in range(30)]
    found = side.ask("GET", f"/api/tasks?project={project}&page_size={int(seconds * 100)}&fields=task_only")
    result = [{"from_name": "rating", "to_name": "text", "type": "choices", "value": {"choices": ["correct"]}}]
    verdicts = [(f"/api/tasks/{task['id']}/annotations/", json.dumps({"result": result})) for task in found["tasks"]]
    return _figures(one, WAITING / took * 1000, times, side.load(verdicts, 4, seconds), side)


if __name__ == "__main__":
    print("\n".join(main(quick="--quick" in sys.argv)))
