"""docs/api.md is true: its examples run, answer as they show, and it names every filter and every error."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from agentloop import errors as site_errors
from agentloop.actors import SYSTEM
from agentloop.keys import create_key, forget_cached
from agentloop.models import Scope
from agentloop.tenancy import create_project
from review import annotations, export_api, filters, intake
from review import errors as review_errors

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "api.md"
# A block to run, and what it shows as its last answer, if it does.
BLOCK = re.compile(r"```sh\n(.*?)```\n(?:```json\n(.*?)```)?", re.DOTALL)
END = "@@@ end of block"


def blocks() -> list[tuple[str, str | None]]:
    return [(match[1], match[2]) for match in BLOCK.finditer(DOCUMENT.read_text())]


@pytest.mark.django_db(transaction=True)
def test_the_examples_run_and_answer_as_shown(live_server: Any, tmp_path: Path) -> None:
    assert shutil.which("curl"), "the examples need curl: on Debian, apt-get install curl"
    forget_cached()
    project = create_project(name="Shop", actor=SYSTEM)
    _, key = create_key(project=project, actor=SYSTEM, name="k", scopes=Scope.values)
    # Each answer on a line of its own, and a refused request ends the run.
    script = "set -euo pipefail\ncurl() { command curl --fail-with-body --noproxy '*' -w '\\n' \"$@\"; }\n"
    script += "\n".join(f"{block}\necho '{END}'" for block, _ in blocks())
    done = subprocess.run(
        ["bash", "-c", script],
        env=os.environ | {"AGENTLOOP_URL": live_server.url, "AGENTLOOP_KEY": key},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    answers = done.stdout.split(END)
    for (block, shown), answer in zip(blocks(), answers, strict=False):
        if shown is not None:
            last = json.loads(answer.strip().splitlines()[-1])
            check_shape(json.loads(shown), last, block)
    assert (tmp_path / "turns.csv").read_text().startswith("turn_id,status,")
    assert (tmp_path / "annotations.parquet").read_bytes().startswith(b"PAR1")
    assert len((tmp_path / "turns.jsonl").read_text().splitlines()) == 3


def check_shape(shown: Any, answer: Any, block: str) -> None:
    """What is shown has the answer's fields and types; values are examples."""
    assert type(answer) is type(shown), block
    if isinstance(shown, dict):
        assert set(shown) <= set(answer), block
        for name, value in shown.items():
            check_shape(value, answer[name], block)
    if isinstance(shown, list):
        for one, other in zip(shown, answer, strict=False):
            check_shape(one, other, block)


def codes(module: Any) -> set[str]:
    kinds = [
        kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, site_errors.AppError)
    ]
    return {kind.code for kind in kinds} - {"error"}


def test_every_error_code_is_named() -> None:
    known = codes(site_errors) | codes(review_errors) | codes(intake) | codes(export_api)
    text = DOCUMENT.read_text()
    missing = {code for code in known if f"`{code}`" not in text}
    assert not missing, f"name these codes in the errors table of docs/api.md: {sorted(missing)}"


def test_every_filter_is_named() -> None:
    text = DOCUMENT.read_text()
    named = {*filters.FILTERS, *filters.SORTS, *annotations.FILTERS, *export_api.AUDIT_FILTERS}
    missing = {name for name in named if f"`{name}`" not in text}
    assert not missing, f"name these filters in docs/api.md: {sorted(missing)}"
