"""Reading users' messages: precision, recall and calibration on labelled ones, beside the published client's heuristic.

python -m benchmarks.signals [--quick]
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import django

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "sdk" / "python" / "src"))

from agentloop_client.signals import classify  # noqa: E402

MESSAGES = ROOT / "tests" / "sdk_python" / "signals" / "messages.jsonl"
SURE, SENT = 0.85, 0.7
VERDICTS = ("accept", "reject")
BANDS = ((0.0, 0.5), (0.5, 0.7), (0.7, 0.85), (0.85, 0.95), (0.95, 1.01))
PUBLISHED = """
import json, sys
from kalibr.feedback import _heuristic_classify as read
print(json.dumps([read(message)[:2] for message in json.load(sys.stdin)]))
"""
PUBLISHED_KINDS = {"user_accepted": "accept", "user_rejected": "reject"}


@dataclass(frozen=True)
class Row:
    """A labelled message and what was read from it."""

    language: str
    wanted: str
    kind: str
    confidence: float

    @property
    def is_right(self) -> bool:
        return self.kind == self.wanted


def messages(part: str) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in MESSAGES.read_text("utf-8").splitlines()]
    return [row for row in rows if row["part"] == part]


def read_by_ours(given: list[dict[str, Any]]) -> list[Row]:
    readings = [classify(row["text"]) for row in given]
    return [_row(row, read.kind, read.confidence) for row, read in zip(given, readings, strict=True)]


def read_by_published(given: list[dict[str, Any]], python: Path) -> list[Row]:
    asked = json.dumps([row["text"] for row in given])
    done = subprocess.run(
        [str(python), "-I", "-c", PUBLISHED], input=asked, capture_output=True, text=True, timeout=60, check=True
    )
    told = json.loads(done.stdout.splitlines()[-1])
    return [
        _row(row, PUBLISHED_KINDS.get(kind, "continue"), confidence)
        for row, (confidence, kind) in zip(given, told, strict=True)
    ]


def _row(message: dict[str, Any], kind: str, confidence: float) -> Row:
    wanted = "reject" if message["label"] == "correction" else message["label"]
    return Row(message["language"], wanted, kind, confidence)


def precision(rows: Iterable[Row], least: float = SURE) -> tuple[int, int]:
    """Of the verdicts given with at least this confidence: how many are right, and how many there are."""
    given = [row for row in rows if row.kind in VERDICTS and row.confidence >= least]
    return sum(row.is_right for row in given), len(given)


def recall(rows: Iterable[Row], least: float = SURE) -> tuple[int, int]:
    """Of the messages that accept or reject: how many are found with at least this confidence."""
    there = [row for row in rows if row.wanted in VERDICTS]
    return sum(row.is_right and row.confidence >= least for row in there), len(there)


def corrections(given: list[dict[str, Any]]) -> tuple[int, int, int]:
    """Corrections that are sent as such; all that are sent as such; all that there are."""
    sent = [row["label"] for row in given if (read := classify(row["text"])).is_correction and read.confidence >= SENT]
    return sent.count("correction"), len(sent), sum(row["label"] == "correction" for row in given)


def settled(rows: Iterable[Row]) -> tuple[int, int]:
    """Of all messages: how many are read with enough confidence to ask no model."""
    sure = [row.confidence >= SURE for row in rows]
    return sum(sure), len(sure)


def calibration(rows: list[Row]) -> list[tuple[str, int, float, float]]:
    """For each band of confidence: how many messages, their mean confidence, and the share that is right."""
    table = []
    for low, high in BANDS:
        within = [row for row in rows if low <= row.confidence < high]
        if within:
            mean = sum(row.confidence for row in within) / len(within)
            name = f"{low:.2f} to {min(high, 1.0):.2f}"
            table.append((name, len(within), mean, sum(row.is_right for row in within) / len(within)))
    return table


def calibration_error(rows: list[Row]) -> float:
    """The mean distance between what is claimed and what is right, over the bands."""
    return sum(count * abs(claimed - right) for _, count, claimed, right in calibration(rows)) / len(rows)


def microseconds(given: list[dict[str, Any]], rounds: int) -> tuple[float, float]:
    """The mean over all messages, and a long one, each the best of some rounds."""
    texts = [row["text"] for row in given]
    long = "this is not what I want and the answer is bad, " * 100
    return _best(texts, rounds) / len(texts), _best([long] * 20, rounds) / 20


def _best(texts: list[str], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        for text in texts:
            classify(text)
        times.append(time.perf_counter() - begun)
    return min(times) * 1e6


def _share(found: tuple[int, int]) -> str:
    """With the interval that holds the true share in 95 of 100 cases (Wilson)."""
    right, count = found
    if not count:
        return "none"
    p, z = right / count, 1.96
    middle = (p + z * z / (2 * count)) / (1 + z * z / count)
    reach = z * sqrt(p * (1 - p) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return f"{p:.1%} ({right} of {count}; {max(0.0, middle - reach):.0%} to {min(1.0, middle + reach):.0%})"


def published_python() -> Path:
    """The published client, locked, in the environment that the compatibility tests make."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    from tests.compat.conftest import environment_of

    return environment_of("kalibr", ROOT / "requirements" / "compat-kalibr.txt")


def main(quick: bool = False) -> list[str]:
    given = messages("test")
    ours, theirs = read_by_ours(given), read_by_published(given, published_python())
    lines = [
        f"{len(given)} test messages",
        "",
        "| test messages | ours | published heuristic |",
        "|---|---|---|",
    ]
    for name, measure in (
        ("precision of verdicts at 0.85", precision),
        ("recall of verdicts at 0.85", recall),
        ("precision of verdicts at 0.70, which are sent", lambda rows: precision(rows, SENT)),
        ("recall of verdicts at 0.70", lambda rows: recall(rows, SENT)),
        ("precision of verdicts at any confidence", lambda rows: precision(rows, 0.0)),
        ("recall of verdicts at any confidence", lambda rows: recall(rows, 0.0)),
        ("messages settled without a model", settled),
    ):
        lines.append(f"| {name} | {_share(measure(ours))} | {_share(measure(theirs))} |")
    lines.append(f"| calibration error | {calibration_error(ours):.3f} | {calibration_error(theirs):.3f} |")
    lines += ["", "| confidence | messages | claimed | right |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {count} | {claimed:.2f} | {right:.2f} |" for name, count, claimed, right in calibration(ours)
    ]
    lines += ["", "| language | precision at 0.85 | recall at 0.85 | right at any confidence |", "|---|---|---|---|"]
    for language in ("en", "es", "pt", "fr", "de"):
        rows = [row for row in ours if row.language == language]
        right = (sum(row.is_right for row in rows), len(rows))
        lines.append(f"| {language} | {_share(precision(rows))} | {_share(recall(rows))} | {_share(right)} |")
    right, sent, there = corrections(given)
    lines += ["", f"Of {sent} rejections sent as corrections {right} are; of {there} corrections {right} are sent so."]
    mean, long = microseconds(given, 3 if quick else 15)
    return [*lines, "", f"A message: {mean:.0f} microseconds; one of 4,800 characters: {long:.0f}."]


if __name__ == "__main__":
    print("\n".join(main("--quick" in sys.argv)))
