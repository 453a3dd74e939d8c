"""The client on the other Pythons that it is promised for, and on the oldest httpx: as many as this machine has."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from agentloop_client.signals import classify

from tests.compat.conftest import ROOT, clean_environment, environment_of
from tests.sdk_python.conftest import Home

LOCKED = ROOT / "requirements" / "client-oldest.txt"
MESSAGES = Path(__file__).parent / "signals" / "messages.jsonl"
PROMISED = ["3.9", "3.10", "3.11", "3.12", "3.13"]


def interpreter(version: str) -> str:
    """From the path, or from where pyenv and uv keep theirs."""
    if sys.version.startswith(f"{version}."):
        return sys.executable
    kept = [
        Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions",
        Path(os.environ.get("UV_PYTHON_INSTALL_DIR", Path.home() / ".local/share/uv/python")),
    ]
    patterns = (f"{version}.*/bin/python", f"cpython-{version}.*/bin/python")
    found = [path for folder in kept for pattern in patterns for path in sorted(folder.glob(pattern))]
    on_path = shutil.which(f"python{version}")
    for candidate in [*map(str, found), *([on_path] if on_path else [])]:
        # pyenv has a stand-in for each version on the path, which answers only for the chosen one.
        tried = subprocess.run([candidate, "-c", "import venv"], capture_output=True, check=False)
        if tried.returncode == 0:
            return candidate
    pytest.skip(f"Python {version} is not on this machine")


@pytest.mark.compat
@pytest.mark.timeout(300)
@pytest.mark.parametrize("version", PROMISED)
def test_it_works_on_this_python(version: str, home: Home) -> None:
    python = environment_of("client-oldest", LOCKED, interpreter(version))
    done = subprocess.run(
        [
            str(python),
            "-W",
            "error",
            "-W",
            "ignore:This process",
            str(ROOT / "sdk" / "python" / "tests" / "round_trip.py"),
        ],
        env={
            **clean_environment(),
            "PYTHONPATH": str(ROOT / "sdk" / "python" / "src"),
            "URL": home.url,
            "KEY": home.api_key,
            "SECRET": home.signing_secret,
            "DATA": str(ROOT / "tests" / "data" / "client-patterns.json"),
            "MESSAGES": str(MESSAGES),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ours = [classify(json.loads(line)["text"]) for line in MESSAGES.read_text("utf-8").splitlines()]
    assert json.loads(done.stdout) == [[one.kind, one.is_correction, round(one.confidence, 9)] for one in ours]
