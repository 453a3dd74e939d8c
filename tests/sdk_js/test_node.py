"""The tests that are written in JavaScript, run by Node against a running server."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.sdk_js.conftest import SDK, node
from tests.sdk_python.conftest import Home

# These use OpenAI's own library.
WITH_PACKAGES = ("openai.test.mjs", "readme.test.mjs")
FILES = sorted((SDK / "test").glob("*.test.mjs"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_node_is_content(path: Path, home: Home, request: pytest.FixtureRequest) -> None:
    if path.name in WITH_PACKAGES:
        request.getfixturevalue("tools")
    environment = os.environ | {
        "AGENTLOOP_BASE_URL": home.url,
        "AGENTLOOP_API_KEY": home.api_key,
        "AGENTLOOP_SIGNING_SECRET": home.signing_secret,
    }
    run = subprocess.run(
        [node(), "--test", str(path)], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
