"""What the package promises before any of it runs."""

from importlib.util import find_spec
from pathlib import Path


def test_it_is_typed() -> None:
    spec = find_spec("agentloop_client")
    assert spec is not None
    assert spec.origin is not None
    assert (Path(spec.origin).parent / "py.typed").exists()
