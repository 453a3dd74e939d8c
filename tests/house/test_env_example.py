"""Every variable that the code reads stands in .env.example with a line about it, and no other does."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("agentloop", "review", "routing", "feedback_widget")
READ = re.compile(
    r"""env\.(?:text|number|flag|words)\(\s*"([A-Z_]+)"|text\("(AGENTLOOP_[A-Z_]+)"|environ(?:\.get\(|\[)"([A-Z_]+)\""""
)
# Set by make, by the supervisor for its own children, and by the metrics for their library.
NOT_SETTINGS = {"MAKELEVEL", "DJANGO_SETTINGS_MODULE", "AGENTLOOP_SUPERVISED", "PROMETHEUS_MULTIPROC_DIR"}


def variables_read() -> set[str]:
    sources = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    found = {name for path in sources for names in READ.findall(path.read_text()) for name in names if name}
    compose = (ROOT / "deploy" / "compose.yaml").read_text()
    return (found | set(re.findall(r"\$\{([A-Z_]+)", compose))) - NOT_SETTINGS


def variables_documented() -> dict[str, str]:
    """Each variable and the line above it."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    return {
        line.split("=")[0]: above
        for above, line in zip(["", *lines], lines, strict=False)
        if "=" in line and not line.startswith("#")
    }


def test_every_variable_that_is_read_is_documented() -> None:
    missing = variables_read() - set(variables_documented())
    assert not missing, f"Add to .env.example, each with one comment line above it: {sorted(missing)}"


def test_every_documented_variable_is_read() -> None:
    unread = set(variables_documented()) - variables_read()
    assert not unread, f"Nothing reads these any more; take them out of .env.example: {sorted(unread)}"


def test_every_variable_has_its_line() -> None:
    bare = [name for name, above in variables_documented().items() if not above.startswith("# ")]
    assert not bare, f"Say in one comment line above each what it is for: {bare}"


def test_the_operators_guide_names_every_variable() -> None:
    guide = (ROOT / "docs" / "operations.md").read_text()
    missing = [name for name in variables_documented() if name not in guide]
    assert not missing, f"Add to the settings table of docs/operations.md: {missing}"
