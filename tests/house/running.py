"""An installation of its own in a folder, driven as a person drives it: by commands and signals."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 60


def clean_environment(home: Path, **more: str) -> dict[str, str]:
    """Nothing of the tests' own settings, nor of the developer's."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AGENTLOOP_", "MAKE")) and name not in ("DATABASE_URL", "BROKER_URL")
    }
    kept.pop("DJANGO_SETTINGS_MODULE", None)
    return kept | {"AGENTLOOP_HOME": str(home)} | more


def manage(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=clean_environment(home, **environment),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(holds: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.1)


@dataclass
class Site:
    home: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[str] | None = None
    starts: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def output(self) -> str:
        return self._log.read_text()

    @property
    def _log(self) -> Path:
        return self.home.with_name(f"{self.home.name}-{self.starts}.log")

    def start(self, *arguments: str) -> "Site":
        self.starts += 1
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "up", "--port", str(self.port), *arguments],
                cwd=ROOT,
                env=clean_environment(self.home),
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
            )
        until(lambda: "AgentLoop runs" in self.output or self.process.poll() is not None, "it runs", 100)
        assert self.process.poll() is None, self.output
        return self

    def answers(self) -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/healthz", timeout=2).status_code == 200
        return False

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)

    def processes(self) -> list[psutil.Process]:
        """Everything that runs for this folder: the supervisor, its children, and the servers."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                environment = process.environ() if process.name().startswith(("python", "granian")) else {}
                servers = process.name().startswith(("postgres", "valkey"))
                if (process.pid != os.getpid() and environment.get("AGENTLOOP_HOME") == str(self.home)) or (
                    servers and process.cwd().startswith(str(self.home))
                ):
                    found.append(process)
        return found

    def kill_everything(self) -> None:
        for process in self.processes():
            with suppress(psutil.Error):
                process.kill()
        self.process.wait(10)

    def role(self, role: str) -> list[psutil.Process]:
        """That role's processes, the parent first."""
        mark = f"{role}@{self.home}"
        found = [
            process
            for process in self.processes()
            if process.name().startswith(("python", "granian"))
            and process.environ().get("AGENTLOOP_SUPERVISED") == mark
        ]
        return sorted(found, key=lambda process: process.ppid() != self.process.pid)
