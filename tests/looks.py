"""What every page owes to everybody: it can be used by all, in light and dark, and is no wider than its window."""

import json
from pathlib import Path
from typing import Any

AXE = (Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js").read_text()
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SIZES = {"desk": (1440, 900), "phone": (390, 844)}


def problems_of(page: Any) -> list[str]:
    """What axe finds on the page in light and in dark, and whether it is too wide."""
    page.evaluate(AXE)
    problems = []
    # The one that the page doesn't have comes first, so that it ends as it was. Without motion colours change at once.
    is_dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    for scheme in ("light", "dark") if is_dark else ("dark", "light"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        found = page.evaluate(f"axe.run(document, {{runOnly: {json.dumps(RULES)}}})")
        problems += [
            f"{scheme}, {one['id']}: {[node['target'] for node in one['nodes']]}" for one in found["violations"]
        ]
    page.emulate_media(reduced_motion="no-preference")
    wider = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    return problems + ([f"{wider} px wider than the window"] if wider > 0 else [])
