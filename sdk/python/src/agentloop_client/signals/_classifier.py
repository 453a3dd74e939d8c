"""What a user's message says of the answer before it, read from its words, with a confidence that means what it says.

A message is read clause by clause. Each cue of `cues.txt` that it holds adds to a feature: praise, blame, a negated
praise, a blame inside a question, and so on. A logistic model over these few features gives the probabilities; its
weights (`weights.json`) come from labelled messages, so that what is called 0.9 is right about nine times in ten.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import exp, log1p
from pathlib import Path
from typing import Any

ACCEPT, REJECT, CONTINUE = "accept", "reject", "continue"
LABELS = (ACCEPT, REJECT, "correction", CONTINUE)
HEAD, TAIL = 200, 80
"""Of a long message the beginning and the end are read: there people say what they think; between them they paste."""

REACH = 4
"""A negator negates a cue that begins at most so many words further on."""

SIDES = {"served": "good", "praise": "good", "failed": "bad", "blame": "bad"}
GOOD, BAD = ("served", "praise", "not bad"), ("failed", "blame", "not good")
NEGATORS = ("not", "no", "either")
_QUOTED = re.compile(r"```.*?(?:```|\Z)|\"[^\"\n]{4,}\"|“[^”]{4,}”|«[^»]{4,}»|„[^“”]{4,}[“”]", re.DOTALL)
_WORD = re.compile(r"\w+|[^\w\s'’‘´`*_\-]")
_CLAUSE_ENDS = frozenset(".!?;:,…\n()¿¡。—–")
_GOES_ON = frozenset("?,:(")
_LEAF = ""
_HERE = Path(__file__).parent

Hit = tuple[str, int, int]
"""The kind of a cue, where it begins in its clause, and how many words it has."""


@dataclass(frozen=True)
class Reading:
    """`kind` is accept, reject or continue; a correction is a rejection that says what was meant."""

    kind: str
    confidence: float
    is_correction: bool = False
    read_by: str = "heuristic"


def classify(message: str) -> Reading:
    """Reads one message in English, Spanish, Portuguese, French or German, in some tens of microseconds."""
    accept, reject, correction, go_on = probabilities(message)
    rejected = reject + correction
    if accept >= rejected and accept >= go_on:
        return Reading(ACCEPT, accept)
    if rejected >= go_on:
        return Reading(REJECT, rejected, is_correction=correction > reject)
    return Reading(CONTINUE, go_on)


def probabilities(message: str) -> tuple[float, float, float, float]:
    """Of each of `LABELS`; they add up to 1."""
    sums = [0.0, 0.0, 0.0, 0.0]
    learned = _weights()
    for name, value in features(message).items():
        weights = learned.get(name)
        if weights is not None:
            for place in (0, 1, 2, 3):
                sums[place] += value * weights[place]
    highest = max(sums)
    a, b, c, d = (exp(one - highest) for one in sums)
    total = a + b + c + d
    return a / total, b / total, c / total, d / total


def features(message: str) -> dict[str, float]:
    """The few numbers that the weights are for."""
    words = _words(message)
    found: Counter[str] = Counter()
    kinds: list[str] = []
    length = explained = 0
    for place, clause in enumerate(_clauses(words)):
        hits = _hits(clause)
        length += len(clause)
        covered = sum(size for _, _, size in hits)
        explained += covered
        said = list(_said(hits, is_first=place == 0, asks=clause[-1] == "?"))
        kinds += said
        for kind in said:
            if kind == "but":
                _concede(found)
            found[kind] += 1
        if len(said) == 1 and len(clause) - covered <= 2 and clause[-1] not in _GOES_ON:
            found["flat " + said[0]] += 1
    given = {name: float(min(count, 2)) for name, count in found.items()}
    given["bias"] = 1.0
    given["length"] = log1p(length)
    given["unexplained"] = 1.0 - explained / length if length else 1.0
    given.update(dict.fromkeys(_traits(words, kinds, found), 1.0))
    return given


def _said(hits: list[Hit], *, is_first: bool, asks: bool) -> Iterator[str]:
    """What each cue of a clause says, given the others: negated, asked, or said of something else than the answer."""
    negated, idle = _negations(hits)
    is_aside = is_question = False
    addressed = any(kind == "you" for kind, _, _ in hits)
    for place, (kind, at, _) in enumerate(hits):
        side = SIDES.get(kind)
        if side is None:
            is_aside = is_aside or kind == "matter"
            is_question = is_question or kind == "ask"
            if (kind == "no" and is_first and at == 0) or kind not in NEGATORS:
                yield kind
            elif place in idle:
                yield "you not" if addressed else "rather" if at == 0 else "not"
        elif place in negated:
            yield "not " + side
        elif is_aside:
            yield "aside " + side
        elif asks and (kind != "failed" or is_question):
            yield "asked " + side
        else:
            yield kind


def _negations(hits: list[Hit]) -> tuple[set[int], set[int]]:
    """The places of cues that are negated, and of negators that negate none of them."""
    negated: set[int] = set()
    idle: set[int] = set()
    for place, (kind, at, _) in enumerate(hits):
        if kind not in NEGATORS:
            continue
        after = (n for n in range(place + 1, len(hits)) if hits[n][0] in SIDES and hits[n][1] - at <= REACH)
        target = next(after, None)
        if target is None and kind == "either":
            before = (n for n in range(place - 1, -1, -1) if hits[n][0] in SIDES and at - hits[n][1] <= REACH)
            target = next(before, None)
        if target is None:
            idle.add(place)
        else:
            negated.add(target)
    return negated, idle


def _concede(found: Counter[str]) -> None:
    """What is praised before a "but" is politeness."""
    for kind in ("served", "praise", "thanks", "assent", "not bad"):
        if found.pop(kind, 0):
            found["conceded"] += 1


def _traits(words: list[str], kinds: list[str], found: Counter[str]) -> Iterator[str]:
    if not kinds:
        yield "silent"
    else:
        yield "opens with " + kinds[0]
    if len(kinds) > 1 and kinds[0] in ("no", "assent", "thanks"):
        yield f"{kinds[0]}, then {kinds[1]}"
    if len(kinds) == 1:
        yield "only " + kinds[0]
    if words and words[-1] == "?":
        yield "ends asking"
    if any(found[kind] for kind in GOOD) and any(found[kind] for kind in BAD):
        yield "mixed"


# --- words, clauses and cues -------------------------------------------------------------------------------------


def _words(message: str) -> list[str]:
    text = message if len(message) <= HEAD + TAIL else message[:HEAD] + "\n" + message[-TAIL:]
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return _WORD.findall(_QUOTED.sub(" ; ", text.lower()))


def _clauses(words: list[str]) -> Iterator[list[str]]:
    """Each with the mark that ends it, if one does."""
    begin = 0
    for place, word in enumerate(words):
        if word in _CLAUSE_ENDS:
            if place > begin:
                yield words[begin : place + 1]
            begin = place + 1
    if begin < len(words):
        yield words[begin:]


def _hits(clause: list[str]) -> list[Hit]:
    """The cues of a clause, from left to right; where several begin at one word, the longest."""
    hits: list[Hit] = []
    tree = _tree()
    end = 0
    for at, word in enumerate(clause):
        if at < end or word not in tree:
            continue
        kind, end = _longest(tree[word], clause, at)
        if kind and kind != "none":
            hits.append((kind, at, end - at))
    return hits


def _longest(node: dict[str, Any] | None, clause: list[str], at: int) -> tuple[str, int]:
    """The longest cue from here on, and where it ends."""
    kind, end, place = "", at + 1, at
    while node is not None:
        place += 1
        if _LEAF in node:
            kind, end = node[_LEAF], place
        node = node.get(clause[place]) if place < len(clause) else None
    return kind, end


# --- what was learned --------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _weights() -> dict[str, list[float]]:
    """What each feature says for each of `LABELS`; made by tools/fit_signals.py."""
    weights: dict[str, list[float]] = json.loads((_HERE / "weights.json").read_text("utf-8"))
    return weights


@lru_cache(maxsize=1)
def _tree() -> dict[str, Any]:
    return tree_of(cue_phrases())


def cue_phrases() -> list[tuple[str, list[str]]]:
    """Each cue's kind and words, as `cues.txt` has them."""
    found: list[tuple[str, list[str]]] = []
    kind = ""
    for line in (_HERE / "cues.txt").read_text("utf-8").splitlines():
        if line.startswith("["):
            kind = line[1:].split()[0]
        elif line and not line.startswith("#"):
            found += [(kind, phrase.split()) for phrase in line.split("|")]
    return found


def tree_of(phrases: list[tuple[str, list[str]]]) -> dict[str, Any]:
    """The phrases word by word. Those as written come first; without accents they fill what is left."""
    tree: dict[str, Any] = {}
    plain = [(kind, [_without_accents(word) for word in phrase]) for kind, phrase in phrases]
    for kind, phrase in phrases + plain:
        node = tree
        for word in phrase:
            node = node.setdefault(word, {})
        node.setdefault(_LEAF, kind)
    return tree


def _without_accents(word: str) -> str:
    if word.isascii():
        return word
    return "".join(one for one in unicodedata.normalize("NFD", word) if not unicodedata.combining(one))
