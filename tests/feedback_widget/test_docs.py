"""docs/widget.md tells what is so: the names, and the way to make a link in another language."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from agentloop.project_settings import SETTINGS, WIDGET_TEXTS
from feedback_widget.submissions import CHOICES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "widget.md").read_text()
VECTORS = json.loads((ROOT / "tests" / "data" / "feedback-links.json").read_text())


def test_names_every_text_reason_and_setting() -> None:
    settings = [name for name in SETTINGS if name.startswith(("widget_", "feedback_"))]
    for name in (*WIDGET_TEXTS, *(choice.name for choice in CHOICES), *settings):
        assert f"`{name}`" in PAGE, f"docs/widget.md does not name {name}"


def test_the_javascript_makes_the_same_tokens() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node")
    [code] = re.findall(r"```js\n(import \{ createHash.*?)```", PAGE, re.DOTALL)
    script = f"""{code}
    const vectors = JSON.parse((await import("node:fs")).readFileSync(0));
    console.log(JSON.stringify(vectors.map((one) => feedbackToken(one.secret, one.payload, one.t))));"""
    done = subprocess.run(
        [node, "--input-type=module", "-e", script],
        input=json.dumps(VECTORS),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert json.loads(done.stdout) == [one["token"] for one in VECTORS]
