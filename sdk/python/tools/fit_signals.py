"""Finds the weights of the message classifier from the labelled messages' development part, and writes them down.

    .venv/bin/python sdk/python/tools/fit_signals.py

The cues were chosen with these messages in view, so they know nearly every word of them; a stranger's message holds
words that they don't know. So the weights are found on the messages as they are and, four times more, with half of the
cues taken away at random: what is learned is how sure to be when half of the words say nothing. That makes the
confidence hold on messages that nobody had in view. The test part is not read here.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from math import exp
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "sdk" / "python" / "src"))

from agentloop_client.signals import _classifier as classifier  # noqa: E402

MESSAGES = ROOT / "tests" / "sdk_python" / "signals" / "messages.jsonl"
WEIGHTS = ROOT / "sdk" / "python" / "src" / "agentloop_client" / "signals" / "weights.json"
KEPT = ("no", "not", "either", "but", "you", "self", "state", "ask")
"""Cues that any message has: short lists that are as good as complete."""
KNOCKED_OUT, COPIES = 0.5, 4
PENALTY, RATE, MOMENTUM, STEPS = 0.002, 0.3, 0.9, 250

Example = tuple[list[tuple[str, float]], int]


def main() -> None:
    rows = [json.loads(line) for line in MESSAGES.read_text().splitlines()]
    development = [(row["text"], classifier.LABELS.index(row["label"])) for row in rows if row["part"] == "development"]
    weights = fitted(list(examples(development)))
    lines = [f"  {json.dumps(name)}: {[round(one, 3) for one in weights[name]]}" for name in sorted(weights)]
    WEIGHTS.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def examples(messages: list[tuple[str, int]]) -> Iterator[Example]:
    drawn = random.Random(5)  # noqa: S311
    phrases = classifier.cue_phrases()
    for copy in range(1 + COPIES):
        known = [one for one in phrases if copy == 0 or one[0] in KEPT or drawn.random() > KNOCKED_OUT]
        with reading_by(classifier.tree_of(known)):
            for text, label in messages:
                yield list(classifier.features(text).items()), label


@contextmanager
def reading_by(tree: dict[str, Any]) -> Iterator[None]:
    """The classifier knows only these cues meanwhile."""
    before = classifier._tree
    classifier._tree = lambda: tree  # type: ignore[assignment]
    try:
        yield
    finally:
        classifier._tree = before


def fitted(data: list[Example]) -> dict[str, list[float]]:
    """Multinomial logistic regression with an L2 penalty, by gradient descent with momentum."""
    names = sorted({name for given, _ in data for name, _ in given})
    weights = {name: [0.0] * 4 for name in names}
    speed = {name: [0.0] * 4 for name in names}
    for _ in range(STEPS):
        slope = {name: [PENALTY * one for one in weights[name]] for name in names}
        for given, label in data:
            wanted = probabilities(weights, given)
            wanted[label] -= 1.0
            for name, value in given:
                for place, off in enumerate(wanted):
                    slope[name][place] += value * off / len(data)
        for name in names:
            for place in range(4):
                speed[name][place] = MOMENTUM * speed[name][place] - RATE * slope[name][place]
                weights[name][place] += speed[name][place]
    return weights


def probabilities(weights: dict[str, list[float]], given: list[tuple[str, float]]) -> list[float]:
    sums = [sum(value * weights[name][place] for name, value in given) for place in range(4)]
    raised = [exp(one - max(sums)) for one in sums]
    return [one / sum(raised) for one in raised]


if __name__ == "__main__":
    main()
