"""The examples of the README and of docs/clients.md run as they stand, against a running server."""

import re
from pathlib import Path
from typing import Any

import pytest
from agentloop_client import AgentLoop, errors, set_default_client

from tests.sdk_python.conftest import Home

ROOT = Path(__file__).parents[2]
PAGES = {"README": ROOT / "sdk" / "python" / "README.md", "clients": ROOT / "docs" / "clients.md"}


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_run(page: str, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTLOOP_API_KEY", home.api_key)
    monkeypatch.setenv("AGENTLOOP_BASE_URL", home.url)
    monkeypatch.setenv("AGENTLOOP_SIGNING_SECRET", home.signing_secret)
    # The signals' section has examples and a test of its own.
    text = PAGES[page].read_text().split("## Signals from users")[0]
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= 4
    names: dict[str, Any] = {"__name__": page}
    try:
        for block in blocks:
            exec(compile(block, page, "exec"), names)
        assert names["receipt"].turn_id.startswith("turn_")
        loop: AgentLoop = names["loop"]
        assert loop.flush()
        assert loop.stats.sent >= 2
        assert (loop.stats.refused, loop.stats.dropped) == (0, 0)
        if page == "clients":
            assert loop.stats.sent >= 6
            assert "It is R$1,000 at night." in names["facts"]
            assert isinstance(names["insights"]["goals"], list)
    finally:
        names["loop"].close()
        if "router" in names:
            names["router"].client.close()
        set_default_client(None)


def test_every_error_stands_in_the_docs() -> None:
    text = PAGES["clients"].read_text()
    for name in errors.__all__:
        error = getattr(errors, name)
        assert f"`{name}`" in text, f"docs/clients.md leaves out {name}"
        if not issubclass(error, (errors.Refused, errors.ServerFailed)) and error is not errors.AgentLoopError:
            assert f"`{error.code}`" in text
