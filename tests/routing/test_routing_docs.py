"""docs/routing.md is true: its example of insights has the fields of a real answer, and it names what there is."""

import json
import re
from pathlib import Path
from typing import Any

from agentloop.project_settings import SOURCES
from routing.engine.choice import Constraints
from routing.engine.insights import SIGNALS, Status
from routing.models import Mode

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "routing.md").read_text()


def shape_of(value: Any, at: str = "") -> dict[str, type | None]:
    """Every field with its type; of a list its first item. Objects whose names are data count as one."""
    if isinstance(value, dict) and not at.endswith((".params", ".data")):
        return {path: kind for name in value for path, kind in shape_of(value[name], f"{at}.{name}").items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return shape_of(value[0], f"{at}[]")
    kind = float if isinstance(value, int) and not isinstance(value, bool) else type(value)
    return {at: kind}


def test_the_example_of_insights_has_the_fields_of_an_answer(api: Any) -> None:
    for place, temperature in enumerate([0.2, 0.8, 0.5]):
        params = {"temperature": temperature}
        path = api.post("/api/v1/routing/paths", {"goal": "book_meeting", "model_id": "gpt-4o", "params": params})
        items = [
            {
                "goal": "book_meeting",
                "trace_id": f"{place}-{n}",
                "path_id": path["path_id"],
                "model_id": "gpt-4o",
                "success": n % 12 > 4 * (place == 1),
                "failure_category": "validation_failed",
            }
            for n in range(40)
        ]
        api.post("/api/v1/intelligence/outcomes", {"outcomes": items})
    span = {"trace_id": "0-0", "span_id": "s", "model_id": "gpt-4o", "input_tokens": 900, "latency_ms": 1200}
    api.post("/api/ingest", {"events": [span]})
    [block] = re.findall(r"```json\n(.*?)```", DOCUMENT, re.DOTALL)
    assert shape_of(json.loads(block)) == shape_of(api.get("/api/v1/intelligence/insights"))


def test_it_names_every_source_signal_status_mode_and_constraint() -> None:
    named = [*SOURCES, *SIGNALS, *Status, *Mode.values, *Constraints.__dataclass_fields__]
    assert [name for name in named if f"`{name}`" not in DOCUMENT] == []


def test_its_plot_and_its_links_are_there() -> None:
    links = re.findall(r"\]\(([^)#]+)", DOCUMENT)
    assert "img/traffic.svg" in links
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []
