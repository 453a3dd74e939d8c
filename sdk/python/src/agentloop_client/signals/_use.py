"""What a user did with an answer, told from the answer and the text that they kept."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

USED, COPIED, EDITED, DISCARDED = "output_used_verbatim", "output_copied", "output_edited", "output_discarded"
STRENGTHS = {
    USED: 1.0,
    "downstream_use": 1.0,
    COPIED: 0.9,
    "edit_small": 0.8,
    EDITED: 0.4,
    "edit_large": 0.3,
    "retry": 0.2,
    "abandonment": 0.1,
    DISCARDED: 0.0,
}
CONTAINED, DISCARDED_BELOW = 0.95, 0.2
MOST_COMPARED = 50_000
_WORD = re.compile(r"\w+|[^\w\s]")
Pairs = Counter[tuple[str, str]]


@dataclass(frozen=True)
class Use:
    action: str
    score: float


def use_of(output: str, final_text: str) -> Use:
    """Taken whole, taken into something larger, edited, or left. Case and blanks don't count; order does."""
    before, after = _pairs(output), _pairs(final_text)
    if before == after:
        return Use(USED, STRENGTHS[USED])
    if _holds(after, before):
        return Use(COPIED, STRENGTHS[COPIED])
    kept = sum((before & after).values())
    likeness = 2 * kept / (sum(before.values()) + sum(after.values()))
    if likeness < DISCARDED_BELOW:
        return Use(DISCARDED, STRENGTHS[DISCARDED])
    return Use(EDITED, round(likeness, 3))


def likeness_in(diff: str) -> float | None:
    """How much of a text an edit left as it was, from its unified diff; None for what is no diff."""
    lines = [line for line in diff.splitlines() if not line.startswith(("+++", "---", "@@", "diff ", "index "))]
    if not any(line[:1] in ("+", "-") for line in lines):
        return None
    before = _pairs("\n".join(line[1:] for line in lines if line[:1] in (" ", "-")))
    after = _pairs("\n".join(line[1:] for line in lines if line[:1] in (" ", "+")))
    return round(2 * sum((before & after).values()) / max(1, sum(before.values()) + sum(after.values())), 3)


def _holds(whole: Pairs, part: Pairs) -> bool:
    """Whether a text is in another, all but whole; a single word is in too many to tell."""
    inner = Counter({pair: count for pair, count in part.items() if all(pair)})
    return bool(inner) and sum((inner & whole).values()) >= CONTAINED * sum(inner.values())


def _pairs(text: str) -> Pairs:
    """Each two neighbouring words, ends included: what stays of a text is seen in time that grows with its length."""
    words = ["", *_WORD.findall(text[:MOST_COMPARED].lower()), ""]
    return Counter(zip(words, words[1:])) if len(words) > 2 else Counter()
