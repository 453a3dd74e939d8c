"""An environment of its own for the published client: its package has the same name as ours."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from agentloop.actors import SYSTEM
from agentloop.keys import create_key, create_signing_key, forget_cached
from agentloop.models import Project
from agentloop.tenancy import create_project

ROOT = Path(__file__).resolve().parents[2]
LOCKED = ROOT / "requirements" / "compat-agentloop.txt"
LEFT_OUT = "COMPATIBILITY TESTS LEFT OUT: a published client could not be installed from the package index."


def clean_environment() -> dict[str, str]:
    named = ("AGENTLOOP_", "DJANGO_", "PYTHON", "COVERAGE")
    return {name: value for name, value in os.environ.items() if not name.startswith(named)}


@pytest.fixture(scope="session")
def published_python() -> Path:
    """The Python of an environment with the locked client, made once and kept beside the tests' servers."""
    return environment_of("agentloop-py", LOCKED)


def environment_of(name: str, locked: Path, python: str = sys.executable) -> Path:
    """The Python of an environment with a locked client alone; skips or fails where it can't be made."""
    digest = hashlib.sha256(locked.read_bytes() + f"{sys.version}{python}".encode()).hexdigest()[:16]
    folder = Path(settings.HOME) / "compat" / f"{name}-{digest}"
    if not (folder / "complete").exists():
        problem = _install(folder, locked, python)
        if problem and os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(f"{LEFT_OUT}\n{problem}")
        if problem:
            pytest.skip(LEFT_OUT)
    return folder / "bin" / "python"


def _install(folder: Path, locked: Path, python: str) -> str:
    """What went wrong, or nothing."""
    shutil.rmtree(folder, ignore_errors=True)
    inside = str(folder / "bin" / "python")
    options = ["--quiet", "--disable-pip-version-check", "--require-hashes", "--only-binary", ":all:"]
    for command in (
        [python, "-m", "venv", str(folder)],
        [inside, "-m", "pip", "install", *options, "-r", str(locked)],
    ):
        done = subprocess.run(command, env=_without_ours(), capture_output=True, text=True, timeout=110, check=False)
        if done.returncode:
            return done.stdout + done.stderr
    (folder / "complete").touch()
    return ""


def _without_ours() -> dict[str, str]:
    """pip keeps its own settings, so that it finds the package index of this machine."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("AGENTLOOP_", "DJANGO_"))}


def pytest_terminal_summary(terminalreporter: Any) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    if any(LEFT_OUT in str(report.longrepr) for report in skipped):
        terminalreporter.write_line(LEFT_OUT, red=True, bold=True)


@dataclass
class Published:
    """The published client, run in its own process against the live server."""

    python: Path
    base_url: str
    api_key: str
    options: dict[str, Any] = field(default_factory=dict)

    def calls(self, *calls: tuple[str, dict[str, Any]], kind: str = "sync", **client: Any) -> list[dict[str, Any]]:
        named = {"api_key": self.api_key, "base_url": self.base_url, **self.options, **client}
        lines = [json.dumps({"client": named, "kind": kind, "call": call, "with": given}) for call, given in calls]
        done = subprocess.run(
            [str(self.python), "-I", str(ROOT / "tests" / "compat" / "published.py")],
            input="\n".join(lines) + "\n",
            env=clean_environment(),
            cwd=self.python.parent,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def call(self, name: str, *, kind: str = "sync", client: dict[str, Any] | None = None, **given: Any) -> Any:
        [answer] = self.calls((name, given), kind=kind, **(client or {}))
        return answer


@pytest.fixture
def project(transactional_db: None) -> Project:
    forget_cached()
    project = create_project(name="Shop", actor=SYSTEM)
    create_signing_key(project=project, actor=SYSTEM)
    return project


@pytest.fixture
def new_key(project: Project) -> Callable[[Sequence[str]], str]:
    return lambda scopes: create_key(project=project, actor=SYSTEM, name="k", scopes=scopes)[1]


@pytest.fixture
def published(published_python: Path, live_server: Any, new_key: Callable[[Sequence[str]], str]) -> Published:
    return Published(published_python, live_server.url, new_key(["ingest", "read", "review"]))
