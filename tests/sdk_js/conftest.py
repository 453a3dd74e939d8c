"""The same installation as the Python client's tests have, for Node's."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.sdk_python.conftest import home, session_id  # noqa: F401 - fixtures

SDK = Path(__file__).parents[2] / "sdk" / "js"
NO_NODE = (
    "JAVASCRIPT TESTS LEFT OUT: {why}. They need Node 18 or later, and npm once. "
    "AGENTLOOP_REQUIRE_NODE=1 makes this a failure."
)


def node() -> str:
    """Node itself; without it the tests are left out, or fail where it is required."""
    return shutil.which("node") or left_out("no Node")


def left_out(why: str) -> Any:
    if os.environ.get("AGENTLOOP_REQUIRE_NODE") == "1":
        pytest.fail(f"AGENTLOOP_REQUIRE_NODE is set: {why}.")
    pytest.skip(f"JavaScript: {why}")


@pytest.fixture(scope="session")
def tools() -> Path:
    """Where the packages are that the client is checked with: installed once, from the lock file."""
    installed, lock = SDK / "node_modules" / ".package-lock.json", SDK / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        npm = shutil.which("npm") or left_out("no npm")
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        run = subprocess.run(command, cwd=SDK, capture_output=True, text=True, timeout=300, check=False)
        if run.returncode:
            left_out(f"npm can't install what the client is checked with ({run.stderr.strip()[-300:]})")
        installed.touch()
    return SDK / "node_modules" / ".bin"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reasons = {str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", [])}
    for reason in sorted(one for one in reasons if "JavaScript: " in one):
        terminalreporter.write_line(NO_NODE.format(why=reason.partition("JavaScript: ")[2]), red=True, bold=True)
