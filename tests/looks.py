"""What every page owes to everybody: it can be used by all, in light and dark, and is no wider than its window."""

import json
from pathlib import Path
from typing import Any

AXE = (Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js").read_text()
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SIZES = {"desk": (1440, 900), "phone": (390, 844)}


def problems_of(page: Any) -> list[str]:
    """What axe finds on the page as it stands, and of its colours in the other scheme; and whether it is too wide."""
    page.evaluate(AXE)
    problems = _violations(page, RULES)
    is_dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    this, other = ("dark", "light") if is_dark else ("light", "dark")
    # Without motion the colours change at once.
    page.emulate_media(color_scheme=other, reduced_motion="reduce")
    problems += [f"in {other}, {problem}" for problem in _violations(page, ["color-contrast"])]
    page.emulate_media(color_scheme=this, reduced_motion="no-preference")
    wider = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    return problems + ([f"{wider} px wider than the window"] if wider > 0 else [])


def _violations(page: Any, only: list[str]) -> list[str]:
    found = page.evaluate(f"axe.run(document, {{runOnly: {json.dumps(only)}}})")
    return [f"{one['id']}: {[node['target'] for node in one['nodes']]}" for one in found["violations"]]
