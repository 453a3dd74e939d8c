"""README's examples run as they stand, but for the address and the key, and answer as it says."""

import json
import os
import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from agentloop.models import Project
from review.models import Turn
from tests.compat.conftest import ROOT, clean_environment

README = (ROOT / "README.md").read_text()
SHOWN_ADDRESS, SHOWN_KEY = "http://127.0.0.1:8000", "al_…"


def example(pattern: str, url: str) -> str:
    [found] = re.findall(pattern, README, re.DOTALL)
    assert SHOWN_ADDRESS in found
    return found.replace(SHOWN_ADDRESS, url)


@pytest.fixture
def key(new_key: Callable[[Sequence[str]], str]) -> str:
    return new_key(["ingest", "read", "review"])


def run(command: list[str], **environment: str) -> str:
    done = subprocess.run(
        command, env=clean_environment() | environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_curl_line_logs_a_turn(live_server: Any, project: Project, key: str) -> None:
    line = example(r"\n    (curl .*?)\n\n", live_server.url)
    [promised] = re.findall(r"answer is `(\{.*?\})`", README)
    script = f"curl() {{ command curl --fail-with-body --noproxy '*' \"$@\"; }}\n{line}"
    first, again = (json.loads(run(["bash", "-c", script], AGENTLOOP_API_KEY=key)) for _ in range(2))
    assert {**first, "turn_id": "turn_…"} == json.loads(promised)
    assert again == {**first, "was_duplicate": True}
    assert Turn.objects.get(project=project).question == "What is the limit at night?"


def test_the_python_example_runs_with_the_published_client(
    live_server: Any, project: Project, key: str, published_python: Path, tmp_path: Path
) -> None:
    code = example(r"```python\n(.*?)```", live_server.url)
    assert SHOWN_KEY in code
    script = tmp_path / "example.py"
    script.write_text(code.replace(SHOWN_KEY, key) + "\nprint(memories)\n")
    assert run([str(published_python), "-I", str(script)], no_proxy="*").strip() == "[]"
    turn = Turn.objects.get(project=project)
    assert (turn.user_id, turn.signals) == ("u_1", {"confidence": 0.41})


def test_the_commands_it_names_are_there() -> None:
    named = set(re.findall(r"^    make (\w+)", README, re.MULTILINE))
    targets = set(re.findall(r"^(\w+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert named
    assert named <= targets


def test_the_pages_it_links_are_there() -> None:
    for path in re.findall(r"\]\((?!http)([^)#]+)", README):
        assert (ROOT / path).exists(), f"README links {path}"
    assert os.access(ROOT / "LICENSE", os.R_OK)
