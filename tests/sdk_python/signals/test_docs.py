"""What docs/clients.md shows of signals runs, and does what it says."""

import re
import uuid
from pathlib import Path
from typing import Any

import pytest
from agentloop_client.signals import Use

from tests.sdk_python.conftest import Home

PAGE = Path(__file__).resolve().parents[3] / "docs" / "clients.md"


def test_the_examples_run(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTLOOP_API_KEY", home.api_key)
    monkeypatch.setenv("AGENTLOOP_BASE_URL", home.url)
    section = PAGE.read_text("utf-8").split("## Signals from users\n")[1].split("\n## ")[0]
    known: dict[str, Any] = {
        "trace_id": uuid.uuid4().hex,
        "question": "When?",
        "answer": "Dear Ms Okafor, it will reach you on Monday.",
        "text_that_was_sent": "Dear Ms Okafor, it will reach you on Tuesday.",
        "unified_diff": "-Monday\n+Tuesday",
        "key": "secret",
    }
    blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert len(blocks) >= 5
    for block in blocks:
        exec(block, known)
    with known["loop"] as loop:
        assert loop.flush()
    assert f"confidence={known['reading'].confidence:.2f}, is_correction=True" in section
    told = home.get(f"/api/v1/routing/traces/{known['trace_id']}")
    assert [row["success"] for row in told["evidence"]] == [True, False]


def test_the_shown_use_is_what_comes_out() -> None:
    shown = re.search(r"# (Use\(.*\))", PAGE.read_text("utf-8"))
    assert shown is not None
    assert eval(shown[1], {"Use": Use}).action == "output_edited"
