"""Writes what the Python client learned and measured as modules for the JavaScript one: there is one source of it.

python sdk/js/tools/copy_data.py
"""

import json
import sys
from pathlib import Path

JS = Path(__file__).resolve().parents[1]
PYTHON = JS.parent / "python" / "src"
HEAD = "// Written by tools/copy_data.py from the Python client.\n\n"


def modules() -> dict[Path, str]:
    """Each module's path and text."""
    sys.path.insert(0, str(PYTHON))
    from agentloop_client import patterns

    signals = PYTHON / "agentloop_client" / "signals"
    cues = "\n".join(_cue_lines((signals / "cues.txt").read_text("utf-8")))
    found = {
        "signals": {"CUES": cues, "WEIGHTS": json.loads((signals / "weights.json").read_text("utf-8"))},
        "patterns": {
            "STOP": " ".join(sorted(patterns._STOP_FOLDED)),
            "ENDING": patterns._ENDING.pattern,
            "ASKS_AGAIN": _plain(patterns._ASKS_AGAIN.pattern),
            "PUNTS": _plain(patterns._PUNTS.pattern),
            "CLAIMS": _plain(patterns._CLAIMS.pattern),
        },
    }
    return {
        JS / "src" / "data" / f"{name}.js": HEAD
        + "\n".join(f"export const {key} = {json.dumps(value, ensure_ascii=False)};\n" for key, value in data.items())
        for name, data in found.items()
    }


def _cue_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def _plain(verbose: str) -> str:
    """A verbose pattern without its blanks. None of ours has a comment, or a blank that counts."""
    return "".join(verbose.split())


if __name__ == "__main__":
    for path, text in modules().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
